"""``manifest.tsv``: its columns, its writer, its reader."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mupd.base.spreadsheet import restore, write_table
from mupd.config.suite_columns import COLUMNS as SUITE_COLUMNS
from mupd.errors import MupdError, UnusableError

MANIFEST = "manifest.tsv"

COLUMNS = tuple(SUITE_COLUMNS["manifest"])
"""Columns in the order of the file; expectation suites use the same names."""

_ARTIFACTS = (("artifact", "sha256"), ("further_artifacts", "further_sha256"))
"""Columns of paths and of their hashes. A cell may hold several, joined by ``;``."""


def one_line(cell: str) -> str:
    """The cell without line breaks and tabs."""
    return " ".join(cell.split())


def write_manifest(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write the rows as tab-separated UTF-8, atomically, formulas defused (:mod:`mupd.base.spreadsheet`).

    Raises
    ------
    MupdError
        If a row has a column that the manifest lacks, or lacks one of the manifest's.
    """
    for row in rows:
        if row.keys() != set(COLUMNS):
            wrong = ", ".join(sorted(row.keys() ^ set(COLUMNS)))
            raise MupdError(f"{path.name}: found a row with unknown or missing columns {wrong}; expected {COLUMNS}")
    write_table(path, COLUMNS, rows)


def read_manifest(path: Path) -> Iterator[dict[str, str]]:
    """Rows as they were before formulas were defused.

    Raises
    ------
    UnusableError
        If the table has no columns ``artifact`` and ``sha256``.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        missing = set(_ARTIFACTS[0]) - set(rows.fieldnames or ())
        if missing:
            raise UnusableError(f"{path.name}: found no column {sorted(missing)}; expected the manifest of a run")
        for row in rows:
            yield {name: restore(cell or "") for name, cell in row.items() if name is not None}


def artifact_hashes(row: Mapping[str, str]) -> dict[str, str]:
    """{path relative to the output folder: SHA-256} of all artifacts of a row; empty for a measured modality."""
    hashes: dict[str, str] = {}
    for names, digests in _ARTIFACTS:
        paths, values = (
            [part.strip() for part in row.get(name, "").split(";") if part.strip()] for name in (names, digests)
        )
        if len(paths) == len(values):
            hashes |= dict(zip(paths, values, strict=True))
    return hashes
