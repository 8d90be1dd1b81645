"""manifest.tsv: one row for each modality of each case."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from mupd.cohort.gather import Artifact, CohortCase, Part
from mupd.files import write_text
from mupd.ids import MODALITIES

COLUMNS = (
    "case_id",
    "modality",
    "status",
    "reason",
    "task",
    "synthetic",
    "artifact",
    "verdict",
    "why",
    "draws",
    "sha256",
    "model_id",
    "further_artifacts",
    "further_sha256",
    "sheet_id",
)

_MAIN_KINDS = ("dicom-wsi", "anndata", "report")


def defuse(cell: str) -> str:
    """One line, without tabs, and never a formula: a spreadsheet runs a cell that begins with = + - or @."""
    line = " ".join(cell.split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def main_artifacts(part: Part) -> tuple[Artifact, ...]:
    """The artifacts that hold the modality itself: slides, the AnnData, of a report its JSON, which says the most."""
    main = tuple(item for item in part.artifacts if item.kind in _MAIN_KINDS and not item.path.endswith(".txt"))
    return main or part.artifacts


def further_artifacts(part: Part) -> tuple[Artifact, ...]:
    """Other forms of the same, and what is derived from it: plain text, structured report, uncertainty map."""
    main = main_artifacts(part)
    return tuple(item for item in part.artifacts if item not in main)


def manifest_rows(cases: Iterable[CohortCase]) -> list[dict[str, str]]:
    """Rows in the order of the sheet; several artifacts of one cell (H&E draws) are joined by ";".

    Together ``sha256`` and ``further_sha256`` cover every file under ``artifacts/``, so that one signature does.
    """
    rows = []
    for case in cases:
        for modality in MODALITIES:
            part = case.parts[modality]
            measured = part.entry.status == "measured"
            artifacts, further = main_artifacts(part), further_artifacts(part)
            sha256 = part.entry.source_sha256 if measured else ";".join(item.sha256 for item in artifacts)
            values = (
                case.case_id,
                modality,
                part.entry.status,
                part.reason,
                part.task,
                "yes" if artifacts or part.let_in else "no",
                ";".join(item.path for item in artifacts),
                part.verdict,
                part.why,
                ",".join(str(draw) for draw in sorted({draw for item in artifacts for draw in item.draws})),
                sha256,
                ";".join(sorted({item.model_id for item in artifacts})),
                ";".join(item.path for item in further),
                ";".join(item.sha256 for item in further),
                case.inventory.sheet_id,
            )
            rows.append(dict(zip(COLUMNS, (defuse(value) for value in values), strict=True)))
    return rows


def write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    """Write the rows as tab-separated UTF-8, atomically."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())
