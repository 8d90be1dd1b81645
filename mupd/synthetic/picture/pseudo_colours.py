"""Channels of a virtual stain as one picture in colour, for people to look at: thumbnails, overviews, the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mupd.config.stains import NUCLEAR

Colour = tuple[int, int, int]

_NUCLEI: Colour = (60, 90, 255)
_OTHERS: tuple[Colour, ...] = (
    (0, 220, 70),
    (255, 50, 50),
    (255, 200, 0),
    (255, 0, 220),
    (0, 230, 230),
    (255, 130, 0),
    (200, 200, 200),
)
_PERCENTILE = 99.7


def colours_of(channels: Sequence[str]) -> list[Colour]:
    """A colour for each channel: blue for nuclei, then green, red, yellow, magenta, cyan, orange, grey and again."""
    nuclear = {name.lower() for name in NUCLEAR}
    colours: list[Colour] = []
    others = 0
    for name in channels:
        if name.lower() in nuclear and _NUCLEI not in colours:
            colours.append(_NUCLEI)
        else:
            colours.append(_OTHERS[others % len(_OTHERS)])
            others += 1
    return colours


def in_pseudo_colours(pixels: NDArray[np.uint8], channels: Sequence[str]) -> NDArray[np.uint8]:
    """Each channel in its colour, added up, (height, width, 3) uint8.

    Parameters
    ----------
    pixels
        (height, width, channels) uint8; of each channel, its 99.7th percentile is shown at full strength.
    channels
        Their names.
    """
    total = np.zeros((*pixels.shape[:2], 3), np.float32)
    for index, colour in enumerate(colours_of(channels)):
        values = pixels[..., index].astype(np.float32)
        top = max(1.0, float(np.percentile(values, _PERCENTILE)))
        total += np.minimum(values / top, 1.0)[..., None] * np.array(colour, np.float32)
    return np.minimum(total, 255).astype(np.uint8)
