"""Measured RNA of a cohort in one matrix that gives every number back as its input holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.rna.stored_values import StoredValues, Values2D


@dataclass(frozen=True)
class MeasuredMatrix:
    """Rows of several inputs over the union of their columns.

    Attributes
    ----------
    matrix
        (rows, columns); NaN where a row's input lacks the column. CSR if all inputs are sparse, else dense. Its type
        is the inputs' own if they share one (and, for integers, all columns), else the smallest that holds all.
    names
        Of the columns, in the order in which inputs name them first: gene symbols, with -1, -2, ... behind one that
        an input holds more than once.
    ids
        Names of the columns in the inputs; several that differ are joined by ";".
    exact
        Of each row, whether ``matrix[row].astype(type of its input)`` is that input, bit for bit. Only integers
        beyond 2^53 beside other types are not.
    """

    matrix: Values2D
    names: tuple[str, ...]
    ids: tuple[str, ...]
    exact: tuple[bool, ...]


def unique_names(symbols: Sequence[str]) -> tuple[str, ...]:
    """Symbols that stand there twice get -1, -2, ...: no value is dropped."""
    taken, seen, names = set(symbols), dict[str, int](), []
    for symbol in symbols:
        count = seen.get(symbol, 0)
        name = symbol
        while count and (name := f"{symbol}-{count}") in taken:
            count += 1
        taken.add(name)
        seen[symbol] = count + 1
        names.append(name)
    return tuple(names)


def _common_type(given: Sequence[StoredValues], complete: bool) -> np.dtype[Any]:
    kinds = [item.matrix.dtype.newbyteorder("=") for item in given]
    dtype = np.result_type(*kinds) if kinds else np.dtype(np.float32)
    # An integer cannot say that a gene is not there.
    return dtype if complete or dtype.kind == "f" else np.result_type(dtype, np.float32)


def _parts(row: Values2D) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Stored numbers of a row (1, n) and their columns."""
    if isinstance(row, np.ndarray):
        return row[0], np.arange(row.shape[1])
    whole = row.copy()
    whole.sum_duplicates()
    return whole.data, whole.indices.astype(np.intp)


def _is_exact(values: NDArray[Any], kind: np.dtype[Any]) -> bool:
    with np.errstate(invalid="ignore"):  # what does not fit is what is asked for
        return values.astype(kind).astype(values.dtype).tobytes() == values.tobytes()


def measured_matrix(given: Sequence[StoredValues]) -> MeasuredMatrix:
    """Stack inputs of one row each; see :class:`MeasuredMatrix`."""
    # Thousands of rows of one table have one layout.
    layouts = {(item.names, item.symbols): unique_names(item.symbols) for item in given}
    ids: dict[str, dict[str, None]] = {}
    for (own_names, _), names in layouts.items():
        for name, own in zip(names, own_names, strict=True):
            ids.setdefault(name, {})[own] = None
    position = {name: index for index, name in enumerate(ids)}
    places = {layout: np.array([position[name] for name in names], np.intp) for layout, names in layouts.items()}
    kind = _common_type(given, all(len(names) == len(ids) for names in layouts.values()))
    sparse = bool(given) and all(not isinstance(item.matrix, np.ndarray) for item in given)
    data, columns, ends, exact = [], [], [0], []
    for item in given:
        of_columns = places[item.names, item.symbols]
        values, at = _parts(item.matrix)
        lacking = np.setdiff1d(np.arange(len(ids)), of_columns)
        exact.append(_is_exact(values, kind))
        row, where = values.astype(kind), of_columns[at]
        if len(lacking):
            row, where = np.append(row, np.full(len(lacking), np.nan, kind)), np.append(where, lacking)
        order = np.argsort(where)
        data.append(row[order])
        columns.append(where[order])
        ends.append(ends[-1] + len(where))
    joined = tuple(";".join(own) for own in ids.values())
    return MeasuredMatrix(_matrix(data, columns, ends, kind, len(ids), sparse), tuple(ids), joined, tuple(exact))


def _matrix(
    data: list[NDArray[Any]],
    columns: list[NDArray[np.intp]],
    ends: list[int],
    kind: np.dtype[Any],
    width: int,
    sparse: bool,
) -> Values2D:
    if not sparse:
        dense = np.zeros((len(data), width), kind)
        for row, values in enumerate(data):
            dense[row, columns[row]] = values
        return dense
    from scipy.sparse import csr_matrix

    parts = np.concatenate(data), np.concatenate(columns), np.array(ends)
    return csr_matrix(parts, shape=(len(data), width))
