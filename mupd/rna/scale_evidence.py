"""The scale of expression values, as determined from their numbers.

Logarithms differ in base and offset, and two bases look alike to the eye. A base is accepted only on evidence:

- **sums**: rows of a whole transcriptome add up to a million (TPM, CPM) or to 10,000, or all rows to one number;
- **steps**: turned back, small values are multiples of one read;
- **size**: turned back with any other base, a row exceeds the million that TPM can add up to.

Without evidence the input is unusable, and the message asks for ``rna_values``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mupd.base.rna_scales import (
    COUNTS,
    LOG1P,
    LOG2P1,
    LOG10P1,
    NOT_REVERSIBLE,
    TPM,
    Base,
    Scale,
    ScaleName,
    check_stated,
)
from mupd.errors import UnusableError
from mupd.rna.scale import linear_values, without_logarithm

_LOG_MOST = 25.0
_MILLION = 1e6
_MILLION_TOLERANCE = 0.02
_SAME_SUM_TOLERANCE = 1e-3
_MOST_ROWS_EXAMINED = 512
_LEAST_FOR_STEPS = 30
_LEAST_ZEROS = 3
_LEAST_DISTINCT_STEPS = 4
_MOST_STEPS = 40
_STEP_TOLERANCE = 0.03
_LEAST_MEAN_TURNED_BACK = 3.0
_LEAST_GENES_WITH_ZEROS = 1000
_LEAST_GENES_FOR_SIZE = 200
_LEAST_SHARE_OF_STEPS = 0.3
_LENGTHS_LN_SD = 1.2

_P1: dict[Base, Scale] = {"2": LOG2P1, "e": LOG1P, "10": LOG10P1}


def scale_of(matrix: NDArray[np.float32], stated: str) -> tuple[ScaleName, str]:
    """The name of the scale of a matrix (observations, genes) and the evidence in words.

    Parameters
    ----------
    stated
        What :func:`check_stated` accepts. ``auto`` and ``log`` leave the scale, or its base, to the numbers.

    Raises
    ------
    UnusableError
        If the numbers do not show the scale, or the scale cannot be turned back into expression.
    ValueError
        If `stated` is no scale.
    """
    stated = check_stated(stated)
    if stated in NOT_REVERSIBLE:
        raise UnusableError(f"{NOT_REVERSIBLE[stated]}, as stated by rna_values, {_CANNOT}")
    if stated not in ("auto", "log"):
        return stated, f"stated as {stated}"
    scale, evidence = _determined(matrix, stated == "auto")
    return scale.name, evidence


def _determined(matrix: NDArray[np.float32], may_be_linear: bool) -> tuple[Scale, str]:
    step = max(1, len(matrix) // _MOST_ROWS_EXAMINED)
    rows = matrix[::step].astype(np.float64)
    finite = rows[np.isfinite(rows)]
    if finite.size == 0:
        raise UnusableError("no number in the table")
    rows = np.where(np.isfinite(rows), rows, finite.min())
    low, high = float(finite.min()), float(finite.max())
    if low < 0:
        return _with_zero_point(rows, low)
    if may_be_linear and (linear := _linear(rows, low, high)) is not None:
        return linear
    return _logarithm(rows, low)


_CANNOT = "cannot be turned back into expression: give counts or TPM"
_ASK = (
    "state it: rna_values in the sheet, tables.rna_values or intake.rna_values "
    "(e.g. log2p1, log1p, log10p1, tpm, counts, vst)"
)


def _near(sums: NDArray[np.float64], total: float, tolerance: float) -> bool:
    return bool(np.all(np.abs(sums / total - 1) < tolerance))


def _with_zero_point(rows: NDArray[np.float64], low: float) -> tuple[Scale, str]:
    """A logarithm of x + offset with an offset below 1: its smallest value is that of the genes without expression."""
    bases: tuple[Base, ...] = ("2", "10", "e")
    candidates = [Scale(base, offset) for base in bases for offset in (0.001, 0.01, 0.1, 0.5)]
    zeros = int(np.count_nonzero(rows <= low + 1e-3))
    share = zeros / rows.size
    sums = {scale: linear_values(rows, scale).sum(1) for scale in candidates}
    of_million = [scale for scale in candidates if _near(sums[scale], _MILLION, _MILLION_TOLERANCE)]
    # A round number such as -3 = log10(0.001) may also be the least of some z-scores.
    least_zeros = {scale: _LEAST_ZEROS if scale.zero == round(scale.zero) else 1 for scale in candidates}
    at_zero = [
        scale for scale in candidates if abs(low - scale.zero) < 1e-3 and zeros >= least_zeros[scale] and share > 1e-3
    ]
    exact = [scale for scale in at_zero if scale in of_million]
    if not at_zero:
        # A sample may lack the zero, but not the sum. The offset hardly changes it: the least is assumed.
        exact = [scale for scale in of_million if scale.zero < low][:1]
    if len(exact) == 1:
        return exact[0], f"turned back from {exact[0].name}, rows add up to a million"
    possible = [scale for scale in at_zero if np.median(sums[scale]) <= _MILLION * (1 + _MILLION_TOLERANCE)]
    if len(possible) == 1 and np.median(sums[possible[0]]) >= _LEAST_MEAN_TURNED_BACK * rows.shape[1]:
        scale = possible[0]
        return scale, f"the smallest value is {low:.4f}, the zero of {scale.name}, in {share:.1%} of the values"
    raise UnusableError(
        f"values below 0 (down to {low:.4g}): no counts or TPM, and no zero point of a known logarithm: z-scores, "
        f"differences and microarray values {_CANNOT}; of a logarithm with an offset, {_ASK}"
    )


def _linear(rows: NDArray[np.float64], low: float, high: float) -> tuple[Scale, str] | None:
    """The linear scale of values from 0, with the evidence; None if they are a logarithm, or may be one."""
    genes = rows.shape[1]
    no_zero = low > 0 and genes >= _LEAST_GENES_WITH_ZEROS
    if no_zero and high > _LOG_MOST and float(np.log(rows).std()) < _LENGTHS_LN_SD:
        raise UnusableError(
            f"no value of 0 in {genes:,} genes, and all are of one size ({low:g} to {high:g}): lengths of genes or "
            "microarray intensities, not expression; give counts or TPM"
        )
    if np.all(rows == np.round(rows)):
        return COUNTS, f"whole numbers from {low:g} to {high:g}: counts"
    sums = rows.sum(1)
    if _near(sums, _MILLION, _MILLION_TOLERANCE):
        return TPM, "rows add up to a million: TPM"
    for total in (1.0, 100.0, 1e4):
        if _near(sums, total, 1e-3):
            return TPM, f"rows add up to {total:g}: a linear, normalised scale"
    if high < _LOG_MOST:
        return None
    if no_zero:
        raise UnusableError(
            f"no value of 0 in {genes:,} genes, with fractions up to {high:.4g}: microarray intensities, or "
            f"expression without its zeros; {_ASK}"
        )
    return TPM, f"fractions up to {high:.4g}: a linear, normalised scale (TPM, FPKM or expected counts)"


def _logarithm(rows: NDArray[np.float64], low: float) -> tuple[Scale, str]:
    """The logarithm of values from 0 to about 25, with the evidence."""
    high = float(rows.max())
    rows = rows[rows.any(axis=1)]
    if not len(rows):
        raise UnusableError("every value is 0")
    turned_back = {base: without_logarithm(rows, base, 1.0) for base in _P1}
    by_sums = _from_sums(turned_back)
    if low > 0 and len(by_sums) != 1:
        share = float(np.mean(rows <= low + 1e-6))
        what = (
            f"its smallest value, {low:.4g}, stands in {share:.0%} of the genes, as in variance-stabilised values (VST)"
            if share > 0.02
            else "no value is 0, as in microarray (RMA) or variance-stabilised values"
        )
        raise UnusableError(f"a logarithm without a zero point: {what}, which {_CANNOT}; if it is another, {_ASK}")
    evidence = _from_steps(rows, turned_back) | by_sums
    if len(evidence) == 1:
        (base, words), *_ = evidence.items()
        return _P1[base], f"turned back from {_P1[base].name}, {words}"
    totals = {base: float(np.median(linear.sum(1))) for base, linear in turned_back.items()}
    possible = [base for base, total in totals.items() if total <= _MILLION * (1 + _MILLION_TOLERANCE)]
    # Most genes have little and few have much: of a linear scale, the highest value is far above the median.
    may_be_linear = high > 10 * float(np.median(rows[rows > 0]))
    if not evidence and possible == ["2"] and not may_be_linear and rows.shape[1] >= _LEAST_GENES_FOR_SIZE:
        return LOG2P1, (
            f"turned back from log2p1, a row adds up to {totals['2']:,.0f}; from log1p, to {totals['e']:,.0f}, more "
            "than the million that TPM can"
        )
    raise UnusableError(
        f"fractions from 0 to {high:.4g}: a logarithm whose base (2, e or 10) the numbers do not show"
        f"{', or a linear scale' if may_be_linear else ''}; {_ASK}"
    )


def _from_sums(turned_back: dict[Base, NDArray[np.float64]]) -> dict[Base, str]:
    """Bases for which the sums of rows are those of a normalised scale, with the evidence in words."""
    total: dict[Base, str] = {}
    same: dict[Base, str] = {}
    for base, linear in turned_back.items():
        sums = linear.sum(1)
        if _near(sums, _MILLION, _MILLION_TOLERANCE) or _near(sums, 1e4, _SAME_SUM_TOLERANCE):
            total[base] = f"rows add up to {round(float(sums.mean()), -2):,.0f}"
        elif len(sums) >= 3 and _near(sums, float(sums.mean()), _SAME_SUM_TOLERANCE):
            same[base] = "all rows add up to the same"
    return total or same


def _from_steps(rows: NDArray[np.float64], turned_back: dict[Base, NDArray[np.float64]]) -> dict[Base, str]:
    """The base for which small values are multiples of one read, with the evidence in words; empty if none is."""
    shares = {base: _share_of_steps(rows, linear, base) for base, linear in turned_back.items()}
    best, second, _ = sorted(shares, key=lambda base: -shares[base])
    if shares[best] < _LEAST_SHARE_OF_STEPS or shares[second] > shares[best] / 2:
        return {}
    return {best: f"{shares[best]:.0%} of the small values are multiples of one read"}


def _rounding(rows: NDArray[np.float64]) -> float:
    """The greatest error of the stored logarithms: half of the last decimal place, or that of float32."""
    for decimals in range(2, 7):
        if np.allclose(rows, np.round(rows, decimals), rtol=0, atol=2e-7 * max(1.0, float(rows.max()))):
            return 0.5 * 10.0**-decimals
    return 1e-6


def _share_of_steps(rows: NDArray[np.float64], linear: NDArray[np.float64], base: Base) -> float:
    """Median over rows of the share (0-1) of small values that are multiples of the row's commonest or smallest value.

    A row of few small values does not count; 0 if none counts.
    """
    rounding = _rounding(rows) * {"2": np.log(2), "e": 1.0, "10": np.log(10)}[base]
    shares = []
    for values in linear[:64]:
        positive = np.sort(values[values > 0])
        if len(positive) < _LEAST_FOR_STEPS:
            continue
        distinct, counts = np.unique(np.round(np.log(positive), 3), return_counts=True)
        units = {1.0, float(positive[0]), float(np.exp(distinct[np.argmax(counts)]))}
        best = 0.0
        for unit in units:
            members = np.abs(np.log(positive) - np.log(unit)) < 2e-3
            unit_value = float(np.median(positive[members])) if members.any() else unit
            steps = positive / unit_value
            precise = (positive + 1) * rounding * 2 / unit_value < _STEP_TOLERANCE
            small = steps[(steps > 1.5) & (steps < _MOST_STEPS) & precise]
            hits = np.abs(small - np.rint(small)) < _STEP_TOLERANCE
            if len(small) >= _LEAST_FOR_STEPS and len(np.unique(np.rint(small[hits]))) >= _LEAST_DISTINCT_STEPS:
                best = max(best, float(np.mean(hits)))
        shares.append(best)
    return float(np.median(shares)) if shares else 0.0
