"""Cases from a GDC sample sheet and the files that gdc-client downloaded.

The sample sheet (columns File ID, File Name, Data Category, Data Type, Project ID, Case ID, Sample ID, and Sample Type
or, since 2024, Tissue Type and Tumor Descriptor) comes from the GDC portal, for a cart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mupd.base.ids import MODALITIES, Modality
from mupd.errors import Fault, InputFaults
from mupd.sheet.columns import COLUMNS
from mupd.sheet.make.gdc_projects import PROJECTS
from mupd.sheet.make.write import Left, Made, NewCase, read_tsv

_NEEDED = ("File ID", "File Name", "Data Type", "Project ID", "Case ID")
_SLIDE = re.compile(r"-(DX|TS|BS|MS)([0-9A-Z]*)[.-]", re.IGNORECASE)  # TCGA-DK-A2I6-01Z-00-DX1.F2A1.svs
_SLIDE_ORDER = ("DX", "TS", "BS", "MS")
_SAMPLE_CODE = re.compile(r"^TCGA-\w{2}-\w{4}-(\d\d)")  # TCGA-DK-A2I6-01A
# Sample type codes of TCGA barcodes: primary solid, primary blood; additional new primary.
_PRIMARY_CODES = ("01", "03", "05", "09")
_NOTHING = ("", "--", "'--", "not reported", "unknown")

RULES = (
    "H&E: .svs slides of primary tumour; diagnostic (DX) before frozen (TS, BS, MS), then the lower number, the name",
    "RNA: STAR-counts tables of primary tumour; the lower sample (01A before 01B), then the name",
    "text: pathology reports (.PDF); the first by name",
    "files on disk are preferred",
)


@dataclass(frozen=True)
class _File:
    case_id: str
    project: str
    name: str
    modality: Modality
    rank: tuple[object, ...]
    path: Path | None


def _parts(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(",") if part.strip() not in ("", "--", "'--")]


def _is_primary(row: dict[str, str]) -> bool:
    """Whether any of the row's samples is of a primary tumour."""
    if "Sample Type" in row and _parts(row["Sample Type"]):
        return any(kind.lower().startswith("primary") for kind in _parts(row["Sample Type"]))
    descriptors, tissues = _parts(row.get("Tumor Descriptor", "")), _parts(row.get("Tissue Type", ""))
    if descriptors and tissues and len(descriptors) == len(tissues):
        return any(a.lower() == "primary" and b.lower() == "tumor" for a, b in zip(descriptors, tissues, strict=True))
    codes = [match[1] for sample in _parts(row.get("Sample ID", "")) if (match := _SAMPLE_CODE.match(sample))]
    return any(code in _PRIMARY_CODES for code in codes)


def _kind(row: dict[str, str]) -> tuple[Modality | None, tuple[object, ...], str]:
    """Modality of a file and its rank (lower is preferred), or why it is not used."""
    name, kind = row["File Name"], row["Data Type"].lower()
    lower = name.lower()
    if kind == "slide image" or lower.endswith(".svs"):
        if not lower.endswith(".svs"):
            return None, (), "a slide that is no .svs"
        match = _SLIDE.search(name)
        order = _SLIDE_ORDER.index(match[1].upper()) if match else len(_SLIDE_ORDER)
        number = match[2] if match else ""
        return "he", (order, int(number) if number.isdigit() else 99, number, name), ""
    if kind == "gene expression quantification":
        if not lower.endswith("star_gene_counts.tsv"):
            return None, (), "expression, but no STAR-counts table"
        return "rna", (sorted(_parts(row.get("Sample ID", ""))), name), ""
    if kind == "pathology report":
        return ("text", (name,), "") if lower.endswith(".pdf") else (None, (), "a report that is no PDF")
    return None, (), f"data type {row['Data Type']!r} is not used"


def _on_disk(folder: Path, row: dict[str, str]) -> Path | None:
    """Path of a file that is not empty: FILE_ID/FILE_NAME, as gdc-client stores it, or FILE_NAME."""
    for name in (f"{row['File ID']}/{row['File Name']}", row["File Name"]):
        path = folder / name
        if ".." not in path.parts and path.is_file() and path.stat().st_size:
            return path
    return None


