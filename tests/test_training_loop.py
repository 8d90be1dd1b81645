"""The training loop: it resumes where it was, saves when told to stop, and refuses what does not fit."""

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

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from mupd.errors import ModelError
from mupd.model.training.loop import Checkpoint, LoopSettings, cosine_rate, train, was_stopped

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
