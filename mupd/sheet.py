"""The sample sheet: one row a case, checked as a whole before anything runs.

The Snakefile imports this at parse time, and every cluster job parses the Snakefile: csv only, no
heavy imports, no table is opened. Whether a case with an empty cell has a row in a cohort table is
decided by intake; cases that only a cohort table knows, and the sheet does not, are ignored.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mupd.config import Config, load_schema
from mupd.errors import Fault, InputFaults
from mupd.ids import artifact_name, shard_of

MPP_RANGE = (0.1, 4.0)
"""Micrometres per pixel that a slide of cells can have: 100x objectives to 2.5x overviews."""

_FILE_COLUMNS = ("he", "rna", "text")
# C0 and C1 controls, and the marks that reorder text (Trojan Source): none belongs in a name or a path.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_TABLE_SUFFIXES = {
    "rna": (".h5ad", ".tsv", ".tsv.gz", ".csv", ".csv.gz"),
    "text": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
}

Check = Callable[[str], str | None]
"""From a cell to what was expected instead, or None if the cell is right."""


@dataclass(frozen=True)
class SheetCase:
    """One row of the sheet; paths are ready to open, None where the cell is empty.

    Attributes
    ----------
    case_id
        The case's name in files and artifacts, see :func:`mupd.ids.artifact_name`.
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


def filled_shards(sheet: Sheet, shards: int) -> list[int]:
    """Indices of the shards that hold at least one case, ascending."""
    return sorted({shard_of(case.case_id, shards) for case in sheet.cases})


def _check_of(rule: dict[str, Any]) -> Check:
    """Compile one column's rule of cases.schema.yaml: a validator per cell is 50 times slower."""
    if unknown := set(rule) - {"type", "pattern", "minLength", "maxLength", "description"}:
        raise NotImplementedError(f"cases.schema.yaml: no check for {', '.join(sorted(unknown))}")
    pattern = re.compile(rule["pattern"]) if "pattern" in rule else None
    least, most = rule.get("minLength", 0), rule.get("maxLength")

    def check(cell: str) -> str | None:
        if most is not None and len(cell) > most:
            return f"at most {most} characters"
        if len(cell) < least:
            return f"at least {least} characters"
        if pattern is not None and not pattern.search(cell):
            return f"text like {rule['pattern']}"
        return None

    return check


def _checks_of_header(header: Sequence[str], where: str) -> tuple[dict[str, Check], list[Fault]]:
    schema = load_schema("cases")
    free = [(re.compile(pattern), _check_of(rule)) for pattern, rule in schema.get("patternProperties", {}).items()]
    known = schema["properties"]
    checks: dict[str, Check] = {}
    faults = []
    for position, name in enumerate(header, start=1):
        place = f"{where} [column {position}]"
        if name in checks:
            faults.append(Fault(place, f"column {name!r} a second time", "each column once"))
        elif name in known:
            checks[name] = _check_of(known[name])
        elif found := next((check for pattern, check in free if pattern.search(name)), None):
            checks[name] = found
        else:
            hint = f"did you mean {name.lower()!r}? " if name.lower() in known else ""
            expected = f"{hint}one of {', '.join(known)}, or a free column: its name begins with 'x_'"
            faults.append(Fault(place, f"unknown column {name!r}", expected))
    for name in schema["required"]:
        if name not in header:
            faults.append(Fault(where, "no such column", f"a column {name!r}"))
    return checks, faults


