"""Where the dots of a case's RNA plot lie; the template draws them as SVG, so that colours follow the page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mupd.stages.cohort.case_values import RnaValues

TOP_GENES = 20
WIDTH = 390
_LEFT, _RIGHT, _TOP, _ROW, _BOTTOM = 80, 12, 6, 16, 36


@dataclass(frozen=True)
class PlotRow:
    """One gene: x of its dots, of the interval around them, and of the cohort's measured mean."""

    gene: str
    y: float
    mean: float
    points: tuple[float, ...]
    low: float | None
    high: float | None
    cohort: float | None
    said: str


@dataclass(frozen=True)
class RnaPlot:
    """A dot plot of the genes with the highest mean."""

    rows: tuple[PlotRow, ...]
    ticks: tuple[tuple[float, str], ...]
    height: int
    left: int
    right: int
    bottom: float
    synthetic: bool
    caption: str


def _caption(rna: RnaValues, others: int) -> str:
    if rna.draws:
        draws = f"{len(rna.draws)} draw{'s' if len(rna.draws) > 1 else ''}"
        each = f"each of n = {rna.observations:,} tiles" if rna.observations > 1 else "n = 1 profile each"
        spread = "line: 10th to 90th percentile over tiles" if rna.low is not None else "line: range of the draws"
        what = f"{draws}, {each}; dots: draws, diamond: mean of draws, {spread}"
    elif rna.spots > 1:
        what = f"n = {rna.spots:,} spots; diamond: pseudobulk of all spots, line: 10th to 90th percentile over spots"
    elif rna.observations > 1:
        what = f"n = {rna.observations} samples; diamond: their mean, line: 10th to 90th percentile"
    else:
        what = "n = 1 bulk profile"
    return what + (f"; grey tick: mean of the {others:,} measured profiles of this cohort" if others else "")


def rna_plot(
    rna: RnaValues, genes: tuple[str, ...], cohort_mean: NDArray[np.float32] | None, others: int
) -> RnaPlot | None:
    """Lay out the :data:`TOP_GENES` genes with the highest mean; None if no gene has a value.

    Parameters
    ----------
    genes
        The model's genes, in order.
    cohort_mean
        Mean of the cohort's measured profiles (genes,), NaN where none has the gene; `others` = how many.
    """
    known = np.flatnonzero(np.isfinite(rna.mean))
    if not len(known):
        return None
    chosen = known[np.argsort(-rna.mean[known], kind="stable")[:TOP_GENES]]
    draws = [profile[chosen] for profile in rna.draws.values()]
    low, high = (None, None) if rna.low is None or rna.high is None else (rna.low[chosen], rna.high[chosen])
    if low is None and len(draws) > 1:
        low, high = np.min(draws, axis=0), np.max(draws, axis=0)
    context = cohort_mean[chosen] if cohort_mean is not None and others else np.full(len(chosen), np.nan)
    shown = [part for part in (rna.mean[chosen], *draws, context, low, high) if part is not None]
    numbers = np.concatenate(shown)
    numbers = numbers[np.isfinite(numbers)]
    # The least and the most are named on the axis: dots, unlike bars, need no zero.
    start, end = int(np.floor(numbers.min())), int(np.ceil(numbers.max()))
    end = max(end, start + 1)
    span = WIDTH - _LEFT - _RIGHT

    def x(value: float) -> float:
        return round(_LEFT + span * (value - start) / (end - start), 1)

    def x_if(value: float) -> float | None:
        return x(float(value)) if np.isfinite(value) else None

    rows = []
    for index, column in enumerate(chosen):
        mean = float(rna.mean[column])
        points = tuple(x(float(profile[index])) for profile in draws)
        label = f"{genes[column]}: {mean:.2f}"
        if low is not None and high is not None:
            label += f" ({low[index]:.2f} to {high[index]:.2f})"
        rows.append(
            PlotRow(
                genes[column],
                _TOP + _ROW * (index + 0.5),
                x(mean),
                points,
                None if low is None else x_if(low[index]),
                None if high is None else x_if(high[index]),
                x_if(context[index]),
                label,
            )
        )
    step = 0.5 if end - start <= 2 else 1
    ticks = tuple((x(tick), f"{tick:g}") for tick in np.arange(start, end + step / 2, step))
    bottom = _TOP + _ROW * len(rows)
    return RnaPlot(
        tuple(rows), ticks, bottom + _BOTTOM, _LEFT, WIDTH - _RIGHT, bottom, bool(rna.draws), _caption(rna, others)
    )
