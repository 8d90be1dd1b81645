"""Training of the trunk: every target has its own batches, losses and share of the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mupd.model.record_codec import RecordCodec
from mupd.model.transformer import MuPDTransformer, Target
from mupd.model.vae import Autoencoder
from mupd.training.align import Alignment
from mupd.training.batches import BatchSource
from mupd.training.loop import OnCheckpoint, train
from mupd.training.processes import batch_rng
from mupd.training.settings import LoopSettings, TargetSettings
from mupd.training.tokens import on_device


def logit_normal(size: int, generator: torch.Generator, mean: float = 0.0) -> Tensor:
    """Times in (0, 1), more of them in the middle (arXiv:2403.03206, section 3.1)."""
    return torch.sigmoid(mean + torch.randn(size, generator=generator))


def interpolate(clean: Tensor, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """x at time t on the line from noise to `clean`, and the velocity there."""
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    t = t.to(clean).reshape(-1, *[1] * (clean.ndim - 1))
    return (1 - t) * noise + t * clean, clean - noise


TargetLoss = Callable[[np.random.Generator, torch.Generator], Tensor]


def he_loss(
    model: MuPDTransformer,
    vae: Autoencoder,
    source: BatchSource,
    settings: TargetSettings,
    alignment: Alignment | None = None,
) -> TargetLoss:
    """Mean squared error of the velocity of H&E latents, and what `alignment` adds to it."""

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        device = model.device
        batch = source.batch(settings.batch_size, rng)
        images = batch.clean.to(device)
        with torch.no_grad():
            latents = vae.encode(images)
        t = logit_normal(len(latents), generator).to(device)
        x, velocity = interpolate(latents, t, generator)
        context = model.context(on_device(batch.conditions, device), len(x))
        if alignment is None:
            predicted = model(x, t, "he", context, batch.extra.to(device), dropout=settings.dropout)
            return (predicted - velocity).square().mean()
        block = alignment.settings.block
        predicted, tokens, grid = model(
            x, t, "he", context, batch.extra.to(device), dropout=settings.dropout, features_of=block
        )
        return (predicted - velocity).square().mean() + alignment.loss(images, tokens, grid, t, generator)

    return loss


def rna_loss(model: MuPDTransformer, source: BatchSource, settings: TargetSettings) -> TargetLoss:
    """Mean squared error of the velocity of RNA components."""

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        device = model.device
        batch = source.batch(settings.batch_size, rng)
        # Conditions decide components early on the way from noise: more of the times lie near it.
        t = logit_normal(len(batch.clean), generator, mean=-0.5).to(device)
        x, velocity = interpolate(batch.clean.to(device), t, generator)
        context = model.context(on_device(batch.conditions, device), len(x))
        predicted = model(x, t, "rna", context, batch.extra.to(device), dropout=settings.dropout)
        return (predicted - velocity).square().mean()

    return loss


def record_loss(
    model: MuPDTransformer, source: BatchSource, records: RecordCodec, settings: TargetSettings
) -> TargetLoss:
    """Cross-entropy of the known fields; unknown fields stay pure noise and do not count."""

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        device = model.device
        batch = source.batch(settings.batch_size, rng)
        clean, known = batch.clean.to(device), batch.known.to(device)
        # Half of the batch is at t = 0, where the network states the distribution of each field.
        t = torch.rand(len(clean), generator=generator) * (torch.rand(len(clean), generator=generator) < 0.5)
        t = t.to(device)
        noisy, _ = interpolate(clean, t, generator)
        noise, _ = interpolate(clean, torch.zeros_like(t), generator)
        x = torch.where(known[:, :, None], noisy, noise).flatten(1)
        context = model.context(on_device(batch.conditions, device), len(x))
        logits = model(x, t, "text", context, batch.extra.to(device), dropout=settings.dropout)
        scored = -(clean * records.log_probabilities(logits)).sum(-1)
        return (scored * known).sum() / known.sum().clamp(min=1)

    return loss


def joint_loss(
    losses: Mapping[Target, TargetLoss], settings: Mapping[Target, TargetSettings], seed: int
) -> Callable[[int, torch.Generator], dict[str, Tensor]]:
    """The weighted losses of the targets that take part in a step."""

    def loss_of_step(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = {}
        for number, (target, loss) in enumerate(losses.items()):
            if step % settings[target].every == 0:
                parts[target] = settings[target].weight * loss(batch_rng(seed, step, number), generator)
        if not parts:
            raise ValueError(f"targets: found none for step {step}; expected one with `every` 1")
        return parts

    return loss_of_step


def train_trunk(
    model: MuPDTransformer,
    losses: Mapping[Target, TargetLoss],
    targets: Mapping[Target, TargetSettings],
    settings: LoopSettings,
    folder: Path,
    on_checkpoint: OnCheckpoint | None = None,
    alignment: Alignment | None = None,
) -> dict[str, Tensor]:
    """Train all targets together, and the projector of `alignment`; returns the trunk's averaged weights."""
    loss = joint_loss(losses, targets, settings.seed)
    if alignment is None:
        return train(model, loss, settings, folder, on_checkpoint)
    both = nn.ModuleDict({"trunk": model, "projector": alignment.projector})

    ema = train(both, loss, settings, folder, on_checkpoint)
    return {name.removeprefix("trunk."): value for name, value in ema.items() if name.startswith("trunk.")}
