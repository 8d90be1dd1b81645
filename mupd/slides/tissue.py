"""Detection of stained tissue, and optical density of the stains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import hed_from_rgb
from skimage.filters import threshold_otsu

from mupd.slides.fill import fill_mask

# Optical density (sum over R, G, B) of tissue above the background: from faint adipose tissue to dense nuclei.
OD_LEAST, _OD_MOST = 0.10, 0.25
_CHROMA_LEAST = 0.02
# Haematoxylin and eosin absorb green most. Ink and pigments that absorb red or blue most are not tissue.
_GREEN_LEAST = 0.85
# Of every channel. No pair of the two stains absorbs all of red, green and blue so much.
_BLACK_OD_LEAST = 1.0

# Density of each of the 256 grey levels. A table is several times faster than a logarithm per pixel.
_DENSITY = -np.log10((np.arange(256, dtype=np.float32) + 1) / 256)
# Decadic densities against 255 for Ruifrok and Johnston's matrix, as in skimage's rgb2hed (0 counts as 1e-6).
_HED_DENSITY = -np.log10(np.maximum(np.arange(256) / 255, 1e-6)).astype(np.float32)
_HED = hed_from_rgb.astype(np.float32)


def planes(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(rows, columns, 3) as (3, rows, columns): sums over planes are much faster than over a last axis of 3."""
    return np.ascontiguousarray(np.moveaxis(rgb, -1, 0))


_BACKGROUND_OD_MOST = 0.3


def optical_density(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decadic optical density against white of (rows, columns, 3) uint8, as (3, rows, columns) float32."""
    return _DENSITY[planes(rgb)]


def od_above_background(rgb: NDArray[np.uint8], most_background: float = _BACKGROUND_OD_MOST) -> NDArray[np.float32]:
    """Decadic optical density above that of the picture's background, which is rarely pure white; 0 on fill.

    The background is the brightest twentieth of what is no fill (:mod:`mupd.slides.fill`). If even that is dense,
    tissue fills the picture, and pure white is the reference.

    Parameters
    ----------
    rgb
        (rows, columns, 3) uint8.
    most_background
        Optical density (sum over R, G, B) above which the brightest twentieth is tissue.

    Returns
    -------
    (3, rows, columns) float32, at least 0.
    """
    densities = optical_density(rgb)
    fill = fill_mask(rgb, densities)
    scanned = densities[:, ~fill] if fill.any() and not fill.all() else densities.reshape(3, -1)
    total = scanned[0] + scanned[1] + scanned[2]
    bright = total <= np.percentile(total, 5)
    background = np.array([np.median(plane[bright]) for plane in scanned], np.float32)
    if background.sum() <= most_background:
        densities -= background[:, None, None]
        np.maximum(densities, 0, out=densities)
    densities[:, fill] = 0
    return densities


def _opened_and_closed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    opened = ndimage.binary_opening(mask)
    # Closing would clear pixels at the border.
    return ndimage.binary_closing(opened) | opened


def count_in_boxes(
    mask: NDArray[np.bool_],
    left: NDArray[np.integer],
    top: NDArray[np.integer],
    right: NDArray[np.integer],
    bottom: NDArray[np.integer],
) -> NDArray[np.int64]:
    """Number of true pixels of a mask (rows, columns) in boxes; `right` and `bottom` are excluded, shapes broadcast."""
    integral = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return integral[bottom, right] - integral[top, right] - integral[bottom, left] + integral[top, left]


def mask_of_densities(densities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """:func:`tissue_mask` from the result of :func:`od_above_background`."""
    smooth = np.stack([ndimage.gaussian_filter(plane, sigma=1) for plane in densities])
    red, green, blue = smooth
    total = red + green + blue
    level = threshold_otsu(total) if np.ptp(total) > 0 else _OD_MOST
    strongest, weakest = np.maximum(red, blue), np.minimum(red, blue)
    coloured = np.maximum(strongest, green) - np.minimum(weakest, green) > _CHROMA_LEAST
    stained = green >= _GREEN_LEAST * strongest
    black = np.minimum(weakest, green) > _BLACK_OD_LEAST
    return _opened_and_closed((total > np.clip(level, OD_LEAST, _OD_MOST)) & coloured & stained & ~black)


def tissue_mask(thumb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a reduced picture shows stained tissue.

    Applies Otsu's threshold to the optical density above background, within bounds: in a picture full of tissue, Otsu
    would separate nuclei from stroma. Leaves out grey dirt, shadows, and ink that absorbs red or blue more than green.

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
