"""Plain pictures (PNG, JPEG, BMP), read by Pillow. They have no regions, levels or physical scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from mupd.errors import UnusableError
from mupd.slides.blocks import on_white, reduced_size
from mupd.slides.limits import MOST_PLAIN_PIXELS, check_jpeg_bytes, check_plain_size
from mupd.slides.slide_reader import SlideReader

# Pillow's own limit is 179 megapixels, less than a spatial transcriptomics picture.
Image.MAX_IMAGE_PIXELS = MOST_PLAIN_PIXELS
# A truncated file must raise.
ImageFile.LOAD_TRUNCATED_IMAGES = False

PLAIN_FORMATS = ("PNG", "JPEG", "BMP")
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"BM")
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L")


def is_picture(path: Path) -> bool:
    """Whether the first bytes are those of a PNG, JPEG or BMP."""
    with path.open("rb") as stream:
        return stream.read(4).startswith(_MAGIC)


class PictureReader(SlideReader):
    """A plain picture. Only the caller can state its physical scale."""

    def __init__(self, path: Path, mpp: float | None) -> None:
        self._path = path
        self._pixels: NDArray[np.uint8] | None = None
        with self._opened() as image:
            self.level_sizes_px = (image.size,)
            self.format = str(image.format).lower()
            mode = image.mode
        # The resolution tags of plain pictures describe screens and printers (72 dpi), not microscopes.
        self._set_scale(mpp)
        check_plain_size(*self.size_px, self.format)
        if self.format == "jpeg":
            check_jpeg_bytes(*self.size_px, path.stat().st_size)
        if mode in _DEEP_MODES:
            raise UnusableError(f"pixels of kind {mode}: expected 8-bit RGB, as bright-field scanners write")

    def _opened(self) -> Image.Image:
        try:
            return Image.open(self._path, formats=PLAIN_FORMATS)
        except Image.DecompressionBombError as error:
            raise UnusableError(
                f"a plain picture of over {2 * MOST_PLAIN_PIXELS // 1_000_000} megapixels: it would have to be decoded "
                "whole; convert it to a pyramid (tiled TIFF, SVS or DICOM)"
            ) from error
        except UnidentifiedImageError as error:
            size = self._path.stat().st_size
            what = (
                "the file is empty"
                if size == 0
                else (
                    "its first bytes are of no slide or picture format that can be read; convert it with "
                    "Bio-Formats or QuPath to a pyramidal OME-TIFF (8-bit RGB)"
                )
            )
            raise UnusableError(f"does not open as a slide: {what}") from error

    def _decoded(self) -> NDArray[np.uint8]:
        if self._pixels is None:
            with self._opened() as image:
                self._pixels = on_white(image)
        return self._pixels

    def _inside(self, _level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        return self._decoded()[y : y + h, x : x + w].copy()

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """See :class:`SlideReader`."""
        size = reduced_size(self.size_px, max_px)
        if self._pixels is None and self.format == "jpeg":
            # JPEG decodes at 1/2, 1/4 or 1/8 directly, in a tenth of the time and memory.
            with self._opened() as image:
                image.draft("RGB", (2 * size[0], 2 * size[1]))
                return np.asarray(Image.fromarray(on_white(image)).resize(size, Image.Resampling.BOX))
        return np.asarray(Image.fromarray(self._decoded()).resize(size, Image.Resampling.BOX))

    def close(self) -> None:
        """See :class:`SlideReader`."""
        self._pixels = None
