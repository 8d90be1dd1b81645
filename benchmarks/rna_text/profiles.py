"""RNA from reports: correlation with the measured profile per gene and per pathway, over all and within organs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.model.bench import Bench
from benchmarks.model.rna import TOP_GENES, ridge_predictor
from benchmarks.model.text_rna import SOURCES, TextPairs, text_pairs
from benchmarks.stats import Interval, bootstrap, column_correlations
from mupd.training.calibrate.spread import top_columns

Floats = NDArray[np.floating]
Score = tuple[float, Interval]


@dataclass(frozen=True)
class ProfileRow:
    """One measure of one source: {predictor: (mean correlation over columns, 95 % interval)} of `n` patients."""

    source: str
    measure: str
    n: int
    columns: int
    scores: dict[str, Score]


def without_organ(values: Floats, organs: NDArray[np.str_]) -> Floats:
    """Values (n, columns) minus the mean over the rows of the same organ, i.e. differences between its patients."""
    rest = np.array(values, np.float64)
    for organ in np.unique(organs):
        rest[organs == organ] -= rest[organs == organ].mean(0)
    return rest


def _scored(bench: Bench, predicted: Floats, truth: Floats, organs: NDArray[np.str_] | None) -> Score:
    def mean(rows: NDArray[np.int64]) -> float:
        mine, measured = predicted[rows], truth[rows]
        if organs is not None:
            mine, measured = without_organ(mine, organs[rows]), without_organ(measured, organs[rows])
        return float(column_correlations(mine, measured).mean())

    return mean(np.arange(len(truth))), bootstrap(mean, len(truth), min(300, bench.effort.bootstraps))


def _ridge_scores(x: Floats, y: Floats) -> Callable[[Floats], Floats]:
    """Ridge from embeddings to pathway scores, its strength chosen by leaving one out."""
    from sklearn.linear_model import RidgeCV

    return RidgeCV(alphas=(1.0, 10.0, 100.0, 1000.0)).fit(x, y).predict


def _rows(bench: Bench, pairs: TextPairs, source: str) -> list[ProfileRow]:
    pipeline = bench.pipeline
    panel = pipeline.rna_codec.panels["bulk"]
    genes = list(panel.genes)
    usable = np.isfinite(pairs.truth).all(0)
    top = top_columns(panel.mean, TOP_GENES, usable)
    groups = np.arange(len(pairs.seen)) % 5
    organs = np.array([p.record["organ"] for p in pairs.held])
    mine = pairs.draws.mean(len(pairs.draws.expected))
    ridge = ridge_predictor(pairs.seen, pairs.y, groups, top)(pairs.given)
    by_organ = pairs.organ_means(pairs.y)
    nearest = ((pairs.given[:, None] - pairs.seen[None]) ** 2).sum(-1).argmin(1)
    by_gene = {"MuPD": mine, "ridge": ridge, "organ mean": by_organ, "nearest neighbour": pairs.y[nearest]}

    seen, measured = (np.stack([p.pathways for p in people]) for people in (pairs.trained, pairs.held))
    scored = pipeline.pathway_scorer.score(mine, genes, "bulk")
    kept = np.asarray(scored.scored) & (measured.std(0) > 0)
    by_pathway = {
        "MuPD": scored.values,
        "ridge": _ridge_scores(pairs.seen, seen)(pairs.given),
        "organ mean": pairs.organ_means(seen),
        "nearest neighbour": seen[nearest],
    }
    parts = (
        (f"{len(top)} most expressed genes", by_gene, pairs.truth, top),
        ("all genes", by_gene, pairs.truth, np.flatnonzero(usable)),
        ("pathways", by_pathway, measured, np.flatnonzero(kept)),
    )
    rows = []
    for name, predictors, truth, columns in parts:
        for within in (False, True):
            scores = {
                who: _scored(bench, values[:, columns], truth[:, columns], organs if within else None)
                for who, values in predictors.items()
                # One value an organ says nothing within it.
                if not (within and who == "organ mean")
            }
            measure = f"{name}, within organs" if within else name
            rows.append(ProfileRow(source, measure, len(truth), len(columns), scores))
    return rows


def profile_rows(bench: Bench) -> list[ProfileRow]:
    """Both kinds of text: the real report, and the sentences of the record alone."""
    rows = []
    for name in ("report to RNA", "text to RNA"):
        rows += _rows(bench, text_pairs(bench, name), SOURCES[name])
    return rows
