"""A part of a measured slide, read piece by piece at any scale."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mupd.errors import UnusableError
from mupd.slides.blocks import resampled
from mupd.slides.slide_reader import SlideReader
from mupd.slides.tissue import count_in_boxes, tissue_mask

_MASK_PX = 1024
_STEP_PX = 8
_MARGIN_UM = 50.0
"""Glass within this distance of tissue is treated as tissue."""


@dataclass(frozen=True)
class Region:
    """A part of a slide.

    Attributes
    ----------
    x_px, y_px
        The upper left corner in pixels of the slide's level 0.
    width_px, height_px
        The size in pixels of `mpp`, multiples of 8.
    mpp
        Micrometres per pixel at which the region is read.
    whole
        Whether this is the whole slide, except for up to 7 px at the right and the bottom.
    """

    x_px: int
    y_px: int
    width_px: int
    height_px: int
    mpp: float
    whole: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def words(self) -> str:
        """Which part of the slide, in words."""
        size = f"{self.width_px} x {self.height_px} px of {self.mpp:g} um"
        if self.whole:
            return f"the whole slide, {size}"
        return f"a part of the slide, {size}, from x {self.x_px}, y {self.y_px} px of its full resolution"


def region_from(values: dict[str, Any]) -> Region:
    """The inverse of :meth:`Region.to_dict`."""
    return Region(**values)


def _scale(reader: SlideReader, mpp: float) -> float:
    if reader.mpp is None:
        raise UnusableError("no micrometres per pixel: a region of a physical size cannot be read")
    return mpp / reader.mpp


def _fullest(mask: NDArray[np.bool_], rows: int, columns: int) -> tuple[int, int]:
    """Row and column of the first box of this size with the most true pixels of a mask."""
    tops, lefts = np.arange(mask.shape[0] - rows + 1)[:, None], np.arange(mask.shape[1] - columns + 1)
    inside = count_in_boxes(mask, lefts, tops, lefts + columns, tops + rows)
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(row), int(column)


def choose_region(reader: SlideReader, mpp: float, max_side_px: int) -> Region:
    """The whole slide if no side is over `max_side_px` at `mpp`; else its tissue, or the part with the most tissue.

    Raises
    ------
    UnusableError
        If the slide states no scale, or is smaller than 8 px at `mpp`.
    """
    scale = _scale(reader, mpp)
    sizes = [int(side / scale) // _STEP_PX * _STEP_PX for side in reader.size_px]
    if min(sizes) < _STEP_PX:
        raise UnusableError(f"a slide of {' x '.join(map(str, sizes))} px at {mpp:g} um/px: expected at least 8 a side")
    if max(sizes) <= max_side_px:
        return Region(0, 0, sizes[0], sizes[1], mpp, True)
    mask = tissue_mask(reader.thumbnail(_MASK_PX))
    per_mask = [size / side for size, side in zip(reader.size_px, mask.shape[::-1], strict=True)]
    largest = max_side_px // _STEP_PX * _STEP_PX
    corner, wanted = [0, 0], [min(size, largest) for size in sizes]
    boxes = [max(1, min(int(w * scale / per), n)) for w, per, n in zip(wanted, per_mask, mask.shape[::-1], strict=True)]
    row, column = _fullest(mask, boxes[1], boxes[0])
    for axis, start in enumerate((column, row)):
        others = np.flatnonzero(mask.any(axis=axis))
        margin = _MARGIN_UM / mpp * scale
        if len(others):
            low, high = others[0] * per_mask[axis] - margin, (others[-1] + 1) * per_mask[axis] + margin
            span = -(-int((high - low) / scale) // _STEP_PX) * _STEP_PX
            if span <= wanted[axis]:  # all tissue fits along this axis
                start, wanted[axis] = max(0.0, low) / per_mask[axis], span
        last = reader.size_px[axis] - wanted[axis] * scale
        corner[axis] = int(max(0.0, min(start * per_mask[axis], last)))
    return Region(corner[0], corner[1], wanted[0], wanted[1], mpp, False)


class RegionReader:
    """Reads a region of an open slide, resampled (Lanczos) from the next finer level."""

    def __init__(self, reader: SlideReader, region: Region) -> None:
        self.reader, self.region = reader, region
        scale = _scale(reader, region.mpp)
        shares = [width / reader.size_px[0] for width, _ in reader.level_sizes_px]
        fitting = [level for level, share in enumerate(shares) if scale * share >= 0.999]
        self._level = max(fitting, key=lambda level: -shares[level]) if fitting else 0
        width, height = reader.level_sizes_px[self._level]
        to_level = width / reader.size_px[0], height / reader.size_px[1]
        self._step = scale * to_level[0], scale * to_level[1]
        self._origin = region.x_px * to_level[0], region.y_px * to_level[1]
        self._mask: NDArray[np.bool_] | None = None

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 from x, y of the region; white outside the slide.

        A resampled pixel may differ by one grey level between boxes.
        """
        left, top = (origin + at * step for origin, at, step in zip(self._origin, (x, y), self._step, strict=True))
        wide, tall = width * self._step[0], height * self._step[1]
        if self._step == (1.0, 1.0) and left.is_integer() and top.is_integer():
            return self.reader.read_level(self._level, int(left), int(top), width, height)

        def read_level(*box: int) -> NDArray[np.uint8]:
            return self.reader.read_level(self._level, *box)

        return resampled(read_level, (left, top), (wide, tall), (width, height))

    def tissue(self, x: int, y: int, width: int, height: int) -> NDArray[np.bool_]:
        """Where a box of the region is within 50 um of tissue, (height, width) bool."""
        return self._near_tissue(x + np.arange(width) + 0.5, y + np.arange(height) + 0.5)

    def tissue_map(self, max_px: int) -> NDArray[np.bool_]:
        """:meth:`tissue` of the whole region, reduced so that the longer side is at most `max_px`."""
        sides = self.region.width_px, self.region.height_px
        step = max(1, -(-max(sides) // max_px))
        xs, ys = ((np.arange(max(1, side // step)) + 0.5) * step for side in sides)
        return self._near_tissue(xs, ys)

    def _near_tissue(self, xs: NDArray[np.floating], ys: NDArray[np.floating]) -> NDArray[np.bool_]:
        """The mask at positions of the region, (len(ys), len(xs)) bool."""
        if self._mask is None:
            mask = tissue_mask(self.reader.thumbnail(_MASK_PX))
            um_per_px = (self.reader.mpp or 1.0) * self.reader.size_px[0] / mask.shape[1]
            self._mask = ndimage.distance_transform_edt(~mask) <= max(1.0, _MARGIN_UM / um_per_px)
            self._mask &= bool(mask.any())
        scale = _scale(self.reader, self.region.mpp)
        rows, columns = self._mask.shape
        at_x = (self.region.x_px + xs * scale) * columns / self.reader.size_px[0]
        at_y = (self.region.y_px + ys * scale) * rows / self.reader.size_px[1]
        return self._mask[np.clip(at_y.astype(int), 0, rows - 1)][:, np.clip(at_x.astype(int), 0, columns - 1)]
