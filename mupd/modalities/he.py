"""H&E slides: where tissue is, how it is stained, whether a file is a usable H&E slide at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.config import IntakeLimits
from mupd.errors import UnusableError
from mupd.modalities.pictures import tissue_stain
from mupd.modalities.reasons import reason_of
from mupd.modalities.slides import READ_ERRORS, SlideReader, open_slide
from mupd.modalities.tiles import read_window, tissue_tiles
from mupd.modalities.tissue import OD_LEAST, od_above_background, stain_density, tissue_mask
from mupd.sheet import MPP_RANGE

__all__ = [
    "SlideReader",
    "check_he",
    "open_slide",
    "read_window",
    "stain_density",
    "tissue_mask",
    "tissue_tiles",
]

THUMBNAIL_PX = 1024
_PROBE_PX = 256

_DARK = 40
_WHITE = 235
_GREY_CHROMA = 0.03
_GREEN_SHARE_LEAST = 0.36


def _refuse_if_not_he(thumb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> dict[str, float]:
    """Raise unless colours are those of H&E; what single colours cannot tell apart passes.

    Haematoxylin with a weak or pale second stain (Congo red, weak DAB, PAS) looks like H&E here.
    """
    grey = thumb.mean(-1)
    dark = float((grey < _DARK).mean())
    if dark > 0.5:
        raise UnusableError(
            f"not H&E: {dark:.0%} of the picture is nearly black, as in fluorescence; "
            "expected bright-field (white background)"
        )
    densities = od_above_background(thumb)
    dense = densities.sum(0) > OD_LEAST
    if not dense.any() or (grey > _WHITE).mean() > 0.9995:
        raise UnusableError("no tissue: the picture is nearly white everywhere")
    chroma = float(np.mean((densities.max(0) - densities.min(0))[dense]))
    if chroma < _GREY_CHROMA:
        raise UnusableError(
            f"not H&E: no colour (optical densities of the channels differ by {chroma:.3f}, "
            f"under {_GREY_CHROMA}); greyscale or an unstained section"
        )
    mean = densities[:, dense].mean(1)
    share = float(mean[1] / mean.sum())
    if share < _GREEN_SHARE_LEAST:
        parts = ", ".join(f"{value:.2f}" for value in mean)
        raise UnusableError(
            f"not plausibly H&E: optical density in red, green, blue is {parts}; haematoxylin and eosin absorb green "
            f"most (its share is {share:.2f}, under {_GREEN_SHARE_LEAST}): another stain, or colours far off"
        )
    if not mask.any():
        raise UnusableError("no tissue found")
    return {"green_od_share": round(share, 3), "chroma_od": round(chroma, 3)}


def _decode_probe(reader: SlideReader) -> None:
    """Read tiles spread over level 0, the last corner among them: a truncated file fails here, not later."""
    width, height = reader.size_px
    side_x, side_y = min(_PROBE_PX, width), min(_PROBE_PX, height)
    for share_x, share_y in ((0, 0), (1, 0), (0.5, 0.5), (0.25, 0.75), (0.75, 0.25), (0, 1), (1, 1)):
        reader.read(int((width - side_x) * share_x), int((height - side_y) * share_y), side_x, side_y)


def _checked_mpp(reader: SlideReader) -> float:
    low, high = MPP_RANGE
    if reader.mpp is None:
        raise UnusableError("no micrometres per pixel in the file: give it as he_mpp in the sample sheet")
    if not low <= reader.mpp <= high:
        where = "the sheet" if reader.mpp_source == "sheet" else "the file"
        raise UnusableError(
            f"{reader.mpp:g} micrometres per pixel in {where}: expected {low} to {high:g}; state the right he_mpp"
        )
    return reader.mpp


def check_he(path: Path, mpp: float | None, limits: IntakeLimits) -> dict[str, Any]:
    """Whether a file is a usable H&E slide, and what is known of it.

    Returns
    -------
    Plain values: `size_px` [width, height], `mpp`, `mpp_source` (sheet, file), `file_mpp`, `format`,
    `tissue_mm2`, `tissue_fraction` (0-1), `haematoxylin_od` and `eosin_od` (means in tissue, decadic
    optical density), `green_od_share`, `chroma_od`.

    Raises
    ------
    UnusableError
        If it does not open, is truncated, has no plausible scale, too little tissue, or is not
        plausibly H&E; the message says what to do.
    """
    with open_slide(path, mpp) as reader:
        scale = _checked_mpp(reader)
        try:
            return _examine(reader, scale, limits)
        except READ_ERRORS as error:
            raise UnusableError(f"truncated or damaged: {reason_of(error, path)}") from error


def _examine(reader: SlideReader, scale: float, limits: IntakeLimits) -> dict[str, Any]:
    thumb = reader.thumbnail(THUMBNAIL_PX)
    _decode_probe(reader)
    mask = tissue_mask(thumb)
    colour = _refuse_if_not_he(thumb, mask)
    width, height = reader.size_px
    fraction = float(mask.mean())
    tissue_mm2 = fraction * width * height * scale**2 / 1e6
    if tissue_mm2 < limits.min_tissue_mm2:
        raise UnusableError(
            f"{tissue_mm2:.4f} mm2 of tissue at {scale:g} um/px, "
            f"under intake.min_tissue_mm2 = {limits.min_tissue_mm2:g}"
        )
    stain = tissue_stain(reader.read, reader.size_px, mask)
    return {
        "size_px": [width, height],
        "mpp": scale,
        "mpp_source": reader.mpp_source,
        "file_mpp": reader.file_mpp,
        "format": reader.format,
        "tissue_mm2": round(tissue_mm2, 4),
        "tissue_fraction": round(fraction, 4),
        "haematoxylin_od": _rounded(stain.haematoxylin_od),
        "eosin_od": _rounded(stain.eosin_od),
    } | colour


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
