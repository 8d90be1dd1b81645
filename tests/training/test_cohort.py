"""Training on a user's own cohort: what is used, what is refused, and a model that comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mupd.base.files import sha256_path
from mupd.errors import InputFaults
from mupd.model.conditions import CaseVectors
from mupd.model.pipeline import MuPDPipeline
from mupd.training.batches import Batch, Mixed
from mupd.training.codecs import on_shared_genes
from mupd.training.cohort.batches import CohortHe
from mupd.training.cohort.cases import read_cohort
from mupd.training.data import TrainingData
from mupd.training.logs import read_log
from mupd.training.plan import load_plan
from mupd.training.public.splits import is_held_out, split_of
from mupd.training.run import run_training
from mupd.training.tokens import join_conditions
from tests.fixtures.public_data import TINY_TRUNK, TINY_VAE, write_training
from tests.fixtures.tiny_model import SPOT_GENES, write_tiny_cohort

HELD_OUT = next(name for name in (f"held-{n}" for n in range(99)) if is_held_out(name))


def trained_name(prefix: str) -> str:
    return next(name for name in (f"{prefix}-{n}" for n in range(99)) if not is_held_out(name))


SPATIAL, BULK, NO_HE, NO_RNA = (trained_name(name) for name in ("spatial", "bulk", "no-he", "no-rna"))
ONLY_HE, BAD_TEXT, MARKED = (trained_name(name) for name in ("only-he", "bad-text", "marked"))
CASES = {
    SPATIAL: "he+spots+text",
    BULK: "he+rna+text",
    NO_HE: "rna+text",
    NO_RNA: "he+text",
    ONLY_HE: "he",
    BAD_TEXT: "he+rna+text!",
    HELD_OUT: "he+rna+text",
    MARKED: "he+rna+text",
}


pytestmark = pytest.mark.usefixtures("shared_backbone")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A cohort whose last case carries a synthetic mark that its configuration would let in."""
    folder = tmp_path_factory.mktemp("cohort")
    intake = {"min_tissue_mm2": 0.001, "allow_synthetic": ["*"]}
    config = write_tiny_cohort(folder, tiny_model, CASES, intake=intake)
    named = folder / f"{MARKED}.synthetic.tsv"
    (folder / f"{MARKED}.tsv").rename(named)
    sheet = folder / "cases.tsv"
    sheet.write_text(sheet.read_text().replace(f"{MARKED}.tsv", named.name))
    return config


def test_what_each_case_is_used_for(cohort: Path) -> None:
    found = read_cohort(cohort, SPOT_GENES)
    report = {row.case_id: row for row in found.report}
    assert {name: row.use for name, row in report.items()} == {
        SPATIAL: "train",
        BULK: "train",
        NO_HE: "train",
        NO_RNA: "train",
        ONLY_HE: "left out",
        BAD_TEXT: "train",
        HELD_OUT: "held out",
        MARKED: "left out",
    }
    assert report[SPATIAL].pairs == report[BULK].pairs == ("he+rna", "he+text", "rna+text")
    assert report[NO_HE].pairs == ("rna+text",)
    assert report[BAD_TEXT].pairs == ("he+rna",)
    assert "text: the text is empty" in report[BAD_TEXT].why
    assert "fewer than two usable modalities" in report[ONLY_HE].why
    assert "rna is synthetic (file name contains synthetic): never trained on" in report[MARKED].why
    assert found.counts() == {"train": 5, "held out": 1, "left out": 2}
    assert found.pairs() == {"he+rna": 3, "he+text": 3, "rna+text": 3}
    assert [case.case_id for case in found.cases] == [SPATIAL, BULK, NO_HE, NO_RNA, BAD_TEXT]
    assert not any(str(cohort.parent) in row.why for row in found.report)


