"""Forecast against actual: `python -m benchmarks.forecast`."""
