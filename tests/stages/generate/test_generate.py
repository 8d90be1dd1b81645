"""The generate stage on the tiny model: every pattern, the store, and that a draw depends on nothing else."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mupd.base.files import write_json
from mupd.base.ids import shard_name
from mupd.config import Config, load_config
from mupd.contracts.draws import TaskResult, content_sha256, read_index
from mupd.contracts.inventory import NOTHING_GIVEN, read_inventory
from mupd.engines.disk_space import slide_size_px
from mupd.engines.mupd.conditions import (
    NOTE_BULK,
    NOTE_BULK_UNTRAINED,
    NOTE_NO_POSITIONS,
    NOTE_SHARES,
    NOTE_TEXT_ONLY,
    CaseConditions,
)
from mupd.engines.picture_files import resample
from mupd.errors import CaseError, ModelError, MupdError
from mupd.inputs.readers import read_model_profile
from mupd.model import encoders, pipeline
from mupd.model.calibration import UNTOLD
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import RecordCodec
from mupd.reports.record.fields import FIELDS
from mupd.stages.generate.run import choose_device, run_shard
from mupd.stages.intake import run_shard as run_intake
from tests.fixtures.tiny_model import BULK_GENES, RNA_DIM, SPOT_GENES, tiny_codec, write_tiny_cohort

PATTERNS = {
    "complete": "he+rna+text",
    "no-he": "rna+text",
    "no-rna": "he+text",
    "no-text": "he+spots",
    "only-he": "he",
    "only-rna": "rna",
    "only-spots": "spots",
    "only-text": "text",
    "nothing": "",
}


@pytest.fixture(scope="module", autouse=True)
def shared_encoders() -> Iterator[None]:
    """Load the frozen encoders once for all tests here."""
    text, lite0 = encoders.TextEncoder(), encoders.lite_network("lite0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "TextEncoder", lambda: text)
        patch.setattr(encoders, "lite_network", lambda _: lite0)
        yield


def generated(folder: Path, model: Path, cases: dict[str, str], **sections: Any) -> tuple[Config, list[TaskResult]]:
    """Intake and generate of all shards of a cohort."""
    configfile = write_tiny_cohort(folder, model, cases, outdir=str(folder / "results"), **sections)
    config = load_config(configfile)
    results: list[TaskResult] = []
    for shard in range(config.shards):
        run_intake(config, shard)
        results += read_index(run_shard(config, shard))
    return config, results


@pytest.fixture(scope="module")
def every_pattern(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Config, list[TaskResult]]:
    return generated(tmp_path_factory.mktemp("patterns"), tiny_model, PATTERNS)


def store_stamps(config: Config) -> dict[str, int]:
    store = config.out / "generated" / "store"
    return {str(path.relative_to(store)): path.stat().st_mtime_ns for path in store.rglob("*")}


def hashes(results: list[TaskResult]) -> dict[tuple[str, str, int], str]:
    return {(r.case_id, r.target, d.meta.draw): d.meta.content_sha256 for r in results for d in r.draws}


def test_every_pattern_is_routed(every_pattern: tuple[Config, list[TaskResult]]) -> None:
    _, results = every_pattern
    found = {(r.case_id, r.target): ("+".join(r.given), r.state, len(r.draws)) for r in results}
    assert found == {
        ("no-he", "he"): ("rna+text", "done", 1),
        ("no-rna", "rna"): ("he+text", "done", 2),
        ("no-text", "text"): ("he+rna", "done", 2),
        ("only-he", "rna"): ("he", "done", 2),
        ("only-he", "text"): ("he", "done", 2),
        ("only-rna", "he"): ("rna", "done", 1),
        ("only-rna", "text"): ("rna", "done", 2),
        ("only-spots", "he"): ("rna", "done", 1),
        ("only-spots", "text"): ("rna", "done", 2),
        ("only-text", "he"): ("text", "done", 1),
        ("only-text", "rna"): ("text", "done", 2),
        ("nothing", "he"): ("", "failed", 0),
        ("nothing", "rna"): ("", "failed", 0),
        ("nothing", "text"): ("", "failed", 0),
    }
    assert {r.reason for r in results if r.state == "failed"} == {NOTHING_GIVEN}
    assert len(set(hashes(results).values())) == len(hashes(results))  # no two draws are alike


def test_arrays_of_each_target(every_pattern: tuple[Config, list[TaskResult]]) -> None:
    config, results = every_pattern
    for result in results:
        for draw in result.draws:
            folder = config.out / draw.folder
            assert draw.meta.content_sha256 == content_sha256(folder, result.target)
            assert (draw.meta.case_id, draw.meta.model_id, draw.meta.given) == (
                result.case_id,
                "mupd-tiny-test",
                result.given,
            )
            if result.target == "he":
                pixels = np.load(folder / "pixels.npy")
                assert (pixels.shape, pixels.dtype, draw.meta.mpp) == ((128, 128, 3), np.uint8, 0.78)
                assert np.ptp(pixels) > 50
            elif result.target == "rna":
                values, genes = np.load(folder / "values.npy"), json.loads((folder / "genes.json").read_text())
                placed = "he" in result.given
                assert tuple(genes) == (SPOT_GENES if placed else BULK_GENES)
                assert values.dtype == np.float32
                assert (values >= 0).all()
                assert (folder / "xy_px.npy").exists() == placed
                assert len(values) == (len(np.load(folder / "xy_px.npy")) if placed else 1)
            else:
                record = json.loads((folder / "record.json").read_text())
                assert set(record) == set(FIELDS)
                for part in record.values():
                    assert part["abstained"] == (max(part["probabilities"].values()) < config.check.abstain_below)
                    assert part["value"] in part["probabilities"] or (part["abstained"] and part["value"] is None)
                    assert sum(part["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_notes_say_what_is_out_of_the_trained_domain(every_pattern: tuple[Config, list[TaskResult]]) -> None:
    notes = {r.case_id: r.draws[0].meta.notes for r in every_pattern[1] if r.target == "he" and r.draws}
    assert notes == {
        "no-he": (NOTE_BULK,),
        "only-rna": (NOTE_BULK,),
        "only-spots": (),
        "only-text": (NOTE_TEXT_ONLY,),
    }


@pytest.mark.parametrize(("said", "note"), [([], NOTE_BULK_UNTRAINED), (["breast"], NOTE_BULK)])
def test_a_bulk_profile_is_noted_by_what_the_model_says_of_its_training(
    tmp_path: Path, tiny_model: Path, said: list[str], note: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    write_json(model / "trained_on.json", {"bulk->he": said})
    config = load_config(write_tiny_cohort(tmp_path, model, {"A": "rna"}, outdir=str(tmp_path / "results")))
    run_intake(config, 0)
    (he,) = (result for result in read_index(run_shard(config, 0)) if result.target == "he")
    assert note in he.draws[0].meta.notes


def test_a_record_says_what_comes_from_the_shares_of_training(tmp_path: Path, tiny_model: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    shares = {organ: {"grade": {"G1": 0.5, "G2": 0.5}} for organ in FIELDS["organ"]}
    untold = {"he": {"subtype": UNTOLD}}
    RecordCodec(FIELDS, untold, {"rna": {"grade": 0.4, "t_category": 0.5}}, shares).save_pretrained(model)
    config = load_config(write_tiny_cohort(tmp_path, model, {"A": "rna", "B": "he"}, outdir=str(tmp_path / "results")))
    run_intake(config, 0)
    results = read_index(run_shard(config, 0))
    notes = {r.case_id: [note for draw in r.draws for note in draw.meta.notes] for r in results if r.target == "text"}
    assert not notes["B"]  # from H&E the model is relied on
    for note in notes["A"]:
        assert note.startswith(NOTE_SHARES)
        assert note.endswith(": grade 60 %")
    assert len(notes["A"]) == 2
    drawn = {r.case_id: config.out / r.draws[0].folder / "record.json" for r in results if r.target == "text"}
    assert json.loads(drawn["B"].read_text())["subtype"]["value"] is None


def test_spots_without_a_scale_condition_by_their_mean(tmp_path: Path, tiny_model: Path) -> None:
    configfile = write_tiny_cohort(tmp_path, tiny_model, {"A": "spots"}, outdir=str(tmp_path / "results"))
    sheet = tmp_path / "cases.tsv"
    sheet.write_text(sheet.read_text().replace("0.78", ""))
    config = load_config(configfile)
    run_intake(config, 0)
    (he,) = (result for result in read_index(run_shard(config, 0)) if result.target == "he")
    assert he.draws[0].meta.notes == (NOTE_NO_POSITIONS,)


def test_a_second_run_makes_nothing_new(every_pattern: tuple[Config, list[TaskResult]]) -> None:
    config, results = every_pattern
    before = store_stamps(config)
    index = config.out / "generated" / f"{shard_name(0)}.json"
    text = index.read_text()
    index.unlink()
    assert read_index(run_shard(config, 0)) == results
    assert index.read_text() == text
    assert store_stamps(config) == before


def test_a_damaged_draw_is_made_again(every_pattern: tuple[Config, list[TaskResult]], tmp_path: Path) -> None:
    config, results = every_pattern
    copy = load_config(Path(config.cases).parent / "config.yaml")
    copy = Config(**{**copy.__dict__, "outdir": str(tmp_path / "results")})
    shutil.copytree(config.out, copy.out)
    by_target = {result.target: copy.out / result.draws[0].folder for result in results if result.draws}
    pixels = np.load(by_target["he"] / "pixels.npy")
    pixels[0, 0] += 1
    np.save(by_target["he"] / "pixels.npy", pixels)
    (by_target["rna"] / "values.npy").unlink()
    (by_target["text"] / "meta.json").write_text("{")
    leftover = by_target["he"].with_name(f".tmp-0123abcd-{by_target['he'].name}")
    leftover.mkdir()
    again = read_index(run_shard(copy, 0))
    assert hashes(again) == hashes(results)
    for target, folder in by_target.items():
        assert content_sha256(folder, target) == json.loads((folder / "meta.json").read_text())["content_sha256"]
    assert not leftover.exists()


def test_draws_do_not_depend_on_the_rest_of_the_cohort(
    every_pattern: tuple[Config, list[TaskResult]], tmp_path: Path, tiny_model: Path
) -> None:
    together = hashes(every_pattern[1])
    _, alone = generated(tmp_path / "alone", tiny_model, {"only-text": "text"})
    assert len(alone) == 2
    assert hashes(alone).items() <= together.items()
    three = dict(list(PATTERNS.items())[3:6])
    _, sharded = generated(tmp_path / "sharded", tiny_model, dict(reversed(three.items())), shards=5)
    assert {key[0] for key in hashes(sharded)} == set(three)
    assert hashes(sharded).items() <= together.items()
    _, other = generated(tmp_path / "other", tiny_model, {"only-text": "text"}, seed=2)
    assert not set(hashes(other).values()) & set(together.values())


def test_the_organ_of_the_sheet_conditions_nothing(tmp_path: Path, tiny_model: Path) -> None:
    """Draws of every target are the same values under the same keys, whatever organ the sheet names."""
    found = []
    for organ in ("", "breast", "bladder"):
        folder = tmp_path / (organ or "none")
        path = write_tiny_cohort(folder, tiny_model, {"a": "rna", "b": "he"}, outdir=str(folder / "results"))
        head, *rows = (folder / "cases.tsv").read_text(encoding="utf-8").splitlines()
        lines = [f"{head}\torgan", *(f"{row}\t{organ}" for row in rows)]
        (folder / "cases.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        config = load_config(path)
        assert {case.organ for case in read_inventory(run_intake(config, 0))} == {organ}
        run_shard(config, 0)
        results = read_index(config.out / "generated" / "shard-0000.json")
        found.append({(r.target, d.folder, d.meta.content_sha256) for r in results for d in r.draws})
    assert {target for target, _, _ in found[0]} == {"he", "rna", "text"}
    assert found[0] == found[1] == found[2]


def test_more_draws_keep_the_first(
    every_pattern: tuple[Config, list[TaskResult]], tmp_path: Path, tiny_model: Path
) -> None:
    _, more = generated(tmp_path, tiny_model, {"only-text": "text"}, draws={"he": 2, "rna": 3, "text": 1})
    kept = {key: value for key, value in hashes(every_pattern[1]).items() if key[0] == "only-text"}
    assert kept.items() <= hashes(more).items()
    assert len(hashes(more)) == 5


def test_one_broken_case_leaves_the_others(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configfile = write_tiny_cohort(
        tmp_path, tiny_model, {"A": "rna", "B": "rna", "C": "text"}, outdir=str(tmp_path / "results")
    )
    config = load_config(configfile)
    run_intake(config, 0)
    (tmp_path / "A.tsv").unlink()
    original = CaseConditions.profile

    def profile(self: CaseConditions) -> Any:
        if self.case.case_id == "B":
            raise TypeError(f"no such thing in {tmp_path / 'B.tsv'} of {config.out}")
        return original(self)

    monkeypatch.setattr(CaseConditions, "profile", profile)
    results = read_index(run_shard(config, 0))
    states = {(r.case_id, r.target): r.state for r in results}
    assert states == {
        ("A", "he"): "failed",
        ("A", "text"): "failed",
        ("B", "he"): "failed",
        ("B", "text"): "failed",
        ("C", "he"): "done",
        ("C", "rna"): "done",
    }
    for result in results:
        if result.state == "failed":
            assert str(tmp_path) not in result.reason
            assert result.reason


def test_stop_fails_after_the_others_are_done(tmp_path: Path, tiny_model: Path) -> None:
    configfile = write_tiny_cohort(
        tmp_path, tiny_model, {"A": "rna", "C": "text"}, outdir=str(tmp_path / "results"), on_case_error="stop"
    )
    config = load_config(configfile)
    run_intake(config, 0)
    (tmp_path / "A.tsv").unlink()
    with pytest.raises(CaseError, match=r"on_case_error: stop[^C]*A he[^C]*A text[^C]*$"):
        run_shard(config, 0)
    index = read_index(config.out / "generated" / "shard-0000.json")
    assert [r.state for r in index if r.case_id == "C"] == ["done", "done"]


@pytest.mark.parametrize("error", [ModelError("damaged"), OSError(errno.ENOSPC, "No space left", "values.npy")])
def test_what_is_no_fault_of_a_case_ends_the_shard(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    configfile = write_tiny_cohort(tmp_path, tiny_model, {"A": "rna"}, outdir=str(tmp_path / "results"))
    config = load_config(configfile)
    run_intake(config, 0)

    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(MuPDPipeline, "generate_he", fail)
    with pytest.raises(MupdError, match="damaged" if isinstance(error, ModelError) else "no space left.*still has"):
        run_shard(config, 0)
    assert not (config.out / "generated" / "shard-0000.json").exists()
    assert not [path for path in config.out.rglob("pixels.npy")]


@pytest.mark.parametrize(("mpp", "native"), [(0.5, (128, 88)), (1.56, (400, 256))])
def test_other_scales_are_resampled_to_the_asked_size(
    tmp_path: Path, tiny_model: Path, mpp: float, native: tuple[int, int]
) -> None:
    slide = {"width_px": 200, "height_px": 128, "mpp": mpp}
    sections = {"slide": slide, "draws": {"he": 1, "rna": 1, "text": 1}}
    config, results = generated(tmp_path, tiny_model, {"A": "text"}, **sections)
    assert slide_size_px(config) == pytest.approx(native, abs=8)
    (he,) = (result for result in results if result.target == "he")
    pixels = np.load(config.out / he.draws[0].folder / "pixels.npy")
    assert pixels.shape == (128, 200, 3)
    assert he.draws[0].meta.mpp == mpp
    assert np.ptp(pixels) > 50
    assert not (config.out / he.draws[0].folder / "native.npy").exists()


@pytest.mark.parametrize(("shape", "scale"), [((700, 90, 3), 0.9), ((523, 77, 3), 1.0), ((900, 64, 3), 2.1)])
def test_resampling_in_strips_leaves_no_seams(tmp_path: Path, shape: tuple[int, int, int], scale: float) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (shape[0] // 8 + 1, shape[1] // 8 + 1, 3), dtype=np.uint8)
    source = np.asarray(Image.fromarray(small).resize((shape[1], shape[0])))
    size = (int(shape[0] / scale), int(shape[1] / scale), 3)
    resample(source, tmp_path / "out.npy", size, scale)
    box = (0.0, 0.0, min(size[1] * scale, shape[1]), min(size[0] * scale, shape[0]))
    whole = np.asarray(Image.fromarray(source).resize((size[1], size[0]), Image.Resampling.LANCZOS, box=box))
    difference = np.abs(np.load(tmp_path / "out.npy").astype(int) - whole)
    assert difference.max() <= 2  # Pillow rounds its weights
    assert difference.mean() < 0.05


def test_spots_condition_the_place_where_they_lie(tmp_path: Path, tiny_model: Path) -> None:
    config, _ = generated(tmp_path, tiny_model, {"A": "spots"}, slide={"width_px": 400, "height_px": 200, "mpp": 1.56})
    (case,) = read_inventory(config.out / "intake" / "shard-0000.parquet")
    conditions = CaseConditions(case, config, MuPDPipeline.from_pretrained(tiny_model))
    given, _ = conditions.for_he()
    assert given.rna_xy_px is not None
    assert given.rna is not None
    assert given.rna.shape == (9, RNA_DIM + 1)
    # The median spot is at the slide's middle: 800 x 400 px at 0.78 um/px; its neighbours 88 px away, as on the source.
    np.testing.assert_allclose(given.rna_xy_px[4], [400, 200])
    np.testing.assert_allclose(given.rna_xy_px[5] - given.rna_xy_px[4], [88, 0])


def test_a_table_is_read_as_intake_read_it(tmp_path: Path, tiny_model: Path) -> None:
    """One sample of a few genes: only the model's list shows which axis holds genes."""
    configfile = write_tiny_cohort(tmp_path, tiny_model, {"A": "rna"}, outdir=str(tmp_path / "results"))
    genes = tiny_codec().genes[:8]
    rows = [f"{name}\t" + "\t".join(str(30 + i + n) for i in range(8)) for n, name in enumerate(("TUMOR",))]
    (tmp_path / "A.tsv").write_text("\n".join(["sample\t" + "\t".join(genes), *rows]) + "\n")
    config = load_config(configfile)
    run_intake(config, 0)
    (case,) = read_inventory(config.out / "intake" / "shard-0000.parquet")
    assert case.entries["rna"].status == "measured", case.entries["rna"].reason
    profile = read_model_profile(case.entries["rna"].origin, tiny_codec().genes)
    assert profile.matrix.shape == (1, 8)
    assert len(profile.matrix) == case.entries["rna"].facts["observations"]
    assert profile.evidence == case.entries["rna"].facts["evidence"]


def test_cuda_that_is_not_there_names_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("SLURM_JOB_PARTITION", "cpu-only")
    with pytest.raises(MupdError, match=r"no CUDA device.*cpu-only.*sampler.device to auto or cpu"):
        choose_device("cuda")
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (choose_device("auto"), choose_device("cuda"), choose_device("cpu")) == ("cuda", "cuda", "cpu")


def test_a_shard_without_an_inventory_says_what_to_run(tmp_path: Path, tiny_model: Path) -> None:
    config = load_config(write_tiny_cohort(tmp_path, tiny_model, {"A": "rna"}, outdir=str(tmp_path / "results")))
    with pytest.raises(MupdError, match="run `mupd intake` on this shard first"):
        run_shard(config, 0)
