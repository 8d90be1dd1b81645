"""An id that can be no file name: its case is found in tables by it, named otherwise, and one file tells both."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mupd.base.ids import MODALITIES, artifact_name
from mupd.config import Config
from mupd.contracts.inventory import read_inventory
from mupd.contracts.manifest import COLUMNS
from mupd.stages.cohort.join_shards import CohortCase, Part
from mupd.stages.cohort.manifest import manifest_rows, write_case_ids
from mupd.stages.intake import run_shard

SHEET_ID = "Fall 7/Ä \\ x"


def test_from_sheet_and_table_to_case_ids(
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
    assert SHEET_ID not in str(manifest_rows([cohort]))
    assert "sheet_id" not in COLUMNS
    path = tmp_path / "case_ids.tsv"
    write_case_ids(path, [cohort])
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert rows == [{"case_id": artifact_name(SHEET_ID), "sheet_id": SHEET_ID}]
    named = replace(cohort, inventory=replace(case, case_id="A", sheet_id="A"))
    write_case_ids(path, [named])
    assert not path.exists()
