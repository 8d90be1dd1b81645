"""A cohort's RNA table, with one row per case.

A process parses a table once, because a shard reads many of its rows. From a large .h5ad only the wanted row is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from mupd.base.messages import reason_of
from mupd.base.near_ids import IdIndex
from mupd.base.rna_scales import ScaleName
from mupd.errors import UnusableError
from mupd.rna.gene_names import rows_are_genes
from mupd.rna.h5ad import (
    gene_symbols,
    index_names,
    refuse_swapped,
    stated_of,
    table_group,
    table_matrix,
)
from mupd.rna.input_names import (
    BOOKKEEPING,
    SYMBOL_COLUMNS,
    best_names,
    refuse_other_species,
    simple_names,
)
from mupd.rna.non_genes import (
    columns_for_scale,
    is_annotation,
    left_out,
    non_genes,
    refuse_other_ids,
    refuse_unnamed_genes,
)
from mupd.rna.profiles import RnaProfile, collapse_genes
from mupd.rna.scale_evidence import scale_of
from mupd.rna.size_limits import MOST_STORED, MOST_TABLE_BYTES, READ_ERRORS, open_h5, open_text
from mupd.rna.stored_values import StoredValues, Values2D, dense_float32
from mupd.rna.text_tables import TEXT_SUFFIXES, TextLayout, as_read, layout_of_text, refuse_decimal_commas
from mupd.sheet.columns import is_anndata

_CHUNK_VALUES = 400_000
_ROWS_FOR_SCALE = 64
_HEAD_ROWS = 400
_HEAD_COLUMNS = 8
KEPT_BYTES = 1 << 28
"""An .h5ad up to this size is kept in memory, so that thousands of rows are read at once and not one by one."""


@dataclass(frozen=True)
class _File:
    """A table at a certain state. It is the key of caches: a table that has changed is read again."""

    path: Path
    modified_ns: int
    size: int

    @property
    def is_anndata(self) -> bool:
        """Whether it is an .h5ad or .h5mu file."""
        return is_anndata(self.path)


def _file(path: Path) -> _File:
    stat = path.stat()
    return _File(path, stat.st_mtime_ns, stat.st_size)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except READ_ERRORS as error:
        raise UnusableError(f"the RNA table does not read: {reason_of(error, path)}") from error


@dataclass(frozen=True)
class _Table:
    """Row numbers by case id, column names, their gene symbols, and the values (None: left in the .h5ad).

    `stated` is the scale as the file itself states it, else ``auto``.
    """

    rows: dict[str, list[int]]
    names: tuple[str, ...]
    genes: tuple[str, ...]
    values: Values2D | None
    evidence: str
    stated: str = "auto"


def _finished(
    cases: Sequence[str], names: Sequence[str], symbols: Sequence[str], values: Values2D | None, evidence: str
) -> _Table:
    refuse_other_species(symbols, names)
    refuse_other_ids(symbols)
    genes, simplified = simple_names(symbols)
    rows: dict[str, list[int]] = {}
    for number, case_id in enumerate(cases):
        rows.setdefault(case_id, []).append(number)
    words = "; ".join(filter(None, ("row of a cohort table", evidence, simplified)))
    return _Table(rows, tuple(names), tuple(genes), values, words)


def _genes_are_rows(path: Path, layout: TextLayout) -> tuple[bool, str]:
    """Whether a text table has genes in rows and cases in columns, and the evidence in words."""
    with open_text(path, MOST_TABLE_BYTES) as stream:
        first = range(min(len(layout.cells), _HEAD_COLUMNS))
        head = layout.read(stream, nrows=_HEAD_ROWS, usecols=first, dtype=str, converters=None)
    names = [str(name) for name in head.iloc[:, 0]]
    symbol_columns = [head[column] for column in head.columns[1:] if str(column).lower() in SYMBOL_COLUMNS]
    lists = [names, *([str(name) for name in column] for column in symbol_columns)]
    refuse_unnamed_genes(names, layout.cells[1:])
    answers = [rows_are_genes(rows, layout.cells[1:]) for rows in lists]
    return next((answer for answer in answers if answer[0]), answers[0])


@dataclass(frozen=True)
class _Columns:
    """Positions of the columns of a text table: of expression, of gene symbols (0: none), and of neither."""

    kept: tuple[int, ...]
    symbols: int
    dropped: tuple[int, ...]


def _columns_of(layout: TextLayout, genes_are_rows: bool) -> _Columns:
    names = layout.cells[1:]
    symbols = [n for n, name in enumerate(names, 1) if genes_are_rows and name.lower() in SYMBOL_COLUMNS]
    if genes_are_rows:
        dropped = [n for n, name in enumerate(names, 1) if is_annotation(name) and n not in symbols]
    else:
        dropped = [n + 1 for n in non_genes(names)]
    apart = {*symbols, *dropped}
    kept = tuple(n for n in range(1, len(layout.cells)) if n not in apart)
    if not kept:
        raise UnusableError("no column of expression: all columns describe genes or patients")
    return _Columns(kept, symbols[0] if symbols else 0, tuple(dropped))


def _read_text_table(path: Path, exact: bool) -> _Table:
    layout = layout_of_text(path, MOST_TABLE_BYTES)
    turned, why = _genes_are_rows(path, layout)
    labels: list[str] = []
    symbols: list[str] = []
    parts: list[np.ndarray] = []
    stored = 0
    shape = _columns_of(layout, turned)
    columns = [layout.cells[n] for n in shape.kept]
    dropped = left_out([layout.cells[n] for n in shape.dropped], "columns that are no expression")
    precision = "round_trip" if exact else None
    with open_text(path, MOST_TABLE_BYTES) as stream:
        # In pieces, and as float32 unless exact: the whole table would be in memory twice, as float64.
        pieces = layout.read(stream, chunksize=max(1, _CHUNK_VALUES // len(layout.cells)), float_precision=precision)
        for piece in pieces:
            own = list(piece.iloc[:, 0])
            labels += own
            if turned:
                symbols += [str(name) for name in piece.iloc[:, shape.symbols].fillna("")] if shape.symbols else own
            body = piece.iloc[:, list(shape.kept)]
            wrong = [n for n, kind in zip(shape.kept, body.dtypes, strict=True) if kind.kind not in "iufb"]
            if wrong:
                refuse_decimal_commas(piece.iloc[:, n] for n in wrong)
                raise UnusableError(
                    f"column {wrong[0] + 1} of the table holds words: expected numbers, one column per "
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
        return _finished(labels, columns, columns, values, dropped)
    kept = [index for index, name in enumerate(labels) if name and not BOOKKEEPING.match(name)]
    names = [labels[index] for index in kept]
    of_names = best_names(names, [symbols[index] for index in kept])
    turned_values = np.ascontiguousarray(values[kept].T)
    evidence = "; ".join(filter(None, (f"genes in rows, cases in columns: {why}", dropped)))
    return _finished(columns, names, of_names, turned_values, evidence)


def _read_h5ad_table(path: Path) -> _Table:
    with open_h5(path) as file:
        group, where = table_group(file)
        matrix = table_matrix(group)
        names, cases = index_names(group["var"], "var"), index_names(group["obs"], "obs")
        if matrix.shape != (len(cases), len(names)):
            raise UnusableError(f"{matrix.name} is {matrix.shape}, with {len(cases)} obs_names and {len(names)} genes")
        refuse_swapped(names, cases, None)
        symbols, names_from = gene_symbols(group, names)
        # A single row cannot be read from a matrix stored by columns.
        stated = stated_of(group, matrix)
        keep = matrix.stored_bytes <= KEPT_BYTES or matrix.layout == "csc_matrix"
        values = matrix.rows(0, matrix.shape[0]) if keep else None
    table = _finished(cases, names, symbols, values, f"{matrix.name} of {where}, {names_from}")
    return replace(table, stated=stated)


@lru_cache(maxsize=4)
def _table(file: _File, exact: bool) -> _Table:
    with _reading(file.path):
        if file.is_anndata:
            return _read_h5ad_table(file.path)
        if file.path.name.lower().endswith(TEXT_SUFFIXES):
            return _read_text_table(file.path, exact)
    raise UnusableError("another suffix of the RNA table: expected .h5ad, .h5mu, .csv or .tsv (.gz)")


def _rows_of(path: Path, table: _Table, rows: slice) -> Values2D:
    if table.values is not None:
        return table.values[rows]
    import h5py

    # The links of the file were checked when the table was opened, and the file has not changed since.
    with _reading(path), h5py.File(path, "r") as file:
        matrix = table_matrix(table_group(file)[0])
        return matrix.rows(rows.start, min(rows.stop, matrix.shape[0]))


@lru_cache(maxsize=4)
def _scale(file: _File, exact: bool) -> tuple[ScaleName, str]:
    """The scale of the whole table. A single row may lack the zero that identifies log2(TPM + 0.001)."""
    table = _table(file, exact)
    return scale_of_rows(_rows_of(file.path, table, slice(0, _ROWS_FOR_SCALE)), table.genes, table.stated)


def scale_of_rows(rows: Values2D, genes: Sequence[str], stated: str = "auto") -> tuple[ScaleName, str]:
    """The scale of a table, determined from its first rows (rows, genes)."""
    known = columns_for_scale(tuple(genes))
    return scale_of(dense_float32(rows if known is None else rows[:, known]), stated)


def rna_row_index(table: Path) -> IdIndex:
    """The ids of a cohort table whose values were read: of its rows, or of its columns if genes are in rows.

    Raises
    ------
    UnusableError
        If the table cannot be read.
    """
    return _index(_file(table))


@lru_cache(maxsize=4)
def _index(file: _File) -> IdIndex:
    return IdIndex(_table(file, False).rows)


def rna_row_ids(table: Path) -> frozenset[str]:
    """Case ids of a cohort table: of its rows, or of its columns if genes are in rows. Reads no values.

    Raises
    ------
    UnusableError
        If the table cannot be read.
    """
    with _reading(table):
        file = _file(table)
        if file.is_anndata:
            with open_h5(table) as opened:
                return frozenset(index_names(table_group(opened)[0]["obs"], "obs"))
        layout = layout_of_text(table, MOST_TABLE_BYTES)
        if _genes_are_rows(table, layout)[0]:
            return frozenset(layout.cells[1:])
        with open_text(table, MOST_TABLE_BYTES) as stream:
            return frozenset(layout.read(stream, usecols=[0], dtype=str, converters=None).iloc[:, 0])


@lru_cache(maxsize=2)
def _columns(file: _File) -> tuple[list[str], list[str]]:
    """The table's names of its genes, and their symbols."""
    if file.is_anndata:
        with open_h5(file.path) as opened:
            group = table_group(opened)[0]
            own = index_names(group["var"], "var")
            symbols = gene_symbols(group, own)[0]
    else:
        layout = layout_of_text(file.path, MOST_TABLE_BYTES)
        own = symbols = layout.cells[1:]
        if _genes_are_rows(file.path, layout)[0]:
            with open_text(file.path, MOST_TABLE_BYTES) as stream:
                wanted = [0, *(n for n, cell in enumerate(layout.cells) if cell.lower() in SYMBOL_COLUMNS)]
                frame = layout.read(stream, usecols=wanted[:2], dtype=str, converters=None).fillna("")
            own = list(frame.iloc[:, 0])
            symbols = best_names(own, list(frame.iloc[:, -1]))
    return own, simple_names(symbols)[0]


