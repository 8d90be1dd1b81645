"""What both makers of sheets share: rows, their summary, and writing a sheet that has been read back."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mupd.base.files import atomic_path
from mupd.base.ids import MODALITIES, Modality
from mupd.base.spreadsheet import defuse
from mupd.errors import Fault, InputFaults
from mupd.sheet.columns import COLUMNS


@dataclass(frozen=True)
class NewCase:
    """One row to be written; paths absolute, several slides in their order."""

    case_id: str
    files: dict[Modality, tuple[Path, ...]]
    organ: str = ""
    diagnosis: str = ""
    he_mpp: str = ""


@dataclass(frozen=True)
class Left:
    """A file that goes into no cell: its case, its name and the reason."""

    case_id: str
    name: str
    why: str


@dataclass(frozen=True)
class Made:
    """Cases, files that were not taken, and the rules of the choice in words."""

    cases: tuple[NewCase, ...]
    left: tuple[Left, ...]
    rules: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def _cell(path: Path, folder: Path) -> str:
    """Path relative to the sheet's folder if it lies below it, else absolute; never begins like a formula."""
    try:
        relative = path.relative_to(folder).as_posix()
    except ValueError:
        return str(path)
    return relative if relative[0].isalnum() else f"./{relative}"


def _sheet_text(cases: Sequence[NewCase], folder: Path, delimiter: str) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    for number, case in enumerate(cases):
        files = {m: ";".join(_cell(path, folder) for path in case.files.get(m, ())) for m in MODALITIES}
        others = {"organ": defuse(case.organ), "diagnosis": defuse(case.diagnosis), "he_mpp": case.he_mpp}
        cells = {"case_id": case.case_id} | files | others
        if number == 0:
            writer.writerow(column for column in COLUMNS if column in cells)
        writer.writerow(cells[column] for column in COLUMNS if column in cells)
    return stream.getvalue()


def write_sheet(made: Made, path: Path, force: bool = False) -> None:
    """Write the sheet atomically, after reading it back without a fault.

    Raises
    ------
    InputFaults
        If `path` exists and not `force`, its suffix is not .tsv or .csv, there is no case, or the sheet is faulty.
    """
    from mupd.config import parse_config
    from mupd.sheet import read_sheet

    if path.suffix.lower() not in (".tsv", ".csv"):
        raise InputFaults("command line", [Fault("--output", str(path), "a name ending in .tsv or .csv")])
    if path.exists() and not force:
        raise InputFaults("command line", [Fault("--output", f"{path}, which is there", "another name, or --force")])
    if not made.cases:
        raise InputFaults("cases", [Fault(str(path), "no case", "at least one file that can be used")])
    for case in made.cases:
        if case.case_id[:1] in "=+-@'":
            place = f"case {case.case_id!r}"
            raise InputFaults("cases", [Fault(place, "an id that begins like a formula", "another name of its files")])
    folder = Path(os.path.abspath(path)).parent
    delimiter = "," if path.suffix.lower() == ".csv" else "\t"
    with atomic_path(path) as temporary:
        temporary.write_text(_sheet_text(made.cases, folder, delimiter), encoding="utf-8")
        try:
            read_sheet(parse_config({"cases": str(temporary)}, "cases"))
        except InputFaults as error:
            faults = [Fault(f.where.replace(temporary.name, path.name), f.found, f.expected) for f in error.faults]
            raise InputFaults(f"the sheet {path} would not read", faults) from error


def print_summary(made: Made, path: Path, most: int = 40) -> None:
    """Print what was chosen, and what was not and why, in tables of at most `most` rows."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    chosen = Table(
        "case", *MODALITIES, "organ", "diagnosis", title=f"chosen: {len(made.cases)} cases", title_justify="left"
    )
    for case in made.cases[:most]:
        names = ["\n".join(p.name for p in case.files.get(modality, ())) or "-" for modality in MODALITIES]
        chosen.add_row(*(escape(cell) for cell in (case.case_id, *names, case.organ, case.diagnosis)))
    console.print(chosen)
    if len(made.cases) > most:
        console.print(f"... and {len(made.cases) - most} more cases")
    if made.left:
        left = Table("case", "file", "why", title=f"left: {len(made.left)} files", title_justify="left")
        for item in made.left[:most]:
            left.add_row(escape(item.case_id or "-"), escape(item.name), escape(item.why))
        console.print(left)
        if len(made.left) > most:
            reasons = Counter(item.why for item in made.left[most:])
            more = ", ".join(f"{count} {escape(why)}" for why, count in reasons.most_common(5))
            console.print(f"... and {len(made.left) - most} more files: {more}")
    for line in (*made.rules, *made.notes):
        console.print(f"* {line}", markup=False, highlight=False)
    counts = ", ".join(f"{sum(bool(c.files.get(m)) for c in made.cases)} with {m}" for m in MODALITIES)
    whole = sum(all(case.files.get(m) for m in MODALITIES) for case in made.cases)
    console.print(f"{path}: {len(made.cases)} cases: {counts}; {whole} with all three", highlight=False, markup=False)


def read_tsv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a tab-separated file that must have `columns`.

    Raises
    ------
    InputFaults
        If it cannot be read, or a column is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, delimiter="\t", strict=True, restval="")
            header = [name.strip() for name in rows.fieldnames or ()]
            rows.fieldnames = header
            missing = [name for name in columns if name not in header]
            if missing:
                present = ", ".join(header)[:200] or "nothing"
                raise InputFaults(str(path), [Fault(path.name, f"columns {present}", "a column " + ", ".join(missing))])
            return [{key: (cell or "").strip() for key, cell in row.items() if isinstance(key, str)} for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputFaults(str(path), [Fault(path.name, str(error), "a tab-separated table (UTF-8)")]) from error
