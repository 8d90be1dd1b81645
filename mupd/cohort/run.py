"""The cohort stage: every shard's files in; manifest, cohort file and report out."""

from __future__ import annotations

from pathlib import Path

from mupd.cohort.gather import CohortCase, gather
from mupd.cohort.manifest import manifest_rows, write_manifest
from mupd.config import Config
from mupd.ids import MODALITIES
from mupd.progress import track

MOST_PICTURED_CASES = 200
"""Further cases have no pictures in the report: a page of thousands would not open."""


def model_of(cases: list[CohortCase]) -> tuple[str, str]:
    """Id and SHA-256 of the model that made the draws, "" where there is none."""
    for case in cases:
        for modality in MODALITIES:
            for draw in case.parts[modality].draws:
                if draw.meta is not None:
                    return draw.meta.model_id, draw.meta.model_sha256
    return "", ""


def run(config: Config) -> list[Path]:
    """Write ``manifest.tsv``, ``cohort/cohort.h5mu`` and ``report.html``; returns their paths.

    Raises
    ------
    MupdError
        If files of earlier stages are missing, or the model's folder lists no genes.
    """
    from mupd.cohort.mudata import build, write_cohort
    from mupd.cohort.read import read_values
    from mupd.cohort.report import write_report
    from mupd.cohort.values import read_gene_panels

    manifest, cohort, report = (
        config.out / "manifest.tsv",
        config.out / "cohort" / "cohort.h5mu",
        config.out / "report.html",
    )
    cases = gather(config)
    panels = read_gene_panels(Path(config.model))
    rows = manifest_rows(cases)
    write_manifest(manifest, rows)
    values = [
        read_values(case, config, panels, pictures=index < MOST_PICTURED_CASES)
        for index, case in enumerate(track(cases, "cohort"))
    ]
    model = model_of(cases)
    write_cohort(cohort, build(cases, values, panels.genes, model, rows))
    write_report(report, cases, values, panels.genes, model, config)
    return [manifest, cohort, report]
