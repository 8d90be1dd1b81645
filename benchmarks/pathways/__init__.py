"""What pathway scores cost and what they add."""
