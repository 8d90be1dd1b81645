from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import highdicom.sr
import numpy as np
import openslide
import pandas as pd
import pydicom
import pytest
from pydicom.sr.coding import Code

import mupd.stages.export.run as export_run
from mupd.base.files import sha256_path, write_json
from mupd.config import Config, parse_config
from mupd.contracts.draws import Draw, DrawMeta, TaskResult, content_sha256, read_index, write_index
from mupd.contracts.inventory import CaseInventory, Entry, write_inventory
from mupd.contracts.verdicts import Verdict, write_verdicts
from mupd.errors import CaseError, ModelError
from mupd.stages.export import run_shard
from mupd.stages.export.run import reason_of
from mupd.synthetic.verify.recognise import content_marks
from mupd.synthetic.verify.verify import verify_path
from tests.fixtures.synthetic import meta_of, slide_pixels

GENES = ["ERBB2", "MKI67", "CD3D"]
GIVEN = {"A": ("rna",), "B": ("he",), "C": ("he", "text"), "D": ()}
DRAWS = {"he": 2, "rna": 3, "text": 3}
XY = np.array([[10.5, 20.0], [30.0, 40.0]])


def config_of(tmp_path: Path, **changes: Any) -> Config:
    values = {"cases": "cases.tsv", "outdir": str(tmp_path / "results"), "model": str(tmp_path / "model"), "seed": 11}
    (tmp_path / "model").mkdir(exist_ok=True)
    return parse_config(values | changes, "test")


def fill(folder: Path, target: str, case_id: str, draw: int, salt: int) -> None:
    seed = int.from_bytes(hashlib.sha256(f"{case_id}{target}{draw}{salt}".encode()).digest()[:4], "big")
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    if target == "he":
        np.save(folder / "pixels.npy", slide_pixels(300, 260, seed))
    elif target == "rna":
        np.save(folder / "values.npy", random.random((len(XY) if case_id == "B" else 1, 3), dtype=np.float32))
        (folder / "genes.json").write_text(json.dumps(GENES))
        if case_id == "B":
            np.save(folder / "xy_px.npy", XY)
    else:
        share = float(random.uniform(0.2, 0.8))
        value = "colon" if share >= 0.5 else "breast"
        record = {"organ": {"value": value, "probabilities": {"colon": share, "breast": 1 - share}}}
        (folder / "record.json").write_text(json.dumps(record))


def lay_out(
    config: Config, given: dict[str, tuple[str, ...]] = GIVEN, rejected: tuple = (), salt: int = 0, shift: float = 0
) -> None:
    """Write what intake, generate and check would leave for shard 0."""
    cases, results, rows = [], [], []
    for case_id, measured in given.items():
        entries = {m: Entry(case_id, m, "measured" if m in measured else "missing") for m in ("he", "rna", "text")}
        cases.append(CaseInventory(case_id, entries))
        if not measured:
            continue
        for target in ("he", "rna", "text"):
            if target in measured:
                continue
            draws = []
            for number in range(DRAWS[target]):
                name = f"generated/store/{case_id}-{target}-{number}-{salt}"
                fill(config.out / name, target, case_id, number, salt)
                if shift and (case_id, target, number) == ("B", "rna", 2):
                    np.save(config.out / name / "xy_px.npy", XY + shift)
                meta: DrawMeta = replace(
                    meta_of(target, number),
                    case_id=case_id,
                    given=measured,
                    given_sha256={m: "e" * 64 for m in measured},
                    content_sha256=content_sha256(config.out / name, target),
                )
                draws.append(Draw(name, meta))
                verdict = "rejected" if (case_id, target, number) in rejected else "accepted"
                rows.append(Verdict(case_id, target, number, verdict, "", {}, meta.content_sha256, name))
            results.append(TaskResult(case_id, target, measured, "done", draws=tuple(draws)))
    write_inventory(config.out / "intake" / "shard-0000.parquet", cases)
    write_index(config.out / "generated" / "shard-0000.json", results)
    write_verdicts(config.out / "checked" / "shard-0000.parquet", rows)


