"""Tables that are safe to open in a spreadsheet: no cell is executed as a formula."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mupd.base.files import write_text

# First characters of a formula, including the full-width forms (OWASP, "CSV injection").
_FORMULA = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
# =1+2, '=1+2, @SUM(A1)
_BEGINS = re.compile(rf"'*[{_FORMULA}]")
# '=1+2
_DEFUSED = re.compile(rf"'+[{_FORMULA}]")
# -1.5e-3
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


def defuse(cell: str) -> str:
    """The cell, after an apostrophe if a spreadsheet would execute it. Numbers do not change.

    A formula that is already after apostrophes gets one more, so that :func:`restore` is the exact inverse.
    """
    return f"'{cell}" if _BEGINS.match(cell) and not _NUMBER.fullmatch(cell) else cell


def restore(cell: str) -> str:
    """The inverse of :func:`defuse`."""
    return cell[1:] if _DEFUSED.match(cell) else cell


def _quoted(cell: str) -> str:
    # csv's writer does not quote a lone carriage return, but its reader ends the row there.
    return '"' + cell.replace('"', '""') + '"' if re.search(r'["\t\r\n]', cell) else cell


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write rows as tab-separated UTF-8, atomically, with :func:`defuse` on each cell."""
    lines = [columns, *([defuse(row[column]) for column in columns] for row in rows)]
    write_text(path, "".join("\t".join(_quoted(cell) for cell in line) + "\n" for line in lines))
