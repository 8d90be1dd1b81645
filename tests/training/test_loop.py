"""The training loop: it resumes where it was, saves when told to stop, and refuses what does not fit."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mupd.errors import ModelError
from mupd.training import logs
from mupd.training.checkpoint import Checkpoint
from mupd.training.logs import read_log
from mupd.training.loop import cosine_rate, train, was_stopped
from mupd.training.settings import LoopSettings
from tests.fixtures.paths import REPOSITORY


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


def test_gradients_are_clipped(tmp_path: Path) -> None:
    """What the optimiser sees is no longer than the limit; Adam would hide it."""
    model = small_model()
    seen: list[float] = []

    def look(*_: object) -> None:
        seen.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm().item())

    handle = register_optimizer_step_pre_hook(look)
    try:
        train(model, lambda step, g: 1e4 * loss_of(model)(step, g), replace(SETTINGS, clip=0.5), tmp_path)
    finally:
        handle.remove()
    assert len(seen) == SETTINGS.steps
    assert all(norm == pytest.approx(0.5, rel=1e-3) for norm in seen)
    assert all(line["gradient_norm"] > 0.5 for line in read_log(tmp_path / "log.jsonl"))


def test_named_losses_are_added_up_and_logged(tmp_path: Path) -> None:
    model = small_model()

    def loss_of_step(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        loss = loss_of(model)(step, generator)
        return {"he": loss} if step % 2 else {"he": loss, "text": 3 * loss}

    train(model, loss_of_step, replace(SETTINGS, log_every=2), tmp_path)
    lines = read_log(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 6]
    for line in lines:
        # Of a target, the mean over the steps of its turn.
        assert line["loss"] == pytest.approx(line["loss_he"] + line["loss_text"] / 2, abs=1e-4)
        assert set(line) >= {"learning_rate", "gradient_norm", "minutes"}


def test_bfloat16_changes_the_arithmetic_not_the_weights(tmp_path: Path) -> None:
    kinds = []

    def run(name: str, bf16: bool) -> dict[str, Tensor]:
        model = small_model()

        def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
            kinds.append(model[0](torch.zeros(2, 4)).dtype)
            return loss_of(model)(step, generator)

        return train(model, loss_of_step, replace(SETTINGS, bf16=bf16), tmp_path / name)

    whole, half = run("fp32", False), run("bf16", True)
    assert set(kinds[: SETTINGS.steps]) == {torch.float32}
    assert set(kinds[SETTINGS.steps :]) == {torch.bfloat16}
    assert {value.dtype for key, value in half.items() if "num" not in key} == {torch.float32}
    for key, value in whole.items():
        torch.testing.assert_close(half[key].float(), value.float(), atol=0.05, rtol=0.1)


def test_what_a_killed_run_logged_beyond_its_checkpoint_is_dropped(tmp_path: Path) -> None:
    model = small_model()
    train(model, loss_of(model), replace(SETTINGS, checkpoint_every=2, max_minutes=1e-9), tmp_path)
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"step": 2, "loss": 9.0}\n{"step": 3, "lo')
    train(small_model(), loss_of(model), SETTINGS, tmp_path)
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert 9.0 not in [line["loss"] for line in read_log(tmp_path / "log.jsonl")]


def test_tensorboard_has_figures_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = small_model()

    def draw(step: int) -> None:
        Image.new("RGB", (8, 6), (step, 0, 0)).save(tmp_path / "preview.png")

    train(model, loss_of(model), replace(SETTINGS, checkpoint_every=3), tmp_path, draw)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("training/loss")]
    expected = [(line["step"], line["loss"]) for line in read_log(tmp_path / "log.jsonl")]
    assert found == [(step, pytest.approx(loss, rel=1e-5)) for step, loss in expected]
    assert [image.step for image in events.Images("preview")] == [3, 6]


def test_without_tensorboard_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    logs._writer_class.cache_clear()
    caplog.set_level(logging.INFO)
    try:
        for name in ("first", "second"):
            train(small_model(), loss_of(small_model()), SETTINGS, tmp_path / name)
    finally:
        logs._writer_class.cache_clear()
    said = [record for record in caplog.records if "tensorboard is not installed" in record.getMessage()]
    assert len(said) == 1
    assert not (tmp_path / "first" / "tensorboard").exists()
    assert len(read_log(tmp_path / "second" / "log.jsonl")) == 6


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
from mupd.training.loop import train, was_stopped
from mupd.training.settings import LoopSettings

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


KILLED = """
import sys, time
from pathlib import Path
import torch
from torch import nn
from mupd.training.loop import train
from mupd.training.settings import LoopSettings

