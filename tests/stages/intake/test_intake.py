from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from mupd.base.files import sha256_file
from mupd.base.ids import shard_of
from mupd.config import Config
from mupd.contracts.inventory import CaseInventory, read_inventory, tasks_of
from mupd.errors import InputFaults, ModelError, UnusableError
from mupd.inputs.examine import NOT_IN_TABLE
from mupd.inputs.runners import in_place
from mupd.run.status.terminal import render_status
from mupd.sheet import cases_of_shard, read_sheet
from mupd.sheet.sources import signature_of
from mupd.stages.intake import run_shard, status_rows
from mupd.stages.intake.entries import NOT_IN_SHEET, inventories_of
from tests.fixtures.basic import GENES, counts_matrix, he_pixels

Make = Callable[..., Config]
Write = Callable[..., Path]

REPORT = "Invasive ductal carcinoma of the breast, grade 2, pT2."


@pytest.fixture
def cohort(tmp_path: Path, write_he: Write, write_rna: Write, write_sheet: Write, make_config: Make) -> Config:
    """Six cases: complete, each pattern of holes that differs in kind, and one with nothing usable."""
    he, rna = write_he(), write_rna()
    (tmp_path / "report.txt").write_text(REPORT)
    (tmp_path / "empty.txt").write_text(" \n")
    broken = tmp_path / "broken.png"
    broken.write_bytes(he.read_bytes()[:20_000])
    mouse = write_rna("mouse.csv", genes=[f"Gene{number}" for number in range(12)])
    row = {"case_id": "", "he": "", "he_mpp": "0.78", "rna": "", "text": "", "organ": "breast", "x_site": "Ulm"}
    rows = [
        row | {"case_id": "complete", "he": he.name, "rna": rna.name, "text": "report.txt"},
        row | {"case_id": "rna-only", "rna": rna.name},
        row | {"case_id": "he-text", "he": he.name, "text": "report.txt"},
        row | {"case_id": "bad-he", "he": broken.name, "rna": rna.name, "text": "empty.txt"},
        row | {"case_id": "bad-all", "he": broken.name, "rna": mouse.name, "text": "empty.txt"},
        row | {"case_id": "nothing"},
    ]
    return make_config(write_sheet(rows), shards=2)


def by_id(cases: list[CaseInventory]) -> dict[str, CaseInventory]:
    return {case.case_id: case for case in cases}


def statuses(case: CaseInventory) -> str:
    return " ".join(case.entries[modality].status for modality in ("he", "rna", "text"))


def test_every_pattern_is_told(cohort: Config) -> None:
    cases = by_id(status_rows(cohort))
    assert {name: statuses(case) for name, case in cases.items()} == {
        "complete": "measured measured measured",
        "rna-only": "missing measured missing",
        "he-text": "measured missing measured",
        "bad-he": "unusable measured unusable",
        "bad-all": "unusable unusable unusable",
        "nothing": "missing missing missing",
    }
    assert "truncated" in cases["bad-he"].entries["he"].reason
    assert "empty" in cases["bad-he"].entries["text"].reason
    assert "no gene in common" in cases["bad-all"].entries["rna"].reason
    assert cases["rna-only"].entries["he"].reason == NOT_IN_SHEET
    assert cases["complete"].organ == "breast"
    assert cases["complete"].extra == {"x_site": "Ulm"}
    assert not cohort.out.exists()


def test_shards_hold_their_cases_and_read_back(cohort: Config, tmp_path: Path) -> None:
    paths = [run_shard(cohort, shard) for shard in range(2)]
    assert [path.name for path in paths] == ["shard-0000.parquet", "shard-0001.parquet"]
    written = by_id([case for path in paths for case in read_inventory(path)])
    assert written == by_id(status_rows(cohort))
    for shard, path in enumerate(paths):
        assert {shard_of(case.case_id, 2) for case in read_inventory(path)} <= {shard}
    entry = written["complete"].entries["he"]
    assert entry.source == str(tmp_path / "slide.png")
    assert entry.source_sha256 == sha256_file(tmp_path / "slide.png")
    assert entry.facts["size_px"] == [640, 480]
    before = paths[0].read_bytes()
    assert run_shard(cohort, 0).read_bytes() == before


def test_an_empty_shard_is_written(write_sheet: Write, make_config: Make) -> None:
    config = make_config(write_sheet([{"case_id": "A", "organ": "lung"}]), shards=50)
    empty = (shard_of("A", 50) + 1) % 50
    assert read_inventory(run_shard(config, empty)) == []


