"""A cohort's RNA table: one row a case, found by case id.

Text tables are parsed once a process (a shard asks for 64 rows of the same table); of an .h5ad only
the asked row is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.modalities.given import GivenValues, Values2D, dense_float32
from mupd.modalities.profiles import RnaProfile, Values, collapse_genes, scale_of
from mupd.modalities.reasons import reason_of
from mupd.modalities.rna_files import (
    READ_ERRORS,
    TEXT_SUFFIXES,
    as_read,
    h5ad_genes,
    h5ad_matrix,
    has_suffix,
    read_h5ad_names,
    separator_of,
    stored_rows,
)

_CHUNK_ROWS = 256
_ROWS_FOR_SCALE = 64


@dataclass(frozen=True)
class _Table:
    """Row numbers by case id, column names, their symbols, and the values (None: still in the .h5ad)."""

    rows: dict[str, list[int]]
    names: tuple[str, ...]
    genes: tuple[str, ...]
    values: NDArray[Any] | None
    evidence: str


def _row_numbers(names: Iterable[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        rows.setdefault(name, []).append(number)
    return rows


def _read_text_table(path: Path, exact: bool) -> _Table:
    import pandas as pd

    names: list[str] = []
    parts: list[NDArray[Any]] = []
    genes: list[str] = []
    # In pieces of float32, unless every bit counts: the whole at once would stand in memory twice, as float64.
    # Ids such as 0012 stay words.
    layout = {"sep": separator_of(path), "converters": {0: str}, "encoding": "utf-8-sig"}
    precision = "round_trip" if exact else None
    with pd.read_csv(path, chunksize=_CHUNK_ROWS, float_precision=precision, **layout) as pieces:
        for piece in pieces:
            names += list(piece.iloc[:, 0])
            piece = piece.iloc[:, 1:]
            genes = [str(column) for column in piece.columns]
            words = [n for n, kind in enumerate(piece.dtypes, start=2) if kind.kind not in "iufb"]
            if words:
                raise UnusableError(f"column {words[0]} of the table holds words: expected numbers, a column a gene")
            parts.append(as_read(piece) if exact else piece.to_numpy(np.float32))
    if not parts:
        raise UnusableError("a table without rows")
    columns = tuple(genes)
    return _Table(_row_numbers(names), columns, columns, np.concatenate(parts), "row of a cohort table")


def _read_h5ad_table(path: Path) -> _Table:
    import h5py

    with h5py.File(path, "r") as file:
        h5ad_matrix(file)
        genes, found = h5ad_genes(file)
        rows, names = _row_numbers(read_h5ad_names(file["obs"])), tuple(read_h5ad_names(file["var"]))
        return _Table(rows, names, tuple(genes), None, f"row of a cohort table, {found}")


@lru_cache(maxsize=2)
def _table(path: Path, _modified_ns: int, _size: int, exact: bool) -> _Table:
    try:
        if has_suffix(path, (".h5ad",)):
            return _read_h5ad_table(path)
        if has_suffix(path, TEXT_SUFFIXES):
            return _read_text_table(path, exact)
    except READ_ERRORS as error:
        raise UnusableError(f"the RNA table does not read: {reason_of(error, path)}") from error
    raise UnusableError("another suffix of the RNA table: expected .h5ad, .csv or .tsv (.gz)")


def _open(path: Path, exact: bool = False) -> _Table:
    stat = path.stat()
    return _table(path, stat.st_mtime_ns, stat.st_size, exact)


def _rows_of(path: Path, table: _Table, rows: slice) -> Values2D:
    if table.values is not None:
        return table.values[rows]
    import h5py

    with h5py.File(path, "r") as file:
        return stored_rows(h5ad_matrix(file)[0], rows)


@lru_cache(maxsize=2)
def _scale(path: Path, _modified_ns: int, _size: int, exact: bool) -> tuple[Values, str]:
    """The scale of the whole table: one patient's row may lack the zero that gives log2(TPM + 0.001) away."""
    table = _table(path, _modified_ns, _size, exact)
    return scale_of(dense_float32(_rows_of(path, table, slice(0, _ROWS_FOR_SCALE))), "auto")


def has_rna_row(table: Path, case_id: str) -> bool:
    """Whether a cohort table has a row (or several) of this case.

    Raises
    ------
    UnusableError
        If the table cannot be read.
    """
    return case_id in _open(table).rows


@lru_cache(maxsize=2)
def _columns(path: Path, _modified_ns: int, _size: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    import h5py
    import pandas as pd

    if has_suffix(path, (".h5ad",)):
        with h5py.File(path, "r") as file:
            return tuple(read_h5ad_names(file["var"])), tuple(h5ad_genes(file)[0])
    head = pd.read_csv(path, sep=separator_of(path), nrows=0, encoding="utf-8-sig")
    names = tuple(str(column) for column in head.columns[1:])
    return names, names


def original_ids(table: Path, genes: Collection[str]) -> dict[str, str]:
    """{gene: what a cohort table calls it}, for those of `genes` that it calls otherwise.

    Reads the table's column names, not its values.

    Raises
    ------
    UnusableError
        If the table cannot be read.
    """
    from mupd.modalities.gene_ids import map_names

    try:
        stat = table.stat()
        names, symbols = _columns(table, stat.st_mtime_ns, stat.st_size)
    except READ_ERRORS as error:
        raise UnusableError(f"the RNA table does not read: {reason_of(error, table)}") from error
    ids: dict[str, str] = {}
    for name, gene in zip(names, map_names(symbols, genes)[0], strict=True):
        if name != gene and gene in genes:
            ids.setdefault(gene, name)
    return ids


def read_rna_row(table: Path, case_id: str, values: str = "auto", keep_given: bool = False) -> RnaProfile:
    """One case's row of a cohort table, a bulk profile (1, genes).

    Parameters
    ----------
    table
        ``.h5ad`` with case ids as ``obs_names``, or ``.tsv``/``.csv`` (.gz) with case ids in the
        first column and a column a gene.
    values
        As for :func:`mupd.modalities.rna.read_rna`; ``auto`` looks at the table's first 64 rows.
    keep_given
        Whether the profile also holds the values as they stand in the table.

    Raises
    ------
    UnusableError
        If the table does not read, or has no row or more than one of this id.
    """
    opened = _open(table, keep_given)
    rows = opened.rows.get(case_id, [])
    if len(rows) != 1:
        found = f"{len(rows)} rows" if rows else "no row"
        raise UnusableError(f"{found} of this case in the RNA table: expected exactly one")
    stored = _rows_of(table, opened, slice(rows[0], rows[0] + 1))
    matrix = dense_float32(stored)
    if values == "auto":
        stat = table.stat()
        scale, why = _scale(table, stat.st_mtime_ns, stat.st_size, keep_given)
    else:
        scale, why = scale_of(matrix, values)
    given = GivenValues(opened.names, opened.genes, stored) if keep_given else None
    genes, matrix, collapsed = collapse_genes(list(opened.genes), matrix, scale)
    evidence = "; ".join(filter(None, (opened.evidence, why, collapsed)))
    return RnaProfile(genes, matrix, "bulk", scale, evidence, None, given)
