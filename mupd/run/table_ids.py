"""Which cases the cohort tables have a row of, read without their values.

The workflow reads this when it is parsed, so nothing heavy is imported here, and tables that would take long to look
through are left out there (:data:`QUICK_BYTES`). Whether a row is usable only intake says.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from mupd.base.ids import Modality
from mupd.config import Config
from mupd.errors import Fault, InputFaults

TableIds = dict[Modality, frozenset[str]]

QUICK_BYTES = 50_000_000
"""A text table up to this size is read in a second or two; the index of an .h5ad is short at any size."""

_MOST_CELL = 1 << 30


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _open(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _of_h5(path: Path) -> frozenset[str]:
    import h5py

    with h5py.File(path) as file:
        group = file
        if "mod" in file:
            names = {name.lower(): name for name in file["mod"]}
            group = file["mod"][names.get("rna", next(iter(names.values())))]
        index = group["obs"].attrs.get("_index", "_index")
        return frozenset(str(name) for name in group["obs"][index].asstr()[:])


def _json_items(text: str) -> Iterator[Any]:
    try:
        value = json.loads(text)
    except ValueError:
        yield from (json.loads(line) for line in text.splitlines() if line.strip())
        return
    yield from value if isinstance(value, list) else [value]


def _of_json(path: Path) -> frozenset[str]:
    with _open(path) as stream:
        items = list(_json_items(stream.read().decode("utf-8-sig", errors="replace")))
    ids: set[str] = set()
    for item in items:
        if isinstance(item, dict):
            ids.update([str(item["case_id"]).strip()] if "case_id" in item else map(str, item))
    return frozenset(ids)


def _of_delimited(path: Path) -> frozenset[str]:
    """First cells of the rows and of the columns: in a table of genes by cases the ids are its header."""
    mark = "," if _suffix(path) == ".csv" else "\t"
    csv.field_size_limit(_MOST_CELL)
    with _open(path) as packed:
        rows = csv.reader(io.TextIOWrapper(packed, encoding="utf-8-sig", errors="replace", newline=""), delimiter=mark)
        header = [cell.strip() for cell in next(rows, [])]
        at = header.index("case_id") if "case_id" in header else 0
        return frozenset(header) | {row[at].strip() for row in rows if len(row) > at}


def table_ids(path: Path) -> frozenset[str]:
    """Everything in a table that may be a case's id: of delimited text also the names of its columns.

    Raises
    ------
    InputFaults
        If it cannot be read.
    """
    suffix = _suffix(path)
    try:
        if suffix in (".h5ad", ".h5mu"):
            return _of_h5(path)
        return _of_json(path) if "json" in suffix else _of_delimited(path)
    except (OSError, EOFError, ValueError, KeyError, StopIteration, csv.Error) as error:
        reason = f"{type(error).__name__}: {str(error)[:120]}"
        raise InputFaults("cohort tables", [Fault(path.name, reason, "a cohort table")]) from error


def in_tables(config: Config, most_bytes: int | None = None) -> TableIds:
    """Ids that the configured tables have a row of, by modality.

    Parameters
    ----------
    most_bytes
        Larger text tables are left out, as are tables that do not read; None reads all, and raises.

    Raises
    ------
    InputFaults
        If a table cannot be read and `most_bytes` is None.
    """
    found: TableIds = {}
    named: dict[Modality, str | None] = {"rna": config.tables.rna, "text": config.tables.text}
    for modality, name in named.items():
        if name is None:
            continue
        path = Path(name)
        try:
            if most_bytes is not None and not path.name.lower().endswith((".h5ad", ".h5mu")):
                packed = 4 if path.suffix.lower() == ".gz" else 1
                if path.stat().st_size * packed > most_bytes:
                    continue
            found[modality] = table_ids(path)
        except (InputFaults, OSError):
            if most_bytes is None:
                raise
    return found