model = nn.Linear(2, 1)
def loss(step, generator):
    Path(sys.argv[1], "at").write_text(str(step))
    time.sleep(0.002)
    return model(torch.randn((4, 2), generator=generator)).square().mean()
train(model, loss, LoopSettings(steps=100_000, checkpoint_every=5), Path(sys.argv[1]))
"""


def test_a_kill_loses_no_more_than_the_steps_since_the_last_checkpoint(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
    )
    at = tmp_path / "at"
    try:
        deadline = time.monotonic() + 120
        while not at.exists() or int(at.read_text() or 0) < 17:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    reached = int(at.read_text() or 17)
    model = nn.Linear(2, 1)
    ema = {key: value.clone() for key, value in model.state_dict().items()}
    step = Checkpoint(tmp_path).load(model, ema, torch.optim.AdamW(_groups(model)))
    assert step % 5 == 0
    assert reached - 5 <= step <= reached + 1


TOGETHER = """
import atexit, json, os, signal, sys
from pathlib import Path

def threads():  # the last at exit, for it is the first that is told
    names = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    (folder / f"threads-{rank}-{stop_at}.json").write_text(json.dumps(names))
atexit.register(threads)

import torch
from torch import nn
from mupd.training import processes
from mupd.training.loop import all_were_stopped, train, was_stopped
from mupd.training.settings import LoopSettings

folder, stop_at = Path(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(processes.rank())  # they begin apart
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
spare = nn.Linear(1, 1)
model.append(nn.Identity())
model.spare = spare
seen = []
def loss(step, generator):
    rng = processes.batch_rng(0, step)
    x = torch.from_numpy(rng.standard_normal((16, 4))).float() + 0 * torch.randn((16, 4), generator=generator)
    seen.append(round(float(x.sum()), 4))
    if step == stop_at and not processes.is_main():
        os.kill(os.getpid(), signal.SIGTERM)
    found = nn.Sequential(*list(model)[:3])(x)
    if processes.is_main() and step % 2:
        found = found + model.spare(torch.ones(16, 1))  # a gradient that one process alone has
    return (found - x.sum(1, keepdim=True)).square().mean()
settings = LoopSettings(steps=6, warmup_steps=1, learning_rate=0.05, checkpoint_every=100, log_every=1)
ema = train(model, loss, settings, folder)
rank = processes.rank()
report = {"seen": seen, "count": processes.count(), "stopped": all_were_stopped(), "own_signal": was_stopped()}
report["weights"] = {k: v.flatten().tolist() for k, v in model.state_dict().items()}
report["ema"] = {k: v.flatten().tolist() for k, v in ema.items()}
(folder / f"rank-{rank}-{stop_at}.json").write_text(json.dumps(report))
"""


def together(tmp_path: Path, folder: Path, stop_at: int) -> list[dict[str, Any]]:
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    folder.mkdir(exist_ok=True)
    # `accelerate launch --cpu` needs MPI for several processes; torchrun sets what accelerate reads, with gloo.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, str(script), str(folder), str(stop_at)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in range(2):
        # One that is at work while the interpreter ends aborts the process, now and then.
        assert not re.search("gloo|nccl", (folder / f"threads-{rank}-{stop_at}.json").read_text())
    return [json.loads((folder / f"rank-{rank}-{stop_at}.json").read_text()) for rank in range(2)]


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    """Batches differ, weights agree; the main process alone writes; a stopped run goes on as an unbroken one."""
    first, second = together(tmp_path, tmp_path / "straight", -1)
    assert first["count"] == second["count"] == 2
    assert len(first["seen"]) == len(second["seen"]) == 6
    assert not set(first["seen"]) & set(second["seen"])
    assert first["weights"] == second["weights"]
    assert first["ema"] == second["ema"]
    assert not first["stopped"]
    lines = read_log(tmp_path / "straight" / "log.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    # A signal to one process stops both at the same step.
    broken = together(tmp_path, tmp_path / "broken", 2)
    assert [part["own_signal"] for part in broken] == [False, True]
    assert all(part["stopped"] for part in broken)
    assert [len(part["seen"]) for part in broken] == [3, 3]
    with safe_open(tmp_path / "broken" / "checkpoint.safetensors", "pt") as stream:
        assert stream.metadata()["step"] == "3"
    resumed, _ = together(tmp_path, tmp_path / "broken", -1)
    assert len(resumed["seen"]) == 3
    for key, value in first["weights"].items():
        assert resumed["weights"][key] == pytest.approx(value, rel=1e-5, abs=1e-6), key
