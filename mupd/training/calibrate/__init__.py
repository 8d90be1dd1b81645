"""Calibration of a trained model on the validation tenth of the public data."""
