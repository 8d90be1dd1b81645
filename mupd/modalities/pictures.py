"""Reduced pictures and stain of tissue, the same for measured slides and generated pixels.

Optical densities are taken from windows at full resolution, never from a thumbnail: averaging pixels
before the logarithm would lower them, and the ranges of the model's training data are of such windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mupd.modalities.tissue import stain_density, tissue_mask

WINDOW_PX = 512
_MOST_WINDOWS = 24

Read = Callable[[int, int, int, int], NDArray[np.uint8]]
"""``read(x, y, width, height)`` -> uint8 (height, width, 3) at level 0."""


@dataclass(frozen=True)
class Stain:
    """Mean optical densities over `windows` windows of tissue; ``None`` where there is no tissue."""

    haematoxylin_od: float | None
    eosin_od: float | None
    windows: int


def reduce_picture(pixels: NDArray[np.uint8], max_px: int) -> NDArray[np.uint8]:
    """Shrink a picture by a whole factor with the mean of each block, a band of rows at a time.

    Parameters
    ----------
    pixels
        (height, width, 3) uint8, may be memory-mapped: it never stands in memory whole.
    max_px
        The longer side of the result is at most this, unless the shorter would become nothing.

    Returns
    -------
    (height // factor, width // factor, 3) uint8; up to factor - 1 px at the right and bottom edges are left out.
    """
    height, width = pixels.shape[:2]
    factor = max(1, min(-(-max(height, width) // max_px), height, width))
    if factor == 1:
        return np.array(pixels)
    rows, columns = height // factor, width // factor
    reduced = np.empty((rows, columns, 3), np.uint8)
    for row in range(rows):
        band = pixels[row * factor : (row + 1) * factor, : columns * factor]
        sums = band.reshape(factor, columns, factor, 3).sum(axis=(0, 2), dtype=np.uint32)
        reduced[row] = (sums + factor * factor // 2) // (factor * factor)
    return reduced


def _origins(side: int, step: int) -> list[int]:
    """Where windows begin along a side; the last one ends at the edge."""
    last = max(side - WINDOW_PX, 0)
    return sorted({*range(0, last + 1, step), last})


def tissue_windows(mask: NDArray[np.bool_], size_px: tuple[int, int]) -> list[tuple[int, int]]:
    """Origins (x, y) at level 0 of up to 24 evenly chosen windows that are at least half tissue.

    Where no window is half tissue, those with the most of it are taken; with no tissue at all, none.

    Parameters
    ----------
    mask
        (rows, columns) tissue mask of a reduced picture of the whole slide.
    size_px
        Width and height of level 0.
    """
    width, height = size_px
    rows, columns = mask.shape
    found: list[tuple[float, int, int]] = []
    # On a large slide windows further apart are looked at, so that the work does not grow with its area.
    step = max(WINDOW_PX, max(width, height) // 64)
    for y in _origins(height, step):
        for x in _origins(width, step):
            top, left = y * rows // height, x * columns // width
            bottom = max(top + 1, min(height, y + WINDOW_PX) * rows // height)
            right = max(left + 1, min(width, x + WINDOW_PX) * columns // width)
            share = float(mask[top:bottom, left:right].mean())
            if share > 0:
                found.append((share, x, y))
    half = [(x, y) for share, x, y in found if share >= 0.5]
    if not half:
        half = [(x, y) for _, x, y in sorted(found, reverse=True)[:8]]
    chosen = np.unique(np.linspace(0, len(half) - 1, min(len(half), _MOST_WINDOWS)).round().astype(int))
    return [half[index] for index in chosen] if half else []


def tissue_stain(read: Read, size_px: tuple[int, int], mask: NDArray[np.bool_]) -> Stain:
    """Mean haematoxylin and eosin optical density of tissue pixels, over windows at full resolution."""
    densities = []
    for x, y in tissue_windows(mask, size_px):
        tile = read(x, y, min(WINDOW_PX, size_px[0] - x), min(WINDOW_PX, size_px[1] - y))
        pixels = tissue_mask(np.asarray(tile))
        if pixels.any():
            densities.append([float(density[pixels].mean()) for density in stain_density(np.asarray(tile))])
    if not densities:
        return Stain(None, None, 0)
    haematoxylin, eosin = np.mean(densities, axis=0)
    return Stain(float(haematoxylin), float(eosin), len(densities))
