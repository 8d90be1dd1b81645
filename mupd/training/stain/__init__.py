"""Training of a virtual stainer."""
