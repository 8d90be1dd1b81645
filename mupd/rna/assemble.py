"""The last step of every RNA reader: from the values in a file to a profile on a known scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.base.rna_scales import ScaleName, scale_named
from mupd.errors import UnusableError
from mupd.rna.input_names import are_barcodes, are_spots, are_transcripts, genes_of_transcripts, simple_names
from mupd.rna.non_genes import columns_for_scale, refuse_other_ids
from mupd.rna.profiles import Kind, RnaProfile, collapse_genes
from mupd.rna.scale import linear_values
from mupd.rna.scale_evidence import scale_of
from mupd.rna.size_limits import refuse_if_large
from mupd.rna.stored_values import StoredValues, Values2D, dense_float32

_ROWS_FOR_SCALE = 128


@dataclass(frozen=True)
class ReadOptions:
    """How an RNA input is read.

    Attributes
    ----------
    scale
        ``auto``, ``log`` or one of :func:`mupd.base.rna_scales.check_stated` names.
    model_genes
        Gene symbols of the model, which help to tell which axis of a table holds genes; None if unknown.
    keep_stored
        Whether the profile also holds the values as the file stores them.
    """

    scale: str = "auto"
    model_genes: frozenset[str] | None = None
    keep_stored: bool = False


@dataclass(frozen=True)
class RawRna:
    """ScaleName as a file holds them.

    Attributes
    ----------
    names
        Names of the columns in the file, (genes,).
    symbols
        The gene symbol of each column if the file states it, else its name again.
    matrix
        (observations, genes), dense or CSR, in the type that the file stores.
    observations
        Names of the rows.
    evidence
        How the file was read, in words.
    xy_px
        (observations, 2) positions in pixels of the slide's level 0, where the file has them.
    values
        The scale, where the format fixes it.
    details
        See :class:`mupd.rna.profiles.RnaProfile`.
    """

    names: Sequence[str]
    symbols: Sequence[str]
    matrix: Values2D
    observations: Sequence[str]
    evidence: str
    xy_px: NDArray[np.float64] | None = None
    values: ScaleName | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def of_columns(self, columns: Sequence[int]) -> RawRna:
        """The same with some of the columns."""
        names, symbols = ([axis[column] for column in columns] for axis in (self.names, self.symbols))
        return replace(self, names=names, symbols=symbols, matrix=self.matrix[:, columns])


def stored_numbers(matrix: Values2D) -> NDArray[Any]:
    """All values of a dense matrix, or the stored ones of a sparse matrix."""
    return matrix if isinstance(matrix, np.ndarray) else matrix.data


def column_sums(matrix: Values2D) -> NDArray[Any]:
    """(1, columns) sums: int64 of integers, float64 of floats."""
    kind = np.float64 if matrix.dtype.kind == "f" else np.int64
    return np.asarray(matrix.sum(axis=0, dtype=kind)).reshape(1, -1)


def _scale(raw: RawRna, declared: str) -> tuple[ScaleName, str]:
    if raw.values is not None:
        return raw.values, f"{raw.values} by the format"
    rows = list(range(0, raw.matrix.shape[0], max(1, raw.matrix.shape[0] // _ROWS_FOR_SCALE)))
    if (fraction := _row_with_fraction(raw.matrix)) is not None:
        rows.append(fraction)
    part, known = raw.matrix[rows], columns_for_scale(tuple(raw.symbols))
    return scale_of(dense_float32(part if known is None else part[:, known]), declared)


def _row_with_fraction(matrix: Values2D) -> int | None:
    """A row with a fraction. A sample of rows may miss the few fractions that distinguish estimates from counts."""
    stored = stored_numbers(matrix)
    if stored.dtype.kind != "f":
        return None
    fractions = stored != np.rint(stored)
    if not fractions.any():
        return None
    first = int(np.argmax(fractions))
    if isinstance(matrix, np.ndarray):
        return first // matrix.shape[1]
    return int(np.searchsorted(matrix.indptr, first, side="right")) - 1


def _linear(matrix: Values2D, name: ScaleName) -> Values2D:
    """Values on a linear scale, so that the mean over cells is that of expression."""
    scale = scale_named(name)
    if scale.base is None:
        return matrix
    if isinstance(matrix, np.ndarray) or scale.zero != 0:
        dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
        return linear_values(dense.astype(np.float64), scale)
    linear = matrix.astype(np.float64)
    linear.data = linear_values(linear.data, scale)
    return linear


def _genes_of_transcripts(raw: RawRna) -> RawRna:
    from scipy.sparse import csr_matrix

    ids, symbols = genes_of_transcripts(raw.names)
    first: dict[str, int] = {}
    target = np.array([first.setdefault(gene_id, len(first)) for gene_id in ids])
    # float64, because estimated reads of transcripts are fractions.
    select = csr_matrix((np.ones(len(ids)), (np.arange(len(ids)), target)), shape=(len(ids), len(first)))
    matrix = raw.matrix @ select
    symbol_of = dict(zip(ids, symbols, strict=True))
    return replace(
        raw,
        names=list(first),
        symbols=[symbol_of[gene_id] for gene_id in first],
        matrix=np.asarray(matrix) if isinstance(raw.matrix, np.ndarray) else matrix,
        evidence=f"{raw.evidence}; {len(ids)} transcripts added up to {len(first)} genes, by their names",
    )


def assemble(raw: RawRna, options: ReadOptions) -> RnaProfile:
    """The profile of one case.

    Rows with positions on the slide and rows named ``XxY`` are spots. Rows named by barcodes, without positions, are
    cells or spots that cannot be placed. They are added up to one bulk profile, because no part of the model is made
    for single cells. Other rows are samples of the case.

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
    refuse_other_ids(raw.symbols)
    symbols, simplified = simple_names(raw.symbols)
    scale, why = _scale(raw, options.scale)
    matrix, details, evidence = raw.matrix, dict(raw.details), [raw.evidence]
    kind: Kind = "spot" if raw.xy_px is not None or are_spots(raw.observations) else "bulk"
    if kind == "bulk" and are_barcodes(raw.observations):
        mean = scale != "counts"
        evidence.append(
            f"{rows} barcodes without positions {'averaged' if mean else 'added up'} to one profile (pseudobulk)"
        )
        details["barcodes"] = rows
        if mean and np.any(stored_numbers(matrix) < 0):
            raise UnusableError(f"{rows} cells with values below 0, whose sum is unknown; give counts")
        if mean:
            matrix = np.asarray(_linear(matrix, scale).sum(axis=0, dtype=np.float64)).reshape(1, -1) / rows
            details["values_in_file"] = scale
            scale = "tpm"
            why += "; their mean is on a linear scale"
        else:
            matrix = column_sums(matrix)
    refuse_if_large(*matrix.shape)
    stored = StoredValues(tuple(raw.names), tuple(symbols), matrix) if options.keep_stored else None
    names, dense, collapsed = collapse_genes(symbols, dense_float32(matrix), scale)
    words = "; ".join(filter(None, (*evidence, simplified, why, collapsed)))
    return RnaProfile(names, dense, kind, scale, words, raw.xy_px, stored, details)
