"""Checks of a generated H&E picture; it is read memory-mapped, a band of rows at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mupd.config import Config
from mupd.contracts.verdicts import NOT_MEASURED, Check, not_measured
from mupd.slides.stain_density import reduce_picture, tissue_stain
from mupd.stages.check.reference import Reference

REDUCED_PX = 1024
MIN_DYNAMIC_RANGE = 25.0
"""Least spread of grey levels (1st to 99th percentile, of 255) of the reduced picture: below it is flat."""
BORDER_PX = 64
"""Windows are denoised jointly with borders every so many pixels; a seam would lie on one of them."""
_MOST_BANDS = 64
_BAND_PX = 16


def seam_ratio(pixels: NDArray[np.uint8], border_px: int = BORDER_PX) -> float | None:
    """Mean grey-level step across window borders over the mean step elsewhere; 1 = no seams.

    Parameters
    ----------
    pixels
        (height, width, 3) uint8, may be memory-mapped; at most 64 bands of it are read each way.

    Returns
    -------
    The ratio, or None for a picture without borders or without any step.
    """
    height, width = pixels.shape[:2]
    border, elsewhere = [], []
    if width > border_px:
        on_border = (np.arange(1, width) % border_px) == 0
        for y in np.unique(np.linspace(0, max(0, height - _BAND_PX), _MOST_BANDS).astype(int)):
            grey = pixels[y : y + _BAND_PX].mean(axis=2, dtype=np.float32)
            steps = np.abs(np.diff(grey, axis=1))
            border.append(float(steps[:, on_border].mean()))
            elsewhere.append(float(steps[:, ~on_border].mean()))
    lines = np.arange(border_px, height, border_px)
    for y in lines[np.unique(np.linspace(0, len(lines) - 1, _MOST_BANDS).astype(int))] if len(lines) else []:
        # Rows lie together on disk: pairs of them at the border and half a window above it.
        for at, into in ((y, border), (y - border_px // 2, elsewhere)):
            pair = pixels[at - 1 : at + 1].mean(axis=2, dtype=np.float32)
            into.append(float(np.abs(pair[1] - pair[0]).mean()))
    if not border or not np.mean(elsewhere):
        return None
    return float(np.mean(border) / np.mean(elsewhere))


def _in_range(name: str, stain: str, value: float | None, limits: tuple[float, float] | None) -> Check:
    if limits is None:
        measured = NOT_MEASURED if value is None else round(value, 4)
        return Check(name, measured, "not measured: the model gives no range of its training tiles", None)
    if value is None:
        return not_measured(name, "no tissue to measure")
    low, high = limits
    sentence = (
        f"mean {stain} optical density {value:.3f} lies outside that of the training tiles, {low:.3f} to {high:.3f}"
    )
    ok = low <= value <= high
    return Check(name, round(value, 4), [low, high], ok, "" if ok else sentence)


def check_he(folder: Path, config: Config, reference: Reference) -> list[Check]:
    """Check ``pixels.npy`` of a draw.

    Raises
    ------
    OSError, ValueError, EOFError
        If the file is missing, cut short or no array.
    """
    from mupd.slides.tissue import tissue_mask

    pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    expected = (config.slide.height_px, config.slide.width_px, 3)
    right = pixels.shape == expected and pixels.dtype == np.uint8
    found = f"{' x '.join(str(side) for side in pixels.shape)} {pixels.dtype}"
    asked = f"{' x '.join(str(side) for side in expected)} uint8"
    size = Check("size", found, asked, right, "" if right else f"the picture is {found}, not {asked}")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        return [size]

    reduced = reduce_picture(pixels, REDUCED_PX)
    low, high = np.percentile(reduced.mean(axis=2), [1, 99])
    spread = float(high - low)
    flat = spread < MIN_DYNAMIC_RANGE
    mask = tissue_mask(reduced)
    fraction, least = float(mask.mean()), config.check.min_tissue_fraction
    bare = fraction < least
    stain = tissue_stain(lambda x, y, w, h: pixels[y : y + h, x : x + w], (pixels.shape[1], pixels.shape[0]), mask)
    seam = seam_ratio(pixels)
    return [
        size,
        Check(
            "dynamic_range",
            round(spread, 1),
            MIN_DYNAMIC_RANGE,
            not flat,
            f"the picture is flat: its grey levels span {spread:.0f} of 255, less than {MIN_DYNAMIC_RANGE:.0f}"
            if flat
            else "",
        ),
        Check(
            "tissue_fraction",
            round(fraction, 4),
            least,
            not bare,
            f"tissue covers {fraction:.1%} of the picture, less than {least:.1%} (check.min_tissue_fraction)"
            if bare
            else "",
        ),
        _in_range("haematoxylin_od", "haematoxylin", stain.haematoxylin_od, reference.haematoxylin_od),
        _in_range("eosin_od", "eosin", stain.eosin_od, reference.eosin_od),
        Check("seam_ratio", NOT_MEASURED if seam is None else round(seam, 3), "reported, 1 = no seams", None),
    ]
