"""Checks that a slide shows a sharp, well exposed H&E section: colours, focus, exposure, pen marks.

Every limit was set on real tiles. docs/intake.md lists them, and what the limits refuse and accept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from mupd.errors import UnusableError
from mupd.slides.fill import fill_mask
from mupd.slides.tissue import OD_LEAST, od_above_background, optical_density, planes

FOCUS_LEAST = 0.17
"""Least :func:`focus_of` of a sharp window."""

SHARP_SHARE_LEAST = 0.25
"""Least share of sharp windows. A slide may have blurred regions, but not be blurred nearly everywhere."""

_FOCUS_MPP = 0.5
_FOCUS_SIDE_PX, _FOCUS_LEAST_SIDE_PX = 256, 64
_FOCUS_SIGMAS_PX = (1.0, 3.9)
_FLAT_GREY_LEVELS = 0.5

_CLIPPED_MOST = 0.5
_DARK_GREY, _DARK_SHARE_MOST = 40, 0.5
_FILL_MOST, _SCANNED_GREY_LEAST = 0.99, 70
_WHITE_GREY = 235
_CHROMA_LEAST = 0.03
_GREEN_SHARE_LEAST = 0.36
_STAINED_OD = 0.3
# Of dense tumour, 4 % is pink; of haematoxylin alone nothing.
_PINK_LEAST, _PINK_FEW = 0.015, 0.05
_TINTED_OD_MOST = 0.6
_BROWN_LEAST, _BROWN_LEAST_OF_FEW, _BROWN_TO_PINK_MOST = 0.03, 0.003, 0.3
# Diaminobenzidine on haematoxylin absorbs blue nearly as much as green; H&E hardly ever does.
_BLUE_TO_GREEN, _MUCH_BLUE_MOST = 0.9, 0.15

_PEN_UM = 16.0
_PEN_LEAST_MM2 = 0.05
_PEN_PICTURE_LEAST_MM = 1.5


@dataclass(frozen=True)
class Colour:
    """Colours of a reduced picture.

    Attributes
    ----------
    green_od_share
        Share of green in the optical density of the foreground.
    chroma_od
        Mean difference between the channels' optical densities in the foreground.
    brown_share, pink_share
        Shares of the clearly stained pixels that absorb blue most (as diaminobenzidine does) and green most (as eosin
        does, alone or with haematoxylin).
    much_blue_share
        Share of the clearly stained pixels that absorb blue at least nearly as much as green, as diaminobenzidine
        does, also on haematoxylin.
    """

    green_od_share: float
    chroma_od: float
    brown_share: float
    pink_share: float
    much_blue_share: float


def colour_of(densities: NDArray[np.float32]) -> Colour | None:
    """Colours of (3, rows, columns) densities above background; None if nothing is stained."""
    red, green, blue = densities
    dense = red + green + blue > OD_LEAST
    if not dense.any():
        return None
    mean = np.array([plane[dense].mean() for plane in densities])
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    chroma = float(np.mean(spread[dense]))
    # Smooth first: colours of single JPEG pixels are noisy.
    red, green, blue = (ndimage.uniform_filter(plane, 3) for plane in densities)
    stained = red + green + blue > _STAINED_OD
    count = max(1, int(stained.sum()))
    brown = stained & (blue > 1.1 * green) & (red > 0.3 * green)
    pink = stained & (green > 1.15 * red) & (green > 1.15 * blue)
    much_blue = stained & (blue > _BLUE_TO_GREEN * green) & (red > 0.3 * green)
    shares = (float(pixels.sum() / count) for pixels in (brown, pink, much_blue))
    return Colour(float(mean[1] / mean.sum()), chroma, *shares)


def refuse_if_not_he(thumb: NDArray[np.uint8], densities: NDArray[np.float32]) -> Colour:
    """Raise UnusableError unless the colours are those of H&E. PAS and Congo red cannot be distinguished and pass.

    Parameters
    ----------
    thumb
        (rows, columns, 3) uint8, the whole slide reduced.
    densities
        :func:`mupd.slides.tissue.od_above_background` of it.
    """
    grey = np.asarray(Image.fromarray(thumb).convert("L"))
    fill = fill_mask(thumb, optical_density(thumb))
    if fill.mean() > _FILL_MOST and np.median(grey) >= _DARK_GREY:
        raise UnusableError(f"no tissue: {fill.mean():.0%} of the picture is fill of one colour outside a scan")
    scanned = grey if fill.all() else grey[~fill]
    dark = float((scanned < _DARK_GREY).mean())
    # Black around a bright-field scan is fill. Fluorescence is dark where it is not black, too.
    if dark > _DARK_SHARE_MOST or (fill.any() and float(np.median(scanned)) < _SCANNED_GREY_LEAST):
        black = float((grey < _DARK_GREY).mean())
        raise UnusableError(
            f"not H&E: {black:.0%} of the picture is nearly black, as in fluorescence; "
            "expected bright-field (white background)"
        )
    if (grey > _WHITE_GREY).mean() > 0.9995:
        raise UnusableError("no tissue: the picture is nearly white everywhere")
    colour = colour_of(densities)
    if colour is None:
        raise UnusableError("no tissue: the picture has one colour everywhere")
    if colour.chroma_od < _CHROMA_LEAST:
        raise UnusableError(
            f"not H&E: no colour (optical densities of the channels differ by {colour.chroma_od:.3f}, "
            f"under {_CHROMA_LEAST}); greyscale or an unstained section"
        )
    problem = _other_stain(colour)
    if problem is None:
        return colour
    # Under a tinted lamp or a wrong white balance the tint of the background is in every pixel.
    tinted = colour_of(od_above_background(thumb, most_background=_TINTED_OD_MOST))
    if tinted is None or _other_stain(tinted) is not None:
        swapped = colour_of(densities[::-1])
        hint = "; or red and blue are swapped (BGR stored as RGB)" if swapped and not _other_stain(swapped) else ""
        raise UnusableError(f"not plausibly H&E: {problem}{hint}")
    return tinted


def _other_stain(colour: Colour) -> str | None:
    """The evidence against haematoxylin and eosin, in words; None if there is none."""
    brown_least = _BROWN_LEAST if colour.pink_share >= _PINK_FEW else _BROWN_LEAST_OF_FEW
    if colour.brown_share > brown_least and colour.brown_share > _BROWN_TO_PINK_MOST * colour.pink_share:
        return (
            f"{colour.brown_share:.1%} of the stained area is brown and {colour.pink_share:.1%} pink, as in "
            "immunohistochemistry (diaminobenzidine); give the H&E section of the case"
        )
    if colour.much_blue_share > _MUCH_BLUE_MOST:
        return (
            f"{colour.much_blue_share:.0%} of the stained area absorbs blue as much as green, over "
            f"{_MUCH_BLUE_MOST:.0%}, as in immunohistochemistry (diaminobenzidine on haematoxylin); "
            "give the H&E section of the case"
        )
    if colour.green_od_share < _GREEN_SHARE_LEAST:
        return (
            "haematoxylin and eosin absorb green most, and here its share of the optical density is "
            f"{colour.green_od_share:.2f}, under {_GREEN_SHARE_LEAST}: another stain, or colours far off"
        )
    if colour.pink_share < _PINK_LEAST:
        return (
            f"{colour.pink_share:.1%} of the stained area is pink, under {_PINK_LEAST:.1%}: no eosin, as where "
            "haematoxylin is the counterstain (immunohistochemistry, in-situ hybridisation)"
        )
    return None


def _detail(grey: NDArray[np.float32]) -> float | None:
    """Fine detail relative to coarser detail; None if there is neither."""
    fine = ndimage.gaussian_filter(grey, _FOCUS_SIGMAS_PX[0], truncate=3)
    coarse = ndimage.gaussian_filter(fine, _FOCUS_SIGMAS_PX[1], truncate=3)
    band = float((fine - coarse).std())
    return float((grey - fine).std()) / band if band > _FLAT_GREY_LEVELS else None


def focus_of(tile: NDArray[np.uint8], mpp: float) -> float | None:
    """The sharpness of a window of tissue: fine detail (under 1 um) over detail of nuclei (1 to 4 um), 0.2 to 1.4.

    Stain and contrast cancel out in this ratio of two bands. It is computed at 0.5 um/px (or the slide's own scale, if
    coarser) and at half that resolution. The lesser value counts, because JPEG noise is the finest detail of a
    strongly blurred picture.

    Parameters
    ----------
    tile
        (rows, columns, 3) uint8; only the middle 128 um are used.
    mpp
        Micrometres per pixel of the tile.

    Returns
    -------
    The ratio, 0 for a window without any detail, or None if the tile is too small.
    """
    factor = max(1.0, _FOCUS_MPP / mpp)
    image = Image.fromarray(tile).convert("L")
    side = min(round(_FOCUS_SIDE_PX * factor), *image.size)
    target = round(side / factor) // 2 * 2
    if target < _FOCUS_LEAST_SIDE_PX:
        return None
    left, top = (image.size[0] - side) // 2, (image.size[1] - side) // 2
    image = image.resize((target, target), Image.Resampling.BOX, box=(left, top, left + side, top + side))
    ratios = [_detail(np.asarray(one, np.float32)) for one in (image, image.reduce(2))]
    return min(ratio or 0.0 for ratio in ratios)


def refuse_if_blurred(focus: Sequence[float]) -> tuple[float, float]:
    """Median focus and the share of blurred windows; raises UnusableError if too few are sharp.

    Parameters
    ----------
    focus
        :func:`focus_of` of windows of tissue, at least one.
    """
    values = np.asarray(focus)
    blurred = float((values < FOCUS_LEAST).mean())
    if 1 - blurred < SHARP_SHARE_LEAST:
        raise UnusableError(
            f"out of focus: {blurred:.0%} of {len(values)} windows of tissue lack fine detail (median "
            f"{np.median(values):.2f}, sharp is {FOCUS_LEAST:g} or more); scan the slide again, or correct he_mpp "
            "if it is too small"
        )
    return float(np.median(values)), blurred


def clipped_share(tile: NDArray[np.uint8]) -> float:
    """Share of a tile's pixels, without glass, that have a channel at 0 or 255: over- or underexposed."""
    red, green, blue = planes(tile)
    low, high = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
    tissue = low < _WHITE_GREY - 15
    return float(((low == 0) | (high == 255))[tissue].mean()) if tissue.any() else 0.0


