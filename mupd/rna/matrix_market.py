"""MatrixMarket files of counts, read in parts: no memory is allocated by what their header declares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mupd.errors import UnusableError
from mupd.rna.size_limits import MOST_CASE_BYTES, MOST_STORED, first_line, open_text

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_PART_LINES = 2_000_000
_MATRIX_MARKET = "%%matrixmarket matrix coordinate"
_MOST_BYTES = 4 * MOST_CASE_BYTES


def _market_header(path: Path) -> tuple[int, int, int, int]:
    """The rows, columns and entries that a MatrixMarket file declares, and the number of lines before the entries."""
    with open_text(path, _MOST_BYTES) as stream:
        line, lines = first_line(stream), 1
        if not line.lower().startswith(_MATRIX_MARKET) or not line.lower().split()[-1] == "general":
            raise UnusableError(f"a matrix file that begins with {line[:60].strip()!r}: expected {_MATRIX_MARKET}")
        if line.lower().split()[-2] not in ("integer", "real"):
            raise UnusableError("a matrix file without numbers (pattern or complex): expected integer or real")
        while (line := first_line(stream)).startswith("%") or line.strip() == "":
            lines += 1
            if not line or lines > 1000:
                raise UnusableError("a matrix file without its line of sizes")
    sizes = line.split()
    if len(sizes) != 3 or not all(size.isdigit() and len(size) < 12 for size in sizes):
        raise UnusableError("a matrix file whose line of sizes is not three numbers")
    rows, columns, entries = (int(size) for size in sizes)
    return rows, columns, entries, lines + 1


def market_entries(path: Path, features: int, barcodes: int) -> csr_matrix:
    """A file of features x barcodes as (barcodes, features) CSR.

    Raises
    ------
    UnusableError
        If it is no such file, or if its declared sizes differ from the lists of names or from its entries.
    """
    import pandas as pd
    from scipy.sparse import coo_matrix, csr_matrix

    rows, columns, entries, lines = _market_header(path)
    if (rows, columns) != (features, barcodes):
        hint = ": rows and columns are swapped" if (columns, rows) == (features, barcodes) else ""
        raise UnusableError(f"a matrix of {rows} x {columns} with {features} features and {barcodes} barcodes{hint}")
    if entries > MOST_STORED:
        raise UnusableError(f"{entries:,} stored values: expected at most {MOST_STORED:,}")
    read, parts = 0, []
    kinds = {0: np.int64, 1: np.int64, 2: np.float64}
    with open_text(path, _MOST_BYTES) as stream:
        reading = (
            pd.read_csv(
                stream, sep=r"\s+", header=None, skiprows=lines, dtype=kinds, usecols=[0, 1, 2], chunksize=_PART_LINES
            )
            if entries
            else ()
        )
        for part in reading:
            read += len(part)
            if read > entries:
                raise UnusableError(f"a matrix file that declares {entries:,} entries and has more")
            feature, barcode = part[0].to_numpy() - 1, part[1].to_numpy() - 1
            if min(feature.min(), barcode.min()) < 0 or feature.max() >= features or barcode.max() >= barcodes:
                raise UnusableError("a matrix file with an entry beyond its sizes")
            parts.append((part[2].to_numpy(), barcode.astype(np.int32), feature.astype(np.int32)))
    if read != entries:
        raise UnusableError(f"a matrix file that declares {entries:,} entries and has {read:,}: cut off?")
    if not parts:
        return csr_matrix((barcodes, features), dtype=np.int64)
    values, of_barcode, of_feature = (np.concatenate(column) for column in zip(*parts, strict=True))
    if np.array_equal(values, np.rint(values)) and np.abs(values).max() < 2**53:
        values = values.astype(np.int64)
    return csr_matrix(coo_matrix((values, (of_barcode, of_feature)), shape=(barcodes, features)))
