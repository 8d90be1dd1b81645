"""Figures of a model: what they are made of, and that all of them come out of one command."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.model.__main__ import BEGIN, END
from benchmarks.model.bench import Bench, Effort, workflow_guidance
from benchmarks.model.card import trained_parts
from benchmarks.model.distances import JudgeEncoder
from benchmarks.model.he import psnr_db
from benchmarks.model.measure import MEASURES, measure, write_measured_card
from benchmarks.model.metrics_file import parts_sha256, read_metrics, still_true, write_metrics
from benchmarks.model.nuclei import count_nuclei, nuclei
from benchmarks.model.records import calibrated
from benchmarks.model.regions import densest_corner, lattice_measure
from benchmarks.model.rna import ridge_predictor
from benchmarks.model.search import best_matches
from benchmarks.model.words import figure_table, measured_limits
from benchmarks.pages import fill
from benchmarks.stats import (
    Figure,
    balanced_accuracy,
    bootstrap,
    column_correlations,
    frechet_distance,
    half_samples,
    kernel_distance,
    rounded,
)
from mupd.base.files import write_json
from mupd.errors import InputFaults, MupdError
from mupd.model.conditions import CaseVectors
from mupd.model.encoders import TILE_PX
from mupd.model.pipeline import MuPDPipeline, model_sha256
from mupd.model.rna_codec import RnaCodec, Spread
from mupd.training.calibrate.records import records_of_groups
from mupd.training.calibrate.run import calibrate, training_shares
from mupd.training.calibrate.spread import top_columns
from mupd.training.plan import Plan, load_plan
from mupd.training.public.pairs import TileClass
from mupd.training.public.splits import split_of
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.public_data import write_public_data, write_training
from tests.fixtures.tiny_model import make_tiny_model

TINY = Effort(
    he_draws=2, rna_draws=19, text_draws=19, steps=2, bootstraps=20, region_px=256, memory_px=(128, 256), most_spots=6
)


# --- statistics


def test_frechet_distance_is_that_of_the_fitted_normal_distributions() -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((60, 5)), rng.standard_normal((50, 5)) @ rng.standard_normal((5, 5)) + 1
    first, second = np.cov(a.T), np.cov(b.T)
    root = sqrtm(first @ second).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 20), st.integers(1, 30), st.floats(-3, 3), st.integers(0, 1000))
def test_frechet_distance_of_a_shifted_set_is_the_shift(n: int, dim: int, shift: float, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((n, dim))
    assert frechet_distance(rows, rows + shift) == pytest.approx(dim * shift**2, abs=1e-6)


def test_kernel_distance_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    same = [kernel_distance(rng.standard_normal((20, 8)), rng.standard_normal((20, 8))) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(len(same))
    assert kernel_distance(rng.standard_normal((20, 8)), rng.standard_normal((20, 8)) + 1) > max(same)


def test_halves_of_sets_vary_as_new_sets_would() -> None:
    rng = np.random.default_rng(1)

    def shift(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
        return float(a.mean() - b.mean())

    _, (low, high) = half_samples(shift, rng.standard_normal((200, 1)), rng.standard_normal((200, 1)), 100, 500)
    expected = 2 * 1.96 * np.sqrt(2 / 200)
    assert high - low == pytest.approx(expected, rel=0.2)
    with pytest.raises(ValueError, match="at least 300"):
        half_samples(shift, np.zeros((200, 1)), np.zeros((400, 1)), 300)


def test_bootstrap_interval_is_that_of_a_mean() -> None:
    values = np.random.default_rng(2).standard_normal(400)
    low, high = bootstrap(lambda rows: float(values[rows].mean()), len(values))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap(lambda rows: 0.0, 0)


def test_balanced_accuracy_is_sklearns() -> None:
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(3)
    truth, found = rng.integers(0, 4, 50), rng.integers(0, 3, 50)
    assert balanced_accuracy(found, truth) == pytest.approx(balanced_accuracy_score(truth, found))


def test_correlation_of_a_constant_is_nought() -> None:
    truth = np.random.default_rng(4).standard_normal((30, 3))
    found = truth.copy()
    found[:, 1] = 2.0
    found[:, 2] *= -1
    assert column_correlations(found, truth).tolist() == pytest.approx([1.0, 0.0, -1.0])


def test_a_figure_says_whether_its_target_is_met() -> None:
    entry = Figure(0.33, "x", (0.2, 0.4), 9, {"majority": 1 / 3, "other": (0.5, (0.4, 0.6))}, (1 / 3, None)).entry()
    assert entry["met"] is False
    assert entry["baseline"] == 0.333
    assert entry["baselines"]["other"] == {"value": 0.5, "interval_95": [0.4, 0.6]}
    assert Figure(0.9, "x", target=(0.85, 0.95)).entry()["met"] is True
    assert Figure(0.96, "x", target=(0.85, 0.95)).entry()["met"] is False
    assert "met" not in Figure(1.0, "x").entry()


def test_peak_signal_to_noise() -> None:
    assert psnr_db(np.array([0.01, 0.01])) == pytest.approx(20.0)


def test_top_columns_are_usable_ones() -> None:
    assert top_columns(np.array([5.0, 1, 4, 3]), 2, np.array([True, True, False, True])).tolist() == [0, 3]
    assert len(top_columns(np.zeros(4), 9, np.array([True, False, True, False]))) == 2


def test_guidance_is_that_of_a_run() -> None:
    scales = workflow_guidance()
    assert scales["rna"] == scales["pathways"] > 0
    assert "text" in scales


# --- nuclei


def _picture_with_nuclei(count: int, side: int = 128, seed: int = 0) -> NDArray[np.uint8]:
    """Blue discs of 8 px on pink, none touching."""
    rng = np.random.default_rng(seed)
    picture = np.full((side, side, 3), (225, 170, 200), np.uint8)
    places = rng.permutation(49)[:count]
    y, x = np.mgrid[:side, :side]
    for place in places:
        row, column = 16 + 16 * (place // 7), 16 + 16 * (place % 7)
        picture[(y - row) ** 2 + (x - column) ** 2 <= 16] = (80, 60, 140)
    return picture


@pytest.mark.parametrize("count", [0, 1, 12, 40])
def test_nuclei_are_counted(count: int) -> None:
    picture = _picture_with_nuclei(count)
    assert count_nuclei(picture[None], 0.78).tolist() == [count]
    for row, column in nuclei(picture, 0.78):
        assert (picture[row, column] == (80, 60, 140)).all()


def test_counts_are_near_those_of_pathologists(shared_data: Path) -> None:
    """MoNuSeg: nuclei outlined by hand, in pictures of 0.25 um/px shown at 0.78."""
    import pandas as pd
    from PIL import Image
    from scipy import ndimage

    table = pd.read_csv(shared_data / "he_tiles" / "tiles.csv")
    table = table[table["source"] == "monuseg"]
    counted, outlined = [], []
    for row in table.itertuples():
        picture = Image.open(shared_data / "he_tiles" / row.file).convert("RGB")
        scale = 0.25 / 0.78
        side = round(picture.width * scale)
        pixels = np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS))
        mask = np.asarray(Image.open(shared_data / "he_tiles" / row.nuclei_mask)).astype(np.int64)
        centres = np.array(ndimage.center_of_mass(mask > 0, mask, np.unique(mask)[1:])) * scale
        for y, x in ((0, 0), (0, side - 128), (side - 128, 0), (side - 128, side - 128)):
            counted.append(len(nuclei(pixels[y : y + 128, x : x + 128], 0.78)))
            outlined.append(int(((centres >= (y, x)) & (centres < (y + 128, x + 128))).all(1).sum()))
    assert np.corrcoef(counted, outlined)[0, 1] > 0.8
    assert np.mean(counted) == pytest.approx(np.mean(outlined), rel=0.1)


# --- regions


def test_a_lattice_is_seen() -> None:
    rng = np.random.default_rng(0)
    plain = rng.integers(100, 130, (256, 256, 3)).astype(np.uint8)
    assert lattice_measure(plain) == pytest.approx(1.0, abs=0.06)
    plain[:, ::16] += 20
    assert lattice_measure(plain) > 1.3


def test_the_densest_place() -> None:
    xy = np.array([[100.0, 100], [900, 900], [950, 900], [900, 950]])
    y, x = densest_corner(xy, 256, (1000, 1000, 3))
    assert y <= 900 <= y + 256
    assert x <= 900 <= x + 256
    assert ((xy >= (x, y)) & (xy < (x + 256, y + 256))).all(1).sum() == 3


# --- features and simpler predictors


@pytest.mark.parametrize(("turn", "mirrored"), [(0, False), (1, False), (3, True)])
def test_a_copy_is_found_wherever_it_is(turn: int, mirrored: bool) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 250, (40, 50, 1)).astype(np.float64)
    picture = np.repeat(np.repeat(coarse, 16, 0), 16, 1).repeat(3, 2).astype(np.uint8)
    picture[:200, :200] = 255
    corners = [(240, 320), (400, 96)]
    windows = np.stack([picture[y : y + 128, x : x + 128] for y, x in corners])
    windows = np.rot90(windows[:, :, ::-1] if mirrored else windows, turn, (1, 2))
    noise = rng.normal(0, 10, windows.shape)
    copies = best_matches(np.clip(windows * 0.8 + noise, 0, 255).astype(np.uint8), picture, "a picture")
    assert copies.corner.tolist() == [list(corner) for corner in corners]
    assert copies.distance.max() < 0.2
    others = best_matches(rng.integers(60, 250, (2, 16, 16, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8), picture, "")
    assert others.distance.min() > 0.8


def test_glass_is_no_match() -> None:
    glass = np.full((256, 256, 3), 250, np.uint8)
    window = np.random.default_rng(0).integers(0, 255, (1, 128, 128, 3)).astype(np.uint8)
    assert best_matches(window, glass, "").distance.tolist() == pytest.approx([np.sqrt(2)])
    assert best_matches(glass[None, :128, :128], glass, "").distance.tolist() == pytest.approx([np.sqrt(2)])


def test_features_do_not_depend_on_the_batch() -> None:
    windows = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3)).astype(np.uint8)
    encoder = JudgeEncoder()
    whole = encoder(windows)
    assert whole.shape == (3, JudgeEncoder.dim)
    assert encoder(windows[2:]) == pytest.approx(whole[2:], abs=1e-4)
    assert encoder(windows[:0]).shape == (0, JudgeEncoder.dim)


@pytest.mark.parametrize("groups", [1, 4])
def test_ridge_finds_what_is_linear(groups: int) -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((400, 5)), rng.standard_normal((5, 3))
    y = 20 + x @ weights + 0.1 * rng.standard_normal((400, 3))
    predict = ridge_predictor(x[:300], y[:300], np.arange(300) % groups, np.arange(3))
    assert column_correlations(predict(x[300:]), y[300:]).min() > 0.99


# --- records


# --- all of it


pytestmark = pytest.mark.usefixtures("shared_backbone")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A training on tiny data whose model folder holds a tiny random model."""
    folder = tmp_path_factory.mktemp("measured")
    plan = load_plan(write_training(folder, write_public_data(folder / "data")))
    make_tiny_model(plan.out)
    for part, steps in (("vae", 3), ("trunk", 7)):
        (plan.work / part).mkdir(parents=True)
        write_json(plan.work / part / "progress.json", {"step": steps, "processes": 1})
        (plan.work / part / "log.jsonl").write_text('{"minutes": 2.0}\n{"minutes": 1.0}\n')
    return plan


