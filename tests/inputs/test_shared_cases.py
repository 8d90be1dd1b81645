"""The odd inputs that were collected from public bug reports, each through the real intake.

A case's folder holds a sheet and a configuration; ``expected.tsv`` says as a Python expression what must hold of the
entry (`e`), its facts (`f`), its reason (`rsn`) and its record (`rec`).
"""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mupd.config import load_config
from mupd.contracts.inventory import Entry
from mupd.inputs.runners import in_place
from mupd.model_folder.contents import model_genes
from mupd.sheet import read_sheet
from mupd.stages.intake.entries import inventories_of
from tests.fixtures.paths import MINI, REPOSITORY

CASES = REPOSITORY.parent / "shared" / "cases"


def expectations() -> list[dict[str, str]]:
    path = CASES / "expected.tsv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def entry_of(folder: Path, case_id: str, modality: Any) -> Entry:
    configfile = folder / "my.yaml"
    configfile.write_text(configfile.read_text(encoding="utf-8").replace("MODEL", str(MINI)), encoding="utf-8")
    config = load_config(configfile)
    cases = read_sheet(config).cases
    inventories = inventories_of(cases, config, in_place(config, model_genes(MINI)))
    return next(case for case in inventories if case_id in (case.case_id, case.sheet_id)).entries[modality]


@pytest.mark.skipif(not expectations(), reason="no folder shared/cases beside the repository")
@pytest.mark.parametrize("row", expectations(), ids=lambda row: row["name"])
def test_what_must_hold_of_each_case(row: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / row["name"]
    shutil.copytree(CASES / row["name"], folder)
    os.chmod(folder, 0o755)
    monkeypatch.chdir(folder)
    entry = entry_of(folder, row["case_id"], row["modality"])
    names = {"e": {"status": entry.status}, "f": entry.facts, "rsn": entry.reason, "rec": entry.facts.get("record", {})}
    holds = eval(row["must_hold"], {"abs": abs, "str": str}, names)
    assert holds, f"{row['what']}: expected {row['expected']}, got {entry.status} {entry.reason} {entry.facts}"
