"""Read the sample sheet: one row per case, checked as a whole before anything runs.

The Snakefile imports this, and every cluster job parses the Snakefile. So it imports nothing heavy (only a workbook
brings its library) and opens no cohort table: intake decides whether a case with an empty cell has a row in one.
Rows of cohort tables for cases that the sheet does not have are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mupd.base.ids import artifact_name
from mupd.base.rna_scales import STATABLE, check_stated
from mupd.config import Config
from mupd.config.section import MPP_RANGE
from mupd.errors import Fault, InputFaults
from mupd.sheet.cases import Sheet, SheetCase
from mupd.sheet.columns import NOT_STATED, TABLE_SUFFIXES, header_faults, is_column, most_characters
from mupd.sheet.paths import Places, Wanted
from mupd.sheet.rows import RawRow
from mupd.sheet.sources import ROW_SEPARATOR, split_cell
from mupd.sheet.text_files import read_rows

_FILES = {
    "he": Wanted(several=True, folder=True, what="file or DICOM folder"),
    "rna": Wanted(several=False, folder=True, what="file, or folder of a 10x matrix or Visium sample"),
    "text": Wanted(several=False, folder=False, what="file"),
}
_TABLE = Wanted(several=False, folder=False, what="table")
# C0 and C1 control characters, e.g. a tab, and marks that reorder text (Trojan Source), e.g. U+202E.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PLAIN_NUMBER = re.compile(r"[0-9]*\.?[0-9]+", re.ASCII)  # 0.5


def _table_faults(config: Config) -> list[Fault]:
    faults = []
    for name, suffixes in TABLE_SUFFIXES.items():
        table: str | None = getattr(config.tables, name)
        if table is None:
            continue
        place = f"configuration [tables.{name}]"
        if not table.lower().endswith(suffixes):
            faults.append(Fault(place, repr(table), "a file ending in " + ", ".join(suffixes)))
        elif not Path(table).is_file():
            faults.append(Fault(place, f"{table!r}, which is not there", "an existing file"))
    return faults


def _expected_instead(column: str, cell: str) -> str | None:
    """What was expected instead of a cell that is not empty; None if the cell is right."""
    if column == "case_id" and ROW_SEPARATOR in cell:
        return "an id without '::', which separates a table's path from the row's id"
    if column in ("he_mpp", *_FILES) and cell.casefold() in NOT_STATED:
        return "an empty cell where there is nothing"
    if control := _CONTROL.search(cell):
        return f"text without control characters (there is U+{ord(control[0]):04X})"
    if column == "he_mpp":
        low, high = MPP_RANGE
        if not _PLAIN_NUMBER.fullmatch(cell) or not low <= float(cell) <= high:
            return f"micrometres per pixel as a plain number from {low} to {high:g}"
    if column == "rna_values":
        try:
            check_stated(cell)
        except ValueError:
            return f"a scale: {', '.join(STATABLE)}"
    most = most_characters(column)
    return f"at most {most} characters" if most is not None and len(cell) > most else None


def _cell_faults(row: Mapping[str, str], where: str, unreadable: Mapping[str, tuple[str, str]]) -> dict[str, Fault]:
    """Faults of a row's cells by column; unknown columns are reported once, at the header.

    Parameters
    ----------
    unreadable
        Cells that have no value, by column: what was found and what was expected.
    """
    faults = {}
    for column, cell in row.items():
        if not is_column(column):
            continue
        place = f"{where} [{column}]"
        if column in unreadable:
            faults[column] = Fault(place, *unreadable[column])
        elif cell and (expected := _expected_instead(column, cell)):
            faults[column] = Fault(place, repr(cell)[:80], expected)
        elif column == "case_id" and not cell:
            faults[column] = Fault(place, "an empty cell", "a case id")
    return faults


class _Ids:
    """Ids of the rows so far. Two ids also clash if they differ only in case, or one reads like the other's name."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, str]] = {}

    def fault(self, case_id: str, line: int, where: str) -> Fault | None:
        """Register an id; a fault if an earlier line uses it."""
        keys = (case_id.casefold(), artifact_name(case_id).casefold())
        earlier, spelling = min(self._first.setdefault(key, (line, case_id)) for key in keys)
        if earlier == line:
            return None
        differs = "" if spelling == case_id else f", which differs from {spelling!r} only in upper and lower case"
        return Fault(f"{where} [case_id]", f"{case_id!r}{differs}", f"an id that line {earlier} does not use")


def _stated(cell: str) -> str:
    """A cell of `organ` or `diagnosis`; "" where it says in words that nothing is known."""
    return "" if cell.strip("[]<>() ").casefold() in NOT_STATED else cell


