"""Rows of the manifest: one for each modality of each case, and for each configured stain (``stain:NAME``)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mupd.base.ids import MODALITIES
from mupd.base.spreadsheet import write_table
from mupd.contracts.artifacts import Artifact
from mupd.contracts.manifest import COLUMNS, one_line
from mupd.stages.cohort.join_shards import CohortCase, Part

_MAIN_KINDS = ("dicom-wsi", "anndata", "report")


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
        for modality, part in (*((name, case.parts[name]) for name in MODALITIES), *case.stains.items()):
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
            )
            rows.append(dict(zip(COLUMNS, (one_line(value) for value in values), strict=True)))
    return rows


def write_case_ids(path: Path, cases: Iterable[CohortCase]) -> None:
    """Say which name of a case stands for which id of the sheet, where they differ; remove the file where none do.

    It is kept apart from the manifest, which goes with the artifacts: an id that can be no name may name a patient.
    """
    given = [(case.case_id, case.inventory.sheet_id or case.case_id) for case in cases]
    rows = [{"case_id": name, "sheet_id": sheet_id} for name, sheet_id in given if name != sheet_id]
    if rows:
        write_table(path, ("case_id", "sheet_id"), rows)
    else:
        path.unlink(missing_ok=True)
