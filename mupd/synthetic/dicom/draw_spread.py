"""How far the draws of a slide differ from each other, place by place.

Optical density of a pixel: the mean over its red, green and blue values I of -log10((I + 1) / 256), decadic and
without unit, 0 on white glass and 2.41 on black. The spread of a block of pixels is the root of the mean, over
its pixels, of the sample variance (n - 1) of their optical density over the draws: the size of a standard
deviation of single pixels, 0 where all draws agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mupd.synthetic.dicom.image import SlidePixels

LEAST_BLOCK_PX = 8
"""Side of a block: at 0.78 um/px about the size of a nucleus."""

MOST_MAP_PX = 4096
"""A map's longer side: blocks of a larger slide are larger, so that a map never takes more than 32 MiB."""

_CHUNK_PX = 512
_DENSITY = -np.log10((np.arange(256) + 1) / 256)


def block_px(width: int, height: int) -> int:
    """Side of the blocks of a slide, a power of two from 8, in pixels."""
    side = LEAST_BLOCK_PX
    while -(-max(width, height) // side) > MOST_MAP_PX:
        side *= 2
    return side


def _block_sums(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], side), axis=0)
    return np.add.reduceat(rows, np.arange(0, values.shape[1], side), axis=1)


def _chunk_spread(draws: Sequence[SlidePixels], y: int, x: int, side: int) -> NDArray[np.float64]:
    """Spread of the chunk in column `x` and row `y` of chunks."""
    total, squares = 0.0, 0.0
    height, width = draws[0].height - y * _CHUNK_PX, draws[0].width - x * _CHUNK_PX
    for draw in draws:
        density = _DENSITY[draw.tile(x, y, _CHUNK_PX)[:height, :width]].mean(axis=2)
        total, squares = total + density, squares + density**2
    variance = np.maximum(squares - total**2 / len(draws), 0) / (len(draws) - 1)
    return np.sqrt(_block_sums(variance, side) / _block_sums(np.ones_like(variance), side))


def draw_spread(draws: Sequence[NDArray[np.uint8]], side: int) -> NDArray[np.float32]:
    """Spread of optical density over the draws, block by block.

    Parameters
    ----------
    draws
        Two or more pictures (height, width, 3) uint8 of one size; memory-mapped ones are read chunk by chunk, so
        that memory does not grow with the slide.
    side
        Of a block, in pixels: a divisor of 512.

    Returns
    -------
    (ceil(height / side), ceil(width / side)) float32
        Blocks that hang over the right or lower edge are made of the pixels that are there.

    Raises
    ------
    ValueError
        If there are fewer than two draws, or they differ in size or type.
    """
    if len(draws) < 2 or _CHUNK_PX % side:
        raise ValueError(f"draws, side: found {len(draws)}, {side}; expected at least 2 and a divisor of {_CHUNK_PX}")
    kinds = {(draw.shape, str(draw.dtype)) for draw in draws}
    height, width = draws[0].shape[:2]
    if kinds != {((height, width, 3), "uint8")}:
        raise ValueError(f"draws: found {sorted(kinds)}; expected one (height, width, 3) uint8")
    spread = np.empty((-(-height // side), -(-width // side)), np.float32)
    slides = [SlidePixels(draw) for draw in draws]
    for y in range(-(-height // _CHUNK_PX)):
        for x in range(-(-width // _CHUNK_PX)):
            part = _chunk_spread(slides, y, x, side)
            top, left = y * _CHUNK_PX // side, x * _CHUNK_PX // side
            spread[top : top + part.shape[0], left : left + part.shape[1]] = part
    return spread
