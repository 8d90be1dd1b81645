"""Statistics of the model's figures: correlations, bootstrap intervals, distances between sets of features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Interval = tuple[float, float]
Metrics = dict[str, dict[str, Any]]
"""Name of a figure to what :meth:`Figure.entry` gives: the rows of metrics.json."""

BOOTSTRAPS = 1000
_DIGITS = 3


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
        found: dict[str, Any] = {"value": rounded(self.value), "note": self.note, "baseline": None}
        if self.interval is not None:
            found["interval_95"] = [rounded(limit) for limit in self.interval]
        if self.n is not None:
            found["n"] = self.n
        if self.target is not None:
            least, most = self.target
            found["target"] = {"above": _limit(least), "below": _limit(most)}
            found["met"] = bool((least is None or self.value > least) and (most is None or self.value < most))
        baselines: dict[str, dict[str, Any]] = {}
        for name, given in self.baselines.items():
            value, interval = given if isinstance(given, tuple) else (given, None)
            baselines[name] = {"value": rounded(value)}
            if interval is not None:
                baselines[name]["interval_95"] = [rounded(limit) for limit in interval]
        if baselines:
            found["baselines"] = baselines
            found["baseline"] = next(iter(baselines.values()))["value"]
        return found


def rounded(value: float) -> float:
    """`value` with three digits after the point."""
    return round(float(value), _DIGITS) + 0.0  # a small negative value rounds to -0.0, which reads as a mistake


def _limit(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def column_correlations(found: Floats, truth: Floats) -> NDArray[np.float64]:
    """Pearson correlation of each column over rows; 0 where either does not vary (a constant predicts nothing)."""
    a, b = found - found.mean(0), truth - truth.mean(0)
    scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.where(scale > 1e-9, (a * b).sum(0) / np.maximum(scale, 1e-9), 0.0)


def correlation(found: Floats, truth: Floats) -> float:
    """Pearson correlation of two vectors; 0 where either does not vary."""
    return float(column_correlations(np.asarray(found)[:, None], np.asarray(truth)[:, None])[0])


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], n: int, draws: int = BOOTSTRAPS, seed: int = 0
) -> Interval:
    """Percentile 95 % interval of a statistic of rows drawn with repetition.

    Parameters
    ----------
    statistic
        Given (n,) indices of rows, the statistic of these rows.
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


def draw_interval(draws: Floats) -> tuple[Floats, Floats]:
    """Lower and upper limit of the 90 % interval of draws (draws, ...), at least 19 of them.

    The 5th and 95th percentile at the places i / (n + 1) of n ordered draws (Weibull's plotting positions): another
    draw of the same distribution then falls between them 90 % of the time however many there are. The usual
    percentiles of 20 draws hold it only 81 % of the time.

    Raises
    ------
    ValueError
        If there are fewer draws: their range is less than a 90 % interval.
    """
    if len(draws) < 19:
        raise ValueError(f"draws: found {len(draws)}; expected at least 19 for a 90 % interval")
    low, high = np.percentile(draws, [5, 95], axis=0, method="weibull")
    return low, high


def balanced_accuracy(found: NDArray[Any], truth: NDArray[Any]) -> float:
    """Mean over the classes of `truth` of the share of its rows that were found."""
    return float(np.mean([(found[truth == value] == value).mean() for value in np.unique(truth)]))


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
    dim = a.shape[1]

    def kernel(x: Floats, y: Floats) -> Floats:
        return (x @ y.T / dim + 1) ** 3

    def within(x: Floats) -> float:
        values = kernel(x, x)
        return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))

    return 1000 * (within(a) + within(b) - 2 * float(kernel(a, b).mean()))


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
    found = [
        distance(
            first[rng.choice(len(first), size, replace=False)], second[rng.choice(len(second), size, replace=False)]
        )
        for _ in range(draws)
    ]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(np.mean(found)), (float(low), float(high))
