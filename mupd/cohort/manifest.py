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
)


def defuse(cell: str) -> str:
    """One line, without tabs, and never a formula: a spreadsheet runs a cell that begins with = + - or @."""
    line = " ".join(cell.split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def main_artifacts(part: Part) -> tuple[Artifact, ...]:
    """The artifacts the manifest names: of a text the JSON, which holds what the plain text says and more."""
    if part.entry.modality == "text":
        return tuple(item for item in part.artifacts if item.path.endswith(".json")) or part.artifacts
    return part.artifacts


def manifest_rows(cases: Iterable[CohortCase]) -> list[dict[str, str]]:
    """Rows in the order of the sheet; several artifacts of one cell (H&E draws) are joined by ";"."""
    rows = []
    for case in cases:
        for modality in MODALITIES:
            part = case.parts[modality]
            measured = part.entry.status == "measured"
            artifacts = main_artifacts(part)
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
