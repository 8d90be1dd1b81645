"""Where a picture shows stained tissue, and how densely it is stained."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu

# rgb2hed divides natural-log densities by log(1e-6); this brings them back to decadic optical density.
_HED_TO_OD = -math.log10(1e-6)

# Optical density (sum over R, G, B) of tissue above the background's: between faint adipose tissue and dense nuclei.
OD_LEAST, _OD_MOST = 0.10, 0.25
_CHROMA_LEAST = 0.02
# Haematoxylin and eosin both absorb green most; ink and pigments that absorb red or blue most are not counted.
_GREEN_LEAST = 0.85


def _densities(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decadic optical density per channel against 255."""
    return -np.log10((rgb.astype(np.float32) + 1) / 256)


def od_above_background(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Optical density above that of the picture's own background, which is seldom pure white.

    The background is the brightest twentieth; where even that is dense, the picture is full of
    tissue and pure white is the reference.
    """
    densities = _densities(rgb)
    total = densities.sum(-1)
    bright = total <= np.percentile(total, 5)
    background = np.median(densities[bright], axis=0)
    if background.sum() > 0.3:
        return densities
    return np.maximum(densities - background, 0)


def tissue_mask(thumb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a reduced picture shows stained tissue.

    Otsu's threshold on optical density above background, kept within bounds (in a picture full of
    tissue Otsu would part nuclei from stroma), and colour: grey dirt, shadows and ink that absorbs
    red or blue more than green are left out.

    Parameters
    ----------
    thumb
        (rows, columns, 3) uint8.

    Returns
    -------
    (rows, columns) bool.
    """
    densities = ndimage.gaussian_filter(od_above_background(thumb), sigma=(1, 1, 0))
    total = densities.sum(-1)
    level = threshold_otsu(total) if np.ptp(total) > 0 else _OD_MOST
    red, green, blue = np.moveaxis(densities, -1, 0)
    coloured = densities.max(-1) - densities.min(-1) > _CHROMA_LEAST
    stained = green >= _GREEN_LEAST * np.maximum(red, blue)
    mask = (total > np.clip(level, OD_LEAST, _OD_MOST)) & coloured & stained
    # Specks that an opening by one pixel removes are dust; holes that a closing fills are lumina and fat.
    mask = ndimage.binary_opening(mask, iterations=1)
    return ndimage.binary_closing(mask, iterations=1) | mask


def stain_density(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Haematoxylin and eosin by colour deconvolution (Ruifrok and Johnston 2001).

    Parameters
    ----------
    rgb
        (..., 3) uint8.

    Returns
    -------
    Two arrays (...), decadic optical densities along the stain vectors, at least 0.
    """
    hed = rgb2hed(rgb).astype(np.float32) * np.float32(_HED_TO_OD)
    return hed[..., 0], hed[..., 1]
