"""RNA profiles in memory: the scale of their values, and the scale that all models use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.rna.stored_values import StoredValues

Kind = Literal["bulk", "spot"]
Values = Literal["counts", "tpm", "log2tpm", "log2tpm1", "log1p"]
"""Counts; TPM or another linear scale; log2(TPM + 0.001); log2(TPM + 1); ln(1 + x)."""

XENA_OFFSET = 0.001
"""UCSC Xena's TOIL tables hold log2(TPM + 0.001): zero is -9.9658."""

_XENA_ZERO = float(np.log2(XENA_OFFSET))
_LOG_MOST = 25.0
_MILLION_TOLERANCE = 0.02
_MOST_ROWS_LOOKED_AT = 512
_PIECE_VALUES = 1 << 24


@dataclass(frozen=True)
class RnaProfile:
    """Expression of one case.

    Attributes
    ----------
    genes
        Unique names of the columns: gene symbols, or other names that the file has.
    matrix
        (observations, genes) float32 on the scale `values`. A bulk profile has a row per sample of the case, a
        spatial one a row per spot.
    values
        The scale.
    evidence
        How layout and scale were determined, in words.
    xy_px
        (observations, 2) float64: x and y of each spot's centre in pixels of the slide's level 0, or None if the
        file holds no positions.
    stored
        The values as the file stores them, if they were asked for.
    details
        Other plain values from the reader, for the inventory: ``format``, ``library_size`` (of the counts beside
        TPM), ``barcodes``, ``spot_pitch_px``, ``mpp_of_spots``, ``out_of_tissue``.
    """

    genes: list[str]
    matrix: NDArray[np.float32]
    kind: Kind
    values: Values
    evidence: str
    xy_px: NDArray[np.float64] | None = None
    stored: StoredValues | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def _near_million(sums: NDArray[np.float64]) -> bool:
    return bool(np.all(np.abs(sums / 1e6 - 1) < _MILLION_TOLERANCE))


