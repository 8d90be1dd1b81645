"""An id that can be no file name: its case is found in tables by it, named otherwise, and the manifest tells both."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from mupd.cohort.gather import CohortCase, Part
from mupd.cohort.manifest import manifest_rows, write_manifest
from mupd.config import Config
from mupd.ids import MODALITIES, artifact_name
from mupd.intake import run_shard
from mupd.inventory import read_inventory

SHEET_ID = "Fall 7/Ä \\ x"


def test_from_sheet_and_table_to_manifest(
    tmp_path: Path, make_config: Callable[..., Config], write_sheet: Callable[..., Path]
) -> None:
    report = "Invasive ductal carcinoma of the breast, grade 2."
    pd.DataFrame({"case_id": [SHEET_ID, "B"], "text": [report, "x"]}).to_csv(tmp_path / "reports.csv", index=False)
    sheet = write_sheet([{"case_id": SHEET_ID, "organ": "breast"}])
    config = make_config(sheet, tables={"text": str(tmp_path / "reports.csv")})
    (case,) = read_inventory(run_shard(config, 0))
    assert (case.case_id, case.sheet_id) == (artifact_name(SHEET_ID), SHEET_ID)
    assert case.given == ("text",)
    cohort = CohortCase(case, {modality: Part(case.entries[modality]) for modality in MODALITIES})
    write_manifest(tmp_path / "manifest.tsv", manifest_rows([cohort]))
    with (tmp_path / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert {(row["case_id"], row["sheet_id"]) for row in rows} == {(artifact_name(SHEET_ID), SHEET_ID)}