@pytest.mark.parametrize("table", ["matrix.tsv.gz", "matrix.h5ad"])
def test_cohort_tables_fill_empty_cells(
    table: str, tmp_path: Path, write_rna: Write, write_sheet: Write, make_config: Make
) -> None:
    ids = ["A", "B", "twice", "twice", "unknown-to-the-sheet"]
    frame = pd.DataFrame(counts_matrix(5), index=ids, columns=list(GENES))
    if table.endswith("h5ad"):
        obs = pd.DataFrame({"n": range(5)}, index=ids)
        with pytest.warns(UserWarning, match="not unique"):
            ad.AnnData(frame.to_numpy(np.float32), obs=obs, var=pd.DataFrame(index=list(GENES))).write_h5ad(
                tmp_path / table
            )
    else:
        frame.to_csv(tmp_path / table, sep="\t")
    (tmp_path / "reports.csv").write_text(f'case_id,text\nA,"{REPORT}"\nB,"{REPORT}"\nB,other\n')
    rows = [{"case_id": name, "rna": ""} for name in ("A", "B", "C", "twice")]
    rows.append({"case_id": "own", "rna": write_rna().name})
    config = make_config(
        write_sheet(rows), tables={"rna": str(tmp_path / table), "text": str(tmp_path / "reports.csv")}
    )
    cases = by_id(status_rows(config))
    assert list(cases) == ["A", "B", "C", "twice", "own"]
    assert {name: statuses(case) for name, case in cases.items()} == {
        "A": "missing measured measured",
        "B": "missing measured unusable",
        "C": "missing missing missing",
        "twice": "missing unusable missing",
        "own": "missing measured missing",
    }
    assert cases["C"].entries["rna"].reason == NOT_IN_TABLE
    assert "2 rows" in cases["twice"].entries["rna"].reason
    entry = cases["A"].entries["rna"]
    assert entry.source_name == f"{tmp_path / table}::A"
    assert entry.source_sha256 != cases["B"].entries["rna"].source_sha256
    assert cases["own"].entries["rna"].source_row == ""


def test_the_hash_of_a_row_is_that_of_its_values(tmp_path: Path, write_sheet: Write, make_config: Make) -> None:
    frame = pd.DataFrame(counts_matrix(2), index=["A", "B"], columns=list(GENES))
    table = tmp_path / "matrix.tsv"
    config = make_config(write_sheet([{"case_id": "A", "organ": "x"}]), tables={"rna": str(table)})
    frame.to_csv(table, sep="\t")
    first = status_rows(config)[0].entries["rna"].source_sha256
    frame.loc["B"] += 100
    frame.iloc[::-1].to_csv(table, sep="\t")
    assert status_rows(config)[0].entries["rna"].source_sha256 == first
    frame.loc["A", "ACTB"] += 1
    frame.to_csv(table, sep="\t")
    assert status_rows(config)[0].entries["rna"].source_sha256 != first


def test_a_table_that_does_not_read_is_a_reason(tmp_path: Path, write_sheet: Write, make_config: Make) -> None:
    (tmp_path / "matrix.h5ad").write_bytes(b"nothing")
    config = make_config(write_sheet([{"case_id": "A", "x_a": "1"}]), tables={"rna": str(tmp_path / "matrix.h5ad")})
    entry = status_rows(config)[0].entries["rna"]
    assert entry.status == "unusable"
    assert "does not read" in entry.reason


