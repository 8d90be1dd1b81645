"""Opening slides of every format for reading.

Regions are read on demand. Only a plain picture (PNG, JPEG, BMP) is decoded whole, at the first `read`, because its
format has no regions. The sizes that a file declares are checked before it is opened (:mod:`mupd.slides.limits`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openslide.lowlevel import OpenSlideError
from PIL import Image

from mupd.base.messages import reason_of
from mupd.errors import UnusableError
from mupd.slides.foreign import with_advice
from mupd.slides.formats import format_of
from mupd.slides.slide_reader import SlideReader

READ_ERRORS = (
    OpenSlideError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    StopIteration,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What OpenSlide, Pillow (SyntaxError for a broken PNG chunk), tifffile and pydicom raise on damaged files."""

THUMBNAIL_PX = 1024
"""Longer side of the thumbnail on which a slide's tissue is detected."""


def source_files(path: Path) -> list[Path]:
    """The files and folders that make up a slide: of a DICOM file, all files of its series' pyramid."""
    return list(format_of(path).files(path))


_last_thumbnail: dict[tuple[str, int, int, int], NDArray[np.uint8]] = {}


def thumbnail_once(path: Path, reader: SlideReader, max_px: int) -> NDArray[np.uint8]:
    """`reader`'s thumbnail. The last one is cached: a slide is searched for marks first and examined afterwards.

    Parameters
    ----------
    path
        The file or folder that `reader` reads. If its size or modification time changes, the cache is not used.
    """
    stat = path.stat()
    key = (str(path.absolute()), stat.st_mtime_ns, stat.st_size, max_px)
    if key not in _last_thumbnail:
        thumbnail = reader.thumbnail(max_px)
        _last_thumbnail.clear()
        _last_thumbnail[key] = thumbnail
    return _last_thumbnail[key].copy()


@contextmanager
def open_slide(path: Path, mpp: float | None = None) -> Iterator[SlideReader]:
    """Open a slide for reading.

    Parameters
    ----------
    path
        A file of one of OpenSlide's formats (SVS, NDPI, SCN, MRXS, BIF, tiled TIFF, DICOM), another TIFF
        (OME-TIFF, strips), a folder with the pyramid of one DICOM series, or a plain picture.
    mpp
        Micrometres per pixel of level 0 as the sheet states it; takes precedence over the file's.

    Raises
    ------
    UnusableError
        If the path does not open as a slide.
    """
    try:
        reader = format_of(path).open(path, mpp)
    except READ_ERRORS as error:
        raise UnusableError(with_advice(f"does not open as a slide: {reason_of(error, path)}", path)) from error
    try:
        yield reader
    finally:
        reader.close()
