"""A cohort's RNA table: one row a case, found by case id.

A table is parsed once a process (a shard asks for 64 rows of the same table); of a large .h5ad only the asked row is
read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from mupd.base.messages import reason_of
from mupd.errors import UnusableError
from mupd.rna.files import ANNDATA_SUFFIXES
from mupd.rna.gene_names import rows_are_genes
from mupd.rna.h5ad import gene_symbols, index_names, refuse_swapped, table_group, table_matrix
from mupd.rna.input_names import (
    BOOKKEEPING,
    SYMBOL_COLUMNS,
    best_names,
    refuse_other_species,
    simple_names,
)
from mupd.rna.profiles import RnaProfile, Values, collapse_genes, scale_of
from mupd.rna.size_limits import MOST_STORED, MOST_TABLE_BYTES, READ_ERRORS, open_h5, open_text
from mupd.rna.stored_values import GivenValues, Values2D, dense_float32
from mupd.rna.text_tables import TEXT_SUFFIXES, TextLayout, as_read, has_suffix, layout_of_text

_CHUNK_VALUES = 400_000
_ROWS_FOR_SCALE = 64
_HEAD_ROWS = 400
_HEAD_COLUMNS = 8
_KEPT_BYTES = 1 << 28
"""An .h5ad up to this size is kept in memory: thousands of rows are then read at once and not one by one."""


@dataclass(frozen=True)
class _Table:
    """Row numbers by case id, column names, their symbols, and the values (None: still in the .h5ad)."""

    rows: dict[str, list[int]]
    names: tuple[str, ...]
    genes: tuple[str, ...]
    values: Values2D | None
    evidence: str


def _row_numbers(names: Iterable[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        rows.setdefault(name, []).append(number)
    return rows


def _finished(
    cases: Sequence[str], names: Sequence[str], symbols: Sequence[str], values: Values2D | None, evidence: str
) -> _Table:
    refuse_other_species(symbols, names)
    genes, simplified = simple_names(symbols)
    words = "; ".join(filter(None, ("row of a cohort table", evidence, simplified)))
    return _Table(_row_numbers(cases), tuple(names), tuple(genes), values, words)


def _genes_are_rows(path: Path, layout: TextLayout) -> tuple[bool, str]:
    """Whether a text table has a gene in each row and a case in each column, and what tells it."""
    with open_text(path, MOST_TABLE_BYTES) as stream:
        first = range(min(len(layout.cells), _HEAD_COLUMNS))
        head = layout.read(stream, nrows=_HEAD_ROWS, usecols=first, dtype=str, converters=None)
    names = [str(name) for name in head.iloc[:, 0]]
    # Symbols from a column of that name tell as well.
    columns = [head[column] for column in head.columns[1:] if str(column).lower() in SYMBOL_COLUMNS]
    lists = [names, *([str(name) for name in column] for column in columns)]
    looks = [rows_are_genes(found, layout.cells[1:]) for found in lists]
    return next((look for look in looks if look[0]), looks[0])


def _read_text_table(path: Path, exact: bool) -> _Table:
    layout = layout_of_text(path, MOST_TABLE_BYTES)
    turned, why = _genes_are_rows(path, layout)
    labels: list[str] = []
    symbols: list[str] = []
    parts: list[np.ndarray] = []
    columns: list[str] = []
    stored = 0
    precision = "round_trip" if exact else None
    with open_text(path, MOST_TABLE_BYTES) as stream:
        # In pieces of float32, unless every bit counts: the whole at once would stand in memory twice, as float64.
        pieces = layout.read(stream, chunksize=max(1, _CHUNK_VALUES // len(layout.cells)), float_precision=precision)
        for piece in pieces:
            own = list(piece.iloc[:, 0])
            body = piece.iloc[:, 1:]
            if turned:
                words = [column for column in body.columns if str(column).lower() in (*SYMBOL_COLUMNS, "gene_type")]
                found = [column for column in words if str(column).lower() in SYMBOL_COLUMNS]
                symbols += [str(name) for name in body[found[0]].fillna("")] if found else own
                body = body.drop(columns=words)
            labels += own
            columns = [str(column) for column in body.columns]
            wrong = [n for n, kind in enumerate(body.dtypes, start=2) if kind.kind not in "iufb"]
            if wrong:
                raise UnusableError(
                    f"column {wrong[0]} of the table holds words: expected numbers, a column a "
                    f"{'case' if turned else 'gene'}"
                )
            parts.append(as_read(body) if exact else body.to_numpy(np.float32))
            stored += parts[-1].size
            if stored > MOST_STORED:
                raise UnusableError(f"over {MOST_STORED:,} values in the table: give it as .h5ad")
    if not parts:
        raise UnusableError("a table without rows")
    values = np.concatenate(parts)
    if not turned:
        return _finished(labels, columns, columns, values, "")
    kept = [index for index, name in enumerate(labels) if name and not BOOKKEEPING.match(name)]
    names = [labels[index] for index in kept]
    of_names = best_names(names, [symbols[index] for index in kept])
    turned_values = np.ascontiguousarray(values[kept].T)
    return _finished(columns, names, of_names, turned_values, f"genes in rows, cases in columns: {why}")


def _read_h5ad_table(path: Path) -> _Table:
    with open_h5(path) as file:
        group, where = table_group(file)
        matrix = table_matrix(group)
        names, cases = index_names(group["var"], "var"), index_names(group["obs"], "obs")
        if matrix.shape != (len(cases), len(names)):
            raise UnusableError(f"{matrix.name} is {matrix.shape}, with {len(cases)} obs_names and {len(names)} genes")
        refuse_swapped(names, cases, None)
        symbols, found = gene_symbols(group, names)
        # By columns, a row cannot be read alone.
        keep = matrix.stored_bytes <= _KEPT_BYTES or matrix.layout == "csc_matrix"
        values = matrix.rows(0, matrix.shape[0]) if keep else None
    return _finished(cases, names, symbols, values, f"{matrix.name} of {where}, {found}")


@lru_cache(maxsize=4)
def _table(path: Path, _modified_ns: int, _size: int, exact: bool) -> _Table:
    try:
        if has_suffix(path, ANNDATA_SUFFIXES):
            return _read_h5ad_table(path)
        if has_suffix(path, TEXT_SUFFIXES):
            return _read_text_table(path, exact)
    except READ_ERRORS as error:
        raise UnusableError(f"the RNA table does not read: {reason_of(error, path)}") from error
    raise UnusableError("another suffix of the RNA table: expected .h5ad, .h5mu, .csv or .tsv (.gz)")


def _open(path: Path, exact: bool = False) -> _Table:
    stat = path.stat()
    # An .h5ad is read as it is stored either way.
    return _table(path, stat.st_mtime_ns, stat.st_size, exact and not has_suffix(path, ANNDATA_SUFFIXES))


def _rows_of(path: Path, table: _Table, rows: slice) -> Values2D:
    if table.values is not None:
        return table.values[rows]
    import h5py

    try:
        # Looked at as a whole when the table was opened; the file is still the same by time and size.
        with h5py.File(path, "r") as file:
            matrix = table_matrix(table_group(file)[0])
            return matrix.rows(rows.start, min(rows.stop, matrix.shape[0]))
    except READ_ERRORS as error:
        raise UnusableError(f"the RNA table does not read: {reason_of(error, path)}") from error


@lru_cache(maxsize=4)
def _scale(path: Path, _modified_ns: int, _size: int, exact: bool) -> tuple[Values, str]:
    """The scale of the whole table: one patient's row may lack the zero that gives log2(TPM + 0.001) away."""
    table = _table(path, _modified_ns, _size, exact)
    return scale_of(dense_float32(_rows_of(path, table, slice(0, _ROWS_FOR_SCALE))), "auto")


