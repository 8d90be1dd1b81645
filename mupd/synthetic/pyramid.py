"""The tiles of all levels of a slide in one pass: each level's rows come out in order, few are held.

wsidicom 0.36's own pyramid writer reads tiles faster than it encodes them and keeps what waits: 900 MB for
a slide of 16,384 x 16,384. Here rows of level 0 are read one after the other; two finished rows of a level
make one row of the next. What is held is two rows of each level, so memory grows with a slide's width and
not with its height.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mupd.synthetic.dicom_image import SlidePixels, pad_tile

Pixels = NDArray[np.uint8]


def level_sizes(width: int, height: int, tile_px: int) -> list[tuple[int, int]]:
    """Width and height of each level in pixels: halved, rounded up, until one tile holds all of it."""
    sizes = [(width, height)]
    while max(sizes[-1]) > tile_px:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def halve(pixels: Pixels) -> Pixels:
    """Mean of each 2 x 2 block, halves rounded up, (ceil(height / 2), ceil(width / 2), 3) uint8.

    An odd last row or column is averaged with itself.
    """
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rows = np.add(pixels[0::2], pixels[1::2], dtype=np.uint16).reshape(pixels.shape[0] // 2, -1)
    halved = np.empty((rows.shape[0], pixels.shape[1] // 2, 3), np.uint8)
    for channel in range(3):  # plane by plane: an inner loop over three values would be three times slower
        sums = rows[:, channel::6] + rows[:, channel + 3 :: 6]
        sums += 2
        sums >>= 2
        halved[..., channel] = sums
    return halved


class Tile(NamedTuple):
    """A tile as it was encoded: `pixels` is (tile_px, tile_px, 3) uint8."""

    encoded: bytes
    pixels: Pixels


@dataclass
class Pyramid:
    """What :func:`stream_pyramid` keeps beside what it hands to the sinks.

    Attributes
    ----------
    small
        The whole slide at the first level whose longer side is at most `small_px`.
    small_level
        That level.
    samples
        {(level, index of the frame): tile} of the first, the middle and the last frame of each level.
    """

    small: Pixels
    small_level: int
    samples: dict[tuple[int, int], Tile] = field(default_factory=dict)


class _Done(NamedTuple):
    tile: Tile
    half: Pixels | None


@dataclass
class _Level:
    """One level: its geometry, and the row of tiles that is being put together from the level below."""

    width: int
    height: int
    tile_px: int
    row: Pixels | None = None
    filled: int = 0

    @property
    def columns(self) -> int:
        return -(-self.width // self.tile_px)

    @property
    def rows(self) -> int:
        return -(-self.height // self.tile_px)

    def tile(self, row: Pixels, x: int) -> Pixels:
        """Tile of a row of tiles, filled up to a full one."""
        return pad_tile(row[:, x * self.tile_px : (x + 1) * self.tile_px], self.tile_px, self.tile_px)

    def take(self, half: Pixels, x: int, y: int, below: _Level) -> Pixels | None:
        """Put in the half of tile (x, y) of the level below; the row of tiles if it is complete now."""
        if self.row is None:
            top = (y // 2) * self.tile_px
            self.row = np.empty((min(self.tile_px, self.height - top), self.width, 3), np.uint8)
        side = self.tile_px // 2
        part = self.row[(y % 2) * side : (y % 2 + 1) * side, x * side : (x + 1) * side]
        part[...] = half[: part.shape[0], : part.shape[1]]
        self.filled += 1
        if self.filled < below.columns * min(2, below.rows - y // 2 * 2):
            return None
        row, self.row, self.filled = self.row, None, 0
        return row


def stream_pyramid(
    pixels: SlidePixels,
    sinks: Sequence[Callable[[bytes], object]],
    encode: Callable[[Pixels], bytes],
    tile_px: int,
    small_px: int,
    workers: int,
) -> Pyramid:
    """Encode all tiles of all levels and hand them to the level's sink, row by row.

    Parameters
    ----------
    pixels
        Level 0.
    sinks
        One a level (:func:`level_sizes`): takes the encoded tiles of that level in the order of their
        frames, left to right, top to bottom. Called from the calling thread only.
    encode
        From (tile_px, tile_px, 3) uint8 to a frame. Called from `workers` threads.
    tile_px
        Side of a tile, even.
    small_px
        See :class:`Pyramid`.
    workers
        Threads that read, halve and encode.

    Raises
    ------
    Exception
        Whatever reading, encoding or a sink raises; what waits is dropped.
    """
    sizes = level_sizes(pixels.width, pixels.height, tile_px)
    levels = [_Level(width, height, tile_px) for width, height in sizes]
    small_level = next((k for k, size in enumerate(sizes) if max(size) <= small_px), len(sizes) - 1)
    width, height = sizes[small_level]
    result = Pyramid(np.empty((height, width, 3), np.uint8), small_level)
    waiting: deque[tuple[int, int, int, Future[_Done]]] = deque()

    def work(level: int, x: int, y: int, row: Pixels | None) -> _Done:
        tile = pixels.tile(x, y, tile_px) if row is None else levels[level].tile(row, x)
        return _Done(Tile(encode(tile), tile), halve(tile) if level + 1 < len(levels) else None)

    def finish() -> None:
        """Take the oldest tile: write it, and start the row above it if that is complete now."""
        level, x, y, future = waiting.popleft()
        (tile, half), at = future.result(), levels[level]
        sinks[level](tile.encoded)
        frame, frames = y * at.columns + x, at.rows * at.columns
        if frame in (0, frames // 2, frames - 1):
            result.samples[level, frame] = tile
        if level == small_level:
            part = result.small[y * tile_px : (y + 1) * tile_px, x * tile_px : (x + 1) * tile_px]
            part[...] = tile.pixels[: part.shape[0], : part.shape[1]]
        if half is not None:
            row = levels[level + 1].take(half, x, y, at)
            if row is not None:
                for column in range(levels[level + 1].columns):
                    start(level + 1, column, y // 2, row)

    with ThreadPoolExecutor(workers, "tiles") as pool:

        def start(level: int, x: int, y: int, row: Pixels | None = None) -> None:
            waiting.append((level, x, y, pool.submit(work, level, x, y, row)))

        try:
            for y in range(levels[0].rows):
                for x in range(levels[0].columns):
                    start(0, x, y)
                    while len(waiting) > 4 * workers:
                        finish()
            while waiting:
                finish()
        finally:
            for *_, future in waiting:
                future.cancel()
    return result
