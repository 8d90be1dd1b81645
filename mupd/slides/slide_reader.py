"""The interface of an open slide. Each format implements it; see :mod:`mupd.slides.formats`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.slides.blocks import best_level, padded, reduced
from mupd.slides.ome_scale import AxesUm

_MOST_ANISOTROPY = 1.05


def _mpp_of(axes_um: AxesUm) -> float | None:
    """The mean of what a file states for its two axes, or the one value it states, or None.

    Zero, negative and infinite values count as not stated: some programs write them for "unknown".
    """
    stated = [value for value in axes_um if value is not None and math.isfinite(value) and value > 0]
    if not stated:
        return None
    if max(stated) > _MOST_ANISOTROPY * min(stated):
        raise UnusableError(f"pixels are not square: {stated[0]:g} x {stated[1]:g} um; resample the slide")
    return sum(stated) / len(stated)


class SlideReader(ABC):
    """An open slide.

    Attributes
    ----------
    level_sizes_px
        Width and height of each level, the largest first.
    format
        OpenSlide's vendor name, tifffile's kind of TIFF or Pillow's format, in lower case.
    mpp
        Micrometres per pixel of level 0. None if neither the file nor the caller states it.
    mpp_source
        Who stated `mpp`: ``sheet`` (the caller), ``file`` or ``none``.
    file_mpp
        What the file states, whatever the caller says.
    scale_not_length
        What the file states as its scale, in words, if that is no length ("pixel" as unit).
    """

    level_sizes_px: tuple[tuple[int, int], ...]
    format: str
    mpp: float | None
    mpp_source: str
    file_mpp: float | None
    scale_not_length: str = ""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of level 0."""
        return self.level_sizes_px[0]

    def _set_scale(self, caller_mpp: float | None, file_um: AxesUm = (None, None)) -> None:
        """Set `mpp`, `mpp_source` and `file_mpp` from what the caller and the file state.

        Raises
        ------
        UnusableError
            If the file states pixels that are not square (a difference of 5% is tolerated).
        """
        self.file_mpp = _mpp_of(file_um)
        self.mpp = caller_mpp if caller_mpp is not None else self.file_mpp
        self.mpp_source = "sheet" if caller_mpp is not None else "file" if self.file_mpp else "none"

    @abstractmethod
    def _inside(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """(h, w, 3) of a box that is inside the level, in the level's pixels."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def read(self, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 of level 0 from x, y; white outside the slide."""
        return self.read_level(0, x, y, w, h)

    def read_level(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 of a level from x, y in that level's pixels; white outside the slide."""
        return padded(lambda *box: self._inside(level, *box), x, y, w, h, self.level_sizes_px[level])

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """(rows, columns, 3) uint8 of the whole slide. The longer side is at most `max_px`."""
        level = best_level(self.level_sizes_px, min(max_px, self.size_px[0]))
        return reduced(lambda *box: self._inside(level, *box), self.level_sizes_px[level], self.size_px, max_px)
