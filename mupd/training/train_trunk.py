"""Training of the trunk: every target has its own batches, losses and share of the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mupd.model.attention import Conditions
from mupd.model.transformer import MuPDTransformer, Target
from mupd.model.vae import Autoencoder
from mupd.training.align import Alignment
from mupd.training.loop import LoopSettings, OnCheckpoint, train
from mupd.training.processes import batch_rng


@dataclass(frozen=True)
class TargetSettings:
    """How a target takes part in training.

    Attributes
    ----------
    batch_size
        Samples a step.
    every
        The target is trained at every so many steps; small data sets are soon known by heart.
    weight
        Of its loss.
    dropout
        In the trunk's feed-forward layers.
    """

    batch_size: int
    every: int = 1
    weight: float = 1.0
    dropout: float = 0.0


class HeSource(Protocol):
    """Source of H&E windows with conditions."""

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Conditions, Tensor]:
        """Images (size, 3, 128, 128) in [-1, 1], conditions, extra (size, 2)."""
        ...


class VectorSource(Protocol):
    """Source of RNA components with conditions."""

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Conditions, Tensor]:
        """Components (size, dim), conditions, extra (size, 2)."""
        ...


class RecordSource(Protocol):
    """Source of records with conditions."""

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Conditions]:
        """One-hot blocks (size, fields, block), known fields (size, fields) bool, conditions."""
        ...

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """(size, fields * block) to (size, fields, block)."""
        ...


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
    source: HeSource,
    settings: TargetSettings,
    alignment: Alignment | None = None,
) -> TargetLoss:
    """Mean squared error of the velocity of H&E latents, and what `alignment` adds to it."""

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        device = model.device
        images, conditions, extra = source.batch(settings.batch_size, rng)
        images = images.to(device)
        with torch.no_grad():
            latents = vae.encode(images)
        t = logit_normal(len(latents), generator).to(device)
        x, velocity = interpolate(latents, t, generator)
        context = model.context(_moved(conditions, device), len(x))
        if alignment is None:
            found = model(x, t, "he", context, extra.to(device), dropout=settings.dropout)
            return (found - velocity).square().mean()
        block = alignment.settings.block
        found, tokens, grid = model(x, t, "he", context, extra.to(device), dropout=settings.dropout, features_of=block)
        return (found - velocity).square().mean() + alignment.loss(images, tokens, grid, t, generator)

    return loss


def rna_loss(model: MuPDTransformer, source: VectorSource, settings: TargetSettings) -> TargetLoss:
    """Mean squared error of the velocity of RNA components."""

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        device = model.device
        clean, conditions, extra = source.batch(settings.batch_size, rng)
        # Components follow from conditions early: more of the steps near the noise.
        t = logit_normal(len(clean), generator, mean=-0.5).to(device)
        x, velocity = interpolate(clean.to(device), t, generator)
        context = model.context(_moved(conditions, device), len(x))
        found = model(x, t, "rna", context, extra.to(device), dropout=settings.dropout)
        return (found - velocity).square().mean()

    return loss


def record_loss(model: MuPDTransformer, source: RecordSource, settings: TargetSettings) -> TargetLoss:
    """Cross-entropy of the known fields; unknown ones stay pure noise and are not scored."""

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        device = model.device
        clean, known, conditions = source.batch(settings.batch_size, rng)
        clean, known = clean.to(device), known.to(device)
        # Half of the batch at t = 0, where the network states each field's distribution.
        t = torch.rand(len(clean), generator=generator) * (torch.rand(len(clean), generator=generator) < 0.5)
        t = t.to(device)
        noisy, _ = interpolate(clean, t, generator)
        noise, _ = interpolate(clean, torch.zeros_like(t), generator)
        x = torch.where(known[:, :, None], noisy, noise).flatten(1)
        context = model.context(_moved(conditions, device), len(x))
        logits = model(x, t, "text", context, torch.zeros(len(x), 2, device=device), dropout=settings.dropout)
        scored = -(clean * source.log_probabilities(logits)).sum(-1)
        return (scored * known).sum() / known.sum().clamp(min=1)

    return loss


def _moved(conditions: Conditions, device: torch.device) -> Conditions:
    return {name: (tokens.to(device), mask.to(device)) for name, (tokens, mask) in conditions.items()}


def joint_loss(
    losses: Mapping[Target, TargetLoss], settings: Mapping[Target, TargetSettings], seed: int
) -> Callable[[int, torch.Generator], dict[str, Tensor]]:
    """The weighted losses of a step: those of the targets whose turn it is."""

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
    """Train all targets together, with the projector of `alignment`; returns the trunk's EMA weights."""
    loss = joint_loss(losses, targets, settings.seed)
    if alignment is None:
        return train(model, loss, settings, folder, on_checkpoint)
    both = nn.ModuleDict({"trunk": model, "projector": alignment.projector})

    def show(step: int, ema: dict[str, Tensor]) -> None:
        if on_checkpoint is not None:
            on_checkpoint(step, _of_trunk(ema))

    return _of_trunk(train(both, loss, settings, folder, show))


def _of_trunk(ema: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("trunk."): value for name, value in ema.items() if name.startswith("trunk.")}
