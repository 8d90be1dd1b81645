"""Micrometres per pixel as files state them. They are never guessed."""

from __future__ import annotations

import math

from mupd.errors import UnusableError

_MOST_ANISOTROPY = 1.05


def one_scale(x_um: float | None, y_um: float | None) -> float | None:
    """The mean of what a file states for its two axes, or the one value it states, or None.

    Zero, negative and infinite values count as not stated: some programs write them for "unknown".

    Raises
    ------
    UnusableError
        If pixels are not square (a difference of 5% is tolerated).
    """
    stated = [value for value in (x_um, y_um) if value is not None and math.isfinite(value) and value > 0]
    if not stated:
        return None
    if max(stated) > _MOST_ANISOTROPY * min(stated):
        raise UnusableError(f"pixels are not square: {stated[0]:g} x {stated[1]:g} um; resample the slide")
    return sum(stated) / len(stated)
