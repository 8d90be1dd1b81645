"""RNA profiles in memory, on the scale of their file and on the scale that all models use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mupd.base.rna_scales import ScaleName, scale_named
from mupd.rna.scale import linear_values
from mupd.rna.stored_values import StoredValues

Kind = Literal["bulk", "spot"]
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
        TPM), ``values_in_file`` (the scale there, if averaging changed it), ``barcodes``, ``spot_pitch_px``,
        ``mpp_of_spots``, ``out_of_tissue``.
    """

    genes: list[str]
    matrix: NDArray[np.float32]
    kind: Kind
    values: ScaleName
    evidence: str
    xy_px: NDArray[np.float64] | None = None
    stored: StoredValues | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def to_linear(profile: RnaProfile) -> NDArray[np.float32]:
    """Values (observations, genes) on a linear scale, at least 0."""
    scale = scale_named(profile.values)
    if scale.base is None:
        return np.maximum(profile.matrix, 0, dtype=np.float32)
    linear = np.empty(profile.matrix.shape, np.float32)
    # In pieces: a whole section of spots as float64 would take gigabytes.
    for rows in _pieces(linear):
        linear[rows] = linear_values(profile.matrix[rows].astype(np.float64), scale)
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
    names: list[str], matrix: NDArray[np.float32], values: ScaleName
) -> tuple[list[str], NDArray[np.float32], str]:
    """Make gene names unique: add linear values of one name; of logarithms, keep the column with the higher mean."""
    first, target = _first_columns(tuple(names))
    if len(first) == len(names):
        return names, matrix, ""
    repeated = len(names) - len(first)
    if scale_named(values).base is None:
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
