"""What the folder of a model says of itself, read without torch."""
