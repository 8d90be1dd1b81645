"""Plain pictures (PNG, JPEG, BMP) through Pillow: no regions, no levels, no physical scale of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from mupd.errors import UnusableError
from mupd.modalities.slide_arrays import on_white, padded, reduced_size
from mupd.modalities.slide_limits import MOST_PLAIN_PIXELS, check_plain_size

# Pillow's own guard stops at 179 MP, less than a spatial transcriptomics picture; a truncated file must raise.
Image.MAX_IMAGE_PIXELS = MOST_PLAIN_PIXELS
ImageFile.LOAD_TRUNCATED_IMAGES = False

PLAIN_FORMATS = ("PNG", "JPEG", "BMP")
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L")


class PictureReader:
    """A plain picture; its physical scale is only ever what the caller gives."""

    file_mpp = None

    def __init__(self, path: Path, mpp: float | None) -> None:
        self._image = Image.open(path, formats=PLAIN_FORMATS)
        self._path = path
        self._pixels: NDArray[np.uint8] | None = None
        self.size_px = self._image.size
        self.level_sizes_px = (self.size_px,)
        self.format = str(self._image.format).lower()
        # The resolution tags of plain pictures tell of screens and printers (72 dpi), not of microscopes.
        self.mpp, self.mpp_source = mpp, "sheet" if mpp is not None else "none"
        check_plain_size(*self.size_px, self.format)
        if self._image.mode in _DEEP_MODES:
            raise UnusableError(
                f"pixels of kind {self._image.mode}: expected 8-bit RGB, as bright-field scanners write"
            )

    def _decoded(self) -> NDArray[np.uint8]:
        if self._pixels is None:
            self._pixels = on_white(self._image)
        return self._pixels

    def _inside(self, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        return self._decoded()[y : y + h, x : x + w].copy()

    def read(self, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """See :class:`mupd.modalities.slides.SlideReader`."""
        return padded(self._inside, x, y, w, h, self.size_px)

    def read_level(self, _level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """See :class:`mupd.modalities.slides.SlideReader`."""
        return self.read(x, y, w, h)

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """See :class:`mupd.modalities.slides.SlideReader`."""
        size = reduced_size(self.size_px, max_px)
        if self._pixels is None and self.format == "jpeg":
            # JPEG decodes at 1/2, 1/4 or 1/8 directly: a tenth of the time and memory.
            with Image.open(self._path, formats=PLAIN_FORMATS) as image:
                image.draft("RGB", (2 * size[0], 2 * size[1]))
                return np.asarray(Image.fromarray(on_white(image)).resize(size, Image.Resampling.BOX))
        return np.asarray(Image.fromarray(self._decoded()).resize(size, Image.Resampling.BOX))

    def close(self) -> None:
        """See :class:`mupd.modalities.slides.SlideReader`."""
        self._image.close()
        self._pixels = None
