"""Ids of cohort tables that match the sheet's not at all, or nearly: never a silent hole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mupd.config import Config
from mupd.contracts.inventory import read_inventory
from mupd.inputs.examine import NOT_IN_TABLE
from mupd.inputs.readers import read_profile, read_report_text
from mupd.stages.intake import run_shard
from tests.fixtures.basic import GENES, counts_matrix

Make = Callable[..., Config]
Write = Callable[..., Path]
REPORT = "Invasive ductal carcinoma of the breast, grade 2, pT2."


def tables(folder: Path, ids: list[str]) -> tuple[str, str]:
    frame = pd.DataFrame(counts_matrix(len(ids)), columns=list(GENES), index=ids)
    frame.to_csv(folder / "rna.csv")
    pd.DataFrame({"case_id": ids, "text": REPORT}).to_csv(folder / "text.csv", index=False)
    return str(folder / "rna.csv"), str(folder / "text.csv")


@pytest.fixture
def config_with(tmp_path: Path, write_sheet: Write, make_config: Make) -> Callable[..., Config]:
    def made(sheet: list[str], ids: list[str], **more: str) -> Config:
        rna, text = tables(tmp_path, ids)
        rows = [{"case_id": case_id, "organ": "breast"} for case_id in sheet]
        return make_config(write_sheet(rows), shards=1, tables={"rna": rna, "text": text, **more})

    return made


def test_an_id_that_nearly_matches_is_a_fault(config_with: Callable[..., Config]) -> None:
    config = config_with(["TCGA-AA-0001", "P2"], ["TCGA.AA.0001", "P2"])
    first, second = read_inventory(run_shard(config, 0))
    for modality in ("rna", "text"):
        assert first.entries[modality].status == "unusable"
        assert "'TCGA.AA.0001' (other separators)" in first.entries[modality].reason
        assert "tables.match_ids" in first.entries[modality].reason
        assert second.entries[modality].status == "measured", second.entries[modality].reason


def test_near_ids_stand_for_the_case_where_the_configuration_says_so(config_with: Callable[..., Config]) -> None:
    config = config_with(["TCGA-AA-0001", "P2"], ["TCGA.AA.0001", "P2"], match_ids="near")
    entries = read_inventory(run_shard(config, 0))[0].entries
    assert (entries["rna"].status, entries["text"].status) == ("measured", "measured")
    assert entries["rna"].origin.row == "TCGA.AA.0001"
    assert np.array_equal(read_profile(entries["rna"].origin, GENES).matrix[0], counts_matrix(2)[0])
    assert "ductal" in read_report_text(entries["text"].origin).text


def test_of_a_tumour_and_a_normal_sample_none_is_guessed(config_with: Callable[..., Config]) -> None:
    config = config_with(["TCGA-AA-0001"], ["TCGA-AA-0001-01A", "TCGA-AA-0001-11A"], match_ids="near")
    entry = read_inventory(run_shard(config, 0))[0].entries["rna"]
    assert entry.status == "unusable"
    assert "normal tissue" in entry.reason


def test_a_table_of_other_ids_is_a_fault(config_with: Callable[..., Config]) -> None:
    config = config_with(["P1", "P2"], ["alpha", "beta", "gamma"])
    for case in read_inventory(run_shard(config, 0)):
        for modality in ("rna", "text"):
            assert case.entries[modality].status == "unusable"
            assert "none of the sheet's cases has a row" in case.entries[modality].reason
            assert "3 other ids" in case.entries[modality].reason


def test_a_case_without_a_row_is_a_hole_where_others_have_one(config_with: Callable[..., Config]) -> None:
    holes, full = read_inventory(run_shard(config_with(["P1", "alpha"], ["alpha", "beta"]), 0))
    assert (holes.entries["rna"].status, holes.entries["rna"].reason) == ("missing", NOT_IN_TABLE)
    assert full.entries["rna"].status == "measured"


@pytest.mark.parametrize("where", ["sheet", "table", "intake"])
def test_the_scale_is_stated_in_three_places(tmp_path: Path, write_sheet: Write, make_config: Make, where: str) -> None:
    logs = pd.DataFrame(np.log2(counts_matrix(1) * 1.5 + 1), columns=list(GENES), index=["P1"])
    logs.to_csv(tmp_path / "rna.csv")
    row = {"case_id": "P1"} | ({"rna_values": "log2(x+1)"} if where == "sheet" else {})
    table = {"rna": str(tmp_path / "rna.csv"), "rna_values": "log2p1" if where == "table" else None}
    config = make_config(write_sheet([row]), shards=1, tables=table)
    if where == "intake":
        config = replace(config, intake=replace(config.intake, rna_values="log2p1"))
    entry = read_inventory(run_shard(config, 0))[0].entries["rna"]
    assert entry.facts["values"] == "log2p1", entry.reason
    assert entry.origin.rna_values == "log2p1"
    assert read_profile(entry.origin, GENES).values == "log2p1"
