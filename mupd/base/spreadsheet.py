"""Tables that a spreadsheet may open: no cell of ours is run as a formula."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mupd.base.files import write_text

# What spreadsheets take for the beginning of a formula, the full-width forms included (OWASP, "CSV injection").
_FORMULA = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_BEGINS = re.compile(rf"'*[{_FORMULA}]")
_DEFUSED = re.compile(rf"'+[{_FORMULA}]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


def defuse(cell: str) -> str:
    """The cell, with an apostrophe before it if a spreadsheet would run it; numbers stay as they are.

    A cell that has apostrophes before such a beginning gets one more, so that :func:`restore` is the exact inverse.
    """
    return f"'{cell}" if _BEGINS.match(cell) and not _NUMBER.fullmatch(cell) else cell


def restore(cell: str) -> str:
    """The cell as it was before :func:`defuse`."""
    return cell[1:] if _DEFUSED.match(cell) else cell


def _quoted(cell: str) -> str:
    # csv's writer does not quote a lone carriage return, at which its reader ends the row.
    return '"' + cell.replace('"', '""') + '"' if re.search(r'["\t\r\n]', cell) else cell


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write rows as tab-separated UTF-8, atomically, each cell defused."""
    lines = [columns, *([defuse(row[column]) for column in columns] for row in rows)]
    write_text(path, "".join("\t".join(_quoted(cell) for cell in line) + "\n" for line in lines))
