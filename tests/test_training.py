"""Training: it resumes where it was, saves when told to stop, and refuses what does not fit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import he_pixels
from safetensors import safe_open
from tiny_model import LATENT_CHANNELS, RNA_DIM, TILE_COMPONENTS, tiny_transformer, tiny_vae
from torch import Tensor, nn

from mupd.errors import InputFaults, ModelError, MupdError
from mupd.modalities.records import FIELDS
from mupd.model.encoders import TEXT_DIM
from mupd.model.record_codec import RecordCodec
from mupd.model.training.loop import Checkpoint, LoopSettings, cosine_rate, train, was_stopped
from mupd.model.training.plan import load_plan
from mupd.model.training.run import run_training

REPOSITORY = Path(__file__).resolve().parents[1]


def small_model() -> nn.Module:
    """With what a resumed run may get wrong: dropout, running statistics, biases."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))


def loss_of(model: nn.Module, before: Callable[[int], None] = lambda step: None) -> Callable[..., Tensor]:
    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        before(step)
        x = torch.randn((16, 4), generator=generator)
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    return loss_of_step


SETTINGS = LoopSettings(steps=6, warmup_steps=2, checkpoint_every=100, log_every=1)


def test_a_resumed_run_is_an_unbroken_one(tmp_path: Path) -> None:
    straight_model = small_model()
    straight = train(straight_model, loss_of(straight_model), SETTINGS, tmp_path / "straight")
    assert not was_stopped()

    def stop(step: int) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    broken_model = small_model()
    train(broken_model, loss_of(broken_model, stop), SETTINGS, tmp_path / "broken")
    assert was_stopped()
    with safe_open(tmp_path / "broken" / "checkpoint.safetensors", "pt") as stream:
        assert stream.metadata()["step"] == "3"
    # A new process would begin with other weights and another state of the random numbers.
    torch.manual_seed(1234)
    resumed_model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
    resumed = train(resumed_model, loss_of(resumed_model), SETTINGS, tmp_path / "broken")
    assert not was_stopped()
    assert straight.keys() == resumed.keys()
    for key, value in straight.items():
        assert torch.equal(value, resumed[key]), key
    for key, value in straight_model.state_dict().items():
        assert torch.equal(value, resumed_model.state_dict()[key]), key
    lines = [json.loads(line) for line in (tmp_path / "broken" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    whole = [json.loads(line) for line in (tmp_path / "straight" / "log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [line["loss"] for line in whole]


def test_a_finished_run_gives_its_weights_again(tmp_path: Path) -> None:
    model = small_model()
    first = train(model, loss_of(model), SETTINGS, tmp_path)

    def never(_step: int) -> None:
        raise AssertionError("nothing is left to train")

    again = train(small_model(), loss_of(model, never), SETTINGS, tmp_path)
    assert all(torch.equal(value, again[key]) for key, value in first.items())


def test_a_checkpoint_of_another_shape(tmp_path: Path) -> None:
    model = small_model()
    train(model, loss_of(model), SETTINGS, tmp_path)
    other = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    with pytest.raises(ModelError, match=r"checkpoint.safetensors: the checkpoint does not fit .* remove it"):
        train(other, loss_of(other), SETTINGS, tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_damaged_checkpoint(tmp_path: Path, share: float) -> None:
    model = small_model()
    train(model, loss_of(model), SETTINGS, tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=r"checkpoint.safetensors: damaged .* remove it"):
        train(small_model(), loss_of(model), SETTINGS, tmp_path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite(tmp_path: Path, bad: float) -> None:
    model = small_model()

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        loss = loss_of(model)(step, generator)
        return loss * bad if step == 3 else loss

    settings = LoopSettings(steps=6, checkpoint_every=2)
    with pytest.raises(ModelError, match=rf"loss at step 3 is {bad}; lower learning_rate"):
        train(model, loss_of_step, settings, tmp_path)
    # What was good is kept.
    fresh, ema = small_model(), {key: value.clone() for key, value in small_model().state_dict().items()}
    assert Checkpoint(tmp_path).load(fresh, ema, torch.optim.AdamW(_groups(fresh))) == 2
    assert all(torch.isfinite(value).all() for value in fresh.state_dict().values())


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    decay = [p for p in model.parameters() if p.ndim >= 2]
    return [{"params": decay}, {"params": [p for p in model.parameters() if p.ndim < 2]}]


def test_time_is_limited(tmp_path: Path) -> None:
    model = small_model()
    seen: list[int] = []
    settings = LoopSettings(steps=10_000, max_minutes=1e-9)
    train(model, loss_of(model, seen.append), settings, tmp_path)
    assert seen == [0]
    assert json.loads((tmp_path / "progress.json").read_text())["step"] == 1
    assert not was_stopped()  # the next part may begin


def test_the_learning_rate() -> None:
    settings = LoopSettings(steps=100, learning_rate=1.0, warmup_steps=10)
    rates = [cosine_rate(step, settings) for step in range(101)]
    assert rates[:11] == pytest.approx([0.1 * (n + 1) for n in range(10)] + [1.0])
    assert rates[100] == pytest.approx(0.01)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    model = small_model()
    settings = LoopSettings(steps=300, learning_rate=0.02, warmup_steps=5, log_every=50)
    train(model, loss_of(model), settings, tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.5 * losses[0]


SCRIPT = """
import sys, time
from pathlib import Path
import torch
from torch import nn
from mupd.model.training.loop import LoopSettings, train, was_stopped

model = nn.Linear(2, 1)
def loss(step, generator):
    Path(sys.argv[1], "at").write_text(str(step))
    time.sleep(0.02)
    return model(torch.randn((4, 2), generator=generator)).square().mean()
train(model, loss, LoopSettings(steps=100_000, checkpoint_every=100_000), Path(sys.argv[1]))
sys.exit(7 if was_stopped() else 0)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not ((tmp_path / "at").exists() and (tmp_path / "at").read_text() not in ("", "0", "1", "2")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not (tmp_path / "checkpoint.safetensors").exists()
        process.send_signal(number)
        assert process.wait(timeout=60) == 7
    finally:
        process.kill()
        process.wait()
    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as stream:
        assert int(stream.metadata()["step"]) >= 3


def write_plan(tmp_path: Path, **changes: Any) -> Path:
    for name in ("her2st/images", "tcga", "tiles"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for name in ("B4", "C2", "C3", "C4", "C5"):
        (tmp_path / "her2st" / "images" / f"{name}.jpg").touch()
    values = {
        "name": "tiny",
        "data": {name: str(tmp_path / name) for name in ("her2st", "tcga", "tiles")},
        "work": str(tmp_path / "work"),
        "out": str(tmp_path / "out"),
    }
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return path


def test_a_plan_has_defaults(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path, vae={"steps": 7, "batch_size": 3, "learning_rate": 0.1}))
    assert (plan.settings("vae").steps, plan.settings("vae").learning_rate, plan.batch_size("vae", 9)) == (7, 0.1, 3)
    assert plan.batch_size("he", 9) == 9
    assert plan.sections == ("B4", "C2", "C3", "C4")


def test_the_shipped_plan_is_valid(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert load_plan(REPOSITORY / "config" / "train" / "mupd-seed.yaml").name == "mupd-seed"


def test_all_faults_of_a_plan_at_once(tmp_path: Path) -> None:
    data = {"her2st": str(tmp_path / "her2st"), "tcga": str(tmp_path / "gone"), "tiles": str(tmp_path / "tiles")}
    path = write_plan(tmp_path, data=data, speed=3, vae={"steps": 0, "lr": 1}, threads=2.0, sections=["B4", "C5", "Z9"])
    with pytest.raises(InputFaults) as caught:
        load_plan(path)
    text = str(caught.value)
    assert caught.value.exit_code == 2
    for words in (
        "'speed'",
        "[data.tcga]",
        "gone",
        "[vae.steps]",
        "'lr'",
        "[threads]",
        "[sections]: found C5",
        "Z9.jpg",
    ):
        assert words in text, text
    assert len(caught.value.faults) == 7


@pytest.mark.parametrize("text", ["[1, 2]", "", "a: [", "\ufffe"])
def test_a_plan_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(text, encoding="utf-16-le" if text == "\ufffe" else "utf-8")
    with pytest.raises(InputFaults, match=r"train.yaml"):
        load_plan(path)


def test_the_command_ends_with_two(tmp_path: Path) -> None:
    path = write_plan(tmp_path, speed=3, data={"her2st": "nowhere-1", "tcga": "nowhere-2", "tiles": "nowhere-3"})
    done = subprocess.run(
        [sys.executable, "-m", "mupd", "train", str(path), "--part", "vae"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    for words in ("speed", "nowhere-1", "nowhere-2", "nowhere-3", "4 faults"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(InputFaults, match=r"--part: found mri; expected all or one of codecs, vae"):
        run_training(path, "mri")


def test_a_signal_begins_no_further_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mupd.model.training import loop, run

    begun: list[str] = []
    monkeypatch.setattr(run, "_codecs", lambda _: begun.append("codecs"))
    monkeypatch.setattr(run, "_vae", lambda _: begun.append("vae") or loop._signals.append(15))
    monkeypatch.setattr(run, "_he", lambda _: begun.append("he"))
    try:
        with pytest.raises(MupdError, match="stopped by a signal while training vae; run the same command again"):
            run_training(write_plan(tmp_path), "all")
    finally:
        loop._signals.clear()
    assert begun == ["codecs", "vae"]


def spots_of(n: int = 12) -> Any:
    from mupd.model.training.prepare import Spots

    rng = np.random.default_rng(0)
    components = rng.standard_normal((n, RNA_DIM)).astype(np.float32)
    conditions = np.pad(components, ((0, 0), (0, 1)))
    return Spots("T1", he_pixels(640, 480), rng.uniform(160, 320, (n, 2)), components, conditions)


class StubText:
    """Stands for the text encoder: a vector by the text's length."""

    def __call__(self, text: str) -> Any:
        return np.full((1, TEXT_DIM), len(text) / 100, np.float32)


def test_the_he_transformer_trains(tmp_path: Path) -> None:
    from mupd.model.training.train_he import HePairs, train_he

    pairs = HePairs([spots_of()], None, StubText())  # type: ignore[arg-type]
    images, conditions, extra = pairs.batch(40, np.random.default_rng(0))
    assert images.shape == (40, 3, 128, 128)
    assert images.min() >= -1
    assert images.max() <= 1
    assert extra.shape == (40, 2)
    for name in ("rna", "text"):
        mask = conditions[name][1]
        assert 0 < mask.sum() < 40, name  # some have it, some do not
    again = pairs.batch(40, np.random.default_rng(0))
    assert torch.equal(images, again[0])
    model = tiny_transformer("he")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    settings = LoopSettings(steps=2, checkpoint_every=2, log_every=1)
    ema = train_he(model, tiny_vae(), pairs, spots_of(20), settings, tmp_path, batch_size=4)
    assert any(not torch.equal(value, before[key]) for key, value in ema.items())
    assert (tmp_path / "preview.png").exists()


def vector_data() -> tuple[Any, Any, Any]:
    from mupd.model.training.vector_pairs import Patient, SpotSet, TileClass

    rng = np.random.default_rng(0)

    def rows(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    spots = [SpotSet("T1", [rows(9, TILE_COMPONENTS) for _ in range(2)], rows(9, RNA_DIM), rows(9, RNA_DIM + 1))]
    record = {"organ": "stomach", "grade": "G2"}
    condition = rows(RNA_DIM + 1)
    condition[-1] = 1
    people = [Patient("P1", rows(RNA_DIM), condition, record, [rows(3, TEXT_DIM), rows(1, TEXT_DIM)])]
    classes = [
        TileClass("g1", rows(20, TILE_COMPONENTS), {"organ": "lung", "diagnosis": "lung adenocarcinoma"}),
        TileClass("g2", rows(5, TILE_COMPONENTS), {"organ": "bone"}),
    ]
    return spots, people, classes


def test_the_rna_transformer_trains(tmp_path: Path) -> None:
    from mupd.model.training.train_vectors import rna_batch, train_rna

    spots, people, _ = vector_data()
    own = [np.zeros((1, TEXT_DIM), np.float32)]
    targets, conditions, extra = rna_batch(spots, people, own, 64, np.random.default_rng(0))
    assert targets.shape == (64, RNA_DIM)
    bulk = extra[:, 0] == 1
    assert 0 < bulk.sum() < 64
    # A patient's profile is bulk and has no tiles; most spots have theirs.
    assert not conditions["he"][1][bulk].any()
    assert conditions["he"][1][~bulk].any(1).float().mean() > 0.5
    settings = LoopSettings(steps=3, learning_rate=0.01, warmup_steps=1)
    ema = train_rna(tiny_transformer("rna"), spots, people, own, settings, tmp_path, batch_size=8)
    assert all(torch.isfinite(value).all() for value in ema.values())


def test_the_record_transformer_trains(tmp_path: Path) -> None:
    from mupd.model.training.train_vectors import record_batch, train_record

    spots, people, classes = vector_data()
    records, conditions = record_batch(spots, people, classes, 64, np.random.default_rng(0))
    assert len(records) == 64
    he, rna = (conditions[name][1].any(1) for name in ("he", "rna"))
    assert (he | rna).all()  # nothing is trained on nothing
    assert (he & rna).any()
    for row, record in enumerate(records):
        if record.get("organ") == "stomach":
            assert conditions["rna"][0][row, 0, -1] == 1  # bulk, exactly
            assert not he[row]
    settings = LoopSettings(steps=3, learning_rate=0.01, warmup_steps=1)
    ema = train_record(tiny_transformer("text"), spots, people, classes, settings, tmp_path, batch_size=8)
    assert all(torch.isfinite(value).all() for value in ema.values())


def test_unknown_fields_are_not_scored() -> None:
    from mupd.model.training.vector_pairs import padded, record_targets

    codec = RecordCodec(FIELDS)
    clean, known = record_targets([{"organ": "lung"}, {}], codec)
    assert clean.flatten(1).shape == (2, codec.dim)
    assert known.tolist() == [[field == "organ" for field in FIELDS], [False] * len(FIELDS)]
    tokens, mask = padded([np.ones((2, 3), np.float32), None, np.ones((1, 3), np.float32)], 3)
    assert tokens.shape == (3, 2, 3)
    assert mask.tolist() == [[True, True], [False, False], [True, False]]
    assert not tokens[~mask].any()


@pytest.mark.slow
def test_a_few_steps_on_real_data(shared_data: Path, tmp_path: Path) -> None:
    from mupd.model.training.train_vae import CropSampler, train_vae

    sampler = CropSampler(shared_data / "her2st", ["B4"], None, 0.25)
    settings = LoopSettings(steps=3, checkpoint_every=3, log_every=1, warmup_steps=1)
    train_vae(tiny_vae(), sampler, settings, tmp_path / "work", tmp_path / "out" / "vae", batch_size=2)
    from mupd.model.vae import MuPDVAE

    vae = MuPDVAE.from_pretrained(tmp_path / "out" / "vae")
    assert vae.config["latent_channels"] == LATENT_CHANNELS
    assert vae.encode(sampler.batch(1, np.random.default_rng(0))).shape == (1, LATENT_CHANNELS, 16, 16)
    assert (tmp_path / "work" / "preview.png").exists()