def files_of(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_path(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = config_of(tmp_path)
    lay_out(made)
    return made


def read(config: Config) -> dict[str, Any]:
    index = run_shard(config, 0)
    assert index == config.out / "exported" / "shard-0000.json"
    return json.loads(index.read_text())


def test_every_missing_modality_becomes_an_artifact(config: Config) -> None:
    index = read(config)
    assert index["failed"] == []
    assert [(item["case_id"], item["path"], item["kind"], item["draws"]) for item in index["artifacts"]] == [
        ("A", "artifacts/A/he/synthetic-draw0", "dicom-wsi", [0]),
        ("A", "artifacts/A/he/synthetic-draw1", "dicom-wsi", [1]),
        ("A", "artifacts/A/he/synthetic-uncertainty", "dicom-map", [0, 1]),
        ("A", "artifacts/A/report.synthetic.json", "report", [0, 1, 2]),
        ("A", "artifacts/A/report.synthetic.txt", "report", [0, 1, 2]),
        ("A", "artifacts/A/report.synthetic.dcm", "dicom-sr", [0, 1, 2]),
        ("B", "artifacts/B/rna.synthetic.h5ad", "anndata", [0, 1, 2]),
        ("B", "artifacts/B/report.synthetic.json", "report", [0, 1, 2]),
        ("B", "artifacts/B/report.synthetic.txt", "report", [0, 1, 2]),
        ("B", "artifacts/B/report.synthetic.dcm", "dicom-sr", [0, 1, 2]),
        ("C", "artifacts/C/rna.synthetic.h5ad", "anndata", [0, 1, 2]),
    ]
    for item in index["artifacts"]:
        assert item["sha256"] == sha256_path(config.out / item["path"])
        assert item["model_id"] == "mupd-test"
        assert item["given"] == list(GIVEN[item["case_id"]])
        assert item["notes"] == ["a note"]
        assert set(item["content_sha256"]) == {str(draw) for draw in item["draws"]}
        found = verify_path(config.out / item["path"])
        assert (found.synthetic, found.marks_missing) == (True, ())
        assert found.case == item["case_id"]
    assert not (config.out / "artifacts" / "D").exists()


def test_what_is_written_is_what_was_drawn(config: Config) -> None:
    run_shard(config, 0)
    tiles = ad.read_h5ad(config.out / "artifacts/B/rna.synthetic.h5ad")
    assert list(tiles.obs_names) == ["SYN-B-T0001", "SYN-B-T0002"]
    assert np.array_equal(tiles.obsm["spatial"], XY)
    drawn = [np.load(config.out / f"generated/store/B-rna-{draw}-0/values.npy") for draw in range(3)]
    assert np.allclose(tiles.X, np.mean(drawn, axis=0), atol=1e-6)
    assert np.array_equal(tiles.layers["draw_1"], drawn[1])
    assert list(ad.read_h5ad(config.out / "artifacts/C/rna.synthetic.h5ad").obs_names) == ["SYN-C"]
    pixels = np.load(config.out / "generated/store/A-he-1-0/pixels.npy").astype(float)
    with openslide.OpenSlide(config.out / "artifacts/A/he/synthetic-draw1/synthetic-level0.dcm") as slide:
        found = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"), dtype=float)
    assert np.abs(found - pixels).mean() < 4
    report = json.loads((config.out / "artifacts/A/report.synthetic.json").read_text())
    records = [json.loads((config.out / f"generated/store/A-text-{d}-0/record.json").read_text()) for d in range(3)]
    mean = np.mean([record["organ"]["probabilities"]["colon"] for record in records])
    assert report["fields"]["organ"]["probabilities"]["colon"] == pytest.approx(mean, abs=1e-6)


def test_a_report_follows_the_limit_of_abstention(tmp_path: Path) -> None:
    lay_out(config_of(tmp_path, check={"abstain_below": 0.0}))
    path = tmp_path / "results" / "artifacts" / "A" / "report.synthetic.json"
    read(config_of(tmp_path, check={"abstain_below": 0.0}))
    stated = json.loads(path.read_text())
    assert stated["fields"]["organ"]["value"] in {"colon", "breast"}
    (tmp_path / "results" / "exported" / "shard-0000.json").unlink()
    read(config_of(tmp_path, check={"abstain_below": 1.0}))
    field = json.loads(path.read_text())["fields"]["organ"]
    assert (field["value"], field["abstained"]) == (None, True)
    assert field["most_probable"] == stated["fields"]["organ"]["value"]
    assert "Organ: undetermined (most probable:" in path.with_suffix(".txt").read_text()


def test_only_accepted_draws_are_exported(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    rejected = (("A", "he", 0), ("B", "rna", 1), *(("A", "text", draw) for draw in range(3)))
    lay_out(config, rejected=rejected)
    index = read(config)
    listed = {(item["case_id"], item["modality"]): item["draws"] for item in index["artifacts"]}
    assert listed == {("A", "he"): [1], ("B", "rna"): [0, 2], ("B", "text"): [0, 1, 2], ("C", "rna"): [0, 1, 2]}
    assert set(ad.read_h5ad(config.out / "artifacts/B/rna.synthetic.h5ad").layers) == {"mean", "sd", "draw_0", "draw_2"}


def test_a_draw_made_again_since_the_check_is_left_out(config: Config) -> None:
    checked = config.out / "checked" / "shard-0000.parquet"
    table = pd.read_parquet(checked)
    table.loc[(table["case_id"] == "A") & (table["target"] == "he") & (table["draw"] == 0), "content_sha256"] = "0" * 64
    table.to_parquet(checked)
    draws = [item["draws"] for item in read(config)["artifacts"] if item["modality"] == "he"]
    assert draws == [[1]]


def test_artifacts_that_stand_are_not_written_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(config)
    (config.out / "exported" / "shard-0000.json").unlink()

    def never(*args: Any, **keywords: Any) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr("mupd.synthetic.dicom.wsi.write_wsi", never)
    monkeypatch.setattr("mupd.synthetic.anndata.marks.write_anndata", never)
    monkeypatch.setattr("mupd.synthetic.text.marks.write_report", never)
    monkeypatch.setattr("mupd.synthetic.dicom.sr.write_sr", never)
    monkeypatch.setattr("mupd.synthetic.dicom.parametric_map.write_map", never)
    assert read(config) == first


@pytest.mark.parametrize(
    "damage",
    [
        "artifacts/A/he/synthetic-draw0/synthetic-label.dcm",
        "artifacts/B/rna.synthetic.h5ad",
        "artifacts/A/report.synthetic.txt",
        "artifacts/A/report.synthetic.json",
        "artifacts/A/report.synthetic.dcm",
        "artifacts/A/he/synthetic-uncertainty/synthetic-uncertainty.dcm",
    ],
)
@pytest.mark.parametrize("how", ["delete", "truncate"])
@pytest.mark.filterwarnings("ignore:End of file reached")
def test_a_damaged_artifact_is_made_good(config: Config, damage: str, how: str) -> None:
    first, before = read(config), files_of(config.out / "artifacts")
    path = config.out / damage
    if how == "delete":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read(config) == first
    assert files_of(config.out / "artifacts") == before


def test_an_edited_profile_is_made_good(config: Config) -> None:
    first = read(config)
    path = config.out / "artifacts/C/rna.synthetic.h5ad"
    adata = ad.read_h5ad(path)
    adata.X[0, 0] = 99
    adata.write_h5ad(path)
    assert read(config) == first


def test_a_fresh_run_gives_the_same_files(config: Config, tmp_path: Path) -> None:
    run_shard(config, 0)
    (tmp_path / "other").mkdir()
    other = config_of(tmp_path / "other")
    lay_out(other)
    run_shard(other, 0)
    assert files_of(other.out / "artifacts") == files_of(config.out / "artifacts")


def test_new_content_replaces_the_old(config: Config) -> None:
    before = {item["path"]: item["sha256"] for item in read(config)["artifacts"]}
    lay_out(config, salt=1)
    after = {item["path"]: item["sha256"] for item in read(config)["artifacts"]}
    assert before.keys() == after.keys()
    assert all(before[path] != after[path] for path in before)


def test_quality_belongs_to_the_slide(config: Config) -> None:
    before = {item["path"]: item["sha256"] for item in read(config)["artifacts"]}
    slide = replace(config.slide, jpeg_quality=60)
    after = {item["path"]: item["sha256"] for item in read(replace(config, slide=slide))["artifacts"]}
    assert {path for path in before if before[path] != after[path]} == {path for path in before if "/he/" in path}


def test_a_modality_that_is_measured_now_loses_its_artifacts(config: Config) -> None:
    run_shard(config, 0)
    lay_out(config, given=GIVEN | {"A": ("he", "rna"), "C": ("he", "rna", "text")})
    index = read(config)
    assert {item["path"] for item in index["artifacts"] if item["case_id"] == "A"} == {
        "artifacts/A/report.synthetic.json",
        "artifacts/A/report.synthetic.txt",
        "artifacts/A/report.synthetic.dcm",
    }
    assert not (config.out / "artifacts/A/he").exists()
    assert not (config.out / "artifacts/C").exists()
    assert (config.out / "artifacts/B/rna.synthetic.h5ad").exists()


def test_what_carries_no_mark_is_never_removed(config: Config) -> None:
    folder = config.out / "artifacts" / "D"
    (folder / "he" / "synthetic-draw0").mkdir(parents=True)
    plain = folder / "report.synthetic.txt"
    plain.write_text("Adenocarcinoma of the colon.")
    (folder / "notes.synthetic.md").write_text("SYNTHETIC - NOT FOR DIAGNOSIS")
    (folder / "rna.synthetic.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n broken")
    run_shard(config, 0)
    assert plain.exists()
    assert (folder / "notes.synthetic.md").exists()
    assert (folder / "rna.synthetic.h5ad").exists()
    assert (folder / "he" / "synthetic-draw0").exists()


def test_other_cases_are_left_alone(config: Config) -> None:
    run_shard(config, 0)
    lay_out(config, given={"A": ("rna",)})
    run_shard(config, 0)
    assert content_marks(config.out / "artifacts/B/rna.synthetic.h5ad") != []


def test_leftovers_of_a_kill_are_removed(config: Config) -> None:
    run_shard(config, 0)
    folder = config.out / "artifacts" / "A"
    (folder / "he" / ".tmp-0123abcd-synthetic-draw0").mkdir()
    (folder / ".tmp-0123abcd-report.synthetic.json").write_text("{")
    (folder / ".mine").write_text("x")
    run_shard(config, 0)
    reports = {f"report.synthetic.{end}" for end in ("json", "txt", "dcm")}
    assert {path.name for path in folder.iterdir()} == {".mine", "he", *reports}
    slides = {"synthetic-draw0", "synthetic-draw1", "synthetic-uncertainty"}
    assert {path.name for path in (folder / "he").iterdir()} == slides


@pytest.mark.parametrize("broken", ["A-he-1-0/pixels.npy", "B-rna-0-0/values.npy", "B-text-2-0/record.json"])
def test_a_failure_is_recorded_and_the_others_go_on(config: Config, broken: str) -> None:
    (config.out / "generated/store" / broken).write_bytes(b"{}")
    if "pixels" in broken:
        (config.out / "generated/store" / broken).unlink()
    index = read(config)
    case_id, modality = broken.split("-")[:2]
    assert [(item["case_id"], item["modality"]) for item in index["failed"]] == [(case_id, modality)]
    assert str(config.out) not in index["failed"][0]["reason"]
    left = {(item["case_id"], item["modality"]) for item in index["artifacts"]}
    assert left == {("A", "he"), ("A", "text"), ("B", "rna"), ("B", "text"), ("C", "rna")} - {(case_id, modality)}


@pytest.mark.parametrize("modality", ["he", "rna"])
def test_values_altered_since_the_check_are_not_exported(config: Config, modality: str) -> None:
    path = config.out / (
        "generated/store/A-he-0-0/pixels.npy" if modality == "he" else "generated/store/C-rna-0-0/values.npy"
    )
    values = np.load(path)
    values[0] += 1
    np.save(path, values)
    failed = read(config)["failed"]
    assert [item["modality"] for item in failed] == [modality]
    assert failed[0]["reason"].startswith("draw 0: found values altered")


def test_stop_raises_after_the_index_is_written(config: Config) -> None:
    (config.out / "generated/store/A-he-1-0/pixels.npy").unlink()
    with pytest.raises(CaseError, match=r"A he: pixels\.npy"):
        run_shard(replace(config, on_case_error="stop"), 0)
    index = json.loads((config.out / "exported/shard-0000.json").read_text())
    assert len(index["failed"]) == 1
    assert index["artifacts"][-1]["case_id"] == "C"


def test_draws_that_do_not_fit_each_other_fail(config: Config) -> None:
    lay_out(config, shift=1)
    rename_genes(config, "C", 1, ["X", "Y", "Z"])
    reasons = {item["case_id"]: item["reason"] for item in read(config)["failed"]}
    assert reasons["C"].startswith("draw 1 [genes.json]")
    assert reasons["B"].startswith("draw 2 [xy_px.npy]")


def test_reliability_of_the_model_stands_in_var(config: Config) -> None:
    before = read(config)
    write_json(Path(config.model) / "reliability.json", {"ERBB2": 0.625, "CD3D": None, "OTHER": 1.0})
    after = read(config)
    var = ad.read_h5ad(config.out / "artifacts/C/rna.synthetic.h5ad").var
    assert np.allclose(var["reliability"], [0.625, np.nan, np.nan], equal_nan=True)
    changed = [old["path"] for old, new in zip(before["artifacts"], after["artifacts"], strict=True) if old != new]
    assert changed == ["artifacts/B/rna.synthetic.h5ad", "artifacts/C/rna.synthetic.h5ad"]


def with_expected(config: Config, case_id: str, draws: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Give draws of a case an expected.npy, as generation and check would leave them."""
    made = {}
    for draw in draws:
        folder = config.out / f"generated/store/{case_id}-rna-{draw}-0"
        made[draw] = np.load(folder / "values.npy") / 2
        np.save(folder / "expected.npy", made[draw])
    state_hashes_anew(config)
    return made


def rename_genes(config: Config, case_id: str, draw: int, genes: list[str]) -> None:
    """Give a draw other genes, as generation and check would have left it."""
    (config.out / f"generated/store/{case_id}-rna-{draw}-0/genes.json").write_text(json.dumps(genes))
    state_hashes_anew(config)


def state_hashes_anew(config: Config) -> None:
    """Let the index and the checks state the hashes of the draws as they lie there now."""
    path = config.out / "generated" / "shard-0000.json"
    results, checked = read_index(path), pd.read_parquet(config.out / "checked" / "shard-0000.parquet")
    again = []
    for result in results:
        done = []
        for draw in result.draws:
            digest = content_sha256(config.out / draw.folder, draw.meta.target)
            done.append(replace(draw, meta=replace(draw.meta, content_sha256=digest)))
            checked.loc[checked["folder"] == draw.folder, "content_sha256"] = digest
        again.append(replace(result, draws=tuple(done)))
    write_index(path, again)
    checked.to_parquet(config.out / "checked" / "shard-0000.parquet")


def test_the_mean_is_of_what_draws_expect(config: Config) -> None:
    before = read(config)
    expected = with_expected(config, "C", (0, 2))
    after = read(config)
    adata = ad.read_h5ad(config.out / "artifacts/C/rna.synthetic.h5ad")
    drawn = [np.load(config.out / f"generated/store/C-rna-{draw}-0/values.npy") for draw in range(3)]
    assert np.allclose(adata.X, np.mean([expected[0], drawn[1], expected[2]], axis=0), atol=1e-6)
    assert np.allclose(adata.layers["sd"], np.std(drawn, axis=0, ddof=1), atol=1e-6)
    assert np.array_equal(adata.layers["draw_0"], drawn[0])
    assert [item["path"] for item in after["artifacts"]] == [item["path"] for item in before["artifacts"]]
    assert after["artifacts"][-1]["sha256"] != before["artifacts"][-1]["sha256"]


def test_ids_of_the_cohorts_table_are_kept(tmp_path: Path) -> None:
    table = tmp_path / "rna.h5ad"
    ids = ["ENSG00000141736.14", "MKI67", "ENSG00000167286"]
    ad.AnnData(np.ones((1, 3)), pd.DataFrame(index=["Z"]), pd.DataFrame(index=ids)).write_h5ad(table)
    config = config_of(tmp_path, tables={"rna": str(table)})
    lay_out(config)
    run_shard(config, 0)
    var = ad.read_h5ad(config.out / "artifacts/C/rna.synthetic.h5ad").var
    assert list(var.index) == GENES
    assert list(var["original_id"]) == ["ENSG00000141736.14", "", "ENSG00000167286"]


@pytest.mark.parametrize("text", ["{", "[1]", '{"A": "high"}'])
def test_a_wrong_reliability_file_is_named(config: Config, text: str) -> None:
    (Path(config.model) / "reliability.json").write_text(text)
    with pytest.raises(ModelError, match=r"reliability\.json"):
        run_shard(config, 0)


def test_reasons_hold_no_paths() -> None:
    assert reason_of(FileNotFoundError(2, "No such file or directory", "/home/someone/x.npy")) == (
        "x.npy: No such file or directory"
    )
    assert reason_of(CaseError("found a; expected b")) == "found a; expected b"
    assert reason_of(RuntimeError("boom")) == "RuntimeError: boom"


def test_a_kill_in_the_middle_of_a_slide_leaves_no_half_slide(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("mupd.synthetic.dicom.wsi.assert_marked", killed)
        with pytest.raises(Killed):
            export_run.run_shard(config, 0)
    assert not (config.out / "exported" / "shard-0000.json").exists()
    assert not (config.out / "artifacts/A/he/synthetic-draw0").exists()
    assert len(read(config)["artifacts"]) == 11


def test_one_draw_has_no_uncertainty(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    lay_out(config)
    run_shard(config, 0)
    assert (config.out / "artifacts/A/he/synthetic-uncertainty").is_dir()
    lay_out(config, rejected=(("A", "he", 1),))
    paths = [item["path"] for item in read(config)["artifacts"] if item["modality"] == "he"]
    assert paths == ["artifacts/A/he/synthetic-draw0"]
    assert not (config.out / "artifacts/A/he/synthetic-uncertainty").exists()


def test_the_structured_report_says_what_the_json_says(config: Config) -> None:
    run_shard(config, 0)
    report = json.loads((config.out / "artifacts/A/report.synthetic.json").read_text())
    document = highdicom.sr.srread(config.out / "artifacts/A/report.synthetic.dcm")
    (group,) = document.content.get_image_measurement_groups()
    shares = {
        item[0].ContentSequence[0].value.value: item.value
        for item in group.get_measurements(Code("111012", "DCM", "Certainty of Finding"))
    }
    stated = report["fields"]["organ"]["probabilities"]
    assert shares["76752008"] == pytest.approx(100 * stated["breast"], abs=1e-3)
    assert len(shares) == len(stated) == 2


def test_the_map_names_the_slides_as_they_stand(config: Config) -> None:
    run_shard(config, 0)
    folder = config.out / "artifacts/A/he"

    def named() -> list[str]:
        dataset = pydicom.dcmread(folder / "synthetic-uncertainty/synthetic-uncertainty.dcm")
        return [item.ReferencedSOPInstanceUID for item in dataset.SourceImageSequence]

    def standing() -> list[str]:
        files = [folder / f"synthetic-draw{draw}/synthetic-level0.dcm" for draw in (0, 1)]
        return [pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]

    before = standing()
    assert named() == before
    run_shard(replace(config, slide=replace(config.slide, jpeg_quality=60)), 0)
    assert named() == standing() != before