def _sort_files(rows: Iterable[dict[str, str]], folder: Path) -> tuple[list[_File], list[Left]]:
    files, left = [], []
    seen: set[str] = set()
    for row in rows:
        ids = list(dict.fromkeys(_parts(row["Case ID"])))
        modality, rank, why = _kind(row)
        if not row["File Name"]:
            why = "a row without a file name"
        elif len(ids) != 1:
            why = f"a file of {len(ids)} cases" if ids else "no Case ID"
        elif modality in ("he", "rna") and not _is_primary(row):
            tissue = row.get("Sample Type") or row.get("Tissue Type") or "no sample type"
            why = f"no primary tumour ({tissue})"
        elif row["File ID"] and row["File ID"] in seen:
            why = "the same File ID a second time"
        seen.add(row["File ID"])
        if why or modality is None:
            left.append(Left(", ".join(ids), row["File Name"], why))
        else:
            project = (_parts(row["Project ID"]) or [""])[0]
            files.append(_File(ids[0], project, row["File Name"], modality, rank, _on_disk(folder, row)))
    return files, left


def _clinical(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """{case: diagnosis} and {case: organ} of a clinical.tsv of the GDC, with old or new column names."""
    rows = read_tsv(path, ())
    header = rows[0].keys() if rows else ()

    def column(*names: str) -> str:
        return next((name for name in names if name in header), "")

    case = column("cases.submitter_id", "case_submitter_id", "submitter_id")
    if not case:
        raise InputFaults(
            str(path), [Fault(path.name, "no column of case ids", "case_submitter_id, cases.submitter_id")]
        )
    diagnoses_and_organs: tuple[dict[str, str], dict[str, str]] = {}, {}
    names = (
        column("diagnoses.primary_diagnosis", "primary_diagnosis"),
        column(
            "diagnoses.tissue_or_organ_of_origin", "tissue_or_organ_of_origin", "cases.primary_site", "primary_site"
        ),
    )
    for row in rows:
        for values, name in zip(diagnoses_and_organs, names, strict=True):
            if name and row[name].lower() not in _NOTHING:
                values.setdefault(row[case], row[name])
    return diagnoses_and_organs


def _chosen(candidates: list[_File], all_slides: bool) -> tuple[list[_File], list[Left]]:
    """Files of one case and modality that go into the cell, and why the others do not."""
    there = sorted((file for file in candidates if file.path), key=lambda file: file.rank)
    left = [Left(file.case_id, file.name, "not on disk") for file in candidates if not file.path]
    most = len(there) if all_slides and there[:1] and there[0].modality == "he" else 1
    kept = [file for file in there[:most] if file.rank[0] == there[0].rank[0] or most == 1]
    left += [Left(file.case_id, file.name, f"{kept[0].name} is preferred") for file in there if file not in kept]
    return kept, left


def cases_from_gdc(sample_sheet: Path, folder: Path, clinical: Path | None = None, all_slides: bool = False) -> Made:
    """A case for each Case ID with a usable file on disk.

    Parameters
    ----------
    sample_sheet, clinical
        The GDC's sample sheet and clinical.tsv.
    folder
        Where the files are: ``FILE_ID/FILE_NAME`` or flat.
    all_slides
        Take all slides of the best kind that a case has (all DX), not only the first.

    Raises
    ------
    InputFaults
        If a table cannot be read or lacks a column, or the folder does not exist.
    """
    rows = read_tsv(sample_sheet, _NEEDED)
    if not folder.is_dir():
        raise InputFaults("command line", [Fault("--files", str(folder), "the folder that gdc-client filled")])
    diagnoses, organs = _clinical(clinical) if clinical else ({}, {})
    files, left = _sort_files(rows, Path(os.path.abspath(folder)))
    by_case: dict[str, dict[Modality, list[_File]]] = {}
    for file in files:
        by_case.setdefault(file.case_id, {}).setdefault(file.modality, []).append(file)
    cases = []
    for case_id, candidates in sorted(by_case.items()):
        taken: dict[Modality, tuple[Path, ...]] = {}
        for modality in MODALITIES:
            kept, others = _chosen(candidates.get(modality, []), all_slides)
            left += others
            if kept:
                taken[modality] = tuple(file.path for file in kept if file.path)
        organ, diagnosis = PROJECTS.get(next(iter(candidates.values()))[0].project, ("", ""))
        organ, diagnosis = (
            organ or organs.get(case_id, "")[: COLUMNS["organ"]],
            diagnoses.get(case_id, diagnosis)[: COLUMNS["diagnosis"]],
        )
        if taken:
            cases.append(NewCase(case_id, taken, organ, diagnosis))
    absent = sum(item.why == "not on disk" for item in left)
    notes = (f"{absent} files are not on disk: gdc-client download -m MANIFEST -d {folder}",) if absent else ()
    return Made(tuple(cases), tuple(left), RULES, notes)
