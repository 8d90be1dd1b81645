"""How often the watermark of generated slides is found again, and how often it is seen where there is none."""
