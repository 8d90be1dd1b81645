"""Figures of copying: whether generated windows occur in the pictures that were trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.model.bench import Bench, reconstructed
from benchmarks.model.distances import training_picture
from benchmarks.model.search import REDUCTION, best_matches
from benchmarks.stats import Figure, Metrics, bootstrap
from mupd.base.files import atomic_path
from mupd.model_folder.geometry import TRAINED
from mupd.training.public.read import HELD_OUT_SECTION
from mupd.training.public.spots import windows_at

_PAIRS = 8
_COPIES = 32
_MOVED_PX = 12


def _search(bench: Bench, windows: NDArray[np.uint8], sections: tuple[str, ...]) -> NDArray[np.float64]:
    """(n, 4) of each window: distance of its best match, which section it is in, and its corner y, x."""
    best = np.full((len(windows), 4), np.inf)
    for number, name in enumerate(sections):
        matches = best_matches(windows, training_picture(bench, name), name)
        nearer = matches.distance < best[:, 0]
        rows = np.column_stack([matches.distance, np.full(len(windows), number), matches.corner])
        best[nearer] = rows[nearer]
    return best


def _copies(bench: Bench) -> NDArray[np.uint8]:
    """Training windows as a model that memorised them would make them: moved, turned, through the autoencoder."""
    section = bench.plan.spots(bench.plan.sections[0])
    chosen = np.linspace(0, len(section.xy_px) - 1, min(_COPIES, len(section.xy_px))).astype(int)
    windows = windows_at(section.image, section.xy_px[chosen] + _MOVED_PX)
    return reconstructed(bench.pipeline, np.rot90(windows, 1, (1, 2)))


def measure_copies(bench: Bench, picture: Path | None = None) -> Metrics:
    """Distance of generated windows to the training pictures, against that of held-out real windows and of copies.

    Parameters
    ----------
    picture
        Where the closest pairs are drawn: generated above, the training window below.
    """
    sections, size = bench.plan.sections, bench.effort.most_spots or "all"
    generated = bench.cached("matches-own", lambda: _search(bench, bench.generated(), sections))
    real = bench.cached_real(f"matches-real-{size}", lambda: _search(bench, bench.real, sections))
    copies = bench.cached("matches-copies", lambda: _search(bench, _copies(bench), sections[:1]))
    if picture is not None:
        _draw_pairs(bench, generated, picture)
    own, held_out, copied = (matches[:, 0] for matches in (generated, real, copies))
    limit = float(np.percentile(held_out, 1))
    closer = (own < limit).astype(np.float64)
    what = (
        f"distance to the best match anywhere in the training pictures, {REDUCTION} times reduced, in 8 orientations "
        f"(0 = the same, 1.41 = unrelated); {len(own)} generated windows, {len(held_out)} real ones of "
        f"{HELD_OUT_SECTION}, {len(copied)} copies of training windows (moved by {_MOVED_PX} px, turned, through the "
        "autoencoder)"
    )

    def ratio(rows: NDArray[np.int64]) -> float:
        return float(np.median(own[rows]) / np.median(held_out[rows]))

    n = len(own)
    distance = Figure(
        ratio(np.arange(n)),
        f"median generated over median held-out real, {what}; 1 = as far as unseen tissue",
        bootstrap(ratio, n, bench.effort.bootstraps),
        n,
        {"copies": float(np.median(copied) / np.median(held_out)), "held-out real": 1.0},
    )
    share = Figure(
        100 * float(closer.mean()),
        "per cent of generated windows that are nearer to training than all but 1 % of held-out real ones (distance "
        f"under {limit:.2f}; the nearest has {own.min():.2f}, the farthest copy {copied.max():.2f})",
        bootstrap(lambda rows: 100 * float(closer[rows].mean()), n, bench.effort.bootstraps),
        n,
        {"copies": 100 * float((copied < limit).mean()), "held-out real": 1.0},
    )
    return {"Copy check: distance to training": distance.entry(), "Copy check: nearer than real": share.entry()}


def _draw_pairs(bench: Bench, matches: NDArray[np.float64], path: Path) -> None:
    closest = np.argsort(matches[:, 0])[:_PAIRS]
    side = TRAINED.window_px
    below = np.zeros((len(closest), side, side, 3), np.uint8)
    for number, name in enumerate(bench.plan.sections):
        here = np.nonzero(matches[closest, 1] == number)[0]
        if len(here):
            image = training_picture(bench, name)
            for place in here:
                y, x = matches[closest[place], 2:].astype(int)
                below[place] = image[y : y + side, x : x + side]
    columns = np.stack([bench.generated()[closest], below])
    grid = columns.transpose(0, 2, 1, 3, 4).reshape(2 * side, len(closest) * side, 3)
    with atomic_path(path) as temporary:
        Image.fromarray(grid).save(temporary, optimize=True)
