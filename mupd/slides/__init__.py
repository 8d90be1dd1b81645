"""H&E slides: reading, tissue, checks."""