def _case_of(
    row: Mapping[str, str], files: Mapping[str, tuple[Path, ...]], table_rows: Mapping[str, str], line: int
) -> SheetCase:
    sheet_id = row.get("case_id", "")
    name = artifact_name(sheet_id) if sheet_id else ""
    first = {column: paths[0] if paths else None for column, paths in files.items()}
    return SheetCase(
        case_id=name,
        he=first.get("he"),
        rna=first.get("rna"),
        text=first.get("text"),
        he_mpp=float(row["he_mpp"]) if row.get("he_mpp") else None,
        organ=_stated(row.get("organ", "")),
        diagnosis=_stated(row.get("diagnosis", "")),
        extra={name: cell for name, cell in row.items() if name.startswith("x_")},
        line=line,
        sheet_id="" if name == sheet_id else sheet_id,
        further_he=files.get("he", ())[1:],
        rna_values=check_stated(row["rna_values"]) if row.get("rna_values") else "",
        rna_row=table_rows.get("rna", ""),
        text_row=table_rows.get("text", ""),
    )


def _find_files(
    row: Mapping[str, str], where: str, places: Places, check_files: bool
) -> tuple[dict[str, tuple[Path, ...]], dict[str, str], list[Fault]]:
    """{column: files}, {column: row of that table}, and what is wrong with the cells."""
    files: dict[str, tuple[Path, ...]] = {}
    table_rows: dict[str, str] = {}
    faults = []
    for column, wanted in _FILES.items():
        cell = row.get(column, "")
        if not cell:
            continue
        suffixes = TABLE_SUFFIXES.get(column)
        path_and_row = (cell, "") if suffixes is None else split_cell(cell, suffixes)
        if path_and_row is None:
            expected = f"TABLE::ROW, the table ending in {', '.join(suffixes or ())}"
            faults.append(Fault(f"{where} [{column}]", repr(cell)[:200], expected))
            continue
        path, table_row = path_and_row
        if table_row:
            table_rows[column] = table_row
        files[column], problem = places.find(path, _TABLE if table_row else wanted, check_files)
        if problem:
            faults.append(Fault(f"{where} [{column}]", *problem))
    return files, table_rows, faults


def _parse_row(
    raw: RawRow, header: Sequence[str], ids: _Ids, places: Places, check_files: bool
) -> tuple[SheetCase, list[Fault]]:
    row = dict(zip(header, raw.cells, strict=True))
    faults = _cell_faults(row, raw.where, {header[index]: problem for index, problem in raw.odd.items()})
    used = ids.fault(row["case_id"], raw.line, raw.where) if row.get("case_id") else None
    right = {column: "" if column in faults and column != "case_id" else cell for column, cell in row.items()}
    files, table_rows, missing = _find_files(right, raw.where, places, check_files)
    case = _case_of(right, files, table_rows, raw.line)
    return case, [*faults.values(), *([used] if used else []), *missing]


def _parse(path: Path, roots: Sequence[str], check_files: bool) -> tuple[list[SheetCase], list[Fault]]:
    rows, faults = read_rows(path)
    if faults:
        return [], faults
    if not rows:
        return [], [Fault(path.name, "an empty file", "a header and a row for each case")]
    head, *body = rows
    header = head.cells
    faults = header_faults(header, head.where)
    if not body:
        faults.append(Fault(path.name, "a header without rows", "a row for each case"))
    cases = []
    places, ids = Places(path.parent, roots), _Ids()
    for raw in body:
        if len(raw.cells) != len(header):
            faults.append(Fault(raw.where, f"{len(raw.cells)} cells", f"{len(header)} cells, as the header has"))
            continue
        case, row_faults = _parse_row(raw, header, ids, places, check_files)
        cases.append(case)
        faults += row_faults
    return cases, faults


def read_sheet(config: Config, check_files: bool = True) -> Sheet:
    """Read and check the sample sheet and the place of the cohort tables.

    Parameters
    ----------
    config
        `config.cases`, `config.roots` and `config.tables.*` are relative to the working folder; relative paths
        inside the sheet are relative to the sheet's folder.
    check_files
        Look for every file of every row. A cluster job that parses the workflow again may skip it.

    Raises
    ------
    InputFaults
        Once, with every fault and its line: duplicate ids (also those that differ only in case),
        ids that are no file names, unknown columns, missing files and files outside the roots, URLs,
        ragged rows, NUL bytes, text that is not UTF-8, `he_mpp` out of range, no rows, tables that are not there.
    """
    path = Path(config.cases)
    cases, faults = _parse(path, config.roots, check_files)
    faults += _table_faults(config)
    if faults:
        raise InputFaults(f"sample sheet {config.cases}", faults)
    return Sheet(path, tuple(cases))
