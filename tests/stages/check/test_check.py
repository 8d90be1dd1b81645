from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from mupd.base.files import write_json
from mupd.base.ids import Modality
from mupd.config import CheckLimits, Config
from mupd.contracts.draws import Draw, TaskResult, content_sha256, write_index
from mupd.contracts.inventory import CaseInventory, Entry, Task, tasks_of, write_inventory
from mupd.errors import ModelError, MupdError
from mupd.model_folder.geometry import evaluations, read_geometry
from mupd.reports.record.fields import FIELDS
from mupd.slides.stain_density import WINDOW_PX, reduce_picture, tissue_windows
from mupd.stages.check import run_shard
from mupd.stages.check.he_checks import check_he
from mupd.stages.check.reference import read_reference
from mupd.stages.check.text_checks import agreement, check_text
from tests.fixtures.cohort import (
    GENES,
    make_config,
    make_draw,
    make_model,
    profile,
    record,
    tissue_picture,
    with_notes,
    write_draw,
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    make_model(tmp_path)
    return make_config(tmp_path, shards=1)


LIMITS = CheckLimits(min_tissue_fraction=0.0, abstain_below=0.0)


def a_case(*measured: Modality) -> CaseInventory:
    entries: dict[Modality, Entry] = {
        m: Entry("CASE-1", m, "measured" if m in measured else "missing") for m in ("he", "rna", "text")
    }
    return CaseInventory("CASE-1", entries)


def task_for(config: Config, target: Modality) -> Task:
    given: Modality = "rna" if target != "rna" else "text"
    return next(task for task in tasks_of(a_case(given), config) if task.target == target)


def checked(config: Config, results: list[TaskResult], case: CaseInventory | None = None) -> pd.DataFrame:
    write_inventory(config.out / "intake" / "shard-0000.parquet", [case] if case else [])
    write_index(config.out / "generated" / "shard-0000.json", results)
    table = pd.read_parquet(run_shard(config, 0))
    assert str(table.draw.dtype) == "int64"
    return table


def done(task: Task, *draws: Draw) -> TaskResult:
    return TaskResult(task.case_id, task.target, task.given, "done", draws=draws)


def one(config: Config, target: Modality, **arrays: Any) -> pd.Series:
    """The row of a single draw with these arrays."""
    task = task_for(config, target)
    return checked(config, [done(task, write_draw(config, task, 0, **arrays))]).iloc[0]


@pytest.mark.parametrize("target", ["he", "rna", "text"])
def test_plausible_draws_are_accepted_with_nothing_to_say(config: Config, target: Modality) -> None:
    task = task_for(config, target)
    draws = [make_draw(config, task, draw) for draw in range(len(task.seeds))]
    table = checked(config, [done(task, *draws)])
    assert list(table.verdict) == ["accepted"] * len(draws)
    assert list(table.reasons) == [""] * len(draws)
    assert list(table.draw) == list(range(len(draws)))
    assert list(table.content_sha256) == [draw.meta.content_sha256 for draw in draws]
    for checks in table.checks:
        assert all(set(check) == {"value", "limit", "ok"} for check in json.loads(checks).values())


def test_altered_values_are_rejected(config: Config) -> None:
    task = task_for(config, "rna")
    draw = make_draw(config, task, 0)
    values = np.load(config.out / draw.folder / "values.npy")
    values[0, 0] += 0.01
    np.save(config.out / draw.folder / "values.npy", values)
    row = checked(config, [done(task, draw)]).iloc[0]
    assert row.verdict == "rejected"
    assert "altered" in row.reasons
    assert row.content_sha256 == content_sha256(config.out / draw.folder, "rna") != draw.meta.content_sha256


@pytest.mark.parametrize("target", ["he", "rna", "text"])
@pytest.mark.parametrize("how", ["no folder", "no file", "cut", "empty"])
def test_missing_or_damaged_draw_is_rejected_with_the_reason(config: Config, target: Modality, how: str) -> None:
    task = task_for(config, target)
    draw = make_draw(config, task, 0)
    folder = config.out / draw.folder
    file = folder / {"he": "pixels.npy", "rna": "values.npy", "text": "record.json"}[target]
    if how == "no folder":
        shutil.rmtree(folder)
    elif how == "no file":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-5] if how == "cut" else b"")
    row = checked(config, [done(task, draw)]).iloc[0]
    assert row.verdict == "rejected"
    assert "missing" in row.reasons if how == "no folder" else "cannot be read" in row.reasons
    assert str(config.out) not in row.reasons