def detect_values(matrix: NDArray[np.float32]) -> tuple[Values, str]:
    """Determine the scale of a matrix (observations, genes) from its numbers, with the evidence in words.

    log2(TPM + 1) is distinguished from ln(1 + x) by its sum, if the table holds the whole transcriptome. With part of
    the genes the two logarithms look the same, and ln is assumed.
    """
    step = max(1, len(matrix) // _MOST_ROWS_LOOKED_AT)
    part = matrix[::step].astype(np.float64)
    finite = part[np.isfinite(part)]
    if finite.size == 0:
        raise UnusableError("no number in the table")
    low, high = float(finite.min()), float(finite.max())
    if low < 0:
        if abs(low - _XENA_ZERO) < 1e-3:
            return "log2tpm", f"the smallest value is {low:.4f} = log2(0.001): log2(TPM + 0.001)"
        if low > _XENA_ZERO and _near_million((np.exp2(np.nan_to_num(part, nan=_XENA_ZERO)) - XENA_OFFSET).sum(1)):
            return "log2tpm", "2^x - 0.001 adds up to a million: log2(TPM + 0.001)"
        return "log1p", f"negative values down to {low:.4g}: a logarithm or a difference, not counts or TPM"
    if np.all(finite == np.round(finite)):
        return "counts", f"whole numbers from {low:g} to {high:g}: counts"
    rows = np.nan_to_num(part)
    if _near_million(rows.sum(1)):
        return "tpm", "rows add up to a million: TPM"
    if high < _LOG_MOST:
        if _near_million(np.expm1(rows * np.log(2)).sum(1)):
            return "log2tpm1", "2^x - 1 adds up to a million: log2(TPM + 1)"
        return "log1p", f"fractions up to {high:.4g}, under {_LOG_MOST:g}: ln(1 + x)"
    return "tpm", f"fractions up to {high:.4g}: a linear, normalised scale (TPM, FPKM or expected counts)"


def scale_of(matrix: NDArray[np.float32], declared: str) -> tuple[Values, str]:
    """The scale of a matrix and the evidence: declared, or determined from the numbers if `declared` is ``auto``.

    Parameters
    ----------
    declared
        ``auto``, ``log`` (log2(TPM + 0.001) if values are negative, else ln(1 + x)) or one of
        :data:`Values`.
    """
    if declared == "log":
        negative = bool(np.nanmin(matrix) < 0) if matrix.size else False
        return "log2tpm" if negative else "log1p", "declared as log" + (", with negative values" * negative)
    if declared == "auto":
        return detect_values(matrix)
    if declared in get_args(Values):
        return cast(Values, declared), f"declared as {declared}"
    raise ValueError(f"values {declared!r}: expected auto, log or one of {', '.join(get_args(Values))}")


def to_linear(profile: RnaProfile) -> NDArray[np.float32]:
    """Values (observations, genes) on a linear scale, at least 0."""
    if profile.values in ("counts", "tpm"):
        return np.maximum(profile.matrix, 0, dtype=np.float32)
    linear = np.empty(profile.matrix.shape, np.float32)
    # In pieces: a whole section of spots as float64 would take gigabytes.
    for rows in _pieces(linear):
        matrix = profile.matrix[rows].astype(np.float64)
        if profile.values == "log2tpm":
            matrix = np.exp2(matrix) - XENA_OFFSET
            # Xena rounds to 4 digits, so that a zero does not come out as exactly 0.
            matrix[matrix < XENA_OFFSET / 100] = 0
        elif profile.values == "log2tpm1":
            matrix = np.exp2(matrix) - 1
        else:
            matrix = np.expm1(matrix)
        linear[rows] = np.maximum(matrix, 0)
    return linear


def _pieces(matrix: NDArray[np.float32]) -> list[slice]:
    """Slices of rows, each with about 16 million values."""
    step = max(1, _PIECE_VALUES // max(1, matrix.shape[1]))
    return [slice(start, start + step) for start in range(0, len(matrix), step)]


def to_log_cp10k(profile: RnaProfile) -> NDArray[np.float32]:
    """ln(1 + 10,000 x / sum of x over the profile's own genes), (observations, genes) float32.

    The sum is over the profile's genes. Bring profiles to the same genes before comparing them. A row without any
    expression stays zero.
    """
    values = to_linear(profile)
    for rows in _pieces(values):
        linear = values[rows]
        sums = linear.sum(1, keepdims=True, dtype=np.float64)
        scaled = np.divide(linear * 1e4, sums, out=np.zeros(linear.shape, np.float64), where=sums > 0)
        values[rows] = np.log1p(scaled)
    return values


@lru_cache(maxsize=8)
def _first_columns(names: tuple[str, ...]) -> tuple[dict[str, int], NDArray[np.intp]]:
    """The number of each unique name, and of each column. Cached, because all rows of a table have the same names."""
    first: dict[str, int] = {}
    return first, np.array([first.setdefault(name, len(first)) for name in names], np.intp)


def collapse_genes(
    names: list[str], matrix: NDArray[np.float32], values: Values
) -> tuple[list[str], NDArray[np.float32], str]:
    """Make gene names unique: add linear values of one name; of logarithms, keep the column with the higher mean."""
    first, target = _first_columns(tuple(names))
    if len(first) == len(names):
        return names, matrix, ""
    repeated = len(names) - len(first)
    if values in ("counts", "tpm"):
        repeats = np.ones(len(names), bool)
        repeats[np.unique(target, return_index=True)[1]] = False
        merged = matrix[:, ~repeats].astype(np.float32, copy=False)
        for again in np.flatnonzero(repeats):
            merged[:, target[again]] += matrix[:, again]
        return list(first), merged, f"{repeated} repeated gene names added up"
    best: dict[str, int] = {}
    means = np.nan_to_num(matrix).mean(0)
    for column, name in enumerate(names):
        if name not in best or means[column] > means[best[name]]:
            best[name] = column
    return list(first), matrix[:, [best[name] for name in first]], f"{repeated} repeated gene names: the highest kept"