def test_synthetic_inputs_are_refused_unless_named(tmp_path: Path, write_sheet: Write, make_config: Make) -> None:
    data = ad.AnnData(counts_matrix().astype(np.float32), obs=pd.DataFrame(index=["SYN-A"]))
    data.var_names = list(GENES)
    data.uns["mupd"] = {"synthetic": True}
    data.obs["synthetic"] = True
    data.write_h5ad(tmp_path / "renamed.h5ad")
    (tmp_path / "report.synthetic.txt").write_text(REPORT)
    sheet = write_sheet([{"case_id": "A", "rna": "renamed.h5ad", "text": "report.synthetic.txt"}])
    case = status_rows(make_config(sheet))[0]
    assert statuses(case) == "missing unusable unusable"
    for modality in ("rna", "text"):
        assert "synthetic" in case.entries[modality].reason
        assert "allow_synthetic" in case.entries[modality].reason
    allowed = make_config(sheet, intake={"allow_synthetic": ["renamed.*"]})
    assert statuses(status_rows(allowed)[0]) == "missing measured unusable"
    stream = io.StringIO()
    render_status(status_rows(allowed), allowed, Console(width=200, file=stream))
    assert "but synthetic: let in by intake.allow_synthetic" in stream.getvalue()


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), KeyError("x"), MemoryError(), OSError(5, "Input/output error")]
)
def test_a_crash_in_a_reader_ends_one_modality_only(
    cohort: Config, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def crash(*_: object) -> None:
        raise error

    monkeypatch.setattr("mupd.slides.checks.check_he", crash)
    cases = by_id(inventories_of(read_sheet(cohort).cases, cohort, in_place(cohort, GENES)))
    assert statuses(cases["complete"]) == "unusable measured measured"
    expected = "memory" if isinstance(error, MemoryError) else type(error).__name__
    assert expected in cases["complete"].entries["he"].reason


def test_reasons_name_no_path(cohort: Config, tmp_path: Path) -> None:
    reasons = [entry.reason for case in status_rows(cohort) for entry in case.entries.values()]
    assert any(reasons)
    assert not any(str(tmp_path) in reason or "broken.png" in reason for reason in reasons)


def test_spot_positions_take_the_slides_scale(
    tmp_path: Path, write_he: Write, write_sheet: Write, make_config: Make
) -> None:
    data = ad.AnnData(counts_matrix(3).astype(np.float32), var=pd.DataFrame(index=list(GENES)))
    data.obsm["spatial"] = np.array([[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]])
    data.write_h5ad(tmp_path / "spots.h5ad")
    rows = [
        {"case_id": "both", "he": write_he().name, "he_mpp": "0.5", "rna": "spots.h5ad"},
        {"case_id": "stated", "he_mpp": "0.78", "rna": "spots.h5ad"},
        {"case_id": "unknown", "rna": "spots.h5ad"},
    ]
    cases = by_id(status_rows(make_config(write_sheet(rows))))
    scales = {name: case.entries["rna"].facts.get("he_mpp") for name, case in cases.items()}
    assert scales == {"both": 0.5, "stated": 0.78, "unknown": None}


def test_a_bad_sheet_or_model_stops_before_anything_is_written(
    tmp_path: Path, cohort: Config, write_sheet: Write, make_config: Make
) -> None:
    with pytest.raises(InputFaults):
        run_shard(make_config(write_sheet([{"case_id": "A", "he": "gone.svs"}], "bad.tsv")), 0)
    (tmp_path / "genes-model" / "genes.json").write_text('{"genes": []}')
    with pytest.raises(ModelError, match=r"genes\.json"):
        run_shard(cohort, 0)
    assert not cohort.out.exists()


def test_status_shows_reasons_tasks_and_counts(cohort: Config) -> None:
    cases = status_rows(cohort)
    stream = io.StringIO()
    render_status(cases, cohort, Console(width=200, file=stream))
    shown = stream.getvalue()
    for words in ("rna->he (1 draw)", "rna->text (3 draws)", "he+text->rna (3 draws)", "complete", "truncated"):
        assert words in shown
    tasks = [task for case in cases for task in tasks_of(case, cohort)]
    draws = sum(len(task.seeds) for task in tasks)
    summary = f"6 cases: 7 measured, 6 missing, 5 unusable; {len(tasks)} tasks, {draws} draws; 2 fail"
    assert summary in " ".join(shown.split())


def test_real_cases_with_all_three(shared_data: Path, write_sheet: Write, make_config: Make, tmp_path: Path) -> None:
    """Two TCGA patients and a HER2ST section; the patient with two RNA rows is unusable for RNA."""
    he = shared_data / "tcga" / "he"
    model = tmp_path / "real-model"
    model.mkdir()
    (model / "genes.json").write_text(json.dumps(["ERBB2", "LDHA", "ALDOA", "SLC2A1", "UPP1", "FARS2"]))
    rows = [
        {"case_id": "TCGA-NH-A8F7", "he": he / "TCGA-NH-A8F7-01A-01-TS1.png", "he_mpp": 0.25, "rna": ""},
        {"case_id": "TCGA-AD-6964", "he": he / "TCGA-AD-6964-01Z-00-DX1_Tile_22016_11776.jpg", "he_mpp": 0.5},
        {"case_id": "C5", "rna": shared_data / "her2st" / "counts" / "C5.tsv.gz"},
    ]
    tables = {
        name: str(shared_data / "tcga" / f"coadread_{part}.csv.gz")
        for name, part in (("rna", "log2tpm"), ("text", "reports"))
    }
    config = make_config(write_sheet(rows), tables=tables, model=str(model))
    cases = by_id(status_rows(config))
    assert statuses(cases["TCGA-NH-A8F7"]).startswith("measured unusable")
    assert statuses(cases["TCGA-AD-6964"]) == "measured measured measured"
    assert cases["TCGA-AD-6964"].entries["text"].facts["record"]["organ"] == "colorectum"
    assert statuses(cases["C5"]) == "missing measured missing"
    assert cases["C5"].entries["rna"].facts["kind"] == "spot"
    assert len(cases_of_shard(read_sheet(config), 0, 1)) == 3


def test_several_slides_are_examined_and_the_one_with_most_tissue_stands_for_the_case(
    tmp_path: Path, write_he: Write, write_sheet: Write, make_config: Make
) -> None:
    small, large = write_he("small.png", he_pixels(480, 360)), write_he("large.png", he_pixels(800, 600))
    (tmp_path / "broken.png").write_bytes(large.read_bytes()[:9000])
    config = make_config(write_sheet([{"case_id": "A", "he": "broken.png", "he_mpp": 1.0}]))
    case = read_sheet(config).cases[0]
    inventory = inventories_of([replace(case, further_he=(small, large))], config, in_place(config, GENES))[0]
    entry = inventory.entries["he"]
    assert (entry.status, entry.source) == ("measured", str(large))
    assert entry.source_sha256 == sha256_file(large)
    slides = entry.facts["slides"]
    assert [slide["name"] for slide in slides] == ["broken.png", "small.png", "large.png"]
    assert [slide["status"] for slide in slides] == ["unusable", "measured", "measured"]
    assert slides[0]["reason"]
    assert 0 < slides[1]["tissue_mm2"] < slides[2]["tissue_mm2"] == entry.facts["tissue_mm2"]
    assert slides[1]["sha256"] == sha256_file(small)
    assert json.loads(json.dumps(entry.facts)) == entry.facts

    none = inventories_of([replace(case, further_he=(case.he,))], config, in_place(config, GENES))[0].entries["he"]
    assert none.status == "unusable"
    assert none.reason.startswith("none of 2 slides is usable: slide 1: ")
    assert "broken.png" not in none.reason


def test_a_cell_may_name_a_row_of_a_table(
    tmp_path: Path, write_rna: Write, write_sheet: Write, make_config: Make
) -> None:
    frame = pd.DataFrame(counts_matrix(2), index=["P1", "P2"], columns=list(GENES))
    frame.to_csv(tmp_path / "matrix.csv")
    (tmp_path / "texts.csv").write_text(f'case_id,text\nP2,"{REPORT}"\n')
    config = make_config(write_sheet([{"case_id": "A", "rna": "matrix.csv", "text": "texts.csv"}]))
    case = read_sheet(config).cases[0]
    cases = [replace(case, rna_row="P2", text_row="P2"), replace(case, case_id="B", rna_row="P9", text_row="P9")]
    named, absent = inventories_of(cases, config, in_place(config, GENES))
    assert statuses(named) == "missing measured measured"
    assert named.entries["rna"].source_name == f"{tmp_path / 'matrix.csv'}::P2"
    # A hole is told from a wrong name: the sheet says that there is such a row.
    assert statuses(absent) == "missing unusable unusable"
    assert "no row 'P9'" in absent.entries["rna"].reason


def test_cases_with_the_same_content_are_told(
    tmp_path: Path, write_he: Write, write_sheet: Write, make_config: Make
) -> None:
    slide = write_he()
    (tmp_path / "copy.png").write_bytes(slide.read_bytes())
    write_he("other.png", he_pixels(seed=5))
    rows = [
        {"case_id": name, "he": he, "he_mpp": 0.78}
        for name, he in zip("ABC", ("slide.png", "copy.png", "other.png"), strict=True)
    ]
    cases = by_id(status_rows(make_config(write_sheet(rows))))
    facts = {name: case.entries["he"].facts.get("same_content_as") for name, case in cases.items()}
    assert facts == {"A": ["B"], "B": ["A"], "C": None}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_what_is_no_file_is_not_opened(tmp_path: Path, write_sheet: Write, make_config: Make) -> None:
    os.mkfifo(tmp_path / "pipe.svs")
    with pytest.raises(InputFaults, match="a device, pipe or socket"):
        status_rows(make_config(write_sheet([{"case_id": "pipe", "he": "pipe.svs"}])))
    # Where it became one after the sheet was read.
    with pytest.raises(UnusableError, match="neither a file nor a folder"):
        signature_of([tmp_path / "pipe.svs"], "he")
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path / "loop")
    with (tmp_path / "holes.svs").open("wb") as stream:
        stream.truncate(1 << 34)
    rows = [{"case_id": name, "he": name} for name in ("loop", "holes.svs")]
    reasons = [case.entries["he"].reason for case in status_rows(make_config(write_sheet(rows)))]
    assert reasons[0]
    assert "holes" in reasons[1]
