"""Statistics of the model's figures: correlations, bootstrap intervals, distances between sets of features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import recall_score
from sklearn.metrics.pairwise import polynomial_kernel

Floats = NDArray[np.floating]
Interval = tuple[float, float]
Metrics = dict[str, dict[str, Any]]
"""Name of a figure to what :meth:`Figure.entry` gives: the rows of metrics.json."""

BOOTSTRAPS = 1000
_DIGITS = 3
_FLAT = 1e-9


@dataclass(frozen=True)
class Figure:
    """A measured number beside its baselines.

    Attributes
    ----------
    interval
        Bootstrap 95 % interval.
    n
        Units that were resampled: spots, patients, groups of tiles, windows.
    baselines
        {what: value}, or a value with its interval; the first is the main one.
    target
        Limits that the figure should be above and below; None = no limit on that side.
    note
        What was measured, on what, how.
    """

    value: float
    note: str
    interval: Interval | None = None
    n: int | None = None
    baselines: Mapping[str, float | tuple[float, Interval]] = field(default_factory=dict)
    target: tuple[float | None, float | None] | None = None

    def entry(self) -> dict[str, Any]:
        """The figure as a row of metrics.json."""
        row: dict[str, Any] = {"value": rounded(self.value), "note": self.note, "baseline": None}
        if self.interval is not None:
            row["interval_95"] = [rounded(limit) for limit in self.interval]
        if self.n is not None:
            row["n"] = self.n
        if self.target is not None:
            least, most = self.target
            row["target"] = {"above": _limit(least), "below": _limit(most)}
            row["met"] = bool((least is None or self.value > least) and (most is None or self.value < most))
        baselines: dict[str, dict[str, Any]] = {}
        for name, baseline in self.baselines.items():
            value, interval = baseline if isinstance(baseline, tuple) else (baseline, None)
            baselines[name] = {"value": rounded(value)}
            if interval is not None:
                baselines[name]["interval_95"] = [rounded(limit) for limit in interval]
        if baselines:
            row["baselines"] = baselines
            row["baseline"] = next(iter(baselines.values()))["value"]
        return row


def rounded(value: float) -> float:
    """`value` with three digits after the point."""
    return round(float(value), _DIGITS) + 0.0  # turns -0.0 into 0.0


def _limit(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def column_correlations(predicted: Floats, truth: Floats) -> NDArray[np.float64]:
    """Pearson correlation of each column over rows; 0 where either does not vary (a constant predicts nothing)."""
    a, b = predicted - predicted.mean(0), truth - truth.mean(0)
    scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.where(scale > _FLAT, (a * b).sum(0) / np.maximum(scale, _FLAT), 0.0)


def correlation(predicted: Floats, truth: Floats) -> float:
    """Pearson correlation of two vectors; 0 where either does not vary."""
    return float(column_correlations(np.asarray(predicted)[:, None], np.asarray(truth)[:, None])[0])


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], n: int, draws: int = BOOTSTRAPS, seed: int = 0
) -> Interval:
    """Percentile 95 % interval of a statistic of rows drawn with repetition.

    Parameters
    ----------
    statistic
        From (n,) indices of rows to the statistic of these rows.
    n
        Number of rows.

    Raises
    ------
    ValueError
        If there is no row.
    """
    if n < 1:
        raise ValueError("bootstrap: found no rows; expected at least one")
    rng = np.random.default_rng(seed)
    low, high = np.percentile([statistic(rng.integers(n, size=n)) for _ in range(draws)], [2.5, 97.5])
    return float(low), float(high)


def balanced_accuracy(predicted: NDArray[Any], truth: NDArray[Any]) -> float:
    """Mean over the classes of `truth` of the share of its rows that were predicted."""
    return float(recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0))


def frechet_distance(first: Floats, second: Floats) -> float:
    """Frechet distance between normal distributions fitted to two sets of features (n, d).

    Heusel et al. 2017 (arXiv:1706.08500). The trace of the root of the covariances' product is the
    sum of the singular values of the product of the centred features, so that no d x d root is needed.
    Biased upward by few rows: compare only values of sets of equal size.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    shift = a.mean(0) - b.mean(0)
    a, b = (a - a.mean(0)) / np.sqrt(len(a) - 1), (b - b.mean(0)) / np.sqrt(len(b) - 1)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(shift @ shift + (a**2).sum() + (b**2).sum() - 2 * cross)


def kernel_distance(first: Floats, second: Floats) -> float:
    """Kernel distance, times 1,000: squared maximum mean discrepancy with a cubic kernel (n, d).

    Binkowski et al. 2018 (arXiv:1801.01401); unbiased, so about 0 for sets of one distribution.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)

    def within(x: Floats) -> float:
        similarity = polynomial_kernel(x)
        return float((similarity.sum() - np.trace(similarity)) / (len(x) * (len(x) - 1)))

    return 1000 * (within(a) + within(b) - 2 * float(polynomial_kernel(a, b).mean()))


def half_samples(
    distance: Callable[[Floats, Floats], float], first: Floats, second: Floats, size: int, draws: int = 100
) -> tuple[float, Interval]:
    """A distance between random subsets of `size` rows of each: its mean and 95 % interval.

    Subsets of half the rows vary as the whole sets would from one sample of their distribution to
    the next (delete-half jackknife, Shao and Wu 1989); rows drawn with repetition would not do, as
    a distance takes repeated rows for less variety. All pairs of sets that are compared get the
    same `size`, so that the bias of few rows is the same.

    Raises
    ------
    ValueError
        If a set has fewer rows.
    """
    if min(len(first), len(second)) < size:
        raise ValueError(f"size: found sets of {len(first)} and {len(second)} rows; expected at least {size}")
    rng = np.random.default_rng(0)
    distances = [
        distance(
            first[rng.choice(len(first), size, replace=False)], second[rng.choice(len(second), size, replace=False)]
        )
        for _ in range(draws)
    ]
    low, high = np.percentile(distances, [2.5, 97.5])
    return float(np.mean(distances)), (float(low), float(high))
