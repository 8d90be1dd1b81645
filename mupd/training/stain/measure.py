"""How near a virtual stain comes to the measured one: correlation at patch and field level, structural similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from mupd.model.stainer import MuPDStainer

METRICS_FILE = "metrics.json"
DRAWS = 4
STEPS = 20
BATCH = 8
BOOTSTRAPS = 2000
SSIM_WINDOW_PX = 11
_FLAT = 1e-6

Stains = Sequence[NDArray[np.float32]]
"""Of each patch (h, w, channels), values of 0 to 255."""

Scores = dict[str, list[list[float]]]
"""{figure: mean, low and high of each channel}."""


class StainerMetrics(TypedDict):
    """Figures of a stainer, as in its metrics.json; `scores` by reading."""

    channels: list[str]
    pairs: int
    groups: int
    model: str
    scores: dict[str, Scores]


def pearson(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Correlation of two arrays of one size; NaN where one of them is flat."""
    from scipy.stats import pearsonr

    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(pearsonr(a, b).statistic) if a.std() * b.std() > _FLAT else float("nan")


def ssim(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Mean structural similarity (Wang et al. 2004) of two pictures (h, w) of values 0 to 255."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(a, b, data_range=255.0, win_size=SSIM_WINDOW_PX))


def patch_values(real: Stains, predicted: Stains) -> dict[str, NDArray[np.float64]]:
    """Figures (patches, channels) of each patch by itself; NaN where the measured patch is flat."""
    channels = range(real[0].shape[-1])
    pairs = list(zip(real, predicted, strict=True))
    return {
        "patch": np.array([[pearson(a[..., n], b[..., n]) for n in channels] for a, b in pairs]),
        "ssim": np.array([[ssim(a[..., n], b[..., n]) for n in channels] for a, b in pairs]),
    }


def field_values(real: Stains, predicted: Stains, groups: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Correlation (channels,) over all pixels of a field's patches together, for each field."""
    values = {}
    for group in dict.fromkeys(groups):
        rows = [n for n, own in enumerate(groups) if own == group]
        a = np.concatenate([real[n].reshape(-1, real[n].shape[-1]) for n in rows])
        b = np.concatenate([predicted[n].reshape(-1, predicted[n].shape[-1]) for n in rows])
        values[group] = np.array([pearson(a[:, n], b[:, n]) for n in range(a.shape[1])])
    return values


def interval(by_group: Mapping[str, NDArray[np.float64]], seed: int = 0) -> list[list[float]]:
    """Mean and 95 % interval of each channel (channels, 3), groups drawn with replacement.

    Parameters
    ----------
    by_group
        Of each group (n, channels); a mean is taken over all rows of the groups drawn, NaN left out.
    """
    names = list(by_group)
    sums = np.array([np.nansum(by_group[name], axis=0) for name in names])
    counts = np.array([np.isfinite(by_group[name]).sum(axis=0) for name in names])
    drawn = np.random.default_rng(seed).integers(len(names), size=(BOOTSTRAPS, len(names)))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums[drawn].sum(1) / counts[drawn].sum(1)
        mean = sums.sum(0) / counts.sum(0)
        low, high = np.nanquantile(means, [0.025, 0.975], axis=0)
    return [[round(float(value), 4) for value in row] for row in np.stack([mean, low, high], axis=1)]


def score(real: Stains, predicted: Stains, groups: Sequence[str]) -> Scores:
    """Mean and 95 % interval over groups of each figure and channel: ``patch``, ``field``, ``ssim``."""
    each = patch_values(real, predicted)
    rows = {group: [n for n, own in enumerate(groups) if own == group] for group in dict.fromkeys(groups)}
    scores = {name: interval({group: values[own] for group, own in rows.items()}) for name, values in each.items()}
    scores["field"] = interval({group: values[None] for group, values in field_values(real, predicted, groups).items()})
    return scores


def stained(stainer: MuPDStainer, he: Sequence[NDArray[np.uint8]], *, seed: int, steps: int) -> list[NDArray[np.uint8]]:
    """The stains of patches of any sizes, those of one size together."""
    stains: list[NDArray[np.uint8] | None] = [None] * len(he)
    for shape in dict.fromkeys(picture.shape for picture in he):
        same = [n for n, picture in enumerate(he) if picture.shape == shape]
        for start in range(0, len(same), BATCH):
            chosen = same[start : start + BATCH]
            pictures = stainer.stain_windows(np.stack([he[n] for n in chosen]), seed=seed + start, steps=steps)
            for n, picture in zip(chosen, pictures, strict=True):
                stains[n] = picture
    return [picture for picture in stains if picture is not None]


def readings(
    stainer: MuPDStainer, he: Sequence[NDArray[np.uint8]], draws: int = DRAWS, steps: int = STEPS
) -> dict[str, list[NDArray[np.float32]]]:
    """Three ways to read a stainer: one draw, the mean of some draws, and its expectation in one step."""
    single = [stained(stainer, he, seed=1000 * (draw + 1), steps=steps) for draw in range(draws)]
    mean = [np.asarray(np.mean([draw[n] for draw in single], axis=0), np.float32) for n in range(len(he))]
    return {
        "one draw": [picture.astype(np.float32) for picture in single[0]],
        f"mean of {draws} draws": mean,
        "one step": [picture.astype(np.float32) for picture in stained(stainer, he, seed=0, steps=1)],
    }


def measure_stainer(
    stainer: MuPDStainer, pairs: Sequence[NDArray[np.uint8]], groups: Sequence[str], draws: int = DRAWS
) -> StainerMetrics:
    """Figures of a stainer on held-out pairs (h, w, 3 + channels), sides multiples of 16."""
    real = [pair[..., 3:].astype(np.float32) for pair in pairs]
    pictures = readings(stainer, [pair[..., :3] for pair in pairs], draws)
    return {
        "channels": list(stainer.channels),
        "pairs": len(pairs),
        "groups": len(set(groups)),
        "model": stainer.sha256[:12],
        "scores": {name: score(real, own, groups) for name, own in pictures.items()},
    }