def refuse_if_clipped(shares: Sequence[float]) -> float:
    """Mean of :func:`clipped_share` over tiles; raises UnusableError if most of the tissue is clipped."""
    share = float(np.mean(shares))
    if share > _CLIPPED_MOST:
        raise UnusableError(
            f"saturated: {share:.0%} of the tissue's pixels have a channel at 0 or 255: over- or underexposed, or "
            "its contrast was stretched; give the picture as it was scanned"
        )
    return share


def pen_marks(
    thumb: NDArray[np.uint8], densities: NDArray[np.float32], um_per_px: float
) -> tuple[NDArray[np.bool_], dict[str, float]]:
    """Pen marks on a reduced slide, and the share of the picture that each colour of ink covers.

    Ink is recognised by its colour in connected areas of at least 0.05 mm2. Blue and green ink absorb red far more
    than haematoxylin does; red ink absorbs almost no red and much blue; black ink absorbs all colours equally.
    Pictures under 1.5 mm per side are not examined, because pigment looks like ink there.

    Parameters
    ----------
    thumb, densities
        (rows, columns, 3) uint8 and its densities above background, (3, rows, columns).
    um_per_px
        Micrometres per pixel of `thumb`.

    Returns
    -------
    (rows, columns) bool, and {colour: share}, with the colours ``blue``, ``green``, ``black`` and ``red``.
    """
    rows, columns = thumb.shape[:2]
    nothing = np.zeros((rows, columns), bool)
    if min(rows, columns) * um_per_px < _PEN_PICTURE_LEAST_MM * 1000:
        return nothing, {}
    factor = max(1, int(_PEN_UM / um_per_px))
    high, wide = rows // factor, columns // factor
    red, green, blue = (
        densities[:, : high * factor, : wide * factor].reshape(3, high, factor, wide, factor).mean((2, 4))
    )
    total = red + green + blue
    most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    inks = {
        "blue": (red > 1.2 * green) & (blue <= 1.05 * green) & (total > 0.4),
        "green": (red > 1.3 * green) & (blue > 1.05 * green) & (total > 0.4),
        "black": (least > 0.55) & (most - least < 0.25 * most),
        "red": (red < 0.25 * green) & (blue > 0.7 * green) & (green > 0.6),
    }
    least_px = max(2.0, _PEN_LEAST_MM2 * 1e6 / (um_per_px * factor) ** 2)
    pen = np.zeros((high, wide), bool)
    shares = {}
    for colour, ink in inks.items():
        labels, count = ndimage.label(ink, np.ones((3, 3)))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        large = sizes >= least_px
        large[0] = False
        marks = large[labels]
        if marks.any():
            shares[colour] = round(float(marks.mean()), 4)
            pen |= marks
    if not shares:
        return nothing, {}
    # Include the pale rim of a stroke.
    pen = ndimage.binary_dilation(pen, iterations=2)
    nothing[: high * factor, : wide * factor] = pen.repeat(factor, 0).repeat(factor, 1)
    return nothing, shares
