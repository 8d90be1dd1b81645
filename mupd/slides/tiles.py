"""Windows of a physical size that sample a slide's tissue, and their pixels."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.slides.blocks import resampled
from mupd.slides.slide_reader import SlideReader
from mupd.slides.tissue import count_in_boxes, tissue_mask

_THUMBNAIL_PX = 2048


def _window_tissue(
    mask: NDArray[np.bool_], starts: NDArray[np.float64], sides: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of tissue (0-1) in boxes of mask pixels: `starts` (n, 2) x and y, `sides` (2,) width and height."""
    rows, columns = mask.shape
    x0, y0 = (np.clip(np.floor(starts[:, axis]), 0, size - 1).astype(int) for axis, size in enumerate((columns, rows)))
    x1, y1 = (
        np.clip(np.ceil(starts[:, axis] + sides[axis]), start + 1, size).astype(int)
        for axis, size, start in ((0, columns, x0), (1, rows, y0))
    )
    return count_in_boxes(mask, x0, y0, x1, y1) / ((x1 - x0) * (y1 - y0))


def _morton(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Z-order of grid cells (n, 2). Neighbours in the plane are close in this order."""
    order = np.zeros(len(cells), np.int64)
    for bit in range(20):
        order |= ((cells[:, 0] >> bit) & 1) << (2 * bit) | ((cells[:, 1] >> bit) & 1) << (2 * bit + 1)
    return order


def tissue_tiles(reader: SlideReader, window_um: float, max_tiles: int, seed: int) -> NDArray[np.float64]:
    """Centres of windows that are at least half tissue: a stratified sample, reproducible by its seed.

    The windows form a grid over the slide. Those with enough tissue are sorted along a Z-order curve, and one is taken
    from each of `max_tiles` equal parts of it, so that the sample covers the tissue evenly. If no window is half
    tissue, the one with the most tissue is taken.

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
        x and y in pixels of level 0; may be fractions.

    Returns
    -------
    (out_px, out_px, 3) uint8; white outside the slide.
    """
    if reader.mpp is None:
        raise UnusableError("no micrometres per pixel: a window of a physical size cannot be read")
    side = window_um / reader.mpp
    corner = (float(centre_xy_px[0]) - side / 2, float(centre_xy_px[1]) - side / 2)
    return resampled(reader.read, corner, (side, side), (out_px, out_px))
