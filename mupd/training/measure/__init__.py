"""Figures of a trained model on data that it was not trained on."""