def original_ids(table: Path, genes: Collection[str]) -> dict[str, str]:
    """{gene: the table's name for it}, for those of `genes` that a cohort table names differently.

    Reads only the table's names, not its values.

    Raises
    ------
    UnusableError
        If the table cannot be read.
    """
    from mupd.rna.gene_ids import map_names

    with _reading(table):
        names, symbols = _columns(_file(table))
    ids: dict[str, str] = {}
    for name, gene in zip(names, map_names(symbols, genes)[0], strict=True):
        if name != gene and gene in genes:
            ids.setdefault(gene, name)
    return ids


def read_rna_row(table: Path, case_id: str, values: str = "auto", keep_stored: bool = False) -> RnaProfile:
    """One case's row of a cohort table, a bulk profile (1, genes).

    Parameters
    ----------
    table
        ``.h5ad`` or ``.h5mu`` with case ids as ``obs_names``, or ``.tsv``/``.csv`` (.gz): either case ids in the first
        column and a column per gene, or genes in the first column and a column per case.
    values
        As for :func:`mupd.rna.files.read_rna`. ``auto`` examines the table's first 64 rows.
    keep_stored
        Whether the profile also holds the values as the table stores them.

    Raises
    ------
    UnusableError
        If the table does not read, or has not exactly one row of the case.
    """
    file = _file(table)
    # Text is parsed exactly only where its numbers are kept; an .h5ad always gives the stored ones.
    exact = keep_stored and not file.is_anndata
    opened = _table(file, exact)
    rows = opened.rows.get(case_id, [])
    if len(rows) != 1:
        raise UnusableError(
            f"{f'{len(rows)} rows or columns' if rows else 'no row'} of this case in the RNA table: expected one"
        )
    row = _rows_of(table, opened, slice(rows[0], rows[0] + 1))
    matrix = dense_float32(row)
    scale, why = _scale(file, exact) if values == "auto" else scale_of(matrix, values)
    stored = StoredValues(opened.names, opened.genes, row) if keep_stored else None
    genes, matrix, collapsed = collapse_genes(list(opened.genes), matrix, scale)
    evidence = "; ".join(filter(None, (opened.evidence, why, collapsed)))
    return RnaProfile(genes, matrix, "bulk", scale, evidence, None, stored)
