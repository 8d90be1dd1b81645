"""Figures of agreement between what was imputed and the truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.model.nuclei import nuclei
from mupd.model_folder.geometry import TRAINED
from mupd.slides.tissue import stain_density, tissue_mask

Floats = NDArray[np.floating]
BOOTSTRAPS = 300


def correlation(a: Floats, b: Floats) -> float:
    """Pearson correlation of two vectors; 0 where one does not vary, for a constant predicts nothing."""
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / scale) if scale > 1e-12 else 0.0


def per_gene(predicted: Floats, truth: Floats, genes: NDArray[np.int64]) -> float:
    """Mean over genes (columns) of the correlation over rows; genes whose truth does not vary are left out."""
    a, b = predicted[:, genes].astype(np.float64), truth[:, genes].astype(np.float64)
    a, b = a - a.mean(0), b - b.mean(0)
    product, scale = (a * b).sum(0), np.sqrt((a**2).sum(0) * (b**2).sum(0))
    varying = (b**2).sum(0) > 0
    if not varying.any():
        return math.nan
    # A prediction that does not vary scores 0.
    return float(np.divide(product, scale, out=np.zeros_like(product), where=scale > 1e-12)[varying].mean())


def interval(figure: Callable[[NDArray[np.int64]], float], rows: int) -> str:
    """Bootstrap 95 % interval of a figure over its rows, in words; `figure` takes row numbers, with repetition."""
    rng = np.random.default_rng(0)
    values = [figure(rng.integers(rows, size=rows)) for _ in range(BOOTSTRAPS)]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return f"mupd's 95 % interval {low:.2f} to {high:.2f}"


_NUCLEI_BORDER_PX = 2
_MASK_REDUCTION = 8


@dataclass(frozen=True)
class Look:
    """What can be counted in an H&E picture.

    Attributes
    ----------
    haematoxylin
        Mean decadic optical density of haematoxylin.
    nuclei_mm2
        Nuclei per square millimetre; NaN where the picture's scale is not known.
    tissue
        Share of stained tissue, 0 to 1.
    """

    haematoxylin: float
    nuclei_mm2: float
    tissue: float


def look_of(rgb: NDArray[np.uint8], mpp: float | None) -> Look:
    """The look of a picture (rows, columns, 3), brought to the model's scale first if its own is known.

    Parameters
    ----------
    mpp
        Micrometres per pixel.
    """
    picture = Image.fromarray(rgb)
    if mpp is not None and mpp != TRAINED.mpp:
        size = [max(1, round(side * mpp / TRAINED.mpp)) for side in picture.size]
        picture = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture)
    reduced = picture.resize(
        (max(1, picture.width // _MASK_REDUCTION), max(1, picture.height // _MASK_REDUCTION)), Image.Resampling.BOX
    )
    density = math.nan
    if mpp is not None:
        inside = [max(1, side - 2 * _NUCLEI_BORDER_PX) for side in picture.size]
        density = len(nuclei(pixels, TRAINED.mpp)) / (inside[0] * inside[1] * TRAINED.mpp**2 / 1e6)
    return Look(float(stain_density(pixels)[0].mean()), density, float(tissue_mask(np.asarray(reduced)).mean()))


def mean_look(looks: list[Look]) -> Look:
    """Mean over pictures of one patient."""
    return Look(*(float(np.mean([getattr(look, name) for look in looks])) for name in Look.__dataclass_fields__))
