"""Figures in the features of a fixed encoder: how far generated H&E is from real H&E."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.model.bench import Bench, reconstructed
from benchmarks.stats import Figure, Metrics, frechet_distance, half_samples, kernel_distance
from mupd.base.progress import track
from mupd.model.encoders import lite_network
from mupd.training.public.read import (
    HELD_OUT_SECTION,
    HER2ST_MPP,
    read_her2st_counts,
    read_her2st_section,
    tissue_windows,
)
from mupd.training.public.spots import windows_at

_PITCH_PX = 200 / HER2ST_MPP
_COMPONENTS = 32


class JudgeEncoder:
    """EfficientNet-Lite1 with ImageNet weights, not used in any training: 1,280 features of a window.

    The model's own conditions come from EfficientNet-Lite0, another network.
    """

    name = "EfficientNet-Lite1"
    dim = 1280

    @cached_property
    def network(self) -> Any:
        """The network; its package holds the weights."""
        return lite_network("lite1").to(memory_format=torch.channels_last)

    def __call__(self, windows: NDArray[np.uint8], batch_size: int = 8) -> NDArray[np.float32]:
        """Features (n, 1280) of windows (n, h, w, 3), averaged over places."""
        rows = []
        with torch.inference_mode():
            for start in range(0, len(windows), batch_size):
                pixels = torch.from_numpy(np.ascontiguousarray(windows[start : start + batch_size]))
                images = (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
                rows.append(self.network.extract_features(images).mean((2, 3)).numpy())
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)


def _features(bench: Bench, encoder: JudgeEncoder) -> dict[str, NDArray[np.float32]]:
    """(n, 1280) of each set of windows."""
    section, size = bench.section, bench.effort.most_spots or "all"
    between = np.clip(section.xy_px + _PITCH_PX / 2, 70, np.array(section.image.shape[1::-1]) - 70)
    other_name = bench.plan.sections[-1]

    def other() -> NDArray[np.float32]:
        spots = bench.plan.spots(other_name)
        return encoder(windows_at(spots.image, spots.xy_px[: bench.effort.most_spots]))

    return {
        "real": bench.cached_real(f"lite1-spots-{size}", lambda: encoder(bench.real)),
        "between": bench.cached_real(f"lite1-between-{size}", lambda: encoder(windows_at(section.image, between))),
        "other": bench.cached_real(f"lite1-{other_name}-{size}", other),
        "generated": bench.cached("lite1-own", lambda: encoder(bench.generated())),
        "shuffled": bench.cached("lite1-shuffled", lambda: encoder(bench.shuffled())),
        "reconstructed": bench.cached("lite1-vae", lambda: encoder(reconstructed(bench.pipeline, bench.real))),
    }


def _principal(
    rows: NDArray[np.float32],
) -> tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], tuple[int, float]]:
    """Projection to the leading principal components of `rows`; how many, and their share of the variance."""
    from sklearn.decomposition import PCA

    pca = PCA(min(_COMPONENTS, *rows.shape), random_state=0).fit(rows)
    return pca.transform, (int(pca.n_components_), float(pca.explained_variance_ratio_.sum()))


def measure_distances(bench: Bench) -> Metrics:
    """Frechet and kernel distance of generated windows from the real ones, beside floors and controls.

    The Frechet distance is taken over the leading principal components of the training windows'
    features: over all 1,280 its bias at a hundred windows is larger than any difference.
    """
    encoder = JudgeEncoder()
    features = _features(bench, encoder)
    project, kept = _principal(np.concatenate([_training_windows(bench, encoder, n)[1] for n in bench.plan.sections]))
    real = features["real"]
    sets = {
        f"real: places between the spots of {HELD_OUT_SECTION}": features["between"],
        f"real: section {bench.plan.sections[-1]}": features["other"],
        "autoencoder alone": features["reconstructed"],
        "conditions shuffled": features["shuffled"],
    }
    size = min(len(real), *(len(rows) for rows in sets.values())) // 2
    components = f"{kept[0]} principal components ({100 * kept[1]:.0f} % of the variance) of the training windows' "
    kinds: dict[str, tuple[str, str, Callable[..., float]]] = {
        "Frechet distance": (
            components,
            "biased upward by few windows, alike in all these",
            lambda a, b: frechet_distance(project(a), project(b)),
        ),
        "kernel distance x 1000": ("", "unbiased: about 0 for two sets of one distribution", kernel_distance),
    }
    metrics: Metrics = {}
    for name, (over, remark, distance) in kinds.items():
        value, interval = half_samples(distance, features["generated"], real, size)
        figure = Figure(
            value,
            f"{over}features of {encoder.name} (in no part of training), windows generated from the RNA of spots "
            f"against the {len(real)} real windows of {HELD_OUT_SECTION}; "
            f"mean over random halves of {size} of either; {remark}",
            interval,
            len(real),
            {other: half_samples(distance, rows, real, size) for other, rows in sets.items()},
        )
        metrics[f"RNA to H&E: {name}"] = figure.entry()
    return metrics


def training_picture(bench: Bench, name: str) -> NDArray[np.uint8]:
    """Picture of a section.

    Raises
    ------
    FileNotFoundError
        If it has none.
    """
    image = read_her2st_section(bench.plan.her2st, name).image
    if image is None:
        raise FileNotFoundError(f"{bench.plan.her2st / 'images' / (name + '.jpg')}: this section has no picture")
    return image


def _training_windows(bench: Bench, encoder: JudgeEncoder, name: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Corners (n, 2) as y, x and features (n, 1280) of a training section: around spots, and over its tissue."""

    def corners() -> NDArray[np.int64]:
        image = training_picture(bench, name)
        around = np.rint(read_her2st_counts(bench.plan.her2st, name)[0][:, ::-1]).astype(np.int64) - 64
        inside = ((around >= 0) & (around + 128 <= np.array(image.shape[:2]))).all(1)
        places = np.concatenate([around[inside], tissue_windows(image, 128, 128)])
        limit = bench.effort.most_spots
        return places if limit is None else places[:limit]

    def features() -> NDArray[np.float32]:
        image = training_picture(bench, name)
        batches = np.array_split(places, max(1, len(places) // 32))
        return np.concatenate(
            [encoder(windows_at(image, batch[:, ::-1] + 64)) for batch in track(batches, f"features of {name}")]
        )

    size = bench.effort.most_spots or "all"
    places = bench.cached_real(f"lite1-train-{name}-places-{size}", corners)
    return places, bench.cached_real(f"lite1-train-{name}-{size}", features)
