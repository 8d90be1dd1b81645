"""Samples of each target from a trunk and its conditions; the pipeline puts files and cases around them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.model.attention import Conditions, Context
from mupd.model.guidance import guided
from mupd.model.record_codec import RecordCodec
from mupd.model.regions import to_uint8
from mupd.model.solvers import Solver, integrate
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import Autoencoder
from mupd.model_folder.geometry import TRAINED


def seeded_noise(shape: tuple[int, ...], seed: int, device: str | torch.device) -> Tensor:
    """Standard normal noise that depends on the seed alone, not on the device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


@torch.no_grad()
def sample_he_windows(
    model: MuPDTransformer,
    vae: Autoencoder,
    conditions: Conditions,
    extra: Tensor,
    *,
    seed: int,
    steps: int,
    scales: Mapping[str, float],
) -> NDArray[np.uint8]:
    """Single windows by Euler's method, (batch, 128, 128, 3) uint8, one for each row of the conditions.

    Parameters
    ----------
    extra
        (batch, 2), see :func:`mupd.model.regions.he_extra`.
    scales
        Guidance of each stream.
    """
    context = model.context(conditions, len(extra))
    noise = seeded_noise((len(extra), vae.latent_channels, TRAINED.window, TRAINED.window), seed, extra.device)
    return to_uint8(vae.decode(integrate(guided(model, "he", context, extra, scales), noise, steps, "euler")))


@torch.no_grad()
def sample_vectors(
    model: MuPDTransformer,
    context: Context,
    extra: Tensor,
    noise: Tensor,
    *,
    steps: int,
    scales: Mapping[str, float],
    solver: Solver = "euler",
) -> Tensor:
    """RNA components (batch, dim) from noise of that shape."""
    return integrate(guided(model, "rna", context, extra, scales), noise, steps, solver)


@torch.no_grad()
def sample_record(
    model: MuPDTransformer,
    codec: RecordCodec,
    context: Context,
    noise: Tensor,
    *,
    steps: int,
    direction: str | None = None,
) -> tuple[Tensor, Tensor]:
    """One record for each row: all fields drawn jointly, and each field's distribution.

    The trunk predicts the clean record. Its prediction at t = 0 is the distribution of each field
    given the conditions; integrating to t = 1 draws all fields together.

    Parameters
    ----------
    noise
        (batch, fields * block).
    direction
        What the record is made from, by which the codec tempers its probabilities; None = as they are.

    Returns
    -------
    tuple
        Drawn blocks and marginal probabilities, each (batch, fields, block): the model's own, without the shares
        that :meth:`RecordCodec.blended` and :meth:`RecordCodec.redrawn` mix in.

    Raises
    ------
    ValueError
        If there is no step, or the codec has no such direction.
    """
    if steps < 1:
        raise ValueError(f"steps: found {steps}; expected at least 1")
    extra = torch.zeros(len(noise), 2, device=noise.device)
    x, marginal = noise, noise
    dtype = next(model.parameters()).dtype
    for step in range(steps):
        t = torch.full((len(x),), step / steps, device=x.device)
        logits = model(x.to(dtype), t, "text", context, extra.to(dtype)).to(x.dtype)
        clean = codec.log_probabilities(logits, direction).exp()
        marginal = clean if step == 0 else marginal
        x = x + (clean.flatten(1) - x) / (steps - step)
    return x.unflatten(1, marginal.shape[1:]), marginal
