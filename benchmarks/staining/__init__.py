"""Virtual staining beside simpler ways, on held-out fields."""
