"""What a picture file declares, compared with limits before any of its pixels is decoded.

A header of a few bytes can declare billions of pixels, tiles of gigabytes or a chain of directories
without end. Libraries read such fields before they doubt them; here they are doubted first.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError

MOST_SIDE_PX = 1_000_000
"""Longest side of level 0: 100 mm, longer than a slide's glass, at 0.1 um/px."""

MOST_SLIDE_PIXELS = 200_000_000_000
"""A whole glass of 25 x 75 mm at 0.1 um/px has 187 gigapixels."""

MOST_PLAIN_PIXELS = 400_000_000
"""Plain pictures are decoded whole (7 bytes a pixel at once): larger ones must be tiled."""

MOST_TILE_PIXELS = 4096 * 4096
"""Largest tile or strip that is decoded at once; scanners write 240 to 2,048 px."""

MOST_FLAT_PIXELS = 600_000_000
"""Largest level that is read whole for a thumbnail; of a larger one without reduced levels places are sampled."""

# A block of 8 x 8 px takes a bit at the very least, and chroma may be halved both ways.
_LEAST_JPEG_BYTES = 1 / 512
_MOST_DIRECTORIES = 10_000
_MOST_TAGS = 4096
_MOST_TILES = 20_000_000
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_WIDTH, _HEIGHT, _SUB_DIRECTORIES = 256, 257, 330
_TILE_WIDTH, _TILE_HEIGHT, _ROWS_PER_STRIP = 322, 323, 278
_PLACES = ((324, 325), (273, 279))


def _millions(pixels: int) -> str:
    return f"{pixels / 1e6:,.0f} megapixels"


def check_slide_size(width: int, height: int) -> None:
    """Raise UnusableError unless a level 0 of this size can be a slide's."""
    if width < 1 or height < 1:
        raise UnusableError(f"declares {width} x {height} px: expected a picture")
    if max(width, height) > MOST_SIDE_PX or width * height > MOST_SLIDE_PIXELS:
        raise UnusableError(
            f"declares {width} x {height} px, more than a whole glass at 0.1 um/px "
            f"({MOST_SLIDE_PIXELS / 1e9:g} gigapixels, {MOST_SIDE_PX} px a side): a damaged or made-up header"
        )


def check_plain_size(width: int, height: int, kind: str) -> None:
    """Raise UnusableError if a picture that has to be decoded whole is too large for that."""
    if width < 1 or height < 1:
        raise UnusableError(f"declares {width} x {height} px: expected a picture")
    if width * height > MOST_PLAIN_PIXELS:
        raise UnusableError(
            f"a plain {kind} of {_millions(width * height)}, over {MOST_PLAIN_PIXELS // 1_000_000}: it would have to "
            "be decoded whole; convert it to a pyramid (tiled TIFF, SVS or DICOM)"
        )


def check_jpeg_bytes(width: int, height: int, size: int) -> None:
    """Raise UnusableError if a JPEG of `size` bytes cannot hold what it declares: a decoder would fill in grey."""
    if size < width * height * _LEAST_JPEG_BYTES:
        raise UnusableError(f"truncated: {size} bytes are too few for a JPEG of {width} x {height} px")


def check_tile_size(width: int, height: int) -> None:
    """Raise UnusableError if one tile or strip is too large to decode."""
    if width < 1 or height < 1 or width * height > MOST_TILE_PIXELS:
        raise UnusableError(
            f"tiles of {width} x {height} px: expected 1 px to {_millions(MOST_TILE_PIXELS)}; write the slide anew "
            "with tiles of 256 to 1,024 px"
        )


@dataclass(frozen=True)
class Directory:
    """What a TIFF directory declares: a picture in tiles or strips.

    Attributes
    ----------
    size_px, tile_px
        Width and height; of a strip the width is the picture's.
    tiled
        Whether it is in tiles.
    subordinate
        Whether another directory leads to it (SubIFDs), as to reduced levels.
    places, beyond
        Tiles or strips that have a place in the file, and those of them that end behind the file's end.
    """

    size_px: tuple[int, int]
    tile_px: tuple[int, int]
    tiled: bool
    subordinate: bool
    places: int
    beyond: int


@dataclass(frozen=True)
class _Form:
    """How numbers stand in a TIFF: byte order, and the sizes that BigTIFF widens."""

    order: str
    big: bool

    def number(self, data: mmap.mmap, offset: int, size: int) -> int:
        if offset < 0 or offset + size > len(data):
            raise UnusableError(f"truncated or damaged: a TIFF directory points to byte {offset} of {len(data)}")
        return int.from_bytes(data[offset : offset + size], "little" if self.order == "<" else "big")


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _values(data: mmap.mmap, form: _Form, tags: dict[int, tuple[int, int, int]], code: int) -> NDArray[np.uint64]:
    """The whole numbers of a tag; empty if it is absent."""
    if code not in tags:
        return np.zeros(0, np.uint64)
    kind, count, offset = tags[code]
    if kind not in _NUMBERS or count > _MOST_TILES:
        raise UnusableError(f"a TIFF directory declares {count} values of type {kind} for tag {code}: damaged")
    size = count * _SIZES[kind]
    if offset + size > len(data):
        raise UnusableError(f"truncated: a TIFF directory ends at byte {offset + size}, the file at {len(data)}")
    return np.frombuffer(data[offset : offset + size], form.order + _NUMBERS[kind]).astype(np.uint64)


