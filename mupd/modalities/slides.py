"""Slides opened for reading at level 0: OpenSlide's formats, and plain pictures through Pillow.

Regions are read on demand. Only a plain picture (PNG, JPEG, simple TIFF) has to be decoded whole, at
the first `read`: its formats know no regions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import openslide
from numpy.typing import NDArray
from openslide.lowlevel import OpenSlideError
from PIL import Image, ImageFile

from mupd.errors import UnusableError
from mupd.modalities.reasons import reason_of

MOST_PLAIN_PIXELS = 1_000_000_000
"""Plain pictures stand in memory whole (3 bytes a pixel): larger ones must be pyramids."""

# Pillow's own guard stops at 179 MP, less than a spatial transcriptomics picture; a truncated file must raise.
Image.MAX_IMAGE_PIXELS = MOST_PLAIN_PIXELS
ImageFile.LOAD_TRUNCATED_IMAGES = False

_WHITE = (255, 255, 255)
_BAND_PX = 2048
_DICOM_PREFIX_BYTES = 128
PLAIN_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")

READ_ERRORS = (OpenSlideError, OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What OpenSlide and Pillow raise on damaged files (Pillow: SyntaxError for a broken PNG chunk)."""


class SlideReader(Protocol):
    """A slide that is open.

    Attributes
    ----------
    size_px
        Width and height of level 0.
    mpp
        Micrometres per pixel of level 0, or None where neither the file nor the caller states it.
    mpp_source
        ``sheet`` (given by the caller), ``file`` or ``none``.
    file_mpp
        What the file itself states, in any case.
    format
        OpenSlide's vendor name or Pillow's format in lower case.
    """

    size_px: tuple[int, int]
    mpp: float | None
    mpp_source: str
    file_mpp: float | None
    format: str

    def read(self, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """Pixels (h, w, 3) of level 0 from x, y; white outside the slide."""
        ...

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """The whole slide, reduced so that its longer side is at most `max_px`: (rows, columns, 3)."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, _WHITE)
        canvas.paste(rgba, mask=rgba.getchannel("A"))
        return np.asarray(canvas)
    return np.asarray(image.convert("RGB"))


def _within(x: int, y: int, w: int, h: int, size_px: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top = max(x, 0), max(y, 0)
    return left, top, min(x + w, size_px[0]) - left, min(y + h, size_px[1]) - top


def _padded(inside: NDArray[np.uint8], x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
    rows, columns = inside.shape[:2]
    if (rows, columns) == (h, w):
        return inside
    canvas = np.full((h, w, 3), 255, np.uint8)
    top, left = max(-y, 0), max(-x, 0)
    canvas[top : top + rows, left : left + columns] = inside
    return canvas


def _reduced_size(size_px: tuple[int, int], max_px: int) -> tuple[int, int]:
    scale = min(1.0, max_px / max(size_px))
    return max(1, round(size_px[0] * scale)), max(1, round(size_px[1] * scale))


class OpenSlideReader:
    """A slide that OpenSlide reads."""

    def __init__(self, path: Path, mpp: float | None) -> None:
        self._slide = openslide.OpenSlide(str(path))
        self.size_px = self._slide.dimensions
        self.format = str(self._slide.properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown"))
        self.file_mpp = self._mpp_in_file()
        self.mpp = mpp if mpp is not None else self.file_mpp
        self.mpp_source = "sheet" if mpp is not None else "file" if self.file_mpp else "none"

    def _mpp_in_file(self) -> float | None:
        stated = [
            float(self._slide.properties[name])
            for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
            if name in self._slide.properties
        ]
        if not stated:
            return None
        if max(stated) > 1.05 * min(stated):
            raise UnusableError(f"pixels are not square: {stated[0]:g} x {stated[1]:g} um; resample the slide")
        return sum(stated) / len(stated)

    def _read_level(self, x: int, y: int, level: int, w: int, h: int) -> Image.Image:
        region = self._slide.read_region((x, y), level, (w, h))
        canvas = Image.new("RGB", region.size, _WHITE)
        canvas.paste(region, mask=region.getchannel("A"))
        return canvas

    def read(self, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """See :class:`SlideReader`."""
        left, top, width, height = _within(x, y, w, h, self.size_px)
        if width <= 0 or height <= 0:
            return np.full((h, w, 3), 255, np.uint8)
        return _padded(np.asarray(self._read_level(left, top, 0, width, height)), x, y, w, h)

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """See :class:`SlideReader`; read in blocks, so that a slide without a pyramid fits in memory too."""
        columns, rows = _reduced_size(self.size_px, max_px)
        level = self._slide.get_best_level_for_downsample(self.size_px[0] / columns)
        width, height = self._slide.level_dimensions[level]
        canvas = np.empty((rows, columns, 3), np.uint8)
        step = max(1, int(_BAND_PX * columns / width))
        for top in range(0, rows, step):
            for left in range(0, columns, step):
                bottom, right = min(top + step, rows), min(left + step, columns)
                box = [left * width // columns, top * height // rows]
                box += [max(box[0] + 1, right * width // columns), max(box[1] + 1, bottom * height // rows)]
                # OpenSlide takes the corner in pixels of level 0, the size in pixels of the level.
                corner = (box[0] * self.size_px[0] // width, box[1] * self.size_px[1] // height)
                block = self._read_level(*corner, level, box[2] - box[0], box[3] - box[1])
                canvas[top:bottom, left:right] = np.asarray(
                    block.resize((right - left, bottom - top), Image.Resampling.BOX)
                )
        return canvas

    def close(self) -> None:
        """See :class:`SlideReader`."""
        self._slide.close()


class PictureReader:
    """A plain picture that Pillow reads; its physical scale is only ever what the caller gives."""

    file_mpp = None

    def __init__(self, path: Path, mpp: float | None) -> None:
        self._image = Image.open(path, formats=PLAIN_FORMATS)
        self._path = path
        self._pixels: NDArray[np.uint8] | None = None
        self.size_px = self._image.size
        self.format = str(self._image.format).lower()
        # The resolution tags of plain pictures tell of screens and printers (72 dpi), not of microscopes.
        self.mpp, self.mpp_source = mpp, "sheet" if mpp is not None else "none"
        if self.size_px[0] * self.size_px[1] > MOST_PLAIN_PIXELS:
            millions = self.size_px[0] * self.size_px[1] // 1_000_000
            raise UnusableError(
                f"a plain {self.format} of {millions} megapixels, over {MOST_PLAIN_PIXELS // 1_000_000}: "
                "convert it to a pyramid (tiled TIFF, SVS or DICOM)"
            )
        if self._image.mode in ("I", "F", "I;16", "I;16B", "I;16L"):
            raise UnusableError(
                f"pixels of kind {self._image.mode}: expected 8-bit RGB, as bright-field scanners write"
            )

    def _decoded(self) -> NDArray[np.uint8]:
        if self._pixels is None:
            self._pixels = _on_white(self._image)
        return self._pixels

    def read(self, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """See :class:`SlideReader`."""
        left, top, width, height = _within(x, y, w, h, self.size_px)
        if width <= 0 or height <= 0:
            return np.full((h, w, 3), 255, np.uint8)
        return _padded(self._decoded()[top : top + height, left : left + width], x, y, w, h).copy()

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """See :class:`SlideReader`."""
        size = _reduced_size(self.size_px, max_px)
        if self._pixels is None and self.format == "jpeg":
            # JPEG decodes at 1/2, 1/4 or 1/8 directly: a tenth of the time and memory.
            with Image.open(self._path, formats=PLAIN_FORMATS) as image:
                image.draft("RGB", (2 * size[0], 2 * size[1]))
                return np.asarray(Image.fromarray(_on_white(image)).resize(size, Image.Resampling.BOX))
        return np.asarray(Image.fromarray(self._decoded()).resize(size, Image.Resampling.BOX))

    def close(self) -> None:
        """See :class:`SlideReader`."""
        self._image.close()
        self._pixels = None


def _looks_like_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(_DICOM_PREFIX_BYTES + 4)[_DICOM_PREFIX_BYTES:] == b"DICM"


def _slide_of_folder(folder: Path) -> Path:
    """One file of the only WSI series of a folder; OpenSlide gathers the other levels itself (PS3.3 A.32.8)."""
    import pydicom

    series: dict[str, Path] = {}
    for file in sorted(item for item in folder.iterdir() if item.is_file() and not item.name.startswith(".")):
        if not _looks_like_dicom(file):
            continue
        tags = ["SeriesInstanceUID", "ImageType"]
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
        if "VOLUME" in header.get("ImageType", []):
            series.setdefault(str(header.get("SeriesInstanceUID")), file)
    if not series:
        raise UnusableError("the folder holds no DICOM whole-slide image (Image Type VOLUME)")
    if len(series) > 1:
        raise UnusableError(f"the folder holds {len(series)} DICOM series: one folder for each slide is expected")
    return next(iter(series.values()))


def _open(path: Path, mpp: float | None) -> Any:
    file = _slide_of_folder(path) if path.is_dir() else path
    if openslide.OpenSlide.detect_format(str(file)) is None:
        return PictureReader(file, mpp)
    # OpenSlide takes any tiled TIFF, without scale: the caller's mpp then stands alone, as for plain pictures.
    return OpenSlideReader(file, mpp)


def source_files(path: Path) -> list[Path]:
    """The files and folders that make up a slide: of MIRAX the .mrxs file and the folder of the same name."""
    companion = path.with_suffix("")
    return [path, companion] if path.suffix.lower() == ".mrxs" and companion.is_dir() else [path]


@contextmanager
def open_slide(path: Path, mpp: float | None = None) -> Iterator[SlideReader]:
    """Open a slide for reading.

    Parameters
    ----------
    path
        A file of one of OpenSlide's formats (SVS, NDPI, SCN, MRXS, tiled TIFF, DICOM), a folder
        with one DICOM series, or a plain picture.
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
