"""Expression values turned back from a scale of :mod:`mupd.base.rna_scales`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mupd.base.rna_scales import Base, Scale


def without_logarithm(values: NDArray[np.float64], base: Base, offset: float) -> NDArray[np.float64]:
    """base^values - offset; infinite where the base is so wrong that it overflows."""
    with np.errstate(over="ignore"):
        if base == "e":
            return np.expm1(values) if offset == 1 else np.exp(values) - offset
        return (np.exp2(values) if base == "2" else np.power(10.0, values)) - offset


def linear_values(values: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    """Values on a linear scale, at least 0; the same shape."""
    if scale.base is None:
        return np.maximum(values, 0)
    linear = without_logarithm(values, scale.base, scale.offset)
    if scale.offset < 1:
        # Tables are rounded to 4 digits, so that a zero does not come out as exactly 0.
        linear[linear < scale.offset / 100] = 0
    return np.maximum(linear, 0)
