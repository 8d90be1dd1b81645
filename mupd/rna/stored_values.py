"""The values of an RNA input as they stand in it: in their own type, dense or sparse, no column merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Values2D = Union[NDArray[Any], "csr_matrix"]
"""(rows, columns) of integers or floats."""


@dataclass(frozen=True)
class GivenValues:
    """Columns of an input that are genes, in its own order.

    Attributes
    ----------
    names
        The columns' names in the file, also where one stands there twice.
    symbols
        Their gene symbols: other than `names` where the file names genes by Ensembl ids or by former symbols.
    matrix
        (observations, columns), in the type the file stores (of a text table: integers if all of it is, else
        float64, each the number nearest to the text).
    """

    names: tuple[str, ...]
    symbols: tuple[str, ...]
    matrix: Values2D


def as_stored(part: Any) -> Values2D:
    """Rows read from a dense or sparse matrix on disk, sparse ones as CSR, in their own type."""
    if hasattr(part, "tocsr"):
        from scipy.sparse import csr_matrix

        return csr_matrix(part)
    return np.asarray(part)


def dense_float32(matrix: Values2D) -> NDArray[np.float32]:
    """The same as a dense (rows, columns) float32."""
    # Of a sparse one only the stored values are converted: a second dense copy would double the memory.
    dense: Any = matrix if isinstance(matrix, np.ndarray) else matrix.astype(np.float32).toarray()
    return np.asarray(dense, dtype=np.float32)
