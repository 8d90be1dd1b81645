"""Training takes each modality of a case from where intake takes it, and checks it as intake does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from mupd.base.ids import artifact_name
from mupd.config import load_config
from mupd.inputs.runners import in_place
from mupd.sheet import read_sheet
from mupd.stages.intake.entries import inventories_of
from mupd.training.cohort.cases import TrainingCase, TrainingCohort, read_cohort
from mupd.training.public.splits import is_held_out
from tests.fixtures.basic import GENES, counts_matrix, he_pixels

COLON = "Colon, sigmoid, resection: invasive adenocarcinoma, moderately differentiated, pT3 N0. Margins are free."
BREAST = (
    "Left breast, mastectomy: invasive ductal carcinoma of the breast, grade 2, pT2. The breast tissue shows ductal "
    "carcinoma in situ; nipple and areola are free. Breast margins are negative."
)
IN_TRAINING = [name for name in (f"P{number}" for number in range(99)) if not is_held_out(name)]
HELD_OUT = next(name for name in (f"P{number}" for number in range(99)) if is_held_out(name))

Write = Callable[..., Path]


@pytest.fixture
def write_cohort(tmp_path: Path) -> Write:
    """Write a sheet and its configuration; rows are {column: cell}, `settings` are sections of the configuration."""

    def write(rows: list[dict[str, str]], **settings: Any) -> Path:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines = ["\t".join(columns), *("\t".join(row.get(column, "") for column in columns) for row in rows)]
        (tmp_path / "cases.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        intake = {"min_tissue_mm2": 0.001, "min_library_size": 1, "min_detected_fraction": 0.0, "min_gene_overlap": 0.0}
        values = {"cases": str(tmp_path / "cases.tsv"), "outdir": str(tmp_path / "out"), "intake": intake} | settings
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    return write


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """One file with the profiles of five patients, a held-out one among them."""
    names = [*IN_TRAINING[:4], HELD_OUT]
    counts = pd.DataFrame(counts_matrix(5) * 20, index=names, columns=list(GENES), dtype=np.float32)
    ad.AnnData(counts).write_h5ad(tmp_path / "m.h5ad")
    return tmp_path / "m.h5ad"


def only_case(cohort: TrainingCohort) -> TrainingCase:
    assert len(cohort.cases) == 1, cohort.report
    return cohort.cases[0]


def report(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def test_a_cell_that_names_a_row_is_one_profile(tmp_path: Path, matrix: Path, write_cohort: Write) -> None:
    patient = IN_TRAINING[1]
    row = {"case_id": patient, "rna": f"m.h5ad::{patient}", "text": report(tmp_path, "a.txt", COLON)}
    profile = only_case(read_cohort(write_cohort([row]), GENES)).profile
    assert profile is not None
    assert len(profile.matrix) == 1
    stored = ad.read_h5ad(matrix)[patient].to_df().iloc[0]
    np.testing.assert_array_equal(profile.matrix[0], stored[list(profile.genes)])


def test_a_folder_may_have_the_separator_in_its_name(tmp_path: Path, matrix: Path, write_cohort: Write) -> None:
    (tmp_path / "a::b").mkdir()
    matrix.rename(tmp_path / "a::b" / "m.h5ad")
    (tmp_path / "a::b" / "plain.txt").write_text(COLON, encoding="utf-8")
    patient = IN_TRAINING[0]
    row = {"case_id": patient, "rna": f"a::b/m.h5ad::{patient}", "text": "a::b/plain.txt"}
    configfile = write_cohort([row])
    case = only_case(read_cohort(configfile, GENES))
    assert case.profile is not None
    assert len(case.profile.matrix) == 1
    config = load_config(configfile)
    (inventory,) = inventories_of(read_sheet(config).cases, config, in_place(config, tuple(sorted(GENES))))
    rna = inventory.entries["rna"]
    assert rna.status == "measured"
    assert (rna.origin.path.name, rna.origin.row) == ("m.h5ad", patient)
    assert rna.source_name.endswith(f"a::b/m.h5ad::{patient}")
    assert inventory.entries["text"].origin.row == ""


def test_a_cell_that_names_a_row_of_reports(tmp_path: Path, matrix: Path, write_cohort: Write) -> None:
    table = pd.DataFrame({"case_id": IN_TRAINING[:2], "text": [COLON, COLON.replace("pT3", "pT2")]})
    table.to_csv(tmp_path / "reports.csv", index=False)
    patient = IN_TRAINING[1]
    row = {"case_id": patient, "rna": f"m.h5ad::{patient}", "text": f"reports.csv::{patient}"}
    assert only_case(read_cohort(write_cohort([row]), GENES)).record["t_category"] == "T2"


def test_a_renamed_case_finds_its_rows_by_its_id_in_the_sheet(tmp_path: Path, write_cohort: Write) -> None:
    name = next(name for name in (f"Case no. {n}, ward" for n in range(99)) if not is_held_out(artifact_name(name)))
    counts = pd.DataFrame(counts_matrix(1) * 20, index=[name], columns=list(GENES))
    counts.to_csv(tmp_path / "rna.csv", index_label="case_id")
    pd.DataFrame({"case_id": [name], "text": [COLON]}).to_csv(tmp_path / "reports.csv", index=False)
    tables = {"rna": str(tmp_path / "rna.csv"), "text": str(tmp_path / "reports.csv")}
    case = only_case(read_cohort(write_cohort([{"case_id": json.dumps(name)}], tables=tables), GENES))
    assert case.case_id == artifact_name(name) != name
    assert case.pairs == ("rna+text",)


def test_the_usable_slide_with_the_most_tissue_is_trained_on(tmp_path: Path, write_cohort: Write) -> None:
    Image.new("RGB", (640, 480), (244, 244, 244)).save(tmp_path / "bare.png")
    Image.fromarray(he_pixels(480, 360)).save(tmp_path / "small.png")
    Image.fromarray(he_pixels(960, 720)).save(tmp_path / "large.png")
    text = report(tmp_path, "a.txt", COLON)
    row = {"case_id": IN_TRAINING[0], "he": "bare.png;small.png;large.png", "he_mpp": "0.78", "text": text}
    configfile = write_cohort([row])
    case = only_case(read_cohort(configfile, GENES))
    assert case.he is not None
    assert case.he.name == "large.png"
    config = load_config(configfile)
    (inventory,) = inventories_of(read_sheet(config).cases, config, in_place(config, GENES))
    assert inventory.entries["he"].origin.path == case.he


@pytest.mark.parametrize(
    ("case_id", "organ", "text", "why"),
    [
        (IN_TRAINING[0], "colon", BREAST, "text: about the breast, but the sheet's organ is colorectum"),
        ("TCGA-AG-3742", "", f"TCGA-AA-3697. {COLON}", "text: names another case's id"),
    ],
)
def test_a_report_is_checked_against_the_case(
    tmp_path: Path, write_cohort: Write, case_id: str, organ: str, text: str, why: str
) -> None:
    if is_held_out(case_id):
        pytest.fail("choose another id: this one is held out and never read")
    Image.fromarray(he_pixels()).save(tmp_path / "a.png")
    row = {"case_id": case_id, "he": "a.png", "he_mpp": "0.78", "organ": organ}
    cohort = read_cohort(write_cohort([row | {"text": report(tmp_path, "a.txt", text)}]), GENES)
    assert not cohort.cases
    assert why in cohort.report[0].why


def test_marks_inside_a_report_are_seen(tmp_path: Path, matrix: Path, write_cohort: Write) -> None:
    table = pd.DataFrame({"case_id": [IN_TRAINING[0]], "text": [f"SYNTHETIC - NOT FOR DIAGNOSIS. {COLON}"]})
    table.to_csv(tmp_path / "reports.csv", index=False)
    patient = IN_TRAINING[0]
    row = {"case_id": patient, "rna": f"m.h5ad::{patient}", "text": f"reports.csv::{patient}"}
    lenient = {"intake": {"allow_synthetic": ["*"], "min_library_size": 1, "min_detected_fraction": 0.0}}
    assert not read_cohort(write_cohort([row], **lenient), GENES).cases