@pytest.fixture(scope="module")
def measured(plan: Plan) -> Path:
    """The model folder after calibration and all measures."""
    calibrate(plan, MuPDPipeline.from_pretrained(plan.out))
    pipeline = MuPDPipeline.from_pretrained(plan.out)
    write_measured_card(plan, pipeline, measure(plan, pipeline, effort=TINY))
    return plan.out


def test_record_probabilities_are_the_pipelines(plan: Plan, measured: Path) -> None:
    pipeline = MuPDPipeline.from_pretrained(measured)
    tiles = pipeline.tile_encoder(np.random.default_rng(0).integers(0, 255, (2, TILE_PX, TILE_PX, 3)).astype(np.uint8))
    scored = records_of_groups(pipeline, [TileClass("g", tiles, {"organ": "lung"})], seed=5)
    own = calibrated(scored, pipeline.record_codec, "he")
    _, expected = pipeline.generate_record(CaseVectors(tiles=tiles), seed=5, steps=2)
    for index, (field, values) in enumerate(pipeline.record_codec.fields.items()):
        assert own[0, index, : len(values)] == pytest.approx(list(expected[field].values()), abs=1e-4)
        assert own[0, index].sum() == pytest.approx(1.0)


def test_temperatures_are_fitted_on_the_validation_tenth_alone(
    plan: Plan, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def seen(pipeline: MuPDPipeline, people: list, seed: int) -> object:  # type: ignore[type-arg]
        asked.extend(person.case_id for person in people)
        return before(pipeline, people, seed)

    from mupd.training.calibrate import run as module

    before = module.records_of_patients
    monkeypatch.setattr(module, "records_of_patients", seen)
    pipeline = MuPDPipeline.from_pretrained(measured)
    codec = calibrate(plan, pipeline)
    assert asked
    assert {split_of(case) for case in asked} == {"validation"}
    kept = MuPDPipeline.from_pretrained(measured).record_codec
    assert (kept.temperatures, kept.shares) == (codec.temperatures, codec.shares)
    trained = [person.record for person in Bench(plan, pipeline).patients("train")]
    assert codec.shares == training_shares(trained, pipeline.record_codec.fields)
    assert codec.shares
    for numbers in (codec.temperatures, codec.reliance):
        assert set(numbers) == {"he", "rna", "he+rna"}
        for row in numbers.values():
            assert set(row) == set(pipeline.record_codec.fields)


def test_every_figure_is_measured_beside_its_baselines(measured: Path) -> None:
    metrics = read_metrics(measured)
    for name in (
        "H&E autoencoder",
        "RNA to H&E: haematoxylin density",
        "RNA to H&E: nuclear count",
        "RNA to H&E: Frechet distance",
        "RNA to H&E: kernel distance x 1000",
        "Copy check: distance to training",
        "Copy check: nearer than real",
        "H&E to RNA: per gene",
        "H&E to RNA: above ridge",
        "H&E to RNA: coverage of the 90 % interval",
        "text to RNA: per gene",
        "report to RNA: per gene",
        "text to RNA: coverage of the 90 % interval",
        "RNA to text: organ",
        "RNA to text: grade",
        "RNA to text: calibration error",
        "RNA to text: log loss beyond the organ",
        "H&E region: seams",
        "H&E region: lattice",
        "H&E region: memory",
    ):
        assert np.isfinite(metrics[name]["value"]), name
        assert metrics[name]["note"], name
    assert list(metrics["RNA to text: organ"]["baselines"]) == ["majority", "logistic regression", "nearest neighbour"]
    assert "ridge" in metrics["H&E to RNA: per gene"]["baselines"]
    assert "conditions shuffled" in metrics["RNA to H&E: nuclear count"]["baselines"]
    assert len({row["model"] for row in metrics.values()}) == 1
    for picture in ("grid.png", "closest.png"):
        assert (measured / picture).stat().st_size > 1000


def test_the_card_states_what_was_measured(measured: Path) -> None:
    text = (measured / "README.md").read_text()
    metrics = read_metrics(measured)
    assert figure_table(metrics) in text
    assert all(f"- {line}" in text for line in measured_limits(metrics))
    assert "| trunk | 0.1 M | 1 | 7 | 3 |" in text
    assert "{" not in text


def test_a_part_alone_keeps_figures_of_the_same_weights_only(
    plan: Plan, measured: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = replace(plan, out=shutil.copytree(measured, tmp_path / "model"))
    pipeline = MuPDPipeline.from_pretrained(plan.out)
    old = {"old": {"value": 1.0, "note": "", "model": pipeline.sha256[:12]}}
    write_json(plan.out / "metrics.json", old | {"stale": {"value": 1.0, "note": "", "model": "another"}})
    monkeypatch.setitem(MEASURES, "vae", lambda bench: {"new": {"value": 2.0, "note": ""}})
    metrics = measure(plan, pipeline, ["vae"], TINY)
    assert sorted(metrics) == ["new", "old"]
    assert read_metrics(plan.out) == metrics
    with pytest.raises(InputFaults, match="speed"):
        measure(plan, pipeline, ["speed"], TINY)


def test_shuffled_conditions_are_all_of_other_spots(plan: Plan, measured: Path) -> None:
    bench = Bench(plan, MuPDPipeline.from_pretrained(measured), TINY)
    order = bench.shuffled_order
    assert sorted(order) == list(range(6))
    assert (order != np.arange(6)).all()


def test_the_table_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    fill(page, {(BEGIN, END): "| new |"})
    fill(page, {(BEGIN, END): "| newer |"})
    assert page.read_text() == f"before\n{BEGIN}\n| newer |\n{END}\nafter\n"
    page.write_text(f"{END} {BEGIN}")
    with pytest.raises(MupdError, match="no place"):
        fill(page, {(BEGIN, END): "| new |"})


def test_the_docs_state_what_was_measured() -> None:
    repository = REPOSITORY
    text = (repository / "docs" / "model.md").read_text(encoding="utf-8")
    table = figure_table(read_metrics(repository / "resources" / "models" / "mupd-mini"))
    assert f"{BEGIN}\n{table}\n{END}" in text


def test_no_figure_is_minus_nothing() -> None:
    assert str(rounded(-0.0004)) == "0.0"
    assert rounded(-0.0016) == -0.002


def test_figures_outlive_a_calibration_that_they_do_not_use(tmp_path: Path) -> None:
    make_tiny_model(tmp_path)
    model = model_sha256(tmp_path)[:12]
    names = ["RNA to H&E: nuclear count", "H&E to RNA: per gene", "RNA to text: grade", "text to RNA: per gene"]
    row = {"value": 1.0, "note": "", "model": model}
    rows = {name: row | {"parts": parts_sha256(tmp_path, name)} for name in names}
    write_metrics(tmp_path, rows | {"of others": row | {"model": "0" * 12}})
    assert list(still_true(tmp_path, read_metrics(tmp_path))) == names
    codec = RnaCodec.from_pretrained(tmp_path / "rna_codec")
    codec.with_spread("bulk", "text", Spread(tuple([0.5] * codec.dim), 1.0)).save_spreads(tmp_path / "rna_codec")
    assert list(still_true(tmp_path, read_metrics(tmp_path))) == names[:3]
    record = tmp_path / "record.json"
    record.write_text(record.read_text().replace("1.0", "1.5", 1))
    assert list(still_true(tmp_path, read_metrics(tmp_path))) == names[:2]
    weights = next((tmp_path / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes() + b" ")
    assert still_true(tmp_path, read_metrics(tmp_path)) == {}


def test_the_card_keeps_what_was_trained_in_another_work_folder(tmp_path: Path) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    first = {"part": "phase1", "parameters": 6_000_000, "processes": 1, "steps": 1690, "minutes": 53.0}
    write_json(out / "training.json", [first, first | {"part": "trunk", "steps": 5}])
    for folder, step in (("trunk", 700), ("vae", 20)):
        write_json(work / folder / "progress.json", {"step": step, "processes": 2})
        (work / folder / "log.jsonl").write_text('{"minutes": 2.0}\n{"minutes": 0.5}\n')
    plan: Any = SimpleNamespace(out=out, work=work)
    parts = trained_parts(plan, {"vae": 2_000_000, "trunk": 6_000_000})
    assert [(part["part"], part["steps"]) for part in parts] == [("phase1", 1690), ("trunk", 700), ("vae", 20)]
    assert parts[0] == first
    assert parts[2] == {"part": "vae", "parameters": 2_000_000, "processes": 2, "steps": 20, "minutes": 2.5}
