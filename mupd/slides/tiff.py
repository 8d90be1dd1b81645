"""TIFFs, with OpenSlide where it reads them fully; else (OME-TIFF, strips) with tifffile.

Tiles and strips are decoded on demand, one at a time. tifffile's own `asarray` would decode a whole level.
"""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openslide.lowlevel import OpenSlideError
from PIL import Image

from mupd.errors import UnusableError
from mupd.slides.limits import check_plain_size, check_slide_size, check_tile_size
from mupd.slides.ome_scale import AxesUm, ome_um
from mupd.slides.openslide_formats import OpenSlideReader, openslide_vendor
from mupd.slides.slide_reader import SlideReader
from mupd.slides.tiff_directories import whole_directories

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RESOLUTION_UNITS_UM = {2: 25400.0, 3: 10000.0}
_CACHE_BYTES = 64 << 20
_JPEG = (6, 7)
_LAYOUTS = ("YXS", "SYX", "CYX")
_RESOLUTION_UNIT, _X_RESOLUTION, _Y_RESOLUTION = 296, 282, 283


def is_tiff(path: Path) -> bool:
    """Whether the first bytes are those of a TIFF or BigTIFF."""
    with path.open("rb") as stream:
        return stream.read(4) in _MAGIC


def _is_ome(path: Path) -> bool:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return bool(file.is_ome)


def open_tiff(path: Path, mpp: float | None) -> SlideReader:
    """Open a TIFF.

    Raises
    ------
    UnusableError
        If its directories are damaged or over the limits.
    """
    vendor = openslide_vendor(path)
    if vendor == "hamamatsu":
        return OpenSlideReader(path, mpp)
    directories = whole_directories(path)
    # OpenSlide's generic reader does not see reduced levels in SubIFDs, nor the scale in OME-XML.
    hidden = any(directory.subordinate for directory in directories) or _is_ome(path)
    if vendor is None or (vendor == "generic-tiff" and hidden):
        return TiffReader(path, mpp)
    try:
        return OpenSlideReader(path, mpp)
    except OpenSlideError:
        if not any(directory.tiled for directory in directories):
            raise
        return TiffReader(path, mpp)


def _resolution_um(page: Any) -> AxesUm:
    """The page's resolution tags; None unless their unit is a length."""
    unit = _RESOLUTION_UNITS_UM.get(int(page.tags.valueof(_RESOLUTION_UNIT, default=2)))

    def um(code: int) -> float | None:
        pixels, per = page.tags.valueof(code, default=(0, 1))
        return unit * per / pixels if unit and pixels else None

    return um(_X_RESOLUTION), um(_Y_RESOLUTION)


def _aperio_um(description: str) -> AxesUm:
    import tifffile

    try:
        stated = tifffile.tifffile.svs_description_metadata(description).get("MPP")
    except ValueError:
        return None, None
    return float(stated) if isinstance(stated, int | float) else None, None


def _sizes(series: Any) -> dict[str, int]:
    """Length of each axis of a series or level by its letter: X, Y, S (samples), C (channels), Z, T."""
    return dict(zip(series.axes, series.shape, strict=True))


def _refuse_if_not_rgb(series: Any, kind: str) -> None:
    sizes = _sizes(series)
    shape = "x".join(str(side) for side in series.shape)
    if series.axes not in _LAYOUTS or sizes.get("S", 3) not in (3, 4) or sizes.get("C", 3) != 3:
        if set(series.axes) - set("YXSC") or {"S", "C"} <= set(series.axes):
            raise UnusableError(f"{kind} of {shape} ({series.axes}): a stack; save one picture of it as RGB")
        channels = sizes.get("C", sizes.get("S", 1))
        what = "one grey channel" if channels == 1 else f"{channels} channels, as fluorescence has them"
        raise UnusableError(f"not H&E: {kind} of {what}; expected RGB (bright-field)")
    if str(series.dtype) != "uint8":
        raise UnusableError(f"pixels of kind {series.dtype}: expected 8-bit RGB, as bright-field scanners write")


