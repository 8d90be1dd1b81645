"""Whether the two pictures of a pair register: nuclei of the stain lie on nuclei of the H&E.

Haematoxylin of the H&E and the stain's nuclei (DAPI; the haematoxylin of an IHC) are blurred slightly, freed of slow
variation (tissue against glass agrees between any two fields), and correlated over all small shifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FINE_UM, COARSE_UM = 1.0, 8.0
"""Scales of the blur and of the slow variation that is subtracted."""

MAX_SHIFT_UM = 5.0
LEAST_CORRELATION = 0.3
"""Pairs below it do not register. docs/staining.md shows the values of true and of shuffled pairs."""

LEAST_STRUCTURE = 1e-4
"""A picture whose haematoxylin has a smaller standard deviation shows no nuclei."""


@dataclass(frozen=True)
class Registration:
    """How a stain lies on its H&E.

    Attributes
    ----------
    correlation
        Largest correlation of the nuclei over the shifts.
    shift_px
        y and x by which the stain has to be moved to lie on the H&E.
    """

    correlation: float
    shift_px: tuple[int, int]


def haematoxylin(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Haematoxylin (h, w) of a bright-field picture, by fixed stain vectors (Ruifrok and Johnston 2001)."""
    from skimage.color import rgb2hed

    return rgb2hed(rgb)[..., 0].astype(np.float32)


def _nuclear_detail(density: NDArray[np.float32], mpp: float) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    values = density.astype(np.float32)
    return gaussian_filter(values, FINE_UM / mpp) - gaussian_filter(values, COARSE_UM / mpp)


def register(he_nuclei: NDArray[np.float32], stain_nuclei: NDArray[np.float32], mpp: float) -> Registration:
    """Correlate the nuclei of two pictures (h, w) of one size over all shifts up to 5 micrometres.

    Raises
    ------
    ValueError
        If the sizes differ, or a side is not over twice the largest shift.
    """
    from skimage.feature import match_template

    if he_nuclei.shape != stain_nuclei.shape:
        raise ValueError(f"stain_nuclei: found {stain_nuclei.shape}; expected {he_nuclei.shape}")
    reach = max(1, round(MAX_SHIFT_UM / mpp))
    height, width = he_nuclei.shape
    if min(height, width) <= 2 * reach + 2:
        raise ValueError(f"he_nuclei: found {height} x {width} px; expected sides over {2 * reach + 2}")
    fixed, moving = _nuclear_detail(he_nuclei, mpp), _nuclear_detail(stain_nuclei, mpp)
    core = fixed[reach : height - reach, reach : width - reach]
    scores = match_template(moving.astype(np.float64), core.astype(np.float64))
    y, x = np.unravel_index(int(np.argmax(scores)), scores.shape)
    return Registration(float(scores[y, x]), (reach - int(y), reach - int(x)))


def shifted(stain: NDArray[np.uint8], shift_px: tuple[int, int]) -> tuple[slice, slice, NDArray[np.uint8]]:
    """Rows and columns of the H&E that a moved stain covers, and the stain there."""
    dy, dx = shift_px
    height, width = stain.shape[:2]
    rows, columns = slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx))
    moved = stain[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
    return rows, columns, moved
