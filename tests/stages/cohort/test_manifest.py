from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mupd.base.files import sha256_path, write_json
from mupd.base.ids import MODALITIES, shard_name, shard_of
from mupd.base.spreadsheet import defuse, restore, write_table
from mupd.config import Config
from mupd.contracts.draws import Draw
from mupd.contracts.manifest import COLUMNS, write_manifest
from mupd.errors import MupdError
from mupd.stages.cohort.join_shards import CheckedDraw, explain, join_shards
from mupd.stages.cohort.manifest import manifest_rows
from tests.fixtures.cohort import PLANS, Plan, make_cohort, read_json, with_notes


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_cohort(tmp_path)


def exported_of(config: Config, case_id: str) -> Path:
    return config.out / "exported" / f"{shard_name(shard_of(case_id, config.shards))}.json"


def rows_of(config: Config) -> dict[tuple[str, str], dict[str, str]]:
    path = config.out / "manifest.tsv"
    write_manifest(path, manifest_rows(join_shards(config)))
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["case_id"], row["modality"]) for row in rows] == [(p.case_id, m) for p in PLANS for m in MODALITIES]
    return {(row["case_id"], row["modality"]): row for row in rows}


def test_a_row_for_each_modality_of_each_case(config: Config) -> None:
    rows = rows_of(config)
    measured = rows["COMPLETE-1", "he"]
    assert (measured["status"], measured["synthetic"], measured["artifact"], measured["verdict"]) == (
        "measured",
        "no",
        "",
        "",
    )
    assert measured["sha256"] == sha256_path(Path(config.cases).parent / "inputs" / "COMPLETE-1.png")
    rna = rows["TILES-2", "rna"]
    assert (rna["task"], rna["synthetic"], rna["verdict"], rna["draws"]) == ("he->rna", "yes", "accepted", "0,1,2")
    assert rna["artifact"] == "artifacts/TILES-2/rna.synthetic.h5ad"
    assert rna["sha256"] == sha256_path(config.out / rna["artifact"])
    assert rna["model_id"] == "mupd-test"
    text = rows["TILES-2", "text"]
    assert text["artifact"] == "artifacts/TILES-2/report.synthetic.json"
    assert text["further_artifacts"] == "artifacts/TILES-2/report.synthetic.txt"
    assert text["further_sha256"] == sha256_path(config.out / text["further_artifacts"])
    assert rows["SPOTS-3", "he"]["artifact"] == "artifacts/SPOTS-3/he/synthetic-draw0"
    failed = rows["EVIL-4", "rna"]
    assert (failed["verdict"], failed["why"], failed["synthetic"]) == (
        "failed",
        "the sampler left values not finite",
        "no",
    )


def test_a_case_with_nothing_measured_is_failed_with_the_reason(config: Config) -> None:
    rows = rows_of(config)
    for modality in MODALITIES:
        row = rows["NOTHING-5", modality]
        assert (row["verdict"], row["task"]) == ("failed", "")
        assert "nothing to condition on" in row["why"]
    assert rows["NOTHING-5", "text"]["status"] == "unusable"


def test_reasons_do_not_publish_the_path_of_the_input(config: Config) -> None:
    rows = rows_of(config)
    assert rows["BROKEN-6", "he"]["reason"] == "the slide is truncated"
    assert rows["BROKEN-6", "he"]["verdict"] == "accepted"
    assert str(config.out.parent) not in (config.out / "manifest.tsv").read_text()


def test_rejected_and_warned_draws_are_told_apart(tmp_path: Path) -> None:
    def spoil(config: Config, draw: Draw) -> Draw:
        if draw.meta.target == "rna" and draw.meta.draw == 1:
            return replace(draw, meta=replace(draw.meta, content_sha256="0" * 64))
        if draw.meta.target == "text":
            return with_notes(draw, "outside the trained domain")
        return replace(draw, meta=replace(draw.meta, content_sha256="0" * 64)) if draw.meta.target == "he" else draw

    config = make_cohort(tmp_path, (Plan("A", measured=("text",), spoil=spoil), Plan("B", ("he", "rna"), spoil=spoil)))
    parts = {case.case_id: case.parts for case in join_shards(config)}
    rna = parts["A"]["rna"]
    assert rna.verdict == "accepted"
    assert [draw.draw for draw in rna.accepted] == [0, 2]
    assert rna.why.startswith("draw 1 rejected: the values were altered")
    assert parts["A"]["he"].verdict == parts["A"]["he"].state == "rejected"
    assert parts["A"]["he"].accepted == ()
    assert parts["B"]["text"].why == "outside the trained domain"


def test_accepted_draws_without_an_artifact_are_failed(config: Config) -> None:
    path = exported_of(config, "TILES-2")
    exported = read_json(path)
    exported["failed"] = [{"case_id": "TILES-2", "modality": "rna", "reason": "no space left on device"}]
    exported["artifacts"] = [item for item in exported["artifacts"] if item["modality"] != "rna"]
    write_json(path, exported)
    shutil.rmtree(config.out / "artifacts" / "SPOTS-3" / "he")
    rows = rows_of(config)
    assert (rows["TILES-2", "rna"]["verdict"], rows["TILES-2", "rna"]["why"]) == ("failed", "no space left on device")
    lost = rows["SPOTS-3", "he"]
    assert (lost["verdict"], lost["synthetic"], lost["artifact"]) == ("failed", "no", "")
    assert "is not there" in lost["why"]


def test_missing_files_of_a_shard_are_named(config: Config) -> None:
    path = exported_of(config, "EVIL-4")
    path.unlink()
    with pytest.raises(MupdError, match=r"exported.*mupd export --shard"):
        join_shards(config)


def test_reasons_said_of_all_draws_are_said_once() -> None:
    draws = tuple(CheckedDraw(number, "accepted", "unusual profile", {}, "", None) for number in range(3))
    assert explain(draws) == "unusual profile"
    assert explain((*draws, CheckedDraw(3, "accepted", "", {}, "", None))) == (
        "draws 0, 1, 2 accepted, with a warning: unusual profile"
    )


@given(st.lists(st.text(alphabet="=+-@ \t\r\n'19.e\u00e4\uff1d", max_size=12), min_size=2, max_size=2))
def test_no_cell_is_a_formula_and_each_reads_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "table.tsv"
    columns = ("a", "b")
    write_table(path, columns, [dict(zip(columns, texts, strict=True))])
    with path.open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream, delimiter="\t")
    for cell, text in zip(row.values(), texts, strict=True):
        assert not re.match("[=+@\t\r\n\uff1d]|-", cell) or re.fullmatch(r"[+-][0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?", cell)
        assert restore(cell) == text
    json.dumps(row)


@pytest.mark.parametrize(
    ("cell", "defused"),
    [("=1+1", "'=1+1"), ("-5.2", "-5.2"), ("-5-2", "'-5-2"), ("+1e-3", "+1e-3"), ("'=x", "''=x"), ("'tis", "'tis")],
)
def test_formulas_get_an_apostrophe_and_numbers_none(cell: str, defused: str) -> None:
    assert defuse(cell) == defused
    assert restore(defused) == cell


def test_the_manifest_covers_every_file_of_the_artifacts(config: Config) -> None:
    rows = rows_of(config).values()
    named = {path for row in rows for cell in (row["artifact"], row["further_artifacts"]) for path in cell.split(";")}
    for file in (path for path in (config.out / "artifacts").rglob("*") if path.is_file()):
        own = [file, *file.parents]
        assert any(path.relative_to(config.out).as_posix() in named for path in own[:3]), file
