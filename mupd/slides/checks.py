"""Whether a file is a usable H&E slide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.base.messages import reason_of
from mupd.config import IntakeLimits
from mupd.config.section import MPP_RANGE
from mupd.errors import UnusableError
from mupd.slides.channels import swapped_channels_caution
from mupd.slides.fill import fill_mask
from mupd.slides.foreign import with_advice
from mupd.slides.quality import (
    clipped_share,
    focus_of,
    pen_marks,
    refuse_if_blurred,
    refuse_if_clipped,
    refuse_if_not_he,
)
from mupd.slides.reader import READ_ERRORS, THUMBNAIL_PX, open_slide, thumbnail_once
from mupd.slides.slide_reader import SlideReader
from mupd.slides.stain_density import read_windows, stain_of, tissue_windows
from mupd.slides.tissue import mask_of_densities, od_above_background, optical_density

_PROBE_PX = 8
_WINDOWS = 8
_STAIN_STEP_PX = 2
_TILE_FILL_MOST, _FILL_NAMED_LEAST = 0.1, 0.01
_MOST_SCREEN_DPI_UM = 20.0
_MOST_SCALE_RATIO = 1.1


@dataclass(frozen=True)
class Tissue:
    """A reduced slide and its tissue.

    Attributes
    ----------
    thumb
        (rows, columns, 3) uint8.
    densities
        (3, rows, columns) optical densities above background, 0 on pen marks.
    mask
        (rows, columns) bool: tissue without pen marks.
    pen
        Share of the picture (0-1) that each colour of ink covers.
    fill_share
        Share of the picture (0-1) that is fill outside the scan.
    """

    thumb: NDArray[np.uint8]
    densities: NDArray[np.float32]
    mask: NDArray[np.bool_]
    pen: dict[str, float]
    fill_share: float


def find_tissue(thumb: NDArray[np.uint8], size_px: tuple[int, int], mpp: float | None) -> Tissue:
    """Find tissue and, if the scale is known, pen marks in a reduced slide.

    Parameters
    ----------
    thumb
        (rows, columns, 3) uint8.
    size_px, mpp
        Width and height of level 0, and its micrometres per pixel.
    """
    densities = od_above_background(thumb)
    mask = mask_of_densities(densities)
    pen: dict[str, float] = {}
    if mpp is not None:
        marks, pen = pen_marks(thumb, densities, mpp * size_px[0] / thumb.shape[1])
        mask &= ~marks
        densities[:, marks] = 0
    fill = fill_mask(thumb, optical_density(thumb))
    return Tissue(thumb, densities, mask, pen, float(fill.mean()))


def _with_white_fill(tile: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """A tile with its fill in white, and the share of fill (0-1)."""
    fill = fill_mask(tile, optical_density(tile))
    return np.where(fill[..., None], np.uint8(255), tile), float(fill.mean())


def _decode_probe(reader: SlideReader, mask: NDArray[np.bool_]) -> None:
    """Read some places of every level, including corners and tissue, so that damaged tiles fail here and not later."""
    shares = [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5)]
    tissue = np.argwhere(mask)
    for row, column in tissue[:: max(1, len(tissue) // 3)][:3]:
        shares.append((float(column) / mask.shape[1], float(row) / mask.shape[0]))
    for level, (width, height) in enumerate(reader.level_sizes_px):
        side_x, side_y = min(_PROBE_PX, width), min(_PROBE_PX, height)
        for share_x, share_y in shares:
            reader.read_level(level, int((width - side_x) * share_x), int((height - side_y) * share_y), side_x, side_y)


def _checked_mpp(reader: SlideReader, sheet_wins: bool) -> float:
    low, high = MPP_RANGE
    if reader.mpp is None:
        stated = reader.scale_not_length
        what = f"the file states {stated}, which is no length" if stated else "no micrometres per pixel in the file"
        raise UnusableError(f"{what}: give it as he_mpp in the sample sheet")
    if not low <= reader.mpp <= high:
        where = "the sheet" if reader.mpp_source == "sheet" else "the file"
        screen = reader.mpp_source == "file" and reader.mpp > _MOST_SCREEN_DPI_UM
        raise UnusableError(
            f"{reader.mpp:g} micrometres per pixel in {where}: expected {low} to {high:g}"
            + (f" ({25400 / reader.mpp:.0f} dpi is a screen's or printer's resolution)" if screen else "")
            + "; state the right he_mpp"
        )
    in_file = reader.file_mpp
    # What no scanner has, such as a screen's resolution, does not speak against the sheet.
    if in_file is None or not low <= in_file <= high or sheet_wins:
        return reader.mpp
    if max(in_file, reader.mpp) > _MOST_SCALE_RATIO * min(in_file, reader.mpp):
        raise UnusableError(
            f"the sheet's he_mpp is {reader.mpp:g}, the file states {in_file:g} micrometres per pixel: leave he_mpp "
            "empty if the file is right; if the sheet is right, set intake.he_mpp_over_file to true"
        )
    return reader.mpp


def check_he(path: Path, mpp: float | None, limits: IntakeLimits) -> dict[str, Any]:
    """Check that a file is a usable H&E slide, and describe it.

    Returns
    -------
    Plain values: `size_px` [width, height], `levels`, `mpp`, `mpp_source` (sheet, file), `file_mpp`, `format`,
    `tissue_mm2`, `tissue_fraction` (0-1), `fill_fraction` (fill outside the scan, 0-1), `cautions` (what a person
    should know of a slide that is accepted), `pen` (share of the picture by colour of ink), `focus` and
    `blurred_fraction` of its windows of tissue (see :mod:`mupd.slides.quality`; None if the picture is too small),
    `clipped_fraction`, `haematoxylin_od` and `eosin_od` (means in tissue, decadic optical density), `green_od_share`,
    `chroma_od`, `brown_fraction`, `pink_fraction`.

    Raises
    ------
    UnusableError
        If the file does not open, is truncated, has no plausible scale, has too little tissue, is out of focus or
        saturated, or is not plausibly H&E. The message says what to do.
    """
    with open_slide(path, mpp) as reader:
        scale = _checked_mpp(reader, limits.he_mpp_over_file)
        try:
            return _examine(path, reader, scale, limits)
        except READ_ERRORS as error:
            raise UnusableError(with_advice(f"truncated or damaged: {reason_of(error, path)}", path)) from error


def _examine(path: Path, reader: SlideReader, scale: float, limits: IntakeLimits) -> dict[str, Any]:
    tissue = find_tissue(thumbnail_once(path, reader, THUMBNAIL_PX), reader.size_px, scale)
    _decode_probe(reader, tissue.mask)
    if tissue.pen and not tissue.mask.any():
        raise UnusableError(_too_little(tissue, 0.0, scale, limits))
    colour = refuse_if_not_he(tissue.thumb, tissue.densities)
    width, height = reader.size_px
    fraction = float(tissue.mask.mean())
    tissue_mm2 = fraction * width * height * scale**2 / 1e6
    if not tissue.mask.any() or tissue_mm2 < limits.min_tissue_mm2:
        raise UnusableError(_too_little(tissue, tissue_mm2, scale, limits))
    origins = tissue_windows(tissue.mask, reader.size_px, _WINDOWS)
    tiles = list(read_windows(reader.read, reader.size_px, origins))
    whitened = [_with_white_fill(tile) for tile in tiles]
    tiles = [tile for tile, (_, fill) in zip(tiles, whitened, strict=True) if fill <= _TILE_FILL_MOST] or tiles
    clipped = refuse_if_clipped([clipped_share(tile) for tile, _ in whitened])
    sharpness = [focus for tile in tiles if (focus := focus_of(tile, scale)) is not None]
    focus, blurred = refuse_if_blurred(sharpness) if sharpness else (None, None)
    stain = stain_of(tiles, _STAIN_STEP_PX)
    cautions = [caution] if (caution := swapped_channels_caution(tiles)) else []
    if tissue.fill_share > _FILL_NAMED_LEAST:
        cautions.append(f"{tissue.fill_share:.0%} of the picture is fill outside the scan: taken as no tissue")
    return {
        "size_px": [width, height],
        "levels": len(reader.level_sizes_px),
        "mpp": scale,
        "mpp_source": reader.mpp_source,
        "file_mpp": reader.file_mpp,
        "format": reader.format,
        "tissue_mm2": round(tissue_mm2, 4),
        "tissue_fraction": round(fraction, 4),
        "pen": tissue.pen,
        "fill_fraction": round(tissue.fill_share, 4),
        "cautions": cautions,
        "focus": _rounded(focus),
        "blurred_fraction": _rounded(blurred),
        "clipped_fraction": round(clipped, 4),
        "haematoxylin_od": _rounded(stain.haematoxylin_od),
        "eosin_od": _rounded(stain.eosin_od),
        "green_od_share": round(colour.green_od_share, 3),
        "chroma_od": round(colour.chroma_od, 3),
        "brown_fraction": round(colour.brown_share, 3),
        "pink_fraction": round(colour.pink_share, 3),
    }


def _too_little(tissue: Tissue, tissue_mm2: float, scale: float, limits: IntakeLimits) -> str:
    pen = ", ".join(f"{colour} {share:.1%}" for colour, share in tissue.pen.items())
    beside = f" beside marks of a pen ({pen} of the picture)" if pen else ""
    if not tissue.mask.any():
        return f"no tissue found{beside}"
    return (
        f"{tissue_mm2:.4f} mm2 of tissue at {scale:g} um/px{beside}, "
        f"under intake.min_tissue_mm2 = {limits.min_tissue_mm2:g}"
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
