"""Parts of slides as arrays: padded with white outside the slide, or reduced block by block."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mupd.slides.limits import MOST_FLAT_PIXELS

WHITE = (255, 255, 255)

BAND_PX = 2048
SAMPLED_SIDE = 64
_SAMPLED_PX = 128

ReadLevel = Callable[[int, int, int, int], NDArray[np.uint8]]
"""``read(x, y, width, height)`` -> (height, width, 3) uint8: a box of one level, in that level's pixels."""


def on_white(image: Image.Image) -> NDArray[np.uint8]:
    """Any picture as (rows, columns, 3) uint8; transparent pixels become white."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, WHITE)
        canvas.paste(rgba, mask=rgba.getchannel("A"))
        return np.asarray(canvas)
    # `convert` copies, even from RGB to RGB.
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def padded(read: ReadLevel, x: int, y: int, w: int, h: int, size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w, 3) from x, y: read where the box is inside the slide, white outside."""
    left, top = max(x, 0), max(y, 0)
    width, height = min(x + w, size_px[0]) - left, min(y + h, size_px[1]) - top
    if (left, top, width, height) == (x, y, w, h):
        return read(x, y, w, h)
    canvas = np.full((h, w, 3), 255, np.uint8)
    if width > 0 and height > 0:
        canvas[top - y : top - y + height, left - x : left - x + width] = read(left, top, width, height)
    return canvas


def resampled(
    read: ReadLevel, corner: tuple[float, float], size: tuple[float, float], out_px: tuple[int, int]
) -> NDArray[np.uint8]:
    """A box with fractional bounds, resampled (Lanczos, antialiased) to `out_px` (width, height).

    It is read with a margin of the filter's support, so that its border does not depend on where it was cut out.

    Parameters
    ----------
    read
        Reads a box in whole pixels, also outside the level.
    corner, size
        x and y, and width and height, in pixels of the level.
    """
    (left, top), (wide, tall) = corner, size
    margin = math.ceil(3 * max(1.0, wide / out_px[0], tall / out_px[1]))
    x, y = math.floor(left) - margin, math.floor(top) - margin
    part = Image.fromarray(read(x, y, math.ceil(left + wide) + margin - x, math.ceil(top + tall) + margin - y))
    box = (left - x, top - y, left - x + wide, top - y + tall)
    return np.asarray(part.resize(out_px, Image.Resampling.LANCZOS, box=box))


def reduced_size(size_px: tuple[int, int], max_px: int) -> tuple[int, int]:
    """Width and height of a picture reduced so that its longer side is at most `max_px`."""
    scale = min(1.0, max_px / max(size_px))
    return max(1, round(size_px[0] * scale)), max(1, round(size_px[1] * scale))


def best_level(sizes_px: tuple[tuple[int, int], ...], columns: int) -> int:
    """The smallest level that is at least `columns` wide."""
    wide = [index for index, (width, _) in enumerate(sizes_px) if width >= columns]
    return min(wide, key=lambda index: sizes_px[index][0]) if wide else 0


def reduced(read: ReadLevel, level_px: tuple[int, int], size_px: tuple[int, int], max_px: int) -> NDArray[np.uint8]:
    """Reduce a whole level to at most `max_px` per side. Reads blocks, so the level is never in memory whole.

    A level over :data:`MOST_FLAT_PIXELS` (a large slide without reduced levels) is sampled instead, at up to
    64 x 64 places with the mean of 128 px around each. This takes seconds; decoding the whole slide would not.

    Parameters
    ----------
    level_px
        Width and height of the level that `read` reads.
    size_px
        Width and height of level 0. The result has its proportions.
    """
    width, height = level_px
    if width * height > MOST_FLAT_PIXELS:
        return _sampled(read, level_px, reduced_size(size_px, min(max_px, SAMPLED_SIDE)))
    columns, rows = reduced_size(size_px, max_px)
    canvas = np.empty((rows, columns, 3), np.uint8)
    step = max(1, int(BAND_PX * columns / width))
    for top in range(0, rows, step):
        for left in range(0, columns, step):
            bottom, right = min(top + step, rows), min(left + step, columns)
            x, y = left * width // columns, top * height // rows
            x_end, y_end = max(x + 1, right * width // columns), max(y + 1, bottom * height // rows)
            block = Image.fromarray(read(x, y, x_end - x, y_end - y))
            canvas[top:bottom, left:right] = np.asarray(
                block.resize((right - left, bottom - top), Image.Resampling.BOX)
            )
    return canvas


def _sampled(read: ReadLevel, level_px: tuple[int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
    columns, rows = size
    width, height = level_px
    canvas = np.empty((rows, columns, 3), np.uint8)
    side_x, side_y = (min(_SAMPLED_PX, level // count) for level, count in zip(level_px, size, strict=True))
    for row in range(rows):
        for column in range(columns):
            x = (2 * column + 1) * width // (2 * columns) - side_x // 2
            y = (2 * row + 1) * height // (2 * rows) - side_y // 2
            canvas[row, column] = read(x, y, max(1, side_x), max(1, side_y)).mean((0, 1)).round()
    return canvas