def _decode(path: Path) -> tuple[str, list[Fault]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        return "", [Fault(str(path), error.strerror or type(error).__name__, "a sample sheet (.tsv or .csv)")]
    faults = [
        Fault(f"{path.name}:{number}", "a NUL byte", "text (UTF-8)")
        for number, line in enumerate(data.split(b"\n"), start=1)
        if b"\0" in line
    ]
    if faults:
        return "", faults
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return "", [Fault(f"{path.name}:{line}", f"byte 0x{data[error.start]:02x}", "UTF-8 text")]


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
    try:
        value = float(cell)
    except ValueError:
        return expected
    return None if low <= value <= high else expected


def _row_faults(row: dict[str, str], checks: dict[str, Check], where: str) -> list[Fault]:
    faults = []
    for column, cell in row.items():
        if column not in checks:
            continue  # an unknown column is told once, at the header
        place = f"{where} [{column}]"
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
        expected = expected or (checks[column](cell) if cell else None)
        if expected:
            faults.append(Fault(place, repr(cell)[:80], expected))
    return faults


def _path_of(cell: str, folder: Path) -> Path | None:
    return folder / cell if cell else None


def _missing_files(case: SheetCase, cells: dict[str, str], where: str) -> list[Fault]:
    faults = []
    for column in _FILE_COLUMNS:
        path: Path | None = getattr(case, column)
        # A folder may hold a DICOM slide; RNA and text are single files.
        if path is not None and not (path.exists() if column == "he" else path.is_file()):
            expected = "an existing file" if column != "he" else "an existing file or DICOM folder"
            expected += " (relative paths start at the sheet's folder)"
            faults.append(Fault(f"{where} [{column}]", f"{cells[column]!r}, which is not there", expected))
    return faults


def _rows(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Every row that is not blank, with the line it begins on; spaces around cells are dropped."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, line = [], 1
    for cells in reader:
        stripped = [cell.strip(" ") for cell in cells]
        if any(stripped):
            rows.append((line, stripped))
        line = reader.line_num + 1
    return rows


def _case_of(row: dict[str, str], folder: Path, line: int) -> SheetCase:
    extra = {name: cell for name, cell in row.items() if name.startswith("x_")}
    he, rna, text = (_path_of(row.get(name, ""), folder) for name in _FILE_COLUMNS)
    mpp = float(row["he_mpp"]) if row.get("he_mpp") else None
    sheet_id = row.get("case_id", "")
    name = artifact_name(sheet_id) if sheet_id else ""
    organ, diagnosis = row.get("organ", ""), row.get("diagnosis", "")
    return SheetCase(name, he, rna, text, mpp, organ, diagnosis, extra, line, "" if name == sheet_id else sheet_id)


def _parse(path: Path, check_files: bool) -> tuple[list[SheetCase], list[Fault]]:
    text, faults = _decode(path)
    if faults:
        return [], faults
    delimiters = {".tsv": "\t", ".csv": ","}
    if path.suffix.lower() not in delimiters:
        return [], [Fault(path.name, f"suffix {path.suffix!r}", ".tsv or .csv")]
    try:
        rows = _rows(text, delimiters[path.suffix.lower()])
    except csv.Error as error:
        return [], [Fault(path.name, str(error), "a table with balanced quotes")]
    if not rows:
        return [], [Fault(path.name, "an empty file", "a header and a row for each case")]
    (header_line, header), *body = rows
    checks, faults = _checks_of_header(header, f"{path.name}:{header_line}")
    if not body:
        faults.append(Fault(path.name, "a header without rows", "a row for each case"))
    cases = []
    first_line: dict[str, tuple[int, str]] = {}
    for line, cells in body:
        where = f"{path.name}:{line}"
        if ragged := _ragged(cells, header, where):
            faults += ragged
            continue
        row = dict(zip(header, cells, strict=True))
        row_faults = _row_faults(row, checks, where)
        if case_id := row.get("case_id"):
            # By the name in files as well: an id may read like the name that another one gets.
            earlier, spelt = min(
                first_line.setdefault(key.casefold(), (line, case_id)) for key in (case_id, artifact_name(case_id))
            )
            if earlier != line:
                same = "" if spelt == case_id else f", which differs from {spelt!r} only in upper and lower case"
                expected = f"an id that line {earlier} does not use"
                row_faults.append(Fault(f"{where} [case_id]", f"{case_id!r}{same}", expected))
        mpp_is_wrong = any(fault.where.endswith("[he_mpp]") for fault in row_faults)
        case = _case_of(row | {"he_mpp": ""} if mpp_is_wrong else row, path.parent, line)
        if check_files:
            badly_named = {fault.where for fault in row_faults}
            row_faults += [fault for fault in _missing_files(case, row, where) if fault.where not in badly_named]
        faults += row_faults
        cases.append(case)
    return cases, faults


def _ragged(cells: Sequence[str], header: Sequence[str], where: str) -> list[Fault]:
    if len(cells) == len(header):
        return []
    return [Fault(where, f"{len(cells)} cells", f"{len(header)} cells, as the header has")]


def read_sheet(config: Config, check_files: bool = True) -> Sheet:
    """Read and check the sample sheet and the place of the cohort tables.

    Parameters
    ----------
    config
        `config.cases` and `config.tables.*` are relative to the working folder; relative paths
        inside the sheet are relative to the sheet's folder.
    check_files
        Look for every file of every row. A cluster job that parses the workflow again may skip it.

    Raises
    ------
    InputFaults
        Once, with every fault and its line: duplicate ids (also those that differ only in case),
        ids that are no file names, unknown columns, missing files, ragged rows, NUL bytes, text
        that is not UTF-8, `he_mpp` out of range, no rows, tables that are not there.
    """
    path = Path(config.cases)
    cases, faults = _parse(path, check_files)
    faults += _table_faults(config)
    if faults:
        raise InputFaults(f"sample sheet {config.cases}", faults)
    return Sheet(path, tuple(cases))
