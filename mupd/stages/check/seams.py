"""The check for seams, of generated slides and of virtual stains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.contracts.verdicts import Check, not_measured
from mupd.model_folder.geometry import Geometry, evaluations
from mupd.slides.seams import measure_seams


def seam_check(
    pixels: NDArray[np.uint8], geometry: Geometry, settings: Mapping[str, Any], mpp: float | None = None
) -> Check:
    """Grey-level steps where the sampler's last windows met, over those at other lines; reported, not judged.

    Parameters
    ----------
    pixels
        (height, width, channels) uint8, may be memory-mapped.
    settings
        That the draw was made with (:attr:`mupd.contracts.draws.DrawMeta.settings`): solver and steps tell where the
        last windows met.
    mpp
        Micrometres per pixel of `pixels`; None: the model's own.
    """
    if not {"solver", "steps"} <= set(settings):
        return not_measured("seam_ratio", "the draw does not state its solver and steps")
    last = evaluations(settings["solver"], settings["steps"]) - 1
    seams = measure_seams(pixels, geometry, last, mpp)
    if seams is None:
        return not_measured("seam_ratio", "no borders of windows in the picture")
    return Check("seam_ratio", round(seams.ratio, 3), "reported, 1 = no seams", None)
