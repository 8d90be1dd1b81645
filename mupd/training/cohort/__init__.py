"""Training data from a user's own cases."""
