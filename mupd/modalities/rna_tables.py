"""A cohort's RNA table: one row a case, found by case id.

Text tables are parsed once a process (a shard asks for 64 rows of the same table); of an .h5ad only
the asked row is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.modalities.profiles import RnaProfile, Values, collapse_genes, scale_of
from mupd.modalities.reasons import reason_of
from mupd.modalities.rna_files import (
    READ_ERRORS,
    TEXT_SUFFIXES,
    dense_rows,
    h5ad_genes,
    h5ad_matrix,
    has_suffix,
    read_h5ad_names,
    separator_of,
)

_CHUNK_ROWS = 256
_ROWS_FOR_SCALE = 64


@dataclass(frozen=True)
class _Table:
    """Row numbers by case id, genes, and the values (None: still in the .h5ad); `scale` holds for all rows."""

    rows: dict[str, list[int]]
    genes: list[str]
    values: NDArray[np.float32] | None
    evidence: str


def _row_numbers(names: Iterable[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        rows.setdefault(name, []).append(number)
    return rows


def _read_text_table(path: Path) -> _Table:
    import pandas as pd

    names: list[str] = []
    parts: list[NDArray[np.float32]] = []
    genes: list[str] = []
    # In pieces of float32: the whole at once would stand in memory twice, as float64.
    # Ids such as 0012 stay words.
    layout = {"sep": separator_of(path), "converters": {0: str}, "encoding": "utf-8-sig"}
    with pd.read_csv(path, chunksize=_CHUNK_ROWS, **layout) as pieces:
        for piece in pieces:
            names += list(piece.iloc[:, 0])
            piece = piece.iloc[:, 1:]
            genes = [str(column) for column in piece.columns]
            words = [str(column) for column in piece.columns if piece[column].dtype.kind not in "iufb"]
            if words:
                raise UnusableError(f"column {words[0]!r} of the table holds words: expected numbers, a column a gene")
            parts.append(piece.to_numpy(np.float32))
    if not parts:
        raise UnusableError("a table without rows")
    return _Table(_row_numbers(names), genes, np.concatenate(parts), "row of a cohort table")


def _read_h5ad_table(path: Path) -> _Table:
    import h5py

    with h5py.File(path, "r") as file:
        h5ad_matrix(file)
        genes, evidence = h5ad_genes(file)
        return _Table(_row_numbers(read_h5ad_names(file["obs"])), genes, None, f"row of a cohort table, {evidence}")


@lru_cache(maxsize=2)
def _table(path: Path, _modified_ns: int, _size: int) -> _Table:
    try:
        if has_suffix(path, (".h5ad",)):
            return _read_h5ad_table(path)
        if has_suffix(path, TEXT_SUFFIXES):
            return _read_text_table(path)
    except READ_ERRORS as error:
        raise UnusableError(f"the RNA table does not read: {reason_of(error, path)}") from error
    raise UnusableError(f"suffix {path.suffix!r} of the RNA table: expected .h5ad, .csv or .tsv (.gz)")


def _open(path: Path) -> _Table:
    stat = path.stat()
    return _table(path, stat.st_mtime_ns, stat.st_size)


def _rows_of(path: Path, table: _Table, rows: slice) -> NDArray[np.float32]:
    if table.values is not None:
        return table.values[rows]
    import h5py

    with h5py.File(path, "r") as file:
        return dense_rows(h5ad_matrix(file)[0], rows)


@lru_cache(maxsize=2)
def _scale(path: Path, _modified_ns: int, _size: int) -> tuple[Values, str]:
    """The scale of the whole table: one patient's row may lack the zero that gives log2(TPM + 0.001) away."""
    table = _table(path, _modified_ns, _size)
    return scale_of(_rows_of(path, table, slice(0, _ROWS_FOR_SCALE)), "auto")


def has_rna_row(table: Path, case_id: str) -> bool:
    """Whether a cohort table has a row (or several) of this case.

    Raises
    ------
    UnusableError
        If the table cannot be read.
    """
    return case_id in _open(table).rows


def read_rna_row(table: Path, case_id: str, values: str = "auto") -> RnaProfile:
    """One case's row of a cohort table, a bulk profile (1, genes).

    Parameters
    ----------
    table
        ``.h5ad`` with case ids as ``obs_names``, or ``.tsv``/``.csv`` (.gz) with case ids in the
        first column and a column a gene.
    values
        As for :func:`mupd.modalities.rna.read_rna`; ``auto`` looks at the table's first 64 rows.

    Raises
    ------
    UnusableError
        If the table does not read, or has no row or more than one of this id.
    """
    opened = _open(table)
    rows = opened.rows.get(case_id, [])
    if len(rows) != 1:
        found = f"{len(rows)} rows" if rows else "no row"
        raise UnusableError(f"{found} of this case in the RNA table: expected exactly one")
    matrix = _rows_of(table, opened, slice(rows[0], rows[0] + 1))
    if values == "auto":
        stat = table.stat()
        scale, why = _scale(table, stat.st_mtime_ns, stat.st_size)
    else:
        scale, why = scale_of(matrix, values)
    genes, matrix, collapsed = collapse_genes(opened.genes, matrix, scale)
    return RnaProfile(genes, matrix, "bulk", scale, "; ".join(filter(None, (opened.evidence, why, collapsed))))
