"""Slides opened for reading: OpenSlide's formats, other TIFFs, DICOM and plain pictures behind one interface.

Regions are read on demand. Only a plain picture (PNG, JPEG, BMP) has to be decoded whole, at the first
`read`: its formats know no regions. What a file declares is compared with limits before it is opened
(:mod:`mupd.slides.limits`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import openslide
from numpy.typing import NDArray
from openslide.lowlevel import OpenSlideError
from PIL import Image

from mupd.base.messages import reason_of
from mupd.errors import UnusableError
from mupd.slides.arrays import WHITE, best_level, padded, reduced
from mupd.slides.dicom import WsidicomReader, check_dicom, looks_like_dicom, slide_files
from mupd.slides.limits import check_slide_size, check_tiff
from mupd.slides.plain import PictureReader
from mupd.slides.scale import one_scale
from mupd.slides.tiff import TiffReader

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
"""Longer side of the thumbnail that a slide's tissue is looked for in."""

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class SlideReader(Protocol):
    """A slide that is open.

    Attributes
    ----------
    size_px
        Width and height of level 0.
    level_sizes_px
        Those of each level, the largest first.
    mpp
        Micrometres per pixel of level 0, or None where neither the file nor the caller states it.
    mpp_source
        ``sheet`` (given by the caller), ``file`` or ``none``.
    file_mpp
        What the file itself states, in any case.
    format
        OpenSlide's vendor name, tifffile's kind of TIFF or Pillow's format, in lower case.
    """

    size_px: tuple[int, int]
    level_sizes_px: tuple[tuple[int, int], ...]
    mpp: float | None
    mpp_source: str
    file_mpp: float | None
    format: str

    def read(self, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """Pixels (h, w, 3) of level 0 from x, y; white outside the slide."""
        ...

    def read_level(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """Pixels (h, w, 3) of a level from x, y in its own pixels; white outside the slide."""
        ...

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """The whole slide, reduced so that its longer side is at most `max_px`: (rows, columns, 3)."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class OpenSlideReader:
    """A slide that OpenSlide reads."""

    def __init__(self, path: Path, mpp: float | None) -> None:
        self._slide = openslide.OpenSlide(str(path))
        try:
            self.level_sizes_px: tuple[tuple[int, int], ...] = self._slide.level_dimensions
            self.size_px = self._slide.dimensions
            check_slide_size(*self.size_px)
            self.format = str(self._slide.properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown"))
            self.file_mpp = self._mpp_in_file()
        except BaseException:
            self._slide.close()
            raise
        self.mpp = mpp if mpp is not None else self.file_mpp
        self.mpp_source = "sheet" if mpp is not None else "file" if self.file_mpp else "none"

    def _mpp_in_file(self) -> float | None:
        names = (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
        stated = (self._slide.properties.get(name) for name in names)
        return one_scale(*(float(value) if value is not None else None for value in stated))

    def _inside(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        # OpenSlide takes the corner in pixels of level 0, the size in pixels of the level.
        width, height = self.level_sizes_px[level]
        corner = (x * self.size_px[0] // width, y * self.size_px[1] // height)
        region = self._slide.read_region(corner, level, (w, h))
        alpha = region.getchannel("A")
        if alpha.getextrema()[0] == 255:
            return np.asarray(region.convert("RGB"))
        canvas = Image.new("RGB", region.size, WHITE)
        canvas.paste(region, mask=alpha)
        return np.asarray(canvas)

    def read(self, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """See :class:`SlideReader`."""
        return self.read_level(0, x, y, w, h)

    def read_level(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """See :class:`SlideReader`."""
        return padded(lambda *box: self._inside(level, *box), x, y, w, h, self.level_sizes_px[level])

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """See :class:`SlideReader`; read in blocks, so that a slide without a pyramid fits in memory too."""
        level = best_level(self.level_sizes_px, min(max_px, self.size_px[0]))
        return reduced(lambda *box: self._inside(level, *box), self.level_sizes_px[level], self.size_px, max_px)

    def close(self) -> None:
        """See :class:`SlideReader`."""
        self._slide.close()


def _open_dicom(path: Path, mpp: float | None) -> SlideReader:
    files = slide_files(path)
    check_dicom(files)
    try:
        return OpenSlideReader(files[0], mpp)
    except OpenSlideError:
        # Codecs and tilings that OpenSlide does not know.
        return WsidicomReader(files, mpp)


def _open_tiff(path: Path, vendor: str | None, mpp: float | None) -> SlideReader:
    if vendor == "hamamatsu":
        return OpenSlideReader(path, mpp)
    directories = check_tiff(path)
    # OpenSlide's generic reader does not see reduced levels in SubIFDs, nor the scale that OME-XML states.
    hidden = any(directory.subordinate for directory in directories) or _is_ome(path)
    if vendor is None or (vendor == "generic-tiff" and hidden):
        return TiffReader(path, mpp)
    try:
        return OpenSlideReader(path, mpp)
    except OpenSlideError:
        if not any(directory.tiled for directory in directories):
            raise
        return TiffReader(path, mpp)


def _is_ome(path: Path) -> bool:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return bool(file.is_ome)


def _open(path: Path, mpp: float | None) -> SlideReader:
    if path.is_dir() or looks_like_dicom(path):
        return _open_dicom(path, mpp)
    if path.suffix.lower() == ".mrxs" and not path.with_suffix("").is_dir():
        raise UnusableError("a MIRAX slide without its folder: the folder of the same name has to lie beside the file")
    # OpenSlide takes any tiled TIFF, without scale: the caller's mpp then stands alone, as for plain pictures.
    vendor = openslide.OpenSlide.detect_format(str(path))
    with path.open("rb") as stream:
        is_tiff = stream.read(4) in _TIFF_MAGIC
    if is_tiff:
        return _open_tiff(path, vendor, mpp)
    return PictureReader(path, mpp) if vendor is None else OpenSlideReader(path, mpp)


def source_files(path: Path) -> list[Path]:
    """The files and folders that make up a slide.

    Of MIRAX the .mrxs file and the folder of the same name, of a DICOM file all of its series' pyramid.
    """
    companion = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and companion.is_dir():
        return [path, companion]
    if path.is_file() and looks_like_dicom(path):
        return list(slide_files(path))
    return [path]


_last_thumbnail: list[tuple[tuple[str, int, int, int], NDArray[np.uint8]]] = []


def thumbnail_once(path: Path, reader: SlideReader, max_px: int) -> NDArray[np.uint8]:
    """`reader`'s thumbnail; the last one is kept, for a slide is looked at for marks and then examined.

    Parameters
    ----------
    path
        What `reader` reads; another size or time of change of it is another slide.
    """
    stat = path.stat()
    key = (str(path.absolute()), stat.st_mtime_ns, stat.st_size, max_px)
    for kept_key, kept in _last_thumbnail:
        if kept_key == key:
            return kept.copy()
    thumbnail = reader.thumbnail(max_px)
    _last_thumbnail[:] = [(key, thumbnail)]
    return thumbnail.copy()


@contextmanager
def open_slide(path: Path, mpp: float | None = None) -> Iterator[SlideReader]:
    """Open a slide for reading.

    Parameters
    ----------
    path
        A file of one of OpenSlide's formats (SVS, NDPI, SCN, MRXS, BIF, tiled TIFF, DICOM), another TIFF
        (OME-TIFF, strips), a folder with one DICOM series of a pyramid, or a plain picture.
    mpp
        Micrometres per pixel of level 0 where the sheet states it; it goes before the file's.

    Raises
    ------
    UnusableError
        If it does not open as a slide.
    """
    try:
        reader = _open(path, mpp)
    except READ_ERRORS as error:
        raise UnusableError(f"does not open as a slide: {reason_of(error, path)}") from error
    try:
        yield reader
    finally:
        reader.close()
