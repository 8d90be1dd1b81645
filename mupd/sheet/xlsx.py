"""Rows of a sample sheet in an Excel workbook: the worksheet `cases`, else the first.

Spreadsheets turn ids into dates, drop leading zeros and may hold formulas without values. A cell that cannot be read
with certainty is a fault that says how to correct it.
"""

from __future__ import annotations

import datetime as dt
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError
from xml.parsers.expat import ExpatError

from mupd.errors import Fault
from mupd.sheet.rows import MAX_BYTES, RawRow

MAX_ROWS, MAX_COLUMNS = 100_000, 256
_FORMULA = re.compile(rb"<(\w+:)?f[\s/>]")  # <f>, <x:f t="shared"/>
_ERRORS = frozenset({"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#GETTING_DATA", "#SPILL!"})
_STRICT = frozenset({"case_id", "he", "rna", "text", "he_mpp"})
_AS_TEXT = "format the column as Text and type it again"
# What zipfile and openpyxl raise for damaged files.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, ParseError, EOFError, UnicodeDecodeError, ExpatError),
    *(KeyError, ValueError, TypeError, AttributeError, IndexError, NotImplementedError, RuntimeError, OverflowError),
)


def _too_large(path: Path) -> Fault | None:
    """A fault if the archive declares too many bytes; zipfile reads no more than it declares."""
    with zipfile.ZipFile(path) as archive:
        size = sum(item.file_size for item in archive.infolist())
    if size <= MAX_BYTES:
        return None
    return Fault(path.name, f"{size:,} bytes when unpacked", f"at most {MAX_BYTES:,}: save only the sheet's table")


def _has_formulas(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
        return any(_FORMULA.search(archive.read(name)) for name in names)


def _text(value: Any, column: str) -> tuple[str, tuple[str, str] | None]:
    """A cell's text, or what was found and what was expected."""
    if value is None:
        return "", None
    if isinstance(value, str):
        text = value.strip(" ")
        return (text, None) if text not in _ERRORS else ("", (f"the error {text}", "a value: correct the formula"))
    if isinstance(value, bool):
        problem = f"the truth value {str(value).upper()}", f"text: {_AS_TEXT}"
        return ("", problem) if column in _STRICT else (str(value).upper(), None)
    if isinstance(value, dt.datetime | dt.date | dt.time | dt.timedelta):
        words = str(value).removesuffix(" 00:00:00")
        what = "the id" if column == "case_id" else "what was meant"
        problem = (
            f"the date or time {words}",
            f"text, not a date: spreadsheets turn ids like MAR-1 into dates; {_AS_TEXT} ({what})",
        )
        return ("", problem) if column in _STRICT else (words, None)
    if isinstance(value, float) and column == "case_id":
        return "", (f"the decimal number {value!r}", f"an id as text: {_AS_TEXT}, without decimals")
    if isinstance(value, int | float):
        return str(value), None
    return "", (f"a {type(value).__name__}", "text or a number")


def _cells(workbook: Any) -> tuple[str, Iterator[tuple[Any, ...]]]:
    sheets = workbook.worksheets
    sheet = next((each for each in sheets if each.title.casefold() == "cases"), sheets[0])
    # The declared size may be wrong; the rows themselves are counted.
    sheet.reset_dimensions()
    return sheet.title, sheet.iter_rows(max_row=MAX_ROWS + 1, max_col=MAX_COLUMNS + 1, values_only=True)


def _rows(path: Path) -> tuple[list[RawRow], list[Fault]]:
    from openpyxl import load_workbook

    workbook = load_workbook(path, read_only=True, data_only=True, keep_links=False)
    formulas = load_workbook(path, read_only=True, keep_links=False) if _has_formulas(path) else None
    try:
        if not workbook.worksheets:
            return [], [Fault(path.name, "no worksheet", "a worksheet 'cases', or one of another name")]
        title, rows = _cells(workbook)
        written = _cells(formulas)[1] if formulas is not None else None
        return _checked(f"{path.name}:{title}", rows, written)
    finally:
        workbook.close()
        if formulas is not None:
            formulas.close()


def _checked(
    place: str, values: Iterator[tuple[Any, ...]], formulas: Iterator[tuple[Any, ...]] | None
) -> tuple[list[RawRow], list[Fault]]:
    """Rows that are not blank.

    Parameters
    ----------
    values, formulas
        Cells of each row: their values, and what was typed (None if the workbook has no formulas).
    """
    rows: list[RawRow] = []
    header: list[str] = []
    for number, cells in enumerate(values, start=1):
        written = next(formulas, ()) if formulas is not None else ()
        if number > MAX_ROWS:
            return [], [Fault(place, f"more than {MAX_ROWS:,} rows", "fewer: delete what is below the table")]
        read = [_text(value, header[index] if index < len(header) else "") for index, value in enumerate(cells)]
        odd = {index: problem for index, (_, problem) in enumerate(read) if problem}
        for index, value in enumerate(written):
            if cells[index] is None and (
                not isinstance(value, int | float | str | type(None)) or str(value)[:1] == "="
            ):
                odd[index] = (
                    "a formula without its value",
                    "a value: open and save it in a spreadsheet program, or paste values",
                )
        texts = [text for text, _ in read]
        while texts and not texts[-1] and len(texts) - 1 not in odd and len(texts) > len(header):
            texts.pop()
        if not any(texts) and not odd:
            continue
        if not header:
            header = texts
            if len(header) > MAX_COLUMNS:
                return [], [Fault(place, f"more than {MAX_COLUMNS} columns", "the columns of a sample sheet")]
        texts += [""] * (len(header) - len(texts))
        rows.append(RawRow(f"{place}!{number}", number, texts, odd))
    return rows, []


def read_workbook(path: Path) -> tuple[list[RawRow], list[Fault]]:
    """Header and rows of the workbook's sheet, and what is wrong with it as a whole."""
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        if fault := _too_large(path):
            return [], [fault]
        return _rows(path)
    except (*_DAMAGE, InvalidFileException) as error:
        words = (str(error).splitlines() or [""])[0][:120]
        return [], [Fault(path.name, f"no readable Excel workbook ({words})", "a workbook (.xlsx): save it again")]
