"""The directories of a TIFF, read without trusting them: they may point anywhere, form a loop or never end.

NDPI is a TIFF by its first bytes, but its offsets continue elsewhere. It is left to OpenSlide.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.slides.limits import check_slide_size, check_tile_size

_MOST_DIRECTORIES = 10_000
_MOST_TAGS = 4096
_MOST_TILES = 20_000_000
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE_NUMBERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_WIDTH, _HEIGHT, _SUB_DIRECTORIES = 256, 257, 330
_TILE_WIDTH, _TILE_HEIGHT, _ROWS_PER_STRIP = 322, 323, 278
_OFFSETS_AND_SIZES = ((324, 325), (273, 279))  # of tiles, of strips


@dataclass(frozen=True)
class Directory:
    """What a TIFF directory declares: a picture in tiles or strips.

    Attributes
    ----------
    size_px, tile_px
        Width and height of the picture and of a tile. A strip is as wide as the picture.
    tiled
        Whether the picture is in tiles.
    subordinate
        Whether another directory leads to this one (SubIFDs), as to reduced levels.
    stored, beyond
        Number of tiles or strips that have bytes in the file, and of those that end after the file's end.
    """

    size_px: tuple[int, int]
    tile_px: tuple[int, int]
    tiled: bool
    subordinate: bool
    stored: int
    beyond: int


@dataclass(frozen=True)
class _Tag:
    """Type and number of a tag's values, and the offset of the first."""

    kind: int
    count: int
    offset: int


class _TiffBytes:
    """The bytes of a TIFF or BigTIFF in either byte order."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._little = data, data[:2] != b"MM"
        self._big = data[2:4] in (b"+\0", b"\0+")
        self.first_directory = self._number(8, 8) if self._big else self._number(4, 4)

    def _number(self, offset: int, size: int) -> int:
        if offset < 0 or offset + size > len(self._data):
            raise UnusableError(f"truncated or damaged: a TIFF directory points to byte {offset} of {len(self._data)}")
        return int.from_bytes(self._data[offset : offset + size], "little" if self._little else "big")

    def tags(self, offset: int) -> tuple[dict[int, _Tag], int]:
        """The tags of the directory at `offset` by their codes, and the offset of the next directory (0: none)."""
        count_size, entry_size, word = (8, 20, 8) if self._big else (2, 12, 4)
        count = self._number(offset, count_size)
        if not 0 < count <= _MOST_TAGS:
            raise UnusableError(f"a TIFF directory declares {count} tags: expected 1 to {_MOST_TAGS}; damaged")
        tags = {}
        for index in range(count):
            entry = offset + count_size + index * entry_size
            code, kind, values = self._number(entry, 2), self._number(entry + 2, 2), self._number(entry + 4, word)
            place = entry + 4 + word
            fits = values * _TYPE_BYTES.get(kind, 1) <= word
            tags[code] = _Tag(kind, values, place if fits else self._number(place, word))
        return tags, self._number(offset + count_size + count * entry_size, word)

    def values(self, tags: dict[int, _Tag], code: int) -> NDArray[np.uint64]:
        """The whole numbers of a tag; empty if it is absent."""
        if (tag := tags.get(code)) is None:
            return np.zeros(0, np.uint64)
        if tag.kind not in _WHOLE_NUMBERS or tag.count > _MOST_TILES:
            raise UnusableError(f"a TIFF directory declares {tag.count} values of type {tag.kind} for {code}: damaged")
        end = tag.offset + tag.count * _TYPE_BYTES[tag.kind]
        if end > len(self._data):
            raise UnusableError(f"truncated: a TIFF directory ends at byte {end}, the file at {len(self._data)}")
        order = "<" if self._little else ">"
        return np.frombuffer(self._data[tag.offset : end], order + _WHOLE_NUMBERS[tag.kind]).astype(np.uint64)

    def picture(self, tags: dict[int, _Tag], subordinate: bool) -> Directory | None:
        """What a directory declares; None if it holds only metadata."""

        def first(code: int, default: int) -> int:
            values = self.values(tags, code)
            return int(values[0]) if len(values) else default

        if _WIDTH not in tags and _HEIGHT not in tags:
            return None
        width, height = first(_WIDTH, 0), first(_HEIGHT, 0)
        check_slide_size(width, height)
        tiled = _TILE_WIDTH in tags
        if tiled:
            tile = (first(_TILE_WIDTH, 0), first(_TILE_HEIGHT, 0))
            check_tile_size(*tile)
        else:
            tile = (width, min(height, first(_ROWS_PER_STRIP, height)))
        codes = next((codes for codes in _OFFSETS_AND_SIZES if codes[0] in tags), _OFFSETS_AND_SIZES[0])
        offsets, sizes = (self.values(tags, code) for code in codes)
        both = min(len(offsets), len(sizes))
        stored = sizes[:both] > 0
        beyond = stored & ((offsets[:both] + sizes[:both]) > len(self._data))
        return Directory((width, height), tile, tiled, subordinate, int(stored.sum()), int(beyond.sum()))


def tiff_directories(path: Path) -> list[Directory]:
    """What the directories of a TIFF declare, including the reduced levels (SubIFDs).

    Raises
    ------
    UnusableError
        If a directory is damaged or declares a picture or tiles over the limits, or if there are too many or a loop.
    """
    directories: list[Directory] = []
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        tiff = _TiffBytes(data)
        pending = [(tiff.first_directory, False)]
        leads_to: dict[int, set[int]] = {}
        while pending:
            offset, subordinate = pending.pop()
            # Writers of pyramids name each SubIFD in its parent and chain them as well: two ways to one directory.
            if offset in leads_to:
                continue
            if len(leads_to) >= _MOST_DIRECTORIES:
                raise UnusableError(f"more than {_MOST_DIRECTORIES} TIFF directories: not a slide")
            tags, following = tiff.tags(offset)
            if directory := tiff.picture(tags, subordinate):
                directories.append(directory)
            reduced = [int(sub) for sub in tiff.values(tags, _SUB_DIRECTORIES) if sub]
            leads_to[offset] = {*reduced, *([following] if following else [])}
            pending += [(following, subordinate)] if following else []
            pending += [(sub, True) for sub in reduced]
    try:
        TopologicalSorter(leads_to).prepare()
    except CycleError as error:
        raise UnusableError("the directories of the TIFF form a loop: damaged or made to be endless") from error
    return directories


def whole_directories(path: Path) -> list[Directory]:
    """:func:`tiff_directories` of a complete file.

    Raises
    ------
    UnusableError
        As there, and if there is no picture or tiles are beyond the end of the file, as in a partial copy.
    """
    directories = tiff_directories(path)
    if not directories:
        raise UnusableError("a TIFF without a picture")
    if beyond := sum(directory.beyond for directory in directories):
        stored = sum(directory.stored for directory in directories)
        raise UnusableError(
            f"truncated: {beyond} of its {stored} tiles are beyond the end of the file; copy it again from its source"
        )
    return directories
