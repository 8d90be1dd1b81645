"""Profiles on the genes of a model, on the scale of the model's own draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.rna.profiles import RnaProfile, to_linear

_PIECE_ROWS = 256


@dataclass(frozen=True)
class GenePanels:
    """The model's genes in order, and those of each kind of profile (empty: all genes for every kind)."""

    genes: tuple[str, ...]
    panels: dict[str, tuple[str, ...]] = field(default_factory=dict)


def on_genes(genes: Sequence[str], names: Sequence[str], values: NDArray[Any]) -> NDArray[np.float32]:
    """Columns of `values` (..., names) in the order of `genes`, float32; NaN for genes that are not in `names`.

    Of a name that occurs twice the first column counts.
    """
    position = {name: index for index, name in reversed(list(enumerate(names)))}
    result = np.full((*values.shape[:-1], len(genes)), np.nan, np.float32)
    for column, gene in enumerate(genes):
        if gene in position:
            result[..., column] = values[..., position[gene]]
    return result


def mean_profile(log_values: NDArray[Any]) -> NDArray[np.float32]:
    """One profile (genes,) of several observations (observations, genes): the mean of CP10k, back to log1p."""
    if len(log_values) == 1:
        return np.asarray(log_values[0], np.float32)
    return np.log1p(np.expm1(log_values.astype(np.float64)).mean(axis=0)).astype(np.float32)


def log_on_panel(profile: RnaProfile, model: GenePanels) -> NDArray[np.float32]:
    """log1p CP10k (observations, model's genes) of a profile; NaN for genes that the profile lacks.

    The model takes the depth over the genes of the profile's kind. Genes that only the other kind has are scaled by
    the same depth.
    """
    linear = to_linear(profile)
    of_kind = set(model.panels.get(profile.kind) or model.genes)
    counted = np.array([gene in of_kind for gene in profile.genes], bool)
    result = np.empty((len(linear), len(model.genes)), np.float32)
    # In pieces: a whole section of spots as float64 would take gigabytes.
    for start in range(0, len(linear), _PIECE_ROWS):
        rows = linear[start : start + _PIECE_ROWS].astype(np.float64)
        depth = rows[:, counted].sum(axis=1, keepdims=True)
        scaled = np.divide(1e4 * rows, depth, out=np.zeros_like(rows), where=depth > 0)
        result[start : start + _PIECE_ROWS] = on_genes(model.genes, profile.genes, np.log1p(scaled))
    return result
