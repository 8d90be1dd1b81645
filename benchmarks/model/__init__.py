"""The quality of a model: figures beside their baselines."""