class TiffReader(SlideReader):
    """A TIFF in tiles or strips, with the levels that tifffile finds (including OME-TIFF's SubIFDs)."""

    def __init__(self, path: Path, mpp: float | None) -> None:
        import tifffile

        self._file = tifffile.TiffFile(path)
        try:
            self._open(mpp)
        except BaseException:
            self._file.close()
            raise

    def _open(self, mpp: float | None) -> None:
        kinds = self._file.flags & {"ome", "svs", "qpi"}
        self.format = f"{kinds.pop()}-tiff" if kinds else "tiff"
        if not self._file.series:
            raise UnusableError("a TIFF without a picture")
        series = max(self._file.series, key=lambda one: _sizes(one).get("X", 0) * _sizes(one).get("Y", 0))
        _refuse_if_not_rgb(series, self.format)
        self._levels = [level for level in series.levels if level.axes == series.axes]
        self.level_sizes_px = tuple((_sizes(level)["X"], _sizes(level)["Y"]) for level in self._levels)
        check_slide_size(*self.size_px)
        for level in self._levels:
            page = level.keyframe
            if page.is_tiled:
                check_tile_size(page.tilewidth, page.tilelength)
            else:
                # Some programs write a picture as one strip, which is decoded whole, like a plain picture.
                check_plain_size(page.imagewidth, min(page.rowsperstrip, page.imagelength), "TIFF in one strip")
        self._set_scale(mpp, self._um_in_file(series.keyframe))
        self._cache: OrderedDict[tuple[int, int, int], NDArray[np.uint8]] = OrderedDict()
        self._cached_bytes = 0

    def _um_in_file(self, page: Any) -> AxesUm:
        if self._file.is_ome:
            axes_um, self.scale_not_length = ome_um(self._file.ome_metadata or "", self.size_px)
            return axes_um
        return _aperio_um(page.description) if self._file.is_svs else _resolution_um(page)

    def _segment(self, level: int, plane: int, index: int) -> NDArray[np.uint8] | None:
        """One decoded tile or strip (rows, columns, samples); None where the file stores nothing (white)."""
        key = (level, plane, index)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        series = self._levels[level]
        page: Any = series.pages[plane if series.axes == "CYX" else 0]
        keyframe = page.keyframe
        if series.axes == "SYX":
            index += plane * (len(page.dataoffsets) // _sizes(series)["S"])
        if index >= len(page.dataoffsets):
            raise UnusableError(f"truncated or damaged: level {level} lacks tile {index} of its grid")
        length = page.databytecounts[index]
        if length == 0:
            return None
        data = self._file.filehandle.read_segments([page.dataoffsets[index]], [length])
        encoded: Any = next(iter(data))[0]
        if encoded is None:
            return None
        most = (keyframe.tilewidth, keyframe.tilelength) if keyframe.is_tiled else self.level_sizes_px[level]
        if keyframe.compression in _JPEG and keyframe.jpegtables is None:
            # The decoder trusts the header of the JPEG, which may declare 65,535 px per side in a tile of 64.
            with Image.open(io.BytesIO(encoded), formats=("JPEG",)) as header:
                if header.size[0] > 2 * most[0] or header.size[1] > 2 * most[1]:
                    raise UnusableError(f"a tile of {most[0]} x {most[1]} px holds a JPEG of {header.size}: damaged")
        decoded = keyframe.decode(encoded, index, jpegtables=keyframe.jpegtables, jpegheader=keyframe.jpegheader)[0]
        if decoded is None:
            return None
        tile = np.asarray(decoded[0])
        self._cache[key] = tile
        self._cached_bytes += tile.nbytes
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return tile

    def _plane(self, level: int, plane: int, x: int, y: int, w: int, h: int, out: NDArray[np.uint8]) -> None:
        """Paste the tiles of one plane under a region into `out`, (h, w, samples)."""
        keyframe = self._levels[level].keyframe
        width, height = self.level_sizes_px[level]
        tile_w = keyframe.tilewidth if keyframe.is_tiled else width
        tile_h = keyframe.tilelength if keyframe.is_tiled else min(keyframe.rowsperstrip, height)
        across = math.ceil(width / tile_w)
        for row in range(y // tile_h, math.ceil((y + h) / tile_h)):
            for column in range(x // tile_w, math.ceil((x + w) / tile_w)):
                tile = self._segment(level, plane, row * across + column)
                if tile is None:
                    continue
                left, top = column * tile_w, row * tile_h
                x0, y0 = max(x, left), max(y, top)
                x1, y1 = min(x + w, left + tile_w, width), min(y + h, top + tile_h, height)
                piece = tile[y0 - top : y1 - top, x0 - left : x1 - left, : out.shape[-1]]
                out[y0 - y : y0 - y + piece.shape[0], x0 - x : x0 - x + piece.shape[1]] = piece

    def _inside(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        canvas = np.full((h, w, 3), 255, np.uint8)
        if self._levels[level].axes == "YXS":
            self._plane(level, 0, x, y, w, h, canvas)
        else:
            for plane in range(3):
                self._plane(level, plane, x, y, w, h, canvas[..., plane : plane + 1])
        return canvas

    def close(self) -> None:
        """See :class:`SlideReader`."""
        self._file.close()
        self._cache.clear()
