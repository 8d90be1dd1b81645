"""The values of an RNA input as its file stores them: in the file's type, dense or sparse, no columns merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Values2D = Union[NDArray[Any], "csr_matrix"]
"""(rows, columns) of integers or floats, dense or CSR."""


@dataclass(frozen=True)
class StoredValues:
    """The columns of an input that are genes, in the file's order.

    Attributes
    ----------
    names
        The columns' names in the file. A name may be there twice.
    symbols
        Their gene symbols. They differ from `names` where the file has Ensembl ids or former symbols.
    matrix
        (observations, columns) in the type that the file stores. Text tables give integers if all numbers are
        integers, else the float64 nearest to each number's text.
    """

    names: tuple[str, ...]
    symbols: tuple[str, ...]
    matrix: Values2D


def dense_float32(matrix: Values2D) -> NDArray[np.float32]:
    """The matrix as dense (rows, columns) float32."""
    # Convert a sparse matrix before it becomes dense: a second dense copy would double the memory.
    dense: Any = matrix if isinstance(matrix, np.ndarray) else matrix.astype(np.float32).toarray()
    return np.asarray(dense, dtype=np.float32)


def summed(stored: StoredValues, mean: bool) -> StoredValues:
    """One row of an input of several: their sum (of integers as int64, else as float64), or their mean (float64)."""
    matrix = stored.matrix
    kind = np.float64 if mean or matrix.dtype.kind == "f" else np.int64
    total = np.asarray(matrix.sum(axis=0, dtype=kind)).reshape(1, -1)
    if mean:
        total = total / matrix.shape[0]
    if isinstance(matrix, np.ndarray):
        return StoredValues(stored.names, stored.symbols, total)
    from scipy.sparse import csr_matrix

    return StoredValues(stored.names, stored.symbols, csr_matrix(total))
