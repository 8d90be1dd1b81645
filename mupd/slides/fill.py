"""Areas of a picture that no scanner has seen: black, grey or white fill around scanned regions.

Fill has one exact neutral colour over an area that reaches the border. Glass and tissue have noise, ink lies inside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_LEAST_SHARE = 0.01
_SAMPLE_STEP = 3
_MOST_COLOURS = 4
_TOLERANCE, _RING = 1, 6
_RING_MOST = 0.15
_SOLID_LEAST = 0.8
_SOLID_SIDE_PX = 7
_BLACK_MOST = 24
_NEUTRAL_MOST = 8
_EDGE_PX = 2
# Optical density of glass (sum over R, G, B), the spread of one glass, and its colour.
_GLASS_OD_MOST, _GLASS_SPREAD, _GLASS_CHROMA_MOST, _GLASS_LEAST = 0.3, 0.02, 0.05, 0.2

Mask = NDArray[np.bool_]


def _at_border(mask: Mask) -> Mask:
    """The connected parts of a mask that reach the border of the picture."""
    labels, _ = ndimage.label(mask)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.asarray(np.isin(labels, border[border > 0]))


def _solid(mask: Mask) -> bool:
    """Whether a mask consists of areas, not of scattered pixels or thin lines."""
    count = int(mask.sum())
    side = min(_SOLID_SIDE_PX, max(1, min(mask.shape) // 8))
    if count < _LEAST_SHARE * mask.size:
        return False
    return bool(ndimage.binary_opening(mask, np.ones((side, side))).sum() >= _SOLID_LEAST * count)


def _frequent_colours(rgb: NDArray[np.uint8]) -> list[NDArray[np.int16]]:
    """The most frequent exact neutral colours, the lightest first."""
    sample = rgb[::_SAMPLE_STEP, ::_SAMPLE_STEP].reshape(-1, 3).astype(np.uint32)
    codes, counts = np.unique(sample @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_counts=True)
    order = np.argsort(-counts)[:_MOST_COLOURS]
    frequent = codes[order][counts[order] >= _LEAST_SHARE * len(sample)]
    colours = [np.array([code >> 16, code >> 8 & 255, code & 255], np.int16) for code in frequent.tolist()]
    colours = [colour for colour in colours if np.ptp(colour) <= _NEUTRAL_MOST]
    return sorted(colours, key=lambda colour: -int(colour.sum()))


def _has_glass(densities: NDArray[np.float32], rest: Mask) -> bool:
    """Whether pixels that are no fill show glass: many of one light and neutral colour."""
    if not rest.any():
        return False
    outside = densities[:, rest]
    total = outside.sum(0)
    bright = total <= np.percentile(total, 5)
    glass = np.array([np.median(plane[bright]) for plane in outside])
    alike = (np.abs(outside - glass[:, None]) < _GLASS_SPREAD).all(0).mean()
    return bool(glass.sum() <= _GLASS_OD_MOST and np.ptp(glass) <= _GLASS_CHROMA_MOST and alike >= _GLASS_LEAST)


def fill_mask(rgb: NDArray[np.uint8], densities: NDArray[np.float32]) -> Mask:
    """Where a picture is fill: black, or one exact neutral colour, over an area at the border.

    A light colour is fill only if the rest of the picture shows glass as well; otherwise it is the glass itself, which
    some scanners set to one value.

    Parameters
    ----------
    rgb, densities
        (rows, columns, 3) uint8, and its optical densities against white, (3, rows, columns).

    Returns
    -------
    (rows, columns) bool.
    """
    fill = rgb.max(-1) <= _BLACK_MOST
    fill = _at_border(fill) if fill.any() else fill
    if not _solid(fill):
        fill = np.zeros(rgb.shape[:2], bool)
    for colour in _frequent_colours(rgb):
        if colour.max() <= _BLACK_MOST:
            continue
        distance = np.abs(rgb - colour).max(-1)
        alike = _at_border(distance <= _TOLERANCE)
        similar = distance <= _RING
        if similar.sum() > (1 + _RING_MOST) * (distance <= _TOLERANCE).sum() or not _solid(alike):
            continue
        light = -np.log10((colour + 1) / 256).sum() <= _GLASS_OD_MOST
        if not light or _has_glass(densities, ~(fill | similar)):
            fill |= alike
    # The pixels between fill and picture are mixtures of both.
    return ndimage.binary_dilation(fill, iterations=_EDGE_PX) if fill.any() else fill
