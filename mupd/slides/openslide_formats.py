"""Slides that OpenSlide reads: SVS, NDPI, SCN, MIRAX, BIF and others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from mupd.errors import UnusableError
from mupd.slides.blocks import WHITE
from mupd.slides.limits import check_slide_size
from mupd.slides.slide_reader import SlideReader


def openslide_vendor(path: Path) -> str | None:
    """OpenSlide's name for the format of a file; None if OpenSlide does not read it."""
    return openslide.OpenSlide.detect_format(str(path))


class OpenSlideReader(SlideReader):
    """A slide that OpenSlide reads."""

    def __init__(self, path: Path, mpp: float | None) -> None:
        self._slide = openslide.OpenSlide(str(path))
        try:
            self.level_sizes_px = self._slide.level_dimensions
            check_slide_size(*self.size_px)
            self.format = str(self._slide.properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown"))
            names = (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
            x_um, y_um = (self._slide.properties.get(name) for name in names)
            self._set_scale(mpp, (None if x_um is None else float(x_um), None if y_um is None else float(y_um)))
        except BaseException:
            self._slide.close()
            raise

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

    def close(self) -> None:
        """See :class:`SlideReader`."""
        self._slide.close()


def is_mirax(path: Path) -> bool:
    """Whether a file is named as a MIRAX slide."""
    return path.suffix.lower() == ".mrxs"


def mirax_files(path: Path) -> tuple[Path, ...]:
    """The ``.mrxs`` file and, where there is one, its folder of the same name."""
    folder = path.with_suffix("")
    return (path, folder) if folder.is_dir() else (path,)


def open_mirax(path: Path, mpp: float | None) -> OpenSlideReader:
    """Open a MIRAX slide.

    Raises
    ------
    UnusableError
        If its folder is missing.
    """
    folder = path.with_suffix("")
    if not folder.is_dir():
        raise UnusableError(
            "a MIRAX slide without its folder: the .mrxs file is an index, the picture is in a folder of the same "
            "name; copy that folder beside the file"
        )
    if not (folder / "Slidedat.ini").is_file():
        raise UnusableError("a MIRAX slide whose folder lacks Slidedat.ini: copy the whole folder again")
    return OpenSlideReader(path, mpp)
