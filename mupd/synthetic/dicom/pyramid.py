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

from mupd.synthetic.dicom.image import SlidePixels, pad_tile

Pixels = NDArray[np.uint8]


def level_sizes(width: int, height: int, tile_px: int) -> list[tuple[int, int]]:
    """Width and height of each level in pixels: halved, rounded up, until one tile holds all of it."""
    sizes = [(width, height)]
    while max(sizes[-1]) > tile_px:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def halve(pixels: Pixels) -> Pixels:
    """Mean of each 2 x 2 block, halves rounded up, (ceil(height / 2), ceil(width / 2), samples) uint8.

    An odd last row or column is averaged with itself.
    """
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    halved = np.empty((-(-height // 2), -(-width // 2), pixels.shape[2]), np.uint8)
    _halve_into(halved, pixels)
    return halved


def _halve_into(target: Pixels, pixels: Pixels) -> None:
    """Fill `target`, (height, width, samples), with the means of the blocks of `pixels`, at least twice as large."""
    height, width, samples = target.shape
    rows = np.add(pixels[0 : 2 * height : 2], pixels[1 : 2 * height : 2], dtype=np.uint16).reshape(height, -1)
    step = 2 * samples
    for channel in range(samples):  # plane by plane: an inner loop over three values would be three times slower
        sums = rows[:, channel : step * width : step] + rows[:, channel + samples : step * width : step]
        sums += 2
        sums >>= 2
        target[..., channel] = sums


class Tile(NamedTuple):
    """A tile as it was encoded: `pixels` is (tile_px, tile_px, samples) uint8."""

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


@dataclass
class _Row:
    """One row of tiles of a level that is put together from the level below."""

    pixels: Pixels
    missing: int
    """Tiles of the level below whose halves are not in it yet."""


class _Level:
    """One level: its geometry, and the rows that are being put together."""

    def __init__(self, width: int, height: int, tile_px: int, samples: int) -> None:
        self.width, self.height, self.tile_px, self.samples = width, height, tile_px, samples
        self.columns, self.rows = -(-width // tile_px), -(-height // tile_px)
        self.unfinished: dict[int, _Row] = {}

    def tile(self, row: Pixels, x: int) -> Pixels:
        """Tile of a row of tiles, filled up to a full one."""
        return pad_tile(row[:, x * self.tile_px : (x + 1) * self.tile_px], self.tile_px, self.tile_px)

    def room(self, x: int, y: int, below: _Level) -> Pixels:
        """Where the half of tile (x, y) of the level below goes."""
        if y // 2 not in self.unfinished:
            tall = min(self.tile_px, self.height - y // 2 * self.tile_px)
            tiles = below.columns * min(2, below.rows - y // 2 * 2)
            self.unfinished[y // 2] = _Row(np.empty((tall, self.width, self.samples), np.uint8), tiles)
        side = self.tile_px // 2
        whole = self.unfinished[y // 2].pixels
        return whole[y % 2 * side : (y % 2 + 1) * side, x * side : (x + 1) * side]

    def count(self, y: int) -> Pixels | None:
        """One more tile in row `y` of the level below is halved; the row of tiles if that was the last."""
        row = self.unfinished[y // 2]
        row.missing -= 1
        return self.unfinished.pop(y // 2).pixels if row.missing == 0 else None


_BATCH = 4
"""Tiles that a thread takes at once: handing over each alone costs a tenth of encoding it."""


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
        From (tile_px, tile_px, samples) uint8 to a frame. Called from `workers` threads.
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
    levels = [_Level(width, height, tile_px, pixels.samples) for width, height in sizes]
    small_level = next((k for k, size in enumerate(sizes) if max(size) <= small_px), len(sizes) - 1)
    width, height = sizes[small_level]
    result = Pyramid(np.empty((height, width, pixels.samples), np.uint8), small_level)
    waiting: deque[tuple[int, int, int, Future[list[Tile]]]] = deque()

    def work(level: int, first: int, y: int, row: Pixels | None, rooms: Sequence[Pixels]) -> list[Tile]:
        tiles = []
        for offset, room in enumerate(rooms):
            x = first + offset
            tile = pixels.tile(x, y, tile_px) if row is None else levels[level].tile(row, x)
            tiles.append(Tile(encode(tile), tile))
            if room.size:
                _halve_into(room, tile)
        return tiles

    def finish() -> None:
        """Take the oldest tiles: write them, and start the row above if it is complete now."""
        level, first, y, future = waiting.popleft()
        at = levels[level]
        frames = at.rows * at.columns
        for x, tile in enumerate(future.result(), first):
            sinks[level](tile.encoded)
            frame = y * at.columns + x
            if frame in (0, frames // 2, frames - 1):
                result.samples[level, frame] = tile
            if level == small_level:
                part = result.small[y * tile_px : (y + 1) * tile_px, x * tile_px : (x + 1) * tile_px]
                part[...] = tile.pixels[: part.shape[0], : part.shape[1]]
            row = levels[level + 1].count(y) if level + 1 < len(levels) else None
            if row is not None:
                start_row(level + 1, y // 2, row)

    nothing: Pixels = np.empty((0, 0, pixels.samples), np.uint8)
    with ThreadPoolExecutor(workers, "tiles") as pool:

        def start_row(level: int, y: int, row: Pixels | None = None) -> None:
            at = levels[level]
            step = _BATCH if at.columns >= _BATCH * workers else 1
            for first in range(0, at.columns, step):
                columns = range(first, min(first + step, at.columns))
                above = levels[level + 1] if level + 1 < len(levels) else None
                rooms = [above.room(x, y, at) if above else nothing for x in columns]
                waiting.append((level, first, y, pool.submit(work, level, first, y, row, rooms)))
                while level == 0 and len(waiting) > 4 * workers:
                    finish()

        try:
            for y in range(levels[0].rows):
                start_row(0, y)
            while waiting:
                finish()
        finally:
            for *_, future in waiting:
                future.cancel()
    return result
