"""Digests of the rows of a cohort table, so that a changed row reruns its own shard alone.

``python -m mupd.run.table_digests MODALITY PATH`` prints ``{"whole": "...", "rows": {ID: DIGEST}}``. It prints null for
a table whose rows cannot be read one by one in a short time: genes in rows, stored by columns, over :data:`MOST_BYTES`.
It is a process of its own with a memory limit, because the workflow runs it while it is parsed and the table may be
damaged or hostile.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mupd.base.ids import Modality
from mupd.errors import MupdError, UnusableError
from mupd.sheet.columns import is_anndata

if TYPE_CHECKING:
    from mupd.rna.stored_values import Values2D

MOST_BYTES = 2 << 30
"""Most bytes of values that are read: more would delay every start of the workflow after a change."""

MOST_MB = 3000
_HEAD_ROWS = 64
_CHUNK_ROWS = 256
_LENGTH = 16


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:_LENGTH]


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """{id: digest}; rows with the same id get one digest."""
    rows: dict[str, str] = {}
    for name, digest in pairs:
        rows[name] = _digest(rows[name].encode(), digest.encode()) if name in rows else digest
    return rows


def _of_texts(path: Path) -> dict[str, Any]:
    from mupd.reports.files.tables import texts_of

    rows = {
        name: _digest(*(text.encode("utf-8", "surrogatepass") for text in texts))
        for name, texts in texts_of(path).items()
    }
    return {"whole": "", "rows": rows}


def _scale(matrix: Values2D, symbols: Sequence[str]) -> str:
    """The scale of the whole table, determined from its first rows, or why it cannot be."""
    from mupd.rna.cohort_tables import scale_of_rows

    try:
        return scale_of_rows(matrix, symbols)[0]
    except UnusableError as error:
        return str(error)


def _of_text_matrix(path: Path) -> dict[str, Any] | None:
    from mupd.rna.gene_names import rows_are_genes
    from mupd.rna.size_limits import MOST_TABLE_BYTES, open_text
    from mupd.rna.text_tables import layout_of_text

    layout = layout_of_text(path, MOST_TABLE_BYTES)
    separator, width = layout.options["sep"], len(layout.cells)
    pairs: list[tuple[str, str]] = []
    head: list[list[float]] = []
    size = 0
    with open_text(path, MOST_TABLE_BYTES) as stream:
        if layout.options["header"] is None and "names" not in layout.options:
            return None
        for _ in range(layout.options["skiprows"] + ("names" not in layout.options)):
            stream.readline()
        for line in stream:
            size += len(line)
            if size > MOST_BYTES:
                return None
            if not line.strip():
                continue
            if '"' in line:
                cells = next(csv.reader([line], delimiter=separator))
                if len(cells) != width:
                    return None  # a cell with a line break, or a ragged row
            elif line.count(separator) != width - 1:
                return None
            else:
                cells = [line.split(separator, 1)[0]] if len(head) >= _HEAD_ROWS else line.rstrip("\n").split(separator)
            pairs.append((cells[0], _digest(line.rstrip("\n").encode("utf-8", "surrogatepass"))))
            if len(head) < _HEAD_ROWS:
                head.append([float(cell) for cell in cells[1:]])
    if not pairs or rows_are_genes([name for name, _ in pairs[:400]], layout.cells[1:])[0]:
        return None
    whole = _digest(json.dumps(layout.cells).encode(), _scale(np.asarray(head, np.float32), layout.cells[1:]).encode())
    return {"whole": whole, "rows": _joined(pairs)}


def _of_anndata(path: Path) -> dict[str, Any] | None:
    from mupd.rna.h5ad import gene_symbols, index_names, table_group, table_matrix
    from mupd.rna.size_limits import open_h5
    from mupd.rna.stored_values import dense_float32

    with open_h5(path) as file:
        group, _ = table_group(file)
        matrix = table_matrix(group)
        names, cases = index_names(group["var"], "var"), index_names(group["obs"], "obs")
        if (
            matrix.layout == "csc_matrix"
            or matrix.stored_bytes > MOST_BYTES
            or matrix.shape != (len(cases), len(names))
        ):
            return None
        symbols, _ = gene_symbols(group, names)
        scale = _scale(matrix.rows(0, min(_HEAD_ROWS, len(cases))), symbols)
        pairs = []
        for start in range(0, len(cases), _CHUNK_ROWS):
            stop = min(start + _CHUNK_ROWS, len(cases))
            values = dense_float32(matrix.rows(start, stop))
            pairs += [(name, _digest(row.tobytes())) for name, row in zip(cases[start:stop], values, strict=True)]
    whole = _digest(matrix.name.encode(), json.dumps([names, symbols]).encode(), scale.encode())
    return {"whole": whole, "rows": _joined(pairs)}


def digests_of(modality: Modality, path: Path) -> dict[str, Any] | None:
    """Digest of what all rows depend on (header, scale, synthetic marks), and of each row by its id.

    None for a table whose rows cannot be read one by one.

    Raises
    ------
    UnusableError, OSError, ValueError
        If the table does not read; intake says what is wrong with it.
    """
    from mupd.synthetic.verify.recognise import synthetic_marks

    if modality == "text":
        digests: dict[str, Any] | None = _of_texts(path)
    elif is_anndata(path):
        digests = _of_anndata(path)
    else:
        digests = _of_text_matrix(path)
    if digests is None:
        return None
    marks = (mark.encode() for mark in synthetic_marks(path))
    return digests | {"whole": _digest(str(digests["whole"]).encode(), *marks)}


def main() -> None:
    """Print the digests of one table; exit code 1 where it does not read."""
    from mupd.base.memory_limit import allow_megabytes, no_core_dump

    no_core_dump()
    allow_megabytes(MOST_MB)
    modality, path = sys.argv[1:]
    try:
        digests = digests_of("text" if modality == "text" else "rna", Path(path))
    except (MupdError, OSError, ValueError, LookupError, EOFError, csv.Error, MemoryError):
        sys.exit(1)
    json.dump(digests, sys.stdout)


if __name__ == "__main__":
    main()
