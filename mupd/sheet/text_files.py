"""Rows of a .tsv or .csv sample sheet, and the choice of the reader by suffix."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from mupd.errors import Fault
from mupd.sheet.rows import MAX_BYTES, RawRow


def _decode(path: Path) -> tuple[str, list[Fault]]:
    data = path.read_bytes()
    faults = []
    if b"\0" in data:
        faults = [
            Fault(f"{path.name}:{number}", "a NUL byte", "text (UTF-8)")
            for number, line in enumerate(data.split(b"\n"), start=1)
            if b"\0" in line
        ]
        return "", faults
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return "", [Fault(f"{path.name}:{line}", f"byte 0x{data[error.start]:02x}", "UTF-8 text")]


def read_delimited(path: Path, delimiter: str) -> tuple[list[RawRow], list[Fault]]:
    """Header and rows of a .tsv or .csv file, and what is wrong with it as a whole."""
    text, faults = _decode(path)
    if faults:
        return [], faults
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            stripped = [cell.strip(" ") for cell in cells]
            if any(stripped):
                rows.append(RawRow(f"{path.name}:{line}", line, stripped))
            line = reader.line_num + 1
    except csv.Error as error:
        return [], [Fault(path.name, str(error), "a table with balanced quotes")]
    return rows, []


def read_rows(path: Path) -> tuple[list[RawRow], list[Fault]]:
    """Header and rows of a sheet of any format, and what is wrong with the file as a whole."""
    kinds = "a sample sheet: .tsv, .csv or .xlsx"
    suffix = path.suffix.lower()
    if suffix not in (".tsv", ".csv", ".xlsx") and path.exists():
        hint = "; save it as .xlsx or .csv" if suffix in (".xls", ".ods", ".xlsm", ".xlsb", ".numbers") else ""
        return [], [Fault(path.name, f"suffix {path.suffix!r}", kinds + hint)]
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            return [], [Fault(path.name, f"{size:,} bytes", f"at most {MAX_BYTES:,}")]
        if suffix == ".xlsx":
            from mupd.sheet.xlsx import read_workbook

            return read_workbook(path)
        return read_delimited(path, "," if suffix == ".csv" else "\t")
    except OSError as error:
        return [], [Fault(str(path), error.strerror or type(error).__name__, kinds)]
