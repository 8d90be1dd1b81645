"""One training loop for all parts: EMA, cosine schedule, checkpoints that resume, one process or many."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from mupd.base.files import write_json
from mupd.errors import ModelError
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import MuPDVAE
from mupd.training import processes
from mupd.training.checkpoint import Checkpoint
from mupd.training.logs import TrainingLog, training_log
from mupd.training.settings import LoopSettings

LossOfStep = Callable[[int, torch.Generator], Tensor | Mapping[str, Tensor]]
"""From a step and a generator seeded by it to the loss, or to named losses that are added up."""

OnCheckpoint = Callable[[int], None]
"""Called with the step, while the model holds its averaged weights and is in evaluation mode."""


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
    """Whether this process was told to stop by a signal; nothing new should be started then."""
    return bool(_signals)


def all_were_stopped() -> bool:
    """Whether any of the processes that train together was told to stop. All of them have to call this."""
    return processes.anywhere(was_stopped())


@contextmanager
def _stop_on_signal() -> Iterator[None]:
    """Turn SIGTERM and SIGINT into a flag, so that the loop saves before it stops."""
    _signals.clear()

    def handle(number: int, _frame: FrameType | None) -> None:
        _signals.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _Step:
    """Figures of one step, over all processes."""

    losses: dict[str, float]
    gradient_norm: float
    stop: bool


def train(
    model: nn.Module,
    loss_of_step: LossOfStep,
    settings: LoopSettings,
    folder: Path,
    on_checkpoint: OnCheckpoint | None = None,
) -> dict[str, Tensor]:
    """Optimise `model` and return its averaged (EMA) state dict.

    Under ``accelerate launch`` all processes call this. Each makes its own batches, gradients are averaged, and only
    the main process writes. `folder` has to be on a file system that all nodes share.

    Parameters
    ----------
    loss_of_step
        Draws a batch and returns its loss. As random numbers are seeded by the step, a resumed run sees the same
        batches as an uninterrupted one.
    folder
        Gets checkpoint.safetensors, log.jsonl, tensorboard/ and whatever `on_checkpoint` writes.
    on_checkpoint
        Called in the main process after each checkpoint, e.g. to draw a sample grid.

    Raises
    ------
    ModelError
        If the loss is not finite, or the checkpoint in `folder` does not fit `model`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.to(processes.device())
    optimiser = _optimiser(model, settings)
    ema = _copied_state(model)
    checkpoint = Checkpoint(folder)
    first = _common_start(checkpoint.load(model, ema, optimiser), folder)
    processes.share_weights(model)
    if first == 0:
        ema = _copied_state(model)
    main, started = processes.is_main(), time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    logs = training_log(folder, first) if main else nullcontext()
    with _stop_on_signal(), Progress(*columns, disable=not main) as bar, logs as log:
        task = bar.add_task("train", total=settings.steps, completed=first)
        model.train()
        recent: list[_Step] = []
        for step in range(first, settings.steps):
            late = bool(settings.max_minutes) and (time.monotonic() - started) / 60 >= settings.max_minutes
            figures = _optimise(model, optimiser, loss_of_step, step, settings, late)
            _update_ema(ema, model, min(settings.ema, (step + 1) / (step + 10)))
            recent.append(figures)
            bar.advance(task)
            done = step + 1
            minutes = (time.monotonic() - started) / 60
            if done % settings.log_every == 0:
                if log is not None:
                    mean = _write_means(log, done, recent, cosine_rate(step, settings), minutes)
                    bar.update(task, description=f"train loss {mean:.4f}")
                recent.clear()
            if done % settings.checkpoint_every == 0 or done == settings.steps or figures.stop:
                if log is not None:
                    checkpoint.save(done, model, ema, optimiser)
                    progress = {"step": done, "of": settings.steps, "minutes": minutes, "processes": processes.count()}
                    write_json(folder / "progress.json", progress)
                    if on_checkpoint is not None:
                        with _averaged(model, ema):
                            on_checkpoint(done)
                        log.picture(done)
                processes.wait()
            if figures.stop:
                break
    return ema


def save_averaged(model: MuPDVAE | MuPDTransformer, ema: dict[str, Tensor], folder: Path) -> None:
    """Give a network its averaged weights and save it; called by all processes, written by the main one."""
    model.load_state_dict(ema)
    model.eval()
    if processes.is_main():
        model.save_pretrained(folder)
    processes.wait()


def _copied_state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@contextmanager
def _averaged(model: nn.Module, ema: dict[str, Tensor]) -> Iterator[None]:
    """The model with its averaged weights, in evaluation mode; afterwards as it was in training."""
    current = _copied_state(model)
    model.load_state_dict(ema)
    model.eval()
    try:
        yield
    finally:
        model.load_state_dict(current)
        model.train()


def _optimiser(model: nn.Module, settings: LoopSettings) -> torch.optim.Optimizer:
    decay = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    return torch.optim.AdamW(
        [{"params": decay, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(0.9, 0.99),
    )


def _common_start(step: int, folder: Path) -> int:
    """The step that all processes go on from."""
    total = int(processes.total(torch.tensor([float(step)], device=processes.device())).item())
    if total != step * processes.count():
        raise ModelError(
            f"{folder}: processes found different checkpoints (this one: step {step}); expected a folder that all "
            "nodes share"
        )
    return step


def _optimise(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss_of_step: LossOfStep,
    step: int,
    settings: LoopSettings,
    late: bool,
) -> _Step:
    """One step of the optimiser on the mean gradient of all processes."""
    for group in optimiser.param_groups:
        group["lr"] = cosine_rate(step, settings)
    generator = processes.seed_torch(settings.seed * 1_000_003 + step)
    with torch.autocast(processes.device().type, torch.bfloat16, enabled=settings.bf16):
        loss_or_parts = loss_of_step(step, generator)
    parts = dict(loss_or_parts) if isinstance(loss_or_parts, Mapping) else {}
    loss = torch.stack(list(parts.values())).sum() if isinstance(loss_or_parts, Mapping) else loss_or_parts
    optimiser.zero_grad(set_to_none=True)
    if torch.isfinite(loss):  # otherwise all processes report it below, together
        loss.backward()
    own = torch.stack([loss.detach(), *(part.detach() for part in parts.values())]).float()
    flags = torch.tensor([float(late or was_stopped())], device=own.device)
    summed = processes.total(torch.cat([own, flags]))
    means = (summed[:-1] / processes.count()).tolist()
    if not torch.isfinite(summed[0]):
        raise ModelError(f"training: the loss at step {step} is {means[0]}; lower learning_rate")
    processes.average_gradients(model)
    norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimiser.step()
    names = ["loss", *(f"loss_{name}" for name in parts)]
    return _Step(dict(zip(names, means, strict=True)), float(norm), bool(summed[-1].item()))


def _write_means(log: TrainingLog, done: int, steps: list[_Step], rate: float, minutes: float) -> float:
    """Write the means over some steps (of a target: over the steps it took part in); returns the mean loss."""
    means: dict[str, float] = {}
    for name in dict.fromkeys(name for step in steps for name in step.losses):
        own = [step.losses[name] for step in steps if name in step.losses]
        means[name] = round(sum(own) / len(own), 5)
    means["gradient_norm"] = round(sum(step.gradient_norm for step in steps) / len(steps), 4)
    log.write(done, means | {"learning_rate": float(f"{rate:.4g}"), "minutes": round(minutes, 2)})
    return means["loss"]


@torch.no_grad()
def _update_ema(ema: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    for key, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            ema[key].lerp_(value, 1 - decay)
        else:
            ema[key].copy_(value)
