"""The benchmark on real cases: nothing withheld leaks, the comparison lines up with the truth, the small form runs."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from benchmarks.real_cohort import baselines, compare, compare_patients
from benchmarks.real_cohort.__main__ import main
from benchmarks.real_cohort.build import build, settings
from benchmarks.real_cohort.figures import look_of
from benchmarks.real_cohort.pattern import PATIENTS, SECTIONS, SMALL, Case, pairs, sections, withheld_record
from benchmarks.real_cohort.table import best_of
from benchmarks.real_cohort.training import Training
from benchmarks.real_cohort.triples import MISSING, TRIPLES, Triple, cases_of, triples
from benchmarks.real_cohort.workflow import Manifest, expected_status, failures, read_manifest, run_workflow
from mupd.base.ids import MODALITIES
from mupd.base.organs import organ_term
from mupd.engines.mupd.conditions import CaseConditions
from mupd.errors import MupdError
from mupd.model.pipeline import MuPDPipeline
from mupd.model.rna_codec import panel_values
from mupd.reports.checks import check_organ
from mupd.reports.record.fields import FIELDS
from mupd.training.public.read import log_cp10k, read_her2st_counts, read_tcga
from mupd.training.public.splits import TEST_PATIENTS, is_held_out
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.tiny_model import make_tiny_model

MODEL = REPOSITORY / "resources" / "models" / "mupd-mini"
TRAINED = ("B4", "C2", "C3", "C4")


@pytest.fixture(scope="module")
def cases(shared_data: Path) -> list[Case]:
    return [*sections(shared_data, TRAINED), *pairs(shared_data)]


@pytest.fixture(scope="module")
def three(shared_data: Path) -> list[Case]:
    return triples(shared_data)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> MuPDPipeline:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    make_tiny_model(folder)
    return MuPDPipeline.from_pretrained(folder)


def some_training(pipeline: MuPDPipeline, sections: Sequence[str] = TRAINED) -> Training:
    """Training data of 3 spots a section, 4 tiles and 5 patients: noise."""
    rng = np.random.default_rng(0)
    codec, features = pipeline.rna_codec, pipeline.tile_encoder.dim
    spots, dim = 3 * len(sections), codec.dim + 1

    def noise(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)

    patients = noise(5, dim)
    patients[:, -1] = 1
    spot_conditions = noise(spots, dim)
    spot_conditions[:, -1] = 0
    record = {"organ": "stomach", "diagnosis": "gastric adenocarcinoma", "grade": "G3"}
    return Training(
        spot_section=np.repeat(list(sections), 3),
        spot_features=noise(spots, features),
        spot_conditions=spot_conditions,
        spot_values=noise(spots, len(codec.panels["spot"].genes)),
        spot_haematoxylin=noise(spots),
        spot_nuclei_mm2=noise(spots),
        spot_tissue=noise(spots),
        tile_features=noise(4, features),
        tile_records=[{"organ": "lung"}] * 4,
        patient_ids=np.array([f"TCGA-XX-{number}" for number in range(5)]),
        patient_conditions=patients,
        patient_values=noise(5, len(codec.panels["bulk"].genes)),
        patient_records=[record] * 5,
    )


def bench_of(
    tmp_path: Path, data: Path, pipeline: MuPDPipeline, case: Case, artifacts: dict[str, str]
) -> compare.Bench:
    """A bench in which `case` has the given artifacts (relative to results/), all accepted."""
    rows: Manifest = {
        (case.case_id, modality): {"artifact": artifacts.get(modality, ""), "verdict": "accepted", "why": ""}
        for modality in MODALITIES
    }
    (tmp_path / "results").mkdir(exist_ok=True)
    return compare.Bench(tmp_path, data, pipeline, some_training(pipeline), rows, 1024)


def find(cases: list[Case], case_id: str) -> Case:
    return next(case for case in cases if case.case_id == case_id)


def test_pattern_has_twelve_cases_of_every_direction(cases: list[Case]) -> None:
    assert [case.case_id for case in cases] == [f"RC-{number:02d}" for number in range(1, 13)]
    directions = {(given, target) for case in cases for given in case.given for target in case.withheld}
    wanted = {("he", "rna"), ("he", "text"), ("rna", "he"), ("rna", "text"), ("text", "rna"), ("text", "he")}
    assert directions == wanted
    assert all(not set(case.given) & set(case.withheld) for case in cases)
    assert {case[0] for case in (*SECTIONS, *PATIENTS)} >= {name for name in SMALL if name.startswith("RC-")}


def test_every_patient_stands_under_every_pattern() -> None:
    for patient in TRIPLES:
        cases = cases_of(patient, ("a.png",), "Bladder.", {"organ": "bladder"})
        assert [case.withheld for case in cases] == list(MISSING)
        for case in cases:
            assert set(case.given) | set(case.withheld) == set(MODALITIES)
            assert not set(case.given) & set(case.withheld)
            assert len(case.case_id) <= 48
            # A picture without a scale is given as it is, and has to be refused.
            assert ("he" in case.unusable) == ("he" in case.given and patient.mpp is None)
            wanted = "unusable" if "he" in case.unusable else "measured" if "he" in case.given else "missing"
            assert expected_status(case, "he") == wanted
    assert len(MISSING) == len(set(MISSING)) == 6


def test_six_patients_have_all_three(shared_data: Path, three: list[Case]) -> None:
    assert len({case.case_id for case in three}) == 36
    assert all((shared_data / "tcga" / "he" / name).is_file() for case in three for name in case.pictures)
    assert all(len(case.report) > 200 for case in three)
    assert {case.source for case in three if case.mpp is None} == {"TCGA-3M-AB46"}
    assert {case.source for case in three} == {patient.source for patient in TRIPLES} == TEST_PATIENTS
    assert len(TRIPLES) == len(TEST_PATIENTS)
    assert all(case.seen == "held out" and is_held_out(case.source) for case in three)
    assert not {case.source for case in pairs(shared_data)} & TEST_PATIENTS
    assert {case.case_id for case in [*three, *pairs(shared_data)]} >= {n for n in SMALL if n.startswith("TCGA-")}


def test_inputs_of_the_six_patients_hold_what_is_given_alone(
    tmp_path: Path, shared_data: Path, three: list[Case]
) -> None:
    cases = [case for case in three if case.source in ("TCGA-AD-6964", "TCGA-3M-AB46")]
    config = settings(MODEL, "tcga", small=False, slide_px=512, draws=3)
    build(tmp_path, shared_data, cases, config, withheld_record(cases, "data", {}))
    with (tmp_path / "inputs" / "cases.tsv").open(encoding="utf-8", newline="") as stream:
        sheet = {row["case_id"]: row for row in csv.DictReader(stream, delimiter="\t")}
    with gzip.open(tmp_path / "inputs" / "rna_table.tsv.gz", "rt") as stream:
        with_rna = {line.split("\t", 1)[0] for line in stream} - {"case_id"}
    with (tmp_path / "inputs" / "reports.csv").open(encoding="utf-8", newline="") as stream:
        reports = {row["case_id"]: row["text"] for row in csv.DictReader(stream)}
    for case in cases:
        row = sheet[case.case_id]
        slides = row["he"].split(";") if row["he"] else []
        assert len(slides) == (len(case.pictures) if "he" in case.given else 0)
        assert row["organ"] == case.record["organ"]
        assert row["he_mpp"] == ("0.5" if slides and case.source == "TCGA-AD-6964" else "")
        assert (case.case_id in with_rna) == ("rna" in case.given)
        assert reports.get(case.case_id, "") == (case.report if "text" in case.given else "")


def test_no_report_is_refused_for_the_organ_that_the_sheet_names(shared_data: Path, three: list[Case]) -> None:
    for case in [*three, *pairs(shared_data)]:
        check_organ(case.report, case.record["organ"])
        assert organ_term(case.record["organ"]) == case.record["organ"]


def test_a_patient_that_training_may_read_is_refused() -> None:
    other = Triple("TCGA-2F-A9KP", "blca", "TCGA-2F-A9KP", 0.25)
    with pytest.raises(ValueError, match="TCGA-2F-A9KP: expected one of"):
        cases_of(other, ("a.png",), "Bladder.", {"organ": "bladder"})


def test_part_without_text_names_no_table_of_texts(tmp_path: Path, shared_data: Path, three: list[Case]) -> None:
    cases = [case for case in three if case.case_id == "TCGA-DK-A2I6-no-text"]
    config = settings(MODEL, "tcga", small=False, slide_px=512, draws=3)
    path = build(tmp_path, shared_data, cases, config, withheld_record(cases, "data", {}))
    assert "reports.csv" not in path.read_text(encoding="utf-8")
    assert not (tmp_path / "inputs" / "reports.csv").exists()


def test_what_the_model_has_seen_is_told(cases: list[Case]) -> None:
    seen = {case.source: case.seen for case in cases}
    assert {seen[section] for section in TRAINED} == {"in training"}
    assert seen["C5"] == "held out"
    assert seen["D1"] == "codec only"
    assert all(is_held_out(case.source) for case in cases if not case.is_section)


def test_nothing_withheld_is_in_the_inputs(tmp_path: Path, shared_data: Path, cases: list[Case]) -> None:
    # Writing a section's spots takes seconds: one with RNA alone and one with text beside it stand for all.
    cases = [case for case in cases if case.case_id not in ("RC-04", "RC-07")]
    config = settings(MODEL, "tcga", small=False, slide_px=1024, draws=3)
    path = build(tmp_path, shared_data, cases, config, withheld_record(cases, "data", {}))
    inputs = tmp_path / "inputs"
    with (inputs / "cases.tsv").open(encoding="utf-8", newline="") as stream:
        sheet = {row["case_id"]: row for row in csv.DictReader(stream, delimiter="\t")}
    with gzip.open(inputs / "rna_table.tsv.gz", "rt") as stream:
        with_rna = {line.split("\t", 1)[0] for line in stream} - {"case_id"}
    with (inputs / "reports.csv").open(encoding="utf-8", newline="") as stream:
        with_text = {row["case_id"] for row in csv.DictReader(stream)}
    for case in cases:
        row = sheet[case.case_id]
        assert bool(row["he"]) == ("he" in case.given)
        assert (bool(row["rna"]) or case.case_id in with_rna) == ("rna" in case.given)
        assert not row["text"]
        assert (case.case_id in with_text) == ("text" in case.given)
    files = {file.name for file in inputs.iterdir()}
    spots = {f"{case.case_id}.h5ad" for case in cases if case.is_section and "rna" in case.given}
    assert files == {"cases.tsv", "rna_table.tsv.gz", "reports.csv"} | spots
    times = {file: file.stat().st_mtime_ns for file in inputs.iterdir()}
    build(tmp_path, shared_data, cases, config, withheld_record(cases, "data", {}))
    assert {file: file.stat().st_mtime_ns for file in inputs.iterdir()} == times, "an unchanged input was written again"
    assert path.read_text(encoding="utf-8").startswith("cases:")


def test_placing_is_that_of_the_generate_stage() -> None:
    rng = np.random.default_rng(0)
    xy_px = rng.uniform(0, 9000, (30, 2))
    slide = SimpleNamespace(width_px=640, height_px=640, mpp=0.78)
    geometry = SimpleNamespace(geometry=SimpleNamespace(mpp=0.78))
    conditions: Any = SimpleNamespace(config=SimpleNamespace(slide=slide), pipeline=geometry)
    placed = CaseConditions._placed(conditions, xy_px, 0.78)
    np.testing.assert_allclose(compare.placed_spots(xy_px, 640), placed)


def test_true_rna_of_a_section_scores_one(
    tmp_path: Path, shared_data: Path, pipeline: MuPDPipeline, cases: list[Case]
) -> None:
    import pandas as pd
    from anndata import AnnData

    case = find(cases, "RC-01")
    panel = pipeline.rna_codec.panels["spot"]
    xy_px, counts = read_her2st_counts(shared_data / "her2st", case.source)
    values = np.nan_to_num(panel_values(log_cp10k(counts.to_numpy(np.float32)), list(counts.columns), panel.genes))
    chosen = np.arange(0, len(xy_px), 4)
    bench = bench_of(tmp_path, shared_data, pipeline, case, {"rna": "rna.h5ad"})
    centres = xy_px[chosen] + 20.0
    features = np.zeros((len(chosen), pipeline.tile_encoder.dim), np.float32)
    bench.tiles[case.source] = (centres, features)
    # Genes in another order: they have to be found by name.
    genes = list(reversed(panel.genes))
    adata = AnnData(X=values[chosen][:, ::-1].copy(), var=pd.DataFrame(index=pd.Index(genes)))
    adata.obsm["spatial"] = centres
    adata.write_h5ad(tmp_path / "results" / "rna.h5ad")
    rows = compare.rna_of_section(bench, case)
    assert [row.model for row in rows] == pytest.approx([1.0, 1.0, 1.0], abs=1e-5)
    assert [row.constant for row in rows][:2] == [0.0, 0.0]
    assert all(row.neighbour is not None and row.neighbour < 0.9 for row in rows)
    shuffled = adata[np.roll(np.arange(len(chosen)), 1)].copy()
    shuffled.obsm["spatial"] = centres
    shuffled.write_h5ad(tmp_path / "results" / "rna.h5ad")
    other = compare.rna_of_section(bench, case)[0].model
    assert other is not None
    assert other < 0.6


def test_true_rna_of_a_patient_scores_one(
    tmp_path: Path, shared_data: Path, pipeline: MuPDPipeline, cases: list[Case]
) -> None:
    import pandas as pd
    from anndata import AnnData

    case = find(cases, "RC-12")
    panel = pipeline.rna_codec.panels["bulk"]
    table = read_tcga(shared_data / "tcga", case.table).loc[[case.source]]
    values = panel_values(log_cp10k(table.to_numpy(np.float32)), list(table.columns), panel.genes)
    bench = bench_of(tmp_path, shared_data, pipeline, case, {"rna": "rna.h5ad"})
    for name, guess, wanted in (("truth", np.nan_to_num(values), 1.0), ("training mean", panel.mean[None], 0.0)):
        adata = AnnData(X=guess.astype(np.float32), var=pd.DataFrame(index=pd.Index(list(panel.genes))))
        adata.write_h5ad(tmp_path / "results" / "rna.h5ad")
        (row,) = compare_patients.rna_of_patient(bench, case)
        assert row.model == pytest.approx(wanted, abs=1e-5), name


def test_true_tissue_scores_one(tmp_path: Path, shared_data: Path, pipeline: MuPDPipeline, cases: list[Case]) -> None:
    case = find(cases, "RC-02")
    xy_px, _ = read_her2st_counts(shared_data / "her2st", case.source)
    corner = np.rint(np.median(xy_px, axis=0) - 512).astype(int)
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(shared_data / "her2st" / "images" / f"{case.source}.jpg") as image:
        region = image.convert("RGB").crop((*corner, *(corner + 1024)))
    bench = bench_of(tmp_path, shared_data, pipeline, case, {"he": "truth.png"})
    region.save(tmp_path / "results" / "truth.png")
    error, pearson = compare.he_of_section(bench, case)
    assert error.model == pytest.approx(0.0, abs=2e-3)
    assert pearson.model == pytest.approx(1.0, abs=1e-3)
    region.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "results" / "truth.png")
    mirrored = compare.he_of_section(bench, case)[1].model
    assert mirrored is not None
    assert mirrored < 0.9


def report_of(record: dict[str, str], probability: float) -> dict[str, Any]:
    fields = {}
    for name, value in record.items():
        others = [other for other in FIELDS[name] if other != value]
        shares = dict.fromkeys(others, (1 - probability) / len(others)) | {value: probability}
        fields[name] = {"value": value, "probabilities": shares}
    return {"fields": fields}


def test_true_record_scores_one(tmp_path: Path, shared_data: Path, pipeline: MuPDPipeline, cases: list[Case]) -> None:
    case = find(cases, "RC-10")
    bench = bench_of(tmp_path, shared_data, pipeline, case, {"text": "report.json"})
    path = tmp_path / "results" / "report.json"
    path.write_text(json.dumps(report_of(case.record, 0.5)), encoding="utf-8")
    right, likelihood = compare.text_of(bench, case)
    assert right.model == 1.0
    assert likelihood.model == pytest.approx(np.log(0.5))
    wrong = {name: next(v for v in FIELDS[name] if v != value) for name, value in case.record.items()}
    path.write_text(json.dumps(report_of(wrong, 1.0)), encoding="utf-8")
    right, likelihood = compare.text_of(bench, case)
    assert right.model == 0.0
    assert likelihood.model == pytest.approx(np.log(1e-6)), "an impossible truth is not minus infinity"


def test_rejected_artifact_is_a_row_and_no_crash(
    tmp_path: Path, shared_data: Path, pipeline: MuPDPipeline, cases: list[Case]
) -> None:
    case = find(cases, "RC-06")
    bench = bench_of(tmp_path, shared_data, pipeline, case, {})
    bench.manifest[case.case_id, "he"].update(verdict="rejected", why="flat")
    (row,) = compare_patients.compare(bench, [case])
    assert row.model is None
    assert row.note == "rejected: flat"
    assert best_of(row) is None


def test_neighbour_is_never_of_the_own_section(pipeline: MuPDPipeline) -> None:
    training = some_training(pipeline)
    own = training.spot_section == "C2"
    query = training.spot_conditions[own][0]
    assert set(training.spot_section[training.others("C2")]) == {"B4", "C3", "C4"}
    guess = baselines.by_rna(query, training, "C2")
    assert guess["organ"][0] == "breast"
    assert set(guess) == {"organ", "diagnosis"}


def test_nobody_is_a_baseline_of_oneself(pipeline: MuPDPipeline) -> None:
    training = some_training(pipeline)
    own = training.patient_ids[2]
    assert 2 not in training.other_patients(own)
    others = np.delete(training.patient_values, 2, axis=0).mean(0)
    np.testing.assert_allclose(baselines.organ_mean("stomach", training, own), others, rtol=1e-5)
    profile, tied = baselines.rna_by_text(training.patient_records[2], training, pipeline.text_encoder, own)
    assert tied == 4
    np.testing.assert_allclose(profile, others, rtol=1e-5)
    assert set(baselines.by_rna(training.patient_conditions[2], training, own)) == {"organ", "diagnosis", "grade"}
    with pytest.raises(ValueError, match="found 'brain'"):
        baselines.organ_mean("brain", training, own)


def test_look_is_that_of_the_tissue_and_not_of_its_resolution() -> None:
    rng = np.random.default_rng(3)
    picture = np.full((256, 256, 3), (225, 170, 200), np.uint8)
    rows, columns = np.mgrid[:256, :256]
    places = [(y, x) for y in range(16, 256, 32) for x in range(16, 256, 32)]
    for y, x in places:
        picture[(rows - y) ** 2 + (columns - x) ** 2 <= 16] = (90, 60, 140)
    picture = np.clip(picture + rng.integers(-3, 4, picture.shape), 0, 255).astype(np.uint8)
    large = np.asarray(Image.fromarray(picture).resize((512, 512), Image.Resampling.LANCZOS))
    area_mm2 = (252 * 0.78 / 1000) ** 2
    here, there, unscaled = look_of(picture, 0.78), look_of(large, 0.39), look_of(picture, None)
    assert here.nuclei_mm2 == pytest.approx(len(places) / area_mm2, rel=0.05)
    assert there.nuclei_mm2 == pytest.approx(here.nuclei_mm2, rel=0.05)
    assert there.haematoxylin == pytest.approx(here.haematoxylin, rel=0.05)
    assert here.tissue > 0.95
    assert np.isnan(unscaled.nuclei_mm2)
    white = look_of(np.full((256, 256, 3), 245, np.uint8), 0.78)
    assert (white.nuclei_mm2, white.tissue) == (0.0, 0.0)


def test_true_picture_has_no_error(
    tmp_path: Path, shared_data: Path, pipeline: MuPDPipeline, three: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = find(three, "TCGA-DK-A2I6-no-he-text")
    bench = bench_of(tmp_path, shared_data, pipeline, case, {"he": "truth.png"})
    real = compare_patients.pixels_of(shared_data / "tcga" / "he" / case.pictures[0])
    monkeypatch.setattr(compare_patients, "slide_pixels", lambda path: (real, case.mpp))
    rows = compare_patients.he_of_patient(bench, case)
    assert [row.model for row in rows] == [0.0, 0.0, 0.0]
    assert all(row.constant and row.neighbour for row in rows)
    assert rows[1].truth is not None
    assert 500 < rows[1].truth < 10_000
    unscaled = find(three, "TCGA-3M-AB46-no-he")
    bench = bench_of(tmp_path, shared_data, pipeline, unscaled, {"he": "truth.png"})
    nuclei = compare_patients.he_of_patient(bench, unscaled)[1]
    assert nuclei.model is None
    assert "no scale" in nuclei.note


def test_record_is_scored_by_report_and_by_tables(
    tmp_path: Path, shared_data: Path, pipeline: MuPDPipeline, three: list[Case]
) -> None:
    case = find(three, "TCGA-ZF-A9R5-no-he-text")
    bench = bench_of(tmp_path, shared_data, pipeline, case, {"text": "report.json"})
    said = report_of(case.record, 0.5)
    said["fields"]["organ"]["value"] = None
    (tmp_path / "results" / "report.json").write_text(json.dumps(said), encoding="utf-8")
    rows = {row.measure: row for row in compare_patients.text_of_patient(bench, case)}
    # The tables' own record, its organ left open; the report states another T category.
    fields = len(case.record)
    assert rows["fields right, by the tables"].model == pytest.approx((fields - 1) / fields)
    assert rows["fields wrong, by the tables"].model == 0.0
    assert not rows["fields wrong, by the tables"].higher_is_better
    assert "undetermined: organ" in rows["fields right, by the tables"].note
    assert "t_category (T3 for T2)" in rows["fields right, by the report"].note


@given(st.lists(st.sampled_from(FIELDS["grade"]), min_size=1, max_size=30))
def test_frequencies_are_a_distribution(values: list[str]) -> None:
    shares = baselines.frequencies(values, "grade")
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) > 0
    assert max(shares, key=lambda v: shares[v]) in {
        v for v in values if values.count(v) == max(map(values.count, values))
    }


def test_case_with_nothing_usable_fails_without_failing_the_benchmark() -> None:
    (patient,) = (patient for patient in TRIPLES if patient.mpp is None)
    cases = cases_of(patient, ("a.jpg",), "Stomach.", {"organ": "stomach"})
    idle = [case for case in cases if not case.used]
    assert [case.withheld for case in idle] == [("rna", "text")]
    manifest = {(case.case_id, "rna"): {"verdict": "failed", "why": "nothing usable"} for case in cases}
    assert len(failures(manifest, cases)) == len(cases) - 1


def test_manifest_that_took_a_withheld_modality_as_measured_is_refused(tmp_path: Path, cases: list[Case]) -> None:
    (tmp_path / "results").mkdir()
    path = tmp_path / "results" / "manifest.tsv"
    case = find(cases, "RC-08")

    def write(statuses: Sequence[str]) -> None:
        rows = [f"RC-08\t{m}\t{s}\t\t\t" for m, s in zip(MODALITIES, statuses, strict=True)]
        path.write_text("case_id\tmodality\tstatus\treason\tverdict\twhy\n" + "\n".join(rows) + "\n", encoding="utf-8")

    write(("missing", "measured", "missing"))
    assert len(read_manifest(tmp_path, [case])) == 3
    write(("missing", "measured", "measured"))
    with pytest.raises(MupdError, match="RC-08 text: found measured"):
        read_manifest(tmp_path, [case])


def test_failing_workflow_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("cases: nowhere.tsv\n", encoding="utf-8")
    with pytest.raises(MupdError, match="the workflow failed with exit code"):
        run_workflow(tmp_path, config, 1)


def test_absent_data_exits_non_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "not there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_small_form_runs(tmp_path: Path, shared_data: Path) -> None:
    if not (MODEL / "model_index.json").exists():
        pytest.skip("MODEL ABSENT: resources/models/mupd-mini is not there; the small real cohort needs it")
    command = [sys.executable, "-m", "benchmarks.real_cohort", "--small", "--data", str(shared_data)]
    command += ["--out", str(tmp_path / "out"), "--model", str(MODEL), "--cores", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Imputed against withheld" in done.stdout
    found = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    rows = [row for part in ("her2st", "tcga") for row in found["parts"][part]["rows"]]
    figures = {(row["case_id"], row["direction"]) for row in rows if row["model"] is not None}
    wanted = {("RC-01", "he->rna"), ("RC-01", "he->text"), ("RC-02", "rna->he"), ("RC-02", "rna->text")}
    wanted |= {("TCGA-ZF-A9R5-no-he-rna", "text->he"), ("TCGA-ZF-A9R5-no-he-rna", "text->rna")}
    assert figures == wanted | {("RC-10", "rna->text"), ("RC-12", "text->rna")}
    for part in ("her2st", "tcga"):
        withheld = json.loads((tmp_path / "out" / part / "withheld.json").read_text(encoding="utf-8"))
        names = [case["case_id"] for case in withheld["cases"]]
        assert names == [name for name in SMALL if name in names]
        assert (tmp_path / "out" / part / "results" / "report.html").exists()
    with Image.open(tmp_path / "out" / "plate.jpg") as plate:
        assert np.asarray(plate).std() > 10
