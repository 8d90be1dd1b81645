"""Which windows of a slide stand for its tissue, and their pixels at a physical size."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mupd.errors import UnusableError
from mupd.slides.reader import SlideReader
from mupd.slides.tissue import tissue_mask

_THUMBNAIL_PX = 2048


def _window_tissue(
    mask: NDArray[np.bool_], starts: NDArray[np.float64], sides: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of tissue in boxes of mask pixels: `starts` (n, 2) x, y, `sides` (2,) width, height."""
    rows, columns = mask.shape
    integral = np.pad(mask.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    x0, y0 = (np.clip(np.floor(starts[:, axis]), 0, size - 1).astype(int) for axis, size in enumerate((columns, rows)))
    x1, y1 = (
        np.clip(np.ceil(starts[:, axis] + sides[axis]), start + 1, size).astype(int)
        for axis, size, start in ((0, columns, x0), (1, rows, y0))
    )
    sums = integral[y1, x1] - integral[y0, x1] - integral[y1, x0] + integral[y0, x0]
    return sums / ((x1 - x0) * (y1 - y0))


def _morton(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Z-order of grid cells (n, 2): neighbours in the plane are near each other in the order."""
    order = np.zeros(len(cells), np.int64)
    for bit in range(20):
        order |= ((cells[:, 0] >> bit) & 1) << (2 * bit) | ((cells[:, 1] >> bit) & 1) << (2 * bit + 1)
    return order


def tissue_tiles(reader: SlideReader, window_um: float, max_tiles: int, seed: int) -> NDArray[np.float64]:
    """Centres of windows that are at least half tissue: a stratified sample, the same for the same seed.

    A grid of adjoining windows is laid over the slide; of those with enough tissue, one is taken
    from each of `max_tiles` equal stretches of a Z-order curve, so that the sample covers the
    tissue evenly. Where no window is half tissue, the one with the most of it is taken.

    Parameters
    ----------
    window_um
        Side of a window in micrometres.

    Returns
    -------
    (n, 2) float64, x and y in pixels of level 0, n from 0 (no tissue at all) to `max_tiles`.
    """
    if reader.mpp is None:
        raise UnusableError("no micrometres per pixel: windows of a physical size cannot be laid out")
    mask = tissue_mask(reader.thumbnail(_THUMBNAIL_PX))
    size = np.array(reader.size_px, np.float64)
    side = window_um / reader.mpp
    counts = np.maximum(1, np.floor(size / side)).astype(np.int64)
    cells = np.stack(np.meshgrid(np.arange(counts[0]), np.arange(counts[1])), -1).reshape(-1, 2)
    corners = (size - counts * side) / 2 + cells * side
    to_mask = np.array(mask.shape[::-1]) / size
    share = _window_tissue(mask, corners * to_mask, side * to_mask)
    chosen = np.flatnonzero(share >= 0.5)
    if len(chosen) == 0:
        chosen = np.flatnonzero(share == share.max())[:1] if share.max() > 0 else chosen
    chosen = chosen[np.argsort(_morton(cells[chosen]), kind="stable")]
    if len(chosen) > max_tiles:
        digest = hashlib.sha256(f"tiles\0{seed}".encode()).digest()
        offsets = np.random.default_rng(int.from_bytes(digest[:8], "big")).random(max_tiles)
        chosen = chosen[((np.arange(max_tiles) + offsets) * len(chosen) / max_tiles).astype(int)]
    return corners[chosen] + side / 2


def read_window(
    reader: SlideReader, centre_xy_px: NDArray[np.float64], window_um: float, out_px: int
) -> NDArray[np.uint8]:
    """A square window of a physical size around a point, resampled (Lanczos, antialiased) to `out_px`.

    Parameters
    ----------
    centre_xy_px
        x and y in pixels of level 0; fractions count.

    Returns
    -------
    (out_px, out_px, 3) uint8; white outside the slide.
    """
    if reader.mpp is None:
        raise UnusableError("no micrometres per pixel: a window of a physical size cannot be read")
    side = window_um / reader.mpp
    left, top = float(centre_xy_px[0]) - side / 2, float(centre_xy_px[1]) - side / 2
    # A margin of the filter's support keeps the border of the window the same wherever it was cut out.
    margin = math.ceil(3 * max(1.0, side / out_px))
    x, y = math.floor(left) - margin, math.floor(top) - margin
    span = math.ceil(side) + 2 * margin + 1
    region = Image.fromarray(reader.read(x, y, span, span))
    box = (left - x, top - y, left - x + side, top - y + side)
    return np.asarray(region.resize((out_px, out_px), Image.Resampling.LANCZOS, box=box))
