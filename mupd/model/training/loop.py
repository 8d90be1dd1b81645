"""One training loop for all parts: EMA, cosine schedule, resumable checkpoints without pickles."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mupd.errors import ModelError
from mupd.files import atomic_path, write_json


@dataclass(frozen=True)
class LoopSettings:
    """How long and how to optimise.

    Attributes
    ----------
    steps
        Optimiser steps in all, over every resumption.
    learning_rate, warmup_steps
        Peak of AdamW's cosine schedule and its linear warm-up.
    ema
        Decay of the exponential moving average of the weights.
    checkpoint_every
        Steps between checkpoints: at most so many are lost to a SIGKILL.
    max_minutes
        Stop and save after so long; 0 = no limit.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    ema: float = 0.999
    checkpoint_every: int = 100
    log_every: int = 20
    max_minutes: float = 0.0
    seed: int = 0


def cosine_rate(step: int, settings: LoopSettings) -> float:
    """Learning rate at `step`: linear warm-up, then cosine to 1 % of the peak."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    span = max(1, settings.steps - settings.warmup_steps)
    progress = min(1.0, (step - settings.warmup_steps) / span)
    floor = 0.01 * settings.learning_rate
    cosine = 0.5 * (1 + torch.cos(torch.tensor(progress * torch.pi)).item())
    return floor + (settings.learning_rate - floor) * cosine


_signals: list[int] = []


def was_stopped() -> bool:
    """Whether a signal has ended a loop of this process early: then nothing else should be begun."""
    return bool(_signals)


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Turn SIGTERM and SIGINT into a flag, so that the loop saves before it stops."""
    _signals.clear()

    def handle(number: int, _frame: FrameType | None) -> None:
        _signals.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield was_stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Checkpoint:
    """Weights, EMA and optimiser state in one safetensors file, with the step in its metadata."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkpoint.safetensors"

    def save(self, step: int, model: nn.Module, ema: dict[str, Tensor], optimiser: torch.optim.Optimizer) -> None:
        """Write atomically; the previous checkpoint stays until the new one is whole."""
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in ema.items()}
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        with atomic_path(self.path) as temporary:
            save_file(tensors, temporary, metadata={"step": str(step)})

    def load(self, model: nn.Module, ema: dict[str, Tensor], optimiser: torch.optim.Optimizer) -> int:
        """Restore in place and return the step; 0 if there is no checkpoint.

        Raises
        ------
        ModelError
            If the file does not fit the model.
        """
        if not self.path.exists():
            return 0
        try:
            with safe_open(self.path, "pt") as stream:
                step = int((stream.metadata() or {})["step"])
            tensors = load_file(self.path)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ModelError(f"{self.path}: damaged ({error}); remove it to start afresh") from error
        part = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        try:
            model.load_state_dict(part)
        except RuntimeError as error:
            raise ModelError(
                f"{self.path}: the checkpoint does not fit the model of the training configuration "
                f"({str(error).splitlines()[-1].strip()}); remove it to start afresh"
            ) from error
        for key in ema:
            ema[key].copy_(tensors[f"ema.{key}"])
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, index, name = key.split(".", 2)
                state.setdefault(int(index), {})[name] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        return step


def train(
    model: nn.Module,
    loss_of_step: Callable[[int, torch.Generator], Tensor],
    settings: LoopSettings,
    folder: Path,
    on_checkpoint: Callable[[int, dict[str, Tensor]], None] | None = None,
) -> dict[str, Tensor]:
    """Optimise `model` and return its averaged (EMA) state dict.

    Parameters
    ----------
    loss_of_step
        Given the step and a generator seeded by it, draws a batch and returns the loss. Seeding by
        step makes a resumed run see the batches that an unbroken one would have seen.
    folder
        Where checkpoint.safetensors, log.jsonl and whatever `on_checkpoint` makes are kept.
    on_checkpoint
        Called with the step and the EMA weights after each checkpoint, e.g. to draw a sample grid.

    Raises
    ------
    ModelError
        If the loss is not finite, or the checkpoint in `folder` does not fit `model`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    decay = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(0.9, 0.99),
    )
    ema = {k: v.detach().clone() for k, v in model.state_dict().items()}
    checkpoint = Checkpoint(folder)
    first = checkpoint.load(model, ema, optimiser)
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _stop_on_signal() as stopped, Progress(*columns) as bar, (folder / "log.jsonl").open("a") as log:
        task = bar.add_task("train", total=settings.steps, completed=first)
        model.train()
        recent: list[float] = []
        for step in range(first, settings.steps):
            for group in optimiser.param_groups:
                group["lr"] = cosine_rate(step, settings)
            generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
            torch.manual_seed(settings.seed * 1_000_003 + step)
            loss = loss_of_step(step, generator)
            if not torch.isfinite(loss):
                raise ModelError(f"training: the loss at step {step} is {loss.item()}; lower learning_rate")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            _update_ema(ema, model, min(settings.ema, (step + 1) / (step + 10)))
            recent.append(loss.item())
            bar.advance(task)
            done = step + 1
            minutes = (time.monotonic() - started) / 60
            over = bool(settings.max_minutes) and minutes >= settings.max_minutes
            if done % settings.log_every == 0:
                mean = sum(recent) / len(recent)
                bar.update(task, description=f"train loss {mean:.4f}")
                log.write(json.dumps({"step": done, "loss": round(mean, 5), "minutes": round(minutes, 2)}) + "\n")
                log.flush()
                recent.clear()
            if done % settings.checkpoint_every == 0 or done == settings.steps or over or stopped():
                checkpoint.save(done, model, ema, optimiser)
                write_json(folder / "progress.json", {"step": done, "of": settings.steps, "minutes": minutes})
                if on_checkpoint is not None:
                    on_checkpoint(done, ema)
                    model.train()
            if over or stopped():
                break
    return ema


@torch.no_grad()
def _update_ema(ema: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    for key, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            ema[key].lerp_(value, 1 - decay)
        else:
            ema[key].copy_(value)
