"""Figures of RNA from H&E, and what those of RNA from text share with them: draws, ridge regression, coverage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.model.bench import Bench
from benchmarks.stats import Figure, Floats, Interval, Metrics, bootstrap, column_correlations
from mupd.base.files import write_json
from mupd.base.progress import track
from mupd.model.attention import Conditions
from mupd.model.rna_codec import Kind, panel_values
from mupd.model.sampling import sample_vectors, seeded_noise
from mupd.training.calibrate.spread import draw_interval, top_columns
from mupd.training.public.read import HELD_OUT_SECTION, log_cp10k, read_her2st_counts
from mupd.training.public.spots import Spots
from mupd.training.tokens import on_device, one_token

TOP_GENES = 250
_ALPHAS = (10.0, 100.0, 1000.0, 10_000.0)
_COVERED = (0.85, 0.95)


@dataclass(frozen=True)
class Draws:
    """Draws of profiles, each (draws, n, genes): without and with the noise of a measurement.

    Attributes
    ----------
    narrow
        With that noise, but without the spread that the direction was given by calibration; None where it has none.
    """

    expected: NDArray[np.float32]
    values: NDArray[np.float32]
    narrow: NDArray[np.float32] | None = None

    def mean(self, count: int) -> NDArray[np.float32]:
        """Mean of the first `count` draws, (n, genes)."""
        return self.expected[:count].mean(0)


def draw_profiles(bench: Bench, conditions: Conditions, kind: Kind, draws: int, name: str) -> Draws:
    """Draws for each row of the conditions, as the pipeline makes them; all rows as one batch."""
    pipeline = bench.pipeline
    n = len(next(iter(conditions.values()))[1])
    codec, device = pipeline.rna_codec, pipeline.device
    extra = torch.tensor([float(kind == "bulk"), 0.0], device=device).expand(n, 2)
    expected, values, narrow = [], [], []
    given = "+".join(sorted(conditions))
    with torch.no_grad():
        context = pipeline.transformer.context(on_device(conditions, device), n)
        for draw in track(range(draws), name):
            noise = seeded_noise((n, codec.dim), draw, device)
            vectors = sample_vectors(pipeline.transformer, context, extra, noise, steps=bench.effort.steps, scales={})
            components = vectors.cpu().numpy()
            expected.append(codec.decode(components, kind))
            values.append(codec.measure(components, kind, np.random.default_rng((draw, 1)), given))
            if (kind, given) in codec.spreads:
                narrow.append(codec.measure(components, kind, np.random.default_rng((draw, 1))))
    return Draws(np.stack(expected), np.stack(values), np.stack(narrow) if narrow else None)


def measured_spots(bench: Bench, section: Spots) -> NDArray[np.float32]:
    """Measured panel values (spots, genes) of a section, NaN where it lacks a gene."""
    xy, counts = read_her2st_counts(bench.plan.her2st, section.name)
    genes = bench.pipeline.rna_codec.panels["spot"].genes
    values = panel_values(log_cp10k(counts.to_numpy(np.float32)), list(counts.columns), genes)
    where = {tuple(point): row for row, point in enumerate(xy)}
    return values[[where[tuple(point)] for point in section.xy_px]]


def ridge_predictor(
    x: Floats, y: Floats, groups: NDArray[np.int64], top: NDArray[np.int64]
) -> Callable[[Floats], Floats]:
    """Ridge from features to gene values; its strength chosen by cross-validation over groups.

    Parameters
    ----------
    x, y
        (n, features) and (n, genes).
    groups
        (n,); each is left out once; a single one is cut into fifths. The strength is the one with the
        highest mean correlation per gene.
    top
        Genes by which the strength is chosen.
    """
    from sklearn.linear_model import Ridge

    if len(np.unique(groups)) < 2:
        groups = np.arange(len(x)) % 5
    scores = []
    for alpha in _ALPHAS:
        correlations = []
        for group in np.unique(groups):
            held = groups == group
            predicted = Ridge(alpha=alpha).fit(x[~held], y[~held]).predict(x[held])
            correlations.append(column_correlations(predicted, y[held])[top].mean())
        scores.append(np.mean(correlations))
    fitted = Ridge(alpha=_ALPHAS[int(np.argmax(scores))]).fit(x, y)
    return lambda rows: np.clip(fitted.predict(rows), 0, None)


def per_gene(bench: Bench, predicted: Floats, truth: Floats) -> tuple[float, Interval]:
    def mean(rows: NDArray[np.int64]) -> float:
        return float(column_correlations(predicted[rows], truth[rows]).mean())

    return mean(np.arange(len(truth))), bootstrap(mean, len(truth), bench.effort.bootstraps)


def _difference(bench: Bench, predicted: Floats, other: Floats, truth: Floats) -> tuple[float, Interval]:
    def gain(rows: NDArray[np.int64]) -> float:
        mine, theirs = (column_correlations(values[rows], truth[rows]).mean() for values in (predicted, other))
        return float(mine - theirs)

    return gain(np.arange(len(truth))), bootstrap(gain, len(truth), bench.effort.bootstraps)


def coverage_figure(draws: Draws, truth: Floats, top: NDArray[np.int64], what: str) -> Figure:
    """Share of measured values in the 90 % interval of the draws."""

    def covered(values: NDArray[np.float32]) -> tuple[float, Interval]:
        low, high = draw_interval(values[:, :, top])
        inside = ((truth[:, top] >= low) & (truth[:, top] <= high)).mean(1)
        return float(inside.mean()), bootstrap(lambda rows: float(inside[rows].mean()), len(inside), 500)

    value, interval = covered(draws.values)
    others = {} if draws.narrow is None else {"before their spread was calibrated": covered(draws.narrow)}
    others["draws without measurement noise"] = covered(draws.expected)
    return Figure(
        value,
        f"share of measured values in the 90 % interval of {len(draws.values)} draws, {what}; ideal 0.9",
        interval,
        len(truth),
        others,
        _COVERED,
    )


def measure_he_to_rna(bench: Bench) -> Metrics:
    """Per-gene correlation over spots and coverage; also writes reliability.json."""
    codec, encoder, raw = bench.pipeline.rna_codec, bench.pipeline.tile_encoder, bench.plan.raw
    panel = codec.panels["spot"]
    features = encoder.project(raw.spots(bench.plan.spots(HELD_OUT_SECTION))[0])[: bench.effort.most_spots]
    truth = measured_spots(bench, bench.section)
    top = top_columns(panel.mean, TOP_GENES, np.isfinite(truth).all(0))
    draws = draw_profiles(bench, {"he": one_token(features)}, "spot", bench.effort.rna_draws, "H&E to RNA")
    mine = draws.mean(len(draws.expected))

    turned = [[encoder.project(rows) for rows in raw.spots(section)] for section in bench.training]
    of_section = [np.nan_to_num(measured_spots(bench, section)) for section in bench.training]
    x = np.concatenate([rows for turns in turned for rows in turns])
    y = np.concatenate([values for turns, values in zip(turned, of_section, strict=True) for _ in turns])
    groups = np.repeat(np.arange(len(turned)), [len(turns) * len(turns[0]) for turns in turned])
    ridge = ridge_predictor(x, y, groups, top)(features)
    neighbour = y[((features[:, None] - x[None]) ** 2).sum(-1).argmin(1)]

    reliability: dict[str, float | None] = dict.fromkeys(codec.genes)
    by_gene = column_correlations(mine, np.nan_to_num(truth))
    reliability |= {gene: round(float(r), 3) for gene, r in zip(panel.genes, by_gene, strict=True)}
    write_json(bench.plan.out / "reliability.json", reliability)

    known = truth[:, top]
    value, interval = per_gene(bench, mine[:, top], known)
    count = len(draws.expected)
    others: dict[str, float | tuple[float, Interval]] = {
        "ridge": per_gene(bench, ridge[:, top], known),
        "nearest neighbour": per_gene(bench, neighbour[:, top], known),
        "training mean": 0.0,
    }
    others |= {f"mean of {k} draws": per_gene(bench, draws.mean(k)[:, top], known) for k in (1, 5, 20) if k < count}
    what = f"{len(top)} most expressed genes, {len(truth)} spots of {HELD_OUT_SECTION}"
    figure = Figure(
        value,
        f"mean Pearson per gene over spots, {what}, mean of {count} draws; ridge on the same features, its strength "
        "chosen over the training sections",
        interval,
        len(truth),
        others,
    )
    gain, gain_interval = _difference(bench, mine[:, top], ridge[:, top], known)
    above = Figure(
        gain, f"the same minus ridge's, resampled together, {what}", gain_interval, len(truth), target=(0.0, None)
    )
    return {
        "H&E to RNA: per gene": figure.entry(),
        "H&E to RNA: above ridge": above.entry(),
        "H&E to RNA: coverage of the 90 % interval": coverage_figure(draws, truth, top, what).entry(),
    }
