"""Figures of agreement between what was imputed and the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
BOOTSTRAPS = 300


def correlation(a: Floats, b: Floats) -> float:
    """Pearson correlation of two vectors; 0 where one does not vary, for a constant predicts nothing."""
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / scale) if scale > 1e-12 else 0.0


def per_gene(found: Floats, truth: Floats, genes: NDArray[np.int64]) -> float:
    """Mean over genes (columns) of the correlation over rows; genes whose truth does not vary are left out."""
    a, b = found[:, genes].astype(np.float64), truth[:, genes].astype(np.float64)
    a, b = a - a.mean(0), b - b.mean(0)
    product, scale = (a * b).sum(0), np.sqrt((a**2).sum(0) * (b**2).sum(0))
    varying = (b**2).sum(0) > 0
    if not varying.any():
        return math.nan
    # A prediction that does not vary scores 0.
    return float(np.divide(product, scale, out=np.zeros_like(product), where=scale > 1e-12)[varying].mean())


def interval(figure: Callable[[NDArray[np.int64]], float], rows: int) -> str:
    """Bootstrap 95 % interval of a figure over its rows, in words; `figure` takes row numbers, with repetition."""
    rng = np.random.default_rng(0)
    values = [figure(rng.integers(rows, size=rows)) for _ in range(BOOTSTRAPS)]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return f"mupd's 95 % interval {low:.2f} to {high:.2f}"
