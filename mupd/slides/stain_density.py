"""Reduced pictures, and the stain of tissue in measured slides and generated pixels.

Optical densities come from windows at full resolution, as the ranges of the model's training data do. In a thumbnail
they are lower, because pixels are averaged before the logarithm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mupd.slides.tissue import count_in_boxes, stain_density, tissue_mask

WINDOW_PX = 512
MOST_WINDOWS = 24

Read = Callable[[int, int, int, int], NDArray[np.uint8]]
"""``read(x, y, width, height)`` -> uint8 (height, width, 3) at level 0."""


@dataclass(frozen=True)
class Stain:
    """Mean optical densities over `windows` windows of tissue; None if there is no tissue."""

    haematoxylin_od: float | None
    eosin_od: float | None
    windows: int


def reduce_picture(pixels: NDArray[np.uint8], max_px: int) -> NDArray[np.uint8]:
    """Shrink a picture by a whole factor to the mean of each block, one band of rows at a time.

    Parameters
    ----------
    pixels
        (height, width, channels) uint8. It may be memory-mapped, and is never in memory whole.
    max_px
        The longer side of the result is at most this, unless the shorter side would vanish.

    Returns
    -------
    (height // factor, width // factor, channels) uint8; without up to factor - 1 px at the right and bottom edges.
    """
    height, width = pixels.shape[:2]
    factor = max(1, min(-(-max(height, width) // max_px), height, width))
    if factor == 1:
        return np.array(pixels)
    rows, columns = height // factor, width // factor
    reduced = np.empty((rows, columns, pixels.shape[2]), np.uint8)
    for row in range(rows):
        band = pixels[row * factor : (row + 1) * factor, : columns * factor]
        sums = band.reshape(factor, columns, factor, pixels.shape[2]).sum(axis=(0, 2), dtype=np.uint32)
        reduced[row] = (sums + factor * factor // 2) // (factor * factor)
    return reduced


def _origins(side: int, step: int) -> NDArray[np.int64]:
    """The start of each window along a side. The last window ends at the edge."""
    last = max(side - WINDOW_PX, 0)
    return np.array(sorted({*range(0, last + 1, step), last}))


def tissue_windows(
    mask: NDArray[np.bool_], size_px: tuple[int, int], most: int = MOST_WINDOWS
) -> list[tuple[int, int]]:
    """Origins (x, y) at level 0 of up to `most` evenly chosen windows that are at least half tissue.

    If no window is half tissue, up to 8 with the most tissue are taken. Without any tissue there are none.

    Parameters
    ----------
    mask
        (rows, columns) tissue mask of a reduced picture of the whole slide.
    size_px
        Width and height of level 0.
    """
    width, height = size_px
    rows, columns = mask.shape
    # On a large slide, windows are further apart, so that the work does not grow with its area.
    step = max(WINDOW_PX, max(width, height) // 64)
    xs, ys = _origins(width, step), _origins(height, step)
    tops, lefts = ys * rows // height, xs * columns // width
    bottoms = np.maximum(tops + 1, np.minimum(height, ys + WINDOW_PX) * rows // height)
    rights = np.maximum(lefts + 1, np.minimum(width, xs + WINDOW_PX) * columns // width)
    inside = count_in_boxes(mask, lefts, tops[:, None], rights, bottoms[:, None])
    share = inside / ((bottoms - tops)[:, None] * (rights - lefts))
    half = np.argwhere(share >= 0.5)
    if not len(half):
        some = np.argwhere(share > 0)
        half = np.array(sorted(some, key=lambda at: (share[*at], xs[at[1]], ys[at[0]]), reverse=True)[:8])
    chosen = np.unique(np.linspace(0, len(half) - 1, min(len(half), most)).round().astype(int))
    return [(int(xs[column]), int(ys[row])) for row, column in half[chosen]] if len(half) else []


def stain_of(tiles: Iterable[NDArray[np.uint8]], step: int = 1) -> Stain:
    """Mean haematoxylin and eosin optical density of the tissue pixels in tiles at full resolution.

    Parameters
    ----------
    tiles
        (height, width, 3) uint8 each.
    step
        Every `step`-th pixel of every `step`-th row is used.
    """
    densities = []
    for tile in tiles:
        sampled = np.ascontiguousarray(tile[::step, ::step])
        pixels = tissue_mask(sampled)
        if pixels.any():
            densities.append([float(density[pixels].mean()) for density in stain_density(sampled)])
    if not densities:
        return Stain(None, None, 0)
    haematoxylin, eosin = np.mean(densities, axis=0)
    return Stain(float(haematoxylin), float(eosin), len(densities))


def read_windows(
    read: Read, size_px: tuple[int, int], origins: Iterable[tuple[int, int]]
) -> Iterator[NDArray[np.uint8]]:
    """The windows at these origins, (height, width, 3) uint8 each, cropped at the slide's edges."""
    for x, y in origins:
        yield np.asarray(read(x, y, min(WINDOW_PX, size_px[0] - x), min(WINDOW_PX, size_px[1] - y)))


def tissue_stain(read: Read, size_px: tuple[int, int], mask: NDArray[np.bool_]) -> Stain:
    """Mean haematoxylin and eosin optical density of tissue pixels, over windows at full resolution."""
    return stain_of(read_windows(read, size_px, tissue_windows(mask, size_px)))
