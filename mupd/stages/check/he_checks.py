"""Checks of a generated H&E picture; it is read memory-mapped, a band of rows at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mupd.config import Config
from mupd.contracts.verdicts import NOT_MEASURED, Check, not_measured
from mupd.model_folder.geometry import read_geometry
from mupd.slides.stain_density import reduce_picture, tissue_stain
from mupd.stages.check.reference import Reference
from mupd.stages.check.seams import seam_check

REDUCED_PX = 1024
MIN_DYNAMIC_RANGE = 25.0
"""Least spread of grey levels (1st to 99th percentile, of 255) of the reduced picture: below it is flat."""


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


def check_he(folder: Path, config: Config, reference: Reference, settings: Mapping[str, Any]) -> list[Check]:
    """Check ``pixels.npy`` of a draw.

    Parameters
    ----------
    settings
        That the draw was made with (:attr:`mupd.contracts.draws.DrawMeta.settings`): solver and steps tell where the
        last windows met.

    Raises
    ------
    OSError, ValueError, EOFError
        If the file is missing, cut short or no array.
    """
    from mupd.slides.tissue import tissue_mask

    pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    expected = (config.slide.height_px, config.slide.width_px, 3)
    right = pixels.shape == expected and pixels.dtype == np.uint8
    shape = f"{' x '.join(str(side) for side in pixels.shape)} {pixels.dtype}"
    asked = f"{' x '.join(str(side) for side in expected)} uint8"
    size = Check("size", shape, asked, right, "" if right else f"the picture is {shape}, not {asked}")
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
    seams = seam_check(pixels, read_geometry(Path(config.model)), settings, config.slide.mpp)
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
        seams,
    ]
