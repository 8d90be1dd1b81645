"""What stages leave for each other in files: one class, one writer and one reader each."""