def finetuned(folder: Path, cohort: Path, base: Path, **changes: Any) -> Path:
    data = {"cohort": {"configfile": str(cohort), "windows": 6}}
    start = {"base": str(base), "start": str(base / "transformer")}
    return write_training(folder, data, **(start | changes))


@pytest.fixture(scope="module")
def model(cohort: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of a fine-tuning that has run."""
    folder = tmp_path_factory.mktemp("finetuned")
    trunk = {"steps": 20, "log_every": 10, "warmup_steps": 2}  # the size is the base's
    trunk |= {"targets": TINY_TRUNK["targets"], "learning_rate": 0.01, "checkpoint_every": 20}
    config = finetuned(folder, cohort, tiny_model, trunk=trunk)
    run_training(config, "all")
    return config


def test_fine_tuning_keeps_codecs_and_changes_the_trunk(model: Path, tiny_model: Path) -> None:
    plan = load_plan(model)
    for part in ("rna_codec", "pathways", "tile_encoder", "vae", "record.json"):
        assert sha256_path(plan.out / part) == sha256_path(tiny_model / part), part
    before = MuPDPipeline.from_pretrained(tiny_model).transformer.state_dict()
    after = MuPDPipeline.from_pretrained(plan.out).transformer.state_dict()
    assert {name: value.shape for name, value in before.items()} == {name: value.shape for name, value in after.items()}
    assert any(not torch.equal(value, before[name]) for name, value in after.items())
    started = json.loads((plan.work / "trunk" / "start.json").read_text())
    assert (started["new"], started["unused"]) == ([], [])
    losses = [line["loss"] for line in read_log(plan.work / "trunk" / "log.jsonl")]
    assert losses[-1] < losses[0]
    assert (plan.work / "trunk" / "preview.png").stat().st_size > 1000
    index = json.loads((plan.out / "model_index.json").read_text())
    assert index["trained_on"]["cohort"]["cases"] == 5
    for name in CASES:  # the model says nothing of who was in it
        assert name not in (plan.out / "model_index.json").read_text()


def test_the_report_says_what_was_used(model: Path) -> None:
    facts = json.loads((load_plan(model).work / "data.json").read_text())
    assert facts["cohort"]["counts"] == {"train": 5, "held out": 1, "left out": 2}
    assert [row["case_id"] for row in facts["cohort"]["cases"]] == list(CASES)
    assert all(row["why"] for row in facts["cohort"]["cases"] if row["use"] != "train")


def test_a_fine_tuned_model_runs(model: Path) -> None:
    pipeline = MuPDPipeline.from_pretrained(load_plan(model).out)
    text = pipeline.text_encoder("Invasive breast carcinoma, G2.")
    assert np.isfinite(pipeline.generate_rna(CaseVectors(text=text), seed=1, steps=2).values).all()
    record, _ = pipeline.generate_record(CaseVectors(rna=np.zeros((1, 9), np.float32)), seed=1, steps=2)
    assert set(record) == set(pipeline.record_codec.fields)


@pytest.fixture(scope="module")
def sources(model: Path) -> dict[str, Any]:
    plan = load_plan(model)
    pipeline = MuPDPipeline.from_pretrained(plan.out)
    data = TrainingData(plan)
    return data.sources(["he", "rna", "text"], pipeline.tile_encoder, data.texts(), pipeline.record_codec)  # type: ignore[return-value]


def test_windows_carry_the_rna_of_their_spot_or_of_the_case(sources: dict[str, Any]) -> None:
    he: CohortHe = sources["he"]
    by_name = {case.case_id: case for case in he.cases}
    assert set(by_name) == {SPATIAL, BULK, NO_RNA, BAD_TEXT}
    spatial, bulk = by_name[SPATIAL], by_name[BULK]
    assert spatial.spatial
    assert not bulk.spatial
    assert spatial.windows is not None
    assert spatial.windows.spots.tolist() == [4]  # of nine, the one whose window lies on the slide
    assert bulk.he_conditions is not None
    assert bulk.conditions is not None
    assert (bulk.he_conditions[0, -1], bulk.conditions[0, -1]) == (0, 1)  # read as a spot's where H&E is made
    alone = CohortHe([spatial], he.dims)
    batch = alone.batch(40, np.random.default_rng(0))
    images, conditions, extra = batch.clean, batch.conditions, batch.extra
    assert images.shape == (40, 3, 128, 128)
    rna, given = conditions["rna"]
    assert 20 < given.sum() < 40
    assert spatial.he_conditions is not None
    mean = rna[given[:, 0], 0].mean(0).numpy()
    np.testing.assert_allclose(mean, spatial.he_conditions[4], atol=0.3)
    assert set(extra[:, 1].tolist()) == {0.0, 1.0}
    without = CohortHe([by_name[NO_RNA]], he.dims).batch(20, np.random.default_rng(0)).conditions
    assert not without["rna"][1].any()
    assert without["text"][1].any()


def test_rna_and_records_of_a_cohort(sources: dict[str, Any]) -> None:
    batch = sources["rna"].batch(60, np.random.default_rng(0))
    clean, conditions, extra = batch.clean, batch.conditions, batch.extra
    bulk = extra[:, 0] == 1
    assert 0 < bulk.sum() < 60
    assert not conditions["he"][1][bulk].any()
    assert conditions["he"][1][~bulk].any()
    assert clean.shape == (60, 8)
    batch = sources["text"].batch(60, np.random.default_rng(0))
    values, known, given = batch.clean, batch.known, batch.conditions
    assert torch.equal(values.sum(-1) == 1, known)
    present = torch.stack([given[name][1].any(1) for name in ("he", "rna", "pathways")])
    assert present.any(0).all()
    assert (present[0] & present[2]).any()
    assert (present[0] & ~present[2]).any()
    assert (~present[0] & present[2]).any()


def test_codecs_are_fitted_where_no_base_is_given(tmp_path: Path, tiny_model: Path) -> None:
    cases = {trained_name(f"c{number}"): "he+rna+text" for number in range(9)}
    cases |= {trained_name("s"): "he+spots"}
    cohort = write_tiny_cohort(tmp_path / "cohort", tiny_model, cases, intake={"min_tissue_mm2": 0.001})
    data = {"cohort": {"configfile": str(cohort), "windows": 6}}
    config = write_training(tmp_path, data, vae=TINY_VAE | {"finish_steps": 0})
    for part in ("codecs", "vae", "trunk", "calibrate"):
        run_training(config, part)
    pipeline = MuPDPipeline.from_pretrained(load_plan(config).out)
    assert pipeline.rna_codec.dim == pipeline.tile_encoder.dim == 8
    assert set(pipeline.rna_codec.genes) <= set(json.loads((tiny_model / "genes.json").read_text()))
    assert pipeline.transformer.config["streams"]["rna"] == 9
    with pytest.raises(InputFaults, match=r"rna_components\]: found 64; expected at most the 9 "):
        run_training(write_training(tmp_path, data, rna_components=64), "codecs")
    with pytest.raises(InputFaults, match=r"tile_components\]: found 500; expected at most the \d+ tiles"):
        run_training(write_training(tmp_path, data, tile_components=500), "codecs")


def test_a_cohort_with_nothing_to_learn(tmp_path: Path, tiny_model: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "cohort", tiny_model, {ONLY_HE: "he", HELD_OUT: "he+rna"})
    with pytest.raises(InputFaults, match=r"data.cohort\]: found .*'train': 0.*expected at least one case"):
        run_training(finetuned(tmp_path, cohort, tiny_model), "codecs")


def test_targets_without_data_are_left_out(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = write_tiny_cohort(tmp_path / "cohort", tiny_model, {NO_HE: "rna+text"})
    config = finetuned(tmp_path, cohort, tiny_model)
    for part in ("codecs", "vae", "trunk"):
        run_training(config, part)
    assert "no pair to learn he from" in capsys.readouterr().out
    lines = read_log(tmp_path / "work" / "trunk" / "log.jsonl")
    assert lines == []  # two steps, logged at every twentieth
    rare = {name: {"batch_size": 2, "every": 2} for name in ("he", "rna", "text")} | {"he": {"batch_size": 2}}
    with pytest.raises(InputFaults, match=r"found data for \['rna', 'text'\]; expected data for a target"):
        run_training(finetuned(tmp_path, cohort, tiny_model, trunk={"steps": 2, "targets": rare}), "trunk")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "found no data; expected her2st, tcga, tiles, a cohort, or both"),
        ({"tcga": "."}, "found only tcga; expected all of her2st, tcga, tiles, or none"),
        ({"cohort": {"configfile": "gone.yaml"}}, "no file gone.yaml"),
        ({"cohort": {}}, r"\[data.cohort.configfile\]: found nothing; expected a value"),
    ],
)
def test_data_that_are_not_given(tmp_path: Path, data: dict[str, Any], words: str) -> None:
    with pytest.raises(InputFaults, match=words):
        load_plan(write_training(tmp_path, data))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 9))
def test_batches_join(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = []
    for size in sizes:
        names = [name for name in ("a", "b") if rng.random() < 0.7]
        made = {}
        for name in names:
            count = int(rng.integers(1, 4))
            made[name] = (torch.rand(size, count, 3), torch.from_numpy(rng.random((size, count)) < 0.5))
        parts.append((size, made))
    joined = join_conditions(parts)
    for name, (tokens, mask) in joined.items():
        assert tokens.shape[:2] == mask.shape
        assert len(mask) == sum(sizes)
        start = 0
        for size, conditions in parts:
            own = mask[start : start + size]
            assert own.sum() == (conditions[name][1].sum() if name in conditions else 0)
            if name in conditions:
                assert torch.equal(tokens[start : start + size][own], conditions[name][0][conditions[name][1]])
            start += size


def test_sources_are_mixed_by_their_shares() -> None:
    class Constant:
        def __init__(self, value: float) -> None:
            self.value = value

        def batch(self, size: int, rng: np.random.Generator) -> Batch:
            rows = torch.full((size, 1), self.value)
            return Batch(rows, {"text": (rows[:, None], torch.ones(size, 1, dtype=torch.bool))}, rows)

    batch = Mixed([Constant(0.0), Constant(1.0)], [1.0, 3.0]).batch(4000, np.random.default_rng(0))
    values, conditions, extra = batch.clean, batch.conditions, batch.extra
    assert values.mean().item() == pytest.approx(0.75, abs=0.03)
    assert torch.equal(values, extra)
    assert torch.equal(conditions["text"][0][:, 0], values)


def test_profiles_are_brought_to_the_genes_that_all_have() -> None:
    a, b = np.log1p(np.array([[1.0, 2.0, 7.0]])), np.log1p(np.array([[5.0, 4.0]]))
    found, genes = on_shared_genes([(a.astype(np.float32), ["A", "B", "C"]), (b.astype(np.float32), ["C", "A"])])
    assert genes == ["A", "C"]
    np.testing.assert_allclose(np.expm1(found[0]), [[1250, 8750]], rtol=1e-4)
    np.testing.assert_allclose(np.expm1(found[1]), [[4e4 / 9, 5e4 / 9]], rtol=1e-4)
    with pytest.raises(InputFaults, match="found 0 genes that all profiles have"):
        on_shared_genes([(a.astype(np.float32), ["A", "B", "C"]), (b.astype(np.float32), ["D", "E"])])


def test_the_held_out_tenth_is_a_tenth() -> None:
    splits = [split_of(f"case-{number}") for number in range(3000)]
    assert splits.count("held_out") / 3000 == pytest.approx(0.1, abs=0.02)
