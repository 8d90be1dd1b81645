"""What every RNA reader ends in: a profile with one name a gene on a known scale, cells without a place added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.rna.input_names import (
    are_barcodes,
    are_spots,
    are_transcripts,
    genes_of_transcripts,
    simple_names,
)
from mupd.rna.profiles import Kind, RnaProfile, Values, collapse_genes, scale_of
from mupd.rna.size_limits import MOST_VALUES, refuse_if_large
from mupd.rna.stored_values import GivenValues, Values2D, dense_float32

_ROWS_FOR_SCALE = 128


@dataclass(frozen=True)
class RawRna:
    """Values as a file holds them.

    Attributes
    ----------
    names
        The file's names of the columns, (genes,).
    symbols
        What each stands for, as far as the file says: its symbol, or the name again.
    matrix
        (observations, genes), dense or CSR, in the type the file stores.
    observations
        Names of the rows.
    xy_px
        (observations, 2): places on the slide in pixels of its level 0, where the file has them.
    values
        The scale, where the format fixes it; else "".
    evidence
        How it was read, in words.
    """

    names: Sequence[str]
    symbols: Sequence[str]
    matrix: Values2D
    observations: Sequence[str]
    evidence: str
    xy_px: NDArray[np.float64] | None = None
    values: Values | None = None
    details: dict[str, Any] = field(default_factory=dict)


def _stored(matrix: Values2D) -> NDArray[Any]:
    return matrix if isinstance(matrix, np.ndarray) else matrix.data


def _scale(raw: RawRna, declared: str) -> tuple[Values, str]:
    if raw.values is not None:
        return raw.values, f"{raw.values} by the format"
    rows = list(range(0, raw.matrix.shape[0], max(1, raw.matrix.shape[0] // _ROWS_FOR_SCALE)))
    if (fraction := _row_with_fraction(raw.matrix)) is not None:
        rows.append(fraction)
    return scale_of(dense_float32(raw.matrix[rows]), declared)


def _row_with_fraction(matrix: Values2D) -> int | None:
    """A row with a value that is not whole: a sample of rows may miss the few that tell estimates from counts."""
    stored = _stored(matrix)
    if stored.dtype.kind != "f":
        return None
    parted = stored != np.rint(stored)
    if not parted.any():
        return None
    first = int(np.argmax(parted))
    if isinstance(matrix, np.ndarray):
        return first // matrix.shape[1]
    return int(np.searchsorted(matrix.indptr, first, side="right")) - 1


def _one_row(matrix: Values2D, mean: bool) -> Values2D:
    kind = np.float64 if mean or matrix.dtype.kind == "f" else np.int64
    total = np.asarray(matrix.sum(axis=0, dtype=kind)).reshape(1, -1)
    return total / matrix.shape[0] if mean else total


def _linear(matrix: Values2D, scale: Values) -> Values2D:
    """Logarithms of cells as they were before, so that their mean is that of expression."""
    if scale not in ("log1p", "log2tpm1"):
        return matrix
    undo = np.expm1 if scale == "log1p" else lambda values: np.exp2(values) - 1
    if isinstance(matrix, np.ndarray):
        return undo(matrix.astype(np.float64))
    changed = matrix.astype(np.float64)
    changed.data = undo(changed.data)
    return changed


def _genes_of_transcripts(raw: RawRna) -> RawRna:
    from scipy.sparse import csr_matrix

    ids, symbols = genes_of_transcripts(raw.names)
    first: dict[str, int] = {}
    target = np.array([first.setdefault(own, len(first)) for own in ids])
    select = csr_matrix((np.ones(len(ids)), (np.arange(len(ids)), target)), shape=(len(ids), len(first)))
    of_gene = dict(zip(ids, symbols, strict=True))
    added = f"{len(ids)} transcripts added up to {len(first)} genes, by their names"
    # Added as float64: estimated reads of transcripts are fractions.
    matrix = np.asarray(raw.matrix @ select) if isinstance(raw.matrix, np.ndarray) else raw.matrix @ select
    evidence = f"{raw.evidence}; {added}"
    names = list(first)
    return RawRna(
        names,
        [of_gene[own] for own in names],
        matrix,
        raw.observations,
        evidence,
        raw.xy_px,
        raw.values,
        raw.details,
    )


def assemble(raw: RawRna, declared: str, keep_given: bool) -> RnaProfile:
    """The profile of one case.

    Rows with places on the slide, and those named ``XxY``, are spots. Rows named by barcodes without a place are
    cells (or spots that cannot be placed): they are added up to one bulk profile, since no part of the model is fit
    for a single cell. Other rows are samples of the case.

    Raises
    ------
    UnusableError
        For transcripts without genes, too many values, or names that do not fit the matrix.
    """
    if are_transcripts(raw.names):
        raw = _genes_of_transcripts(raw)
    rows, width = raw.matrix.shape
    if width != len(raw.names) or rows != len(raw.observations):
        raise UnusableError(
            f"a matrix of {rows} x {width} for {len(raw.observations)} observations and {len(raw.names)} genes"
        )
    if not rows or not width:
        refuse_if_large(rows, width)
    symbols, simplified = simple_names(raw.symbols)
    scale, why = _scale(raw, declared)
    matrix, details, evidence = raw.matrix, dict(raw.details), [raw.evidence]
    kind: Kind = "spot" if raw.xy_px is not None or are_spots(raw.observations) else "bulk"
    if kind == "bulk" and are_barcodes(raw.observations):
        mean = scale != "counts"
        linear = _linear(matrix, scale)
        evidence.append(
            f"{rows} barcodes without positions {'averaged' if mean else 'added up'} to one profile (pseudobulk)"
        )
        details["barcodes"] = rows
        if mean and np.any(_stored(matrix) < 0):
            raise UnusableError(f"{rows} cells with values below 0: their sum cannot be told; give counts")
        matrix = _one_row(linear, mean)
        if mean:
            scale = "tpm"
            why += "; their mean is on a linear scale"
    refuse_if_large(*matrix.shape)
    given = GivenValues(tuple(raw.names), tuple(symbols), matrix) if keep_given else None
    names, dense, collapsed = collapse_genes(symbols, dense_float32(matrix), scale)
    words = "; ".join(filter(None, (*evidence, simplified, why, collapsed)))
    return RnaProfile(names, dense, kind, scale, words, raw.xy_px, given, details)


def fits_in_memory(rows: int, width: int, observations: Sequence[str]) -> bool:
    """Whether a dense matrix may be read whole: as spots or samples, or as cells to be added up."""
    return rows * width <= MOST_VALUES * (2 if are_barcodes(observations) else 1)
