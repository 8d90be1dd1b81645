"""What a stainer's two networks learn from: its autoencoder of the stain, and the trunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mupd.model.attention import Context
from mupd.model.regions import he_extra
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import Autoencoder, MuPDVAE, reconstruction_loss
from mupd.training.processes import batch_rng
from mupd.training.stain.plan import StainTrunkSettings
from mupd.training.trunk import interpolate, logit_normal

Loss = Callable[[int, torch.Generator], Tensor]


class Stains(Protocol):
    """Source of stains."""

    def batch(self, size: int, rng: np.random.Generator) -> Tensor:
        """(size, channels, side, side) in [-1, 1]."""
        ...


class Pairs(Protocol):
    """Source of pairs."""

    def pair_batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """H&E (size, 3, side, side) and stain (size, channels, side, side) in [-1, 1]."""
        ...


def stain_vae_loss(model: MuPDVAE, stains: Stains, weights: Tensor, batch_size: int, seed: int) -> Loss:
    """Reconstruction from noised latents; every second step also of the half-size picture from the half-size latent.

    Parameters
    ----------
    weights
        (channels,) of the errors of each channel.
    """

    def loss_of_step(step: int, _generator: torch.Generator) -> Tensor:
        images = stains.batch(batch_size, batch_rng(seed, step)).to(model.device)
        scale = weights.to(images)[:, None, None]
        decoded, latents = model(images)
        # Squared errors as well as absolute ones: for a marker that is dark almost everywhere the median is black.
        loss = reconstruction_loss(scale * decoded, scale * images) + F.mse_loss(scale * decoded, scale * images)
        if step % 2:
            half = model.decode(F.avg_pool2d(latents, 2))
            loss = loss + 0.5 * reconstruction_loss(scale * half, scale * F.avg_pool2d(images, 2))
        return loss

    return loss_of_step


@dataclass(frozen=True)
class Autoencoders:
    """The frozen autoencoders of the H&E and of its stain."""

    he: Autoencoder
    stain: Autoencoder


def stain_trunk_loss(
    model: MuPDTransformer, autoencoders: Autoencoders, pairs: Pairs, settings: StainTrunkSettings, mpp: float
) -> Loss:
    """Mean squared error of the velocity of the stain's latents, given those of the H&E.

    A share of the samples, ``at_noise``, is pure noise (t = 0). From these the network learns the expectation of the
    latents given the H&E, which a single Euler step reads.
    """
    batch_size = settings.batch_size

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        device = model.device
        he, stain = pairs.pair_batch(batch_size, batch_rng(settings.seed, 1, step))
        with torch.no_grad():
            aligned, clean = autoencoders.he.encode(he.to(device)), autoencoders.stain.encode(stain.to(device))
        t = logit_normal(batch_size, generator) * (torch.rand(batch_size, generator=generator) >= settings.at_noise)
        t = t.to(device)
        x, velocity = interpolate(clean, t, generator)
        extra = he_extra(mpp).to(device).expand(batch_size, 2)
        predicted = model(x, t, "he", Context(batch_size, {}), extra, aligned=aligned)
        return (predicted - velocity).square().mean()

    return loss_of_step