def test_failed_and_forgotten_tasks_are_failed_rows(config: Config) -> None:
    case = a_case("rna")
    failed = TaskResult("CASE-1", "he", ("rna",), "failed", "out of memory")
    table = checked(config, [failed], case).set_index("target")
    assert list(table.draw) == [-1, -1]
    assert list(table.verdict) == ["failed", "failed"]
    assert table.loc["he"].reasons == "out of memory"
    assert "no result" in table.loc["text"].reasons


def test_notes_are_warnings_on_accepted_rows(config: Config) -> None:
    task = task_for(config, "rna")
    draw = with_notes(make_draw(config, task, 0), "the text names an organ outside the trained domain")
    row = checked(config, [done(task, draw)]).iloc[0]
    assert (row.verdict, row.reasons) == ("accepted", "the text names an organ outside the trained domain")


def test_empty_shard_leaves_an_empty_table(config: Config) -> None:
    assert checked(config, []).empty


def test_shard_without_earlier_files_says_which(config: Config) -> None:
    with pytest.raises(MupdError, match="mupd intake --shard 3"):
        run_shard(config, 3)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full((256, 384, 3), 128, np.uint8), "flat"),
        (np.full((256, 384, 3), 250, np.uint8), "tissue covers"),
        (tissue_picture(1, 256, 380), "256 x 380 x 3 uint8, not 256 x 384 x 3 uint8"),
        (np.zeros((256, 384), np.uint8), "not 256 x 384 x 3"),
        (tissue_picture(1, 256, 384).astype(np.float32), "float32"),
    ],
)
def test_implausible_pictures_are_rejected(config: Config, pixels: np.ndarray, words: str) -> None:
    row = one(config, "he", pixels=pixels)
    assert row.verdict == "rejected"
    assert words in row.reasons


def test_stain_outside_the_training_tiles_is_rejected(tmp_path: Path) -> None:
    make_model(tmp_path, haematoxylin_od=[1.5, 2.0])
    row = one(make_config(tmp_path, shards=1), "he", pixels=tissue_picture(1, 256, 384))
    assert row.verdict == "rejected"
    assert "haematoxylin optical density" in row.reasons
    assert json.loads(row.checks)["eosin_od"]["ok"] is True


@pytest.mark.parametrize("target", ["he", "rna"])
def test_without_a_reference_nothing_counts_as_passed(config: Config, target: Modality) -> None:
    (Path(config.model) / "reference.json").unlink()
    (Path(config.model) / "genes.json").unlink()
    task = task_for(config, target)
    row = checked(config, [done(task, make_draw(config, task, 0))]).iloc[0]
    checks = json.loads(row.checks)
    names = ["haematoxylin_od", "eosin_od"] if target == "he" else ["genes", "mean_abs_z"]
    assert [checks[name]["ok"] for name in names] == [None, None]
    assert all("not measured" in f"{checks[name]['value']} {checks[name]['limit']}" for name in names)


def test_a_broken_reference_is_a_model_error(tmp_path: Path) -> None:
    make_model(tmp_path, rna_mean={"bulk": [1.0]})
    with pytest.raises(ModelError, match=r"rna_mean\.bulk"):
        read_reference(tmp_path / "model")


def test_seams_at_the_borders_of_the_last_windows_show(config: Config) -> None:
    width, height = config.slide.width_px, config.slide.height_px
    last = evaluations(config.sampler.solver, config.sampler.steps) - 1
    rows, columns = read_geometry(Path(config.model)).border_lines((width, height), last)
    smooth = gaussian_filter(tissue_picture(3, height, width).astype(float), (4, 4, 0))
    seamed = smooth.copy()
    for number, line in enumerate(rows):
        seamed[line + 1 :] += 12 if number % 2 == 0 else -12
    for number, line in enumerate(columns):
        seamed[:, line + 1 :] += 12 if number % 2 == 0 else -12
    plain = json.loads(one(config, "he", pixels=smooth.astype(np.uint8)).checks)["seam_ratio"]["value"]
    planted = json.loads(one(config, "he", pixels=np.clip(seamed, 0, 255).astype(np.uint8)).checks)["seam_ratio"]
    assert plain == pytest.approx(1, abs=0.15)
    assert planted["value"] > 1.5


