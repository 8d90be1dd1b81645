"""The sample sheet: one row a case, checked as a whole before anything runs.

The Snakefile imports this at parse time, and every cluster job parses the Snakefile: no heavy imports (a workbook
brings its own library), no cohort table is opened. Whether a case with an empty cell has a row in
a cohort table is decided by intake; cases that only a cohort table knows, and the sheet does not, are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mupd.base.ids import artifact_name, shard_of
from mupd.config import Config
from mupd.config.section import MPP_RANGE
from mupd.errors import Fault, InputFaults
from mupd.sheet.columns import header_faults, is_column, most_characters
from mupd.sheet.paths import Places, Wanted
from mupd.sheet.text_files import read_rows

_FILES = {
    "he": Wanted(several=True, folder=True, what="file or DICOM folder"),
    "rna": Wanted(several=False, folder=True, what="file, or folder of a 10x matrix or Visium sample"),
    "text": Wanted(several=False, folder=False, what="file"),
}
_TABLE = Wanted(several=False, folder=False, what="table")
# C0 and C1 controls, and the marks that reorder text (Trojan Source): none belongs in a name or a path.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PLAIN_NUMBER = re.compile(r"[0-9]*\.?[0-9]+$", re.ASCII)  # 0.5
_TABLE_SUFFIXES = {
    "rna": (".h5ad", ".h5mu", ".tsv", ".tsv.gz", ".csv", ".csv.gz"),
    "text": tuple(
        suffix + packed for suffix in (".csv", ".tsv", ".json", ".jsonl", ".ndjson") for packed in ("", ".gz")
    ),
}


@dataclass(frozen=True)
class SheetCase:
    """One row of the sheet; paths are ready to open, None where the cell is empty.

    Attributes
    ----------
    case_id
        The case's name in files and artifacts, see :func:`mupd.base.ids.artifact_name`.
    he_mpp
        Micrometres per pixel of the H&E picture's level 0, where the sheet states it.
    extra
        Free columns (``x_...``), carried through.
    line
        Line of the sheet on which the row begins.
    sheet_id
        The id as it stands in the sheet and in cohort tables, where it is not `case_id`; else empty.
    further_he
        Slides of the case after the first one, `he`.
    rna_row, text_row
        Id of the case's row where the cell reads ``TABLE::ROW``: `rna` or `text` is then that table; else empty.
    """

    case_id: str
    he: Path | None
    rna: Path | None
    text: Path | None
    he_mpp: float | None
    organ: str
    diagnosis: str
    extra: dict[str, str]
    line: int
    sheet_id: str = ""
    further_he: tuple[Path, ...] = ()
    rna_row: str = ""
    text_row: str = ""

    @property
    def row_id(self) -> str:
        """The id by which a cohort table knows the case."""
        return self.sheet_id or self.case_id


@dataclass(frozen=True)
class Sheet:
    """All cases of the sheet, in its order."""

    path: Path
    cases: tuple[SheetCase, ...]


def cases_of_shard(sheet: Sheet, index: int, shards: int) -> tuple[SheetCase, ...]:
    """The cases of one of `shards` shards, in the order of the sheet."""
    return tuple(case for case in sheet.cases if shard_of(case.case_id, shards) == index)


def cases_by_shard(sheet: Sheet, shards: int) -> dict[int, list[SheetCase]]:
    """The cases of each shard that holds any, in the order of the sheet; shards ascending."""
    cases_of: dict[int, list[SheetCase]] = {}
    for case in sheet.cases:
        cases_of.setdefault(shard_of(case.case_id, shards), []).append(case)
    return dict(sorted(cases_of.items()))


def filled_shards(sheet: Sheet, shards: int) -> list[int]:
    """Indices of the shards that hold at least one case, ascending."""
    return sorted({shard_of(case.case_id, shards) for case in sheet.cases})


def _table_faults(config: Config) -> list[Fault]:
    faults = []
    for name, suffixes in _TABLE_SUFFIXES.items():
        table: str | None = getattr(config.tables, name)
        if table is None:
            continue
        place = f"configuration [tables.{name}]"
        if not table.lower().endswith(suffixes):
            faults.append(Fault(place, repr(table), "a file ending in " + ", ".join(suffixes)))
        elif not Path(table).is_file():
            faults.append(Fault(place, f"{table!r}, which is not there", "an existing file"))
    return faults


def _mpp_fault(cell: str) -> str | None:
    low, high = MPP_RANGE
    expected = f"micrometres per pixel as a plain number from {low} to {high:g}"
    return None if _PLAIN_NUMBER.match(cell) and low <= float(cell) <= high else expected


def _row_faults(row: dict[str, str], where: str, odd: dict[str, tuple[str, str]]) -> list[Fault]:
    faults = []
    for column, cell in row.items():
        if not is_column(column):
            continue  # reported once, at the header
        place = f"{where} [{column}]"
        if column in odd:
            faults.append(Fault(place, *odd[column]))
            continue
        expected: str | None = None
        if column == "case_id":
            if not cell:
                faults.append(Fault(place, "an empty cell", "a case id"))
            elif "::" in cell:
                expected = "an id without '::', which parts a table's path from the row's id"
        elif not cell:
            continue
        if not expected and (control := _CONTROL.search(cell)):
            expected = f"text without control characters (there is U+{ord(control[0]):04X})"
        elif column == "he_mpp":
            expected = _mpp_fault(cell)
        most = most_characters(column)
        if not expected and most is not None and len(cell) > most:
            expected = f"at most {most} characters"
        if expected:
            faults.append(Fault(place, repr(cell)[:80], expected))
    return faults


def _case_of(row: dict[str, str], found: dict[str, tuple[Path, ...]], rows: dict[str, str], line: int) -> SheetCase:
    sheet_id = row.get("case_id", "")
    name = artifact_name(sheet_id) if sheet_id else ""
    first = {column: paths[0] if paths else None for column, paths in found.items()}
    return SheetCase(
        case_id=name,
        he=first.get("he"),
        rna=first.get("rna"),
        text=first.get("text"),
        he_mpp=float(row["he_mpp"]) if row.get("he_mpp") else None,
        organ=row.get("organ", ""),
        diagnosis=row.get("diagnosis", ""),
        extra={name: cell for name, cell in row.items() if name.startswith("x_")},
        line=line,
        sheet_id="" if name == sheet_id else sheet_id,
        further_he=found.get("he", ())[1:],
        rna_row=rows.get("rna", ""),
        text_row=rows.get("text", ""),
    )


def _find_files(
    row: dict[str, str], skip: set[str], where: str, places: Places, check_files: bool
) -> tuple[dict[str, tuple[Path, ...]], dict[str, str], list[Fault]]:
    """{column: files}, {column: row of that table}, and what is wrong with the cells."""
    found: dict[str, tuple[Path, ...]] = {}
    rows: dict[str, str] = {}
    faults = []
    for column, wanted in _FILES.items():
        cell = row.get(column, "")
        if not cell or column in skip:
            continue
        path, mark, table_row = cell.rpartition("::")
        if mark and column in _TABLE_SUFFIXES:
            suffixes = _TABLE_SUFFIXES[column]
            if not path or not table_row or not path.lower().endswith(suffixes):
                expected = f"TABLE::ROW, the table ending in {', '.join(suffixes)}"
                faults.append(Fault(f"{where} [{column}]", repr(cell)[:200], expected))
                continue
            rows[column] = table_row
            found[column], problem = places.find(path, _TABLE, check_files)
        else:
            found[column], problem = places.find(cell, wanted, check_files)
        if problem:
            faults.append(Fault(f"{where} [{column}]", *problem))
    return found, rows, faults


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
    places = Places(path.parent, roots)
    first_line: dict[str, tuple[int, str]] = {}
    for raw in body:
        where = raw.where
        if len(raw.cells) != len(header):
            faults.append(Fault(where, f"{len(raw.cells)} cells", f"{len(header)} cells, as the header has"))
            continue
        row = dict(zip(header, raw.cells, strict=True))
        odd = {header[index]: problem for index, problem in raw.odd.items()}
        row_faults = _row_faults(row, where, odd)
        if case_id := row.get("case_id"):
            # By the name in files as well: an id may read like the name that another one gets.
            earlier, spelt = min(
                first_line.setdefault(key.casefold(), (raw.line, case_id)) for key in (case_id, artifact_name(case_id))
            )
            if earlier != raw.line:
                same = "" if spelt == case_id else f", which differs from {spelt!r} only in upper and lower case"
                expected = f"an id that line {earlier} does not use"
                row_faults.append(Fault(f"{where} [case_id]", f"{case_id!r}{same}", expected))
        wrong = {fault.where.rpartition("[")[2].rstrip("]") for fault in row_faults}
        found, table_rows, missing = _find_files(row, wrong, where, places, check_files)
        faults += row_faults + missing
        cases.append(_case_of(row | {"he_mpp": ""} if "he_mpp" in wrong else row, found, table_rows, raw.line))
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
