"""Where a picture shows stained tissue, and how densely it is stained."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import hed_from_rgb
from skimage.filters import threshold_otsu

# Optical density (sum over R, G, B) of tissue above the background's: between faint adipose tissue and dense nuclei.
OD_LEAST, _OD_MOST = 0.10, 0.25
_CHROMA_LEAST = 0.02
# Haematoxylin and eosin both absorb green most; ink and pigments that absorb red or blue most are not counted.
_GREEN_LEAST = 0.85

# Of 256 values each there is one density: a table is several times faster than a logarithm a pixel.
_DENSITY = -np.log10((np.arange(256, dtype=np.float32) + 1) / 256)
# Ruifrok and Johnston's matrix on decadic densities against 255, as skimage's rgb2hed has it (0 counts as 1e-6).
_HED_DENSITY = -np.log10(np.maximum(np.arange(256) / 255, 1e-6)).astype(np.float32)
_HED = hed_from_rgb.astype(np.float32)


def planes(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(3, rows, columns) of (rows, columns, 3): sums over three planes are far faster than over a last axis of 3."""
    return np.ascontiguousarray(np.moveaxis(rgb, -1, 0))


_BACKGROUND_OD_MOST = 0.3


def od_above_background(rgb: NDArray[np.uint8], most_background: float = _BACKGROUND_OD_MOST) -> NDArray[np.float32]:
    """Optical density (decadic) above that of the picture's own background, which is seldom pure white.

    The background is the brightest twentieth; where even that is dense, the picture is full of
    tissue and pure white is the reference.

    Parameters
    ----------
    rgb
        (rows, columns, 3) uint8.
    most_background
        Optical density (sum over R, G, B) from which the brightest twentieth is taken for tissue.

    Returns
    -------
    (3, rows, columns) float32, at least 0.
    """
    densities = _DENSITY[planes(rgb)]
    total = densities[0] + densities[1] + densities[2]
    bright = total <= np.percentile(total, 5)
    background = np.array([np.median(plane[bright]) for plane in densities], np.float32)
    if background.sum() > most_background:
        return densities
    densities -= background[:, None, None]
    return np.maximum(densities, 0, out=densities)


def _opened_and_closed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Specks that an opening by one pixel removes are dust; holes that a closing fills are lumina and fat."""

    def _cross(values: NDArray[np.bool_], outside: bool) -> list[NDArray[np.bool_]]:
        padded = np.pad(values, 1, constant_values=outside)
        return [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]

    def _grown(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return values | np.logical_or.reduce(_cross(values, outside=False))

    def _shrunk(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return values & np.logical_and.reduce(_cross(values, outside=False))

    opened = _grown(_shrunk(mask))
    return _shrunk(_grown(opened)) | opened


def mask_of_densities(densities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """:func:`tissue_mask` of densities that :func:`od_above_background` has given."""
    smooth = np.stack([ndimage.gaussian_filter(plane, sigma=1) for plane in densities])
    red, green, blue = smooth
    total = red + green + blue
    level = threshold_otsu(total) if np.ptp(total) > 0 else _OD_MOST
    strongest, weakest = np.maximum(red, blue), np.minimum(red, blue)
    coloured = np.maximum(strongest, green) - np.minimum(weakest, green) > _CHROMA_LEAST
    stained = green >= _GREEN_LEAST * strongest
    return _opened_and_closed((total > np.clip(level, OD_LEAST, _OD_MOST)) & coloured & stained)


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
    return mask_of_densities(od_above_background(thumb))


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
    stains = np.maximum(_HED_DENSITY[rgb] @ _HED[:, :2], 0)
    return stains[..., 0], stains[..., 1]