def _tags(data: mmap.mmap, form: _Form, offset: int) -> tuple[dict[int, tuple[int, int, int]], int]:
    """Tags of the directory at `offset` as (type, count, offset of the value), and where the next one begins."""
    count_size, entry, word = (8, 20, 8) if form.big else (2, 12, 4)
    count = form.number(data, offset, count_size)
    if not 0 < count <= _MOST_TAGS:
        raise UnusableError(f"a TIFF directory declares {count} tags: expected 1 to {_MOST_TAGS}; damaged")
    tags = {}
    for index in range(count):
        place = offset + count_size + index * entry
        code, kind = form.number(data, place, 2), form.number(data, place + 2, 2)
        values = form.number(data, place + 4, word)
        here = place + 4 + word
        inside = values * _SIZES.get(kind, 1) <= word
        tags[code] = (kind, values, here if inside else form.number(data, here, word))
    return tags, form.number(data, offset + count_size + count * entry, word)


def _directory(
    data: mmap.mmap, form: _Form, tags: dict[int, tuple[int, int, int]], subordinate: bool
) -> Directory | None:
    def _one(code: int, otherwise: int) -> int:
        values = _values(data, form, tags, code)
        return int(values[0]) if len(values) else otherwise

    width, height = _one(_WIDTH, 0), _one(_HEIGHT, 0)
    if _WIDTH not in tags and _HEIGHT not in tags:
        return None  # of metadata only
    check_slide_size(width, height)
    tiled = _TILE_WIDTH in tags
    if tiled:
        tile = (_one(_TILE_WIDTH, 0), _one(_TILE_HEIGHT, 0))
        check_tile_size(*tile)
    else:
        tile = (width, min(height, _one(_ROWS_PER_STRIP, height)))
    starts, sizes = next(
        ((_values(data, form, tags, at), _values(data, form, tags, long)) for at, long in _PLACES if at in tags),
        (np.zeros(0, np.uint64), np.zeros(0, np.uint64)),
    )
    both = min(len(starts), len(sizes))
    used = sizes[:both] > 0
    beyond = used & ((starts[:both] + sizes[:both]) > len(data))
    return Directory((width, height), tile, tiled, subordinate, int(used.sum()), int(beyond.sum()))


def tiff_directories(path: Path) -> list[Directory]:
    """What the directories of a TIFF declare, the reduced levels (SubIFDs) among them.

    NDPI is a TIFF by its first bytes, with offsets that are continued elsewhere: leave it to OpenSlide.

    Raises
    ------
    UnusableError
        If a directory is damaged, if they form a loop or are without number, or if one declares a
        picture or tiles over the limits.
    """
    with _mapped(path) as data:
        form = _Form(">" if data[:2] == b"MM" else "<", data[2:4] in (b"+\0", b"\0+"))
        pending = [(form.number(data, 8, 8) if form.big else form.number(data, 4, 4), False)]
        seen: set[int] = set()
        found: list[Directory] = []
        while pending:
            offset, subordinate = pending.pop()
            if offset in seen:
                raise UnusableError("the directories of the TIFF form a loop: damaged or made to be endless")
            seen.add(offset)
            if len(seen) > _MOST_DIRECTORIES:
                raise UnusableError(f"more than {_MOST_DIRECTORIES} TIFF directories: not a slide")
            tags, following = _tags(data, form, offset)
            directory = _directory(data, form, tags, subordinate)
            found += [directory] if directory else []
            pending += [(int(sub), True) for sub in _values(data, form, tags, _SUB_DIRECTORIES) if sub]
            pending += [(following, subordinate)] if following else []
        return found


def check_tiff(path: Path) -> list[Directory]:
    """:func:`tiff_directories` of a file that is whole.

    Raises
    ------
    UnusableError
        As there, and if tiles lie behind the end of the file, as in one that was copied in part.
    """
    directories = tiff_directories(path)
    if not directories:
        raise UnusableError("a TIFF without a picture")
    beyond = sum(directory.beyond for directory in directories)
    if beyond:
        places = sum(directory.places for directory in directories)
        raise UnusableError(
            f"truncated: {beyond} of its {places} tiles lie behind the end of the file; copy it anew from its source"
        )
    return directories