def has_rna_row(table: Path, case_id: str) -> bool:
    """Whether a cohort table has a row (or several) of this case; of a table of genes x cases, a column.

    Raises
    ------
    UnusableError
        If the table cannot be read.
    """
    return case_id in _open(table).rows


@lru_cache(maxsize=2)
def _columns(path: Path, _modified_ns: int, _size: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if has_suffix(path, ANNDATA_SUFFIXES):
        with open_h5(path) as file:
            group = table_group(file)[0]
            own = index_names(group["var"], "var")
            return tuple(own), tuple(simple_names(gene_symbols(group, own)[0])[0])
    layout = layout_of_text(path, MOST_TABLE_BYTES)
    if not _genes_are_rows(path, layout)[0]:
        names = tuple(layout.cells[1:])
        return names, tuple(simple_names(names)[0])
    with open_text(path, MOST_TABLE_BYTES) as stream:
        wanted = [0, *(n for n, cell in enumerate(layout.cells) if cell.lower() in SYMBOL_COLUMNS)]
        frame = layout.read(stream, usecols=wanted[:2], dtype=str, converters=None).fillna("")
    own, symbols = list(frame.iloc[:, 0]), list(frame.iloc[:, -1])
    return tuple(own), tuple(simple_names(best_names(own, symbols))[0])


def original_ids(table: Path, genes: Collection[str]) -> dict[str, str]:
    """{gene: what a cohort table calls it}, for those of `genes` that it calls otherwise.

    Reads the table's column names, not its values.

    Raises
    ------
    UnusableError
        If the table cannot be read.
    """
    from mupd.rna.gene_ids import map_names

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
        ``.h5ad`` or ``.h5mu`` with case ids as ``obs_names``, or ``.tsv``/``.csv`` (.gz): case ids in the first column
        and a column a gene, or genes in the first column and a column a case.
    values
        As for :func:`mupd.rna.read_rna`; ``auto`` looks at the table's first 64 rows.
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
        exact = keep_given and not has_suffix(table, ANNDATA_SUFFIXES)
        scale, why = _scale(table, stat.st_mtime_ns, stat.st_size, exact)
    else:
        scale, why = scale_of(matrix, values)
    given = GivenValues(opened.names, opened.genes, stored) if keep_given else None
    genes, matrix, collapsed = collapse_genes(list(opened.genes), matrix, scale)
    evidence = "; ".join(filter(None, (opened.evidence, why, collapsed)))
    return RnaProfile(genes, matrix, "bulk", scale, evidence, None, given)
