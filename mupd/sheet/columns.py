"""Columns of the sample sheet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mupd.errors import Fault

COLUMNS: dict[str, int | None] = {
    "case_id": 256,
    "he": None,
    "rna": None,
    "text": None,
    "organ": 64,
    "diagnosis": 200,
    "he_mpp": None,
    "rna_values": 40,
}
"""Columns that a sheet may have, with the most characters of a cell; config/README.md explains each."""

ANNDATA_SUFFIXES = (".h5ad", ".h5mu")
"""HDF5 tables of RNA: single rows are read without the others."""

TEXT_TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
"""Tables of reports; each may be compressed as well (``.csv.gz``)."""

TABLE_SUFFIXES = {
    "rna": (
        *ANNDATA_SUFFIXES,
        *(suffix + packed for suffix in (".tsv", ".csv", ".txt", ".tab") for packed in ("", ".gz")),
    ),
    "text": tuple(suffix + packed for suffix in TEXT_TABLE_SUFFIXES for packed in ("", ".gz")),
}
"""Suffixes of tables with a row per case, by column."""

NOT_STATED = frozenset(
    (
        *("na", "n/a", "n.a.", "nan", "#n/a", "null", "none", "nil", "-", "--", "?", "unknown", "unspecified"),
        *("missing", "not available", "not applicable", "not reported", "not specified", "not stated", "not known"),
    )
)
"""What tables write, in lower case, for a cell without a value: such an `organ` or `diagnosis` is empty."""

REQUIRED = ("case_id",)
FREE_COLUMN = re.compile(r"^x_[A-Za-z0-9_]{1,40}$")
"""Name of a free column, e.g. ``x_cohort``."""
_MOST_FREE = 500


def is_anndata(path: str | Path) -> bool:
    """Whether the name is that of an .h5ad or .h5mu file."""
    return str(path).lower().endswith(ANNDATA_SUFFIXES)


def most_characters(column: str) -> int | None:
    """Most characters that a cell of this column may have; None = no limit."""
    return COLUMNS.get(column, _MOST_FREE)


def header_faults(header: Sequence[str], where: str) -> list[Fault]:
    """Faults of a header: unknown and repeated columns, and a required one that is not there."""
    faults = []
    for position, name in enumerate(header, start=1):
        place = f"{where} [column {position}]"
        if name in header[: position - 1] and is_column(name):
            faults.append(Fault(place, f"column {name!r} a second time", "each column once"))
        elif not is_column(name):
            hint = f"did you mean {name.lower()!r}? " if name.lower() in COLUMNS else ""
            expected = f"{hint}one of {', '.join(COLUMNS)}, or a free column: its name begins with 'x_'"
            faults.append(Fault(place, f"unknown column {name!r}", expected))
    return faults + [Fault(where, "no such column", f"a column {name!r}") for name in REQUIRED if name not in header]


def is_column(name: str) -> bool:
    """Whether a sheet may have a column of this name."""
    return name in COLUMNS or FREE_COLUMN.search(name) is not None