def test_large_picture_is_never_read_whole(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts what is taken out of the memory map at once: no slice may be a large part of the slide."""
    task = task_for(config, "he")
    wide = replace(config, slide=replace(config.slide, width_px=3000, height_px=2600))
    draw = write_draw(wide, task, 0, pixels=np.tile(tissue_picture(1, 1300, 1500), (2, 2, 1)))
    largest = 0

    class Watched(np.memmap):
        def __getitem__(self, index: Any) -> Any:
            nonlocal largest
            part = super().__getitem__(index)
            largest = max(largest, getattr(part, "size", 1))
            return part

    load = np.load
    monkeypatch.setattr(np, "load", lambda path, **options: load(path, **options).view(Watched))
    check_he(wide.out / draw.folder, wide, read_reference(Path(wide.model)), draw.meta.settings)
    assert 0 < largest < 3000 * 2600 * 3 / 20


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: np.where(np.arange(v.shape[1]) == 2, np.nan, v).astype(np.float32), "not finite"),
        (lambda v: np.where(np.arange(v.shape[1]) == 2, -0.1, v).astype(np.float32), "negative"),
        (lambda v: (v * 0.5).astype(np.float32), "sum to"),
        (lambda v: (v + 2.5).astype(np.float32), "sum to"),
        (lambda v: v.astype(np.float64), "float64"),
        (lambda v: v[:, :-1], "29 float32, not observations x 30"),
        (lambda v: np.where(np.arange(v.shape[1]) == 0, 9.2, 0.1).astype(np.float32)[None], "out of distribution"),
    ],
)
def test_implausible_profiles_are_rejected(config: Config, change: Any, words: str) -> None:
    row = one(config, "rna", values=change(profile(5)), genes=list(GENES))
    assert row.verdict == "rejected"
    assert words in row.reasons


def test_other_genes_and_lost_positions_are_rejected(config: Config) -> None:
    row = one(config, "rna", values=profile(5), genes=list(reversed(GENES)))
    assert "not the model's bulk genes" in row.reasons
    row = one(config, "rna", values=profile(5, 4), genes=list(GENES), xy_px=np.zeros((3, 2)))
    assert "positions" in row.reasons


def test_identical_draws_are_rejected_but_the_first(config: Config) -> None:
    task = task_for(config, "rna")
    draws = [write_draw(config, task, draw, values=profile(5), genes=list(GENES)) for draw in range(3)]
    table = checked(config, [done(task, *draws)])
    assert list(table.verdict) == ["accepted", "rejected", "rejected"]
    assert table.reasons[2] == "identical to draw 0"


def test_records_out_of_vocabulary_or_wrong_are_rejected(config: Config) -> None:
    good = record(1)
    name = next(iter(good))
    least = min(good[name]["probabilities"], key=lambda value: good[name]["probabilities"][value])
    doubled = {value: 2 * share for value, share in good[name]["probabilities"].items()}
    cases = [
        ({**good, "mood": {"value": "good", "abstained": False, "probabilities": {"good": 1.0}}}, "field 'mood'"),
        ({**good, name: {"value": "Mars", "abstained": False, "probabilities": {"Mars": 1.0}}}, "'Mars'"),
        (
            {**good, name: {**good[name], "value": least, "probabilities": {good[name]["value"]: 1.0}}},
            "has no probability",
        ),
        ({**good, name: {**good[name], "probabilities": doubled}}, "do not sum to 1"),
        ({**good, name: {"value": "x"}}, "lacks a value with probabilities"),
        ({}, "no fields"),
    ]
    for broken, words in cases:
        row = one(config, "text", record=broken)
        assert row.verdict == "rejected", words
        assert words in row.reasons


def test_a_drawn_value_need_not_be_the_most_probable(config: Config) -> None:
    drawn = record(1, certainty=0.0)
    shares = drawn["grade"]["probabilities"]
    drawn["grade"]["value"] = min(shares, key=lambda value: shares[value])
    row = one(config, "text", record=drawn)
    assert row.verdict == "accepted"
    check = json.loads(row.checks)["not_most_probable"]
    assert (check["value"], check["ok"]) == (["grade"], None)


def abstaining(made: dict[str, Any], field: str, **changes: Any) -> dict[str, Any]:
    """A record whose `field` gives each value the same probability, and states none."""
    shares = dict.fromkeys(FIELDS[field], 1 / len(FIELDS[field]))
    return made | {field: {"value": None, "abstained": True, "probabilities": shares} | changes}


def test_an_undetermined_field_is_accepted_and_named(config: Config) -> None:
    row = one(config, "text", record=abstaining(record(1), "grade"))
    assert (row.verdict, row.reasons) == ("accepted", "")
    checks = json.loads(row.checks)
    assert (checks["undetermined"]["value"], checks["undetermined"]["ok"]) == (["grade"], True)
    assert checks["not_most_probable"]["value"] == []
    alone = one(config, "text", record=abstaining({}, "grade"))
    assert alone.verdict == "accepted"


def test_records_that_abstain_wrongly_are_rejected(config: Config) -> None:
    sure = {"G1": 0.1, "G2": 0.8, "G3": 0.1}
    cases = [
        (abstaining(record(1), "grade", probabilities=sure), "undetermined at a probability of 0.4 or more"),
        (abstaining(record(1), "grade", abstained=False), "no value exactly where it abstains"),
        (abstaining(record(1), "grade", value="G1"), "no value exactly where it abstains"),
        (abstaining(record(1), "grade", abstained="yes"), "no value exactly where it abstains"),
        ({"grade": {"value": None, "probabilities": sure}}, "no value exactly where it abstains"),
        ({"grade": {"abstained": True, "probabilities": sure}}, "lacks a value"),
    ]
    for broken, words in cases:
        row = one(config, "text", record=broken)
        assert row.verdict == "rejected", words
        assert words in row.reasons


def test_the_vocabulary_is_the_models_own(config: Config) -> None:
    mucinous = "mucinous adenocarcinoma"
    old = {"diagnosis": {"value": mucinous, "abstained": False, "probabilities": {mucinous: 1.0}}}
    assert one(config, "text", record=old).verdict == "rejected"
    write_json(Path(config.model) / "record.json", {"fields": {"diagnosis": ["mucinous adenocarcinoma", "glioma"]}})
    assert one(config, "text", record=old).verdict == "accepted"


def test_a_draw_has_the_genes_of_its_kind(config: Config) -> None:
    panels = {"bulk": list(GENES[:20]), "spot": list(GENES[5:])}
    write_json(Path(config.model) / "rna_codec" / "config.json", panels)
    kinds = {"bulk": {}, "spot": {"xy_px": np.zeros((1, 2))}}
    for kind, place in kinds.items():
        for genes, fits in ((panels[kind], True), (list(GENES), False)):
            values = profile(5)[:, [GENES.index(gene) for gene in genes]]
            row = one(config, "rna", values=values, genes=genes, **place)
            check = json.loads(row.checks)["genes"]
            assert check["ok"] is fits, (kind, row.reasons)
    measured = json.loads(row.checks)["mean_abs_z"]
    assert measured["value"] == "not measured"
    assert "spot training data" in measured["limit"]


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=4), st.floats(0, 8))
@settings(max_examples=30, deadline=None)
def test_any_well_formed_record_passes_and_agreement_is_a_share(seeds: list[int], certainty: float) -> None:
    records = [record(seed, certainty) for seed in seeds]
    agreed = agreement(records)
    assert all(1 / len(seeds) - 1e-3 <= share <= 1 for share in agreed.values())
    assert all(check.ok is not False for made in records for check in check_text(made, LIMITS, agreed, FIELDS))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 100))
@settings(max_examples=60, deadline=None)
def test_reduced_picture_keeps_the_mean_of_whole_blocks(height: int, width: int, most: int) -> None:
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    reduced = reduce_picture(pixels, most)
    factor = max(1, min(-(-max(height, width) // most), height, width))
    rows, columns = height // factor, width // factor
    assert reduced.shape == (rows, columns, 3)
    assert max(rows, columns) <= most or min(rows, columns) == 1
    whole = pixels[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, 3)
    np.testing.assert_allclose(reduced, whole.mean(axis=(1, 3)), atol=0.5)


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(max_examples=40, deadline=None)
def test_windows_lie_inside_and_reach_every_edge(width: int, height: int) -> None:
    mask = np.ones((max(1, height // 8), max(1, width // 8)), bool)
    windows = tissue_windows(mask, (width, height))
    assert 1 <= len(windows) <= 24
    assert all(x >= 0 and y >= 0 for x, y in windows)
    assert all(x + min(WINDOW_PX, width) <= width and y + min(WINDOW_PX, height) <= height for x, y in windows)
    assert windows[-1] == (max(0, width - WINDOW_PX), max(0, height - WINDOW_PX))
    assert tissue_windows(~mask, (width, height)) == []


def test_a_sparse_tile_among_others_is_no_fault_but_a_wrong_scale_is(tmp_path: Path) -> None:
    from mupd.stages.check.reference import Reference
    from mupd.stages.check.rna_checks import check_rna

    def library_of(factor: float, sparse: float) -> tuple[object, bool | None]:
        values = np.full((5, 4), np.log1p(2500.0 * factor), np.float32)
        values[0] = np.log1p(2500.0 * sparse)
        np.save(tmp_path / "values.npy", values)
        np.save(tmp_path / "xy_px.npy", np.zeros((5, 2)))
        (tmp_path / "genes.json").write_text('["A", "B", "C", "D"]')
        checks = {check.name: check for check in check_rna(tmp_path, Reference())}
        return checks["library"].value, checks["library"].ok

    value, ok = library_of(1.0, 0.01)
    assert ok
    assert value == pytest.approx([100, 10_000, 10_000], rel=1e-3)
    assert library_of(0.1, 1.0)[1] is False
    assert library_of(10.0, 1.0)[1] is False
