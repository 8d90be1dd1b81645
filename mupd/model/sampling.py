"""Sampling: Euler steps of the velocity field, classifier-free guidance, and whole regions."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.model.transformer import Conditions, MuPDTransformer
from mupd.model.vae import DOWNSAMPLE, MuPDVAE

HE_WINDOW_PX = 128
WINDOW = HE_WINDOW_PX // DOWNSAMPLE
"""Side of the transformer's window in latents."""

NATIVE_MPP = 0.78
"""Micrometres per pixel at which the H&E transformer was trained."""

Velocity = Callable[[Tensor, Tensor], Tensor]


def he_extra(mpp: float | None) -> Tensor:
    """The extra vector (2,) of the H&E transformer: log2 of mpp over the native, and whether it is known."""
    return torch.zeros(2) if mpp is None else torch.tensor([math.log2(mpp / NATIVE_MPP), 1.0])


def sampling_times(steps: int) -> list[float]:
    """Times from 0 to 1, `steps` + 1 of them, evenly spaced."""
    return [i / steps for i in range(steps + 1)]


def without(conditions: Conditions) -> Conditions:
    """The same conditions with every stream absent."""
    return {name: (tokens, torch.zeros_like(mask)) for name, (tokens, mask) in conditions.items()}


def guided(model: MuPDTransformer, conditions: Conditions, extra: Tensor, guidance: float) -> Velocity:
    """The velocity under classifier-free guidance; both passes run as one batch.

    A scale of 1 is the plain conditional velocity, computed without the second pass.
    """
    if guidance == 1.0 or not conditions:
        return lambda x, t: model(x, t, conditions, extra)
    empty = without(conditions)
    both = {
        name: (torch.cat([tokens, tokens]), torch.cat([mask, empty[name][1]]))
        for name, (tokens, mask) in conditions.items()
    }
    twice = torch.cat([extra, extra])

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        conditional, plain = model(torch.cat([x, x]), torch.cat([t, t]), both, twice).chunk(2)
        return plain + guidance * (conditional - plain)

    return velocity


@torch.no_grad()
def euler(velocity: Velocity, noise: Tensor, steps: int) -> Tensor:
    """Integrate from noise (t = 0) to data (t = 1)."""
    x = noise
    times = sampling_times(steps)
    for now, after in pairwise(times):
        x = x + (after - now) * velocity(x, torch.full((len(x),), now, dtype=x.dtype, device=x.device))
    return x


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """(batch, 3, h, w) in [-1, 1] to (batch, h, w, 3) uint8."""
    return ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def sample_he_windows(
    model: MuPDTransformer,
    vae: MuPDVAE,
    conditions: Conditions,
    extra: Tensor,
    *,
    seed: int,
    steps: int,
    guidance: float,
) -> NDArray[np.uint8]:
    """Single windows (batch, 128, 128, 3) uint8, one for each row of the conditions."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(extra), vae.config["latent_channels"], WINDOW, WINDOW)
    noise = torch.randn(shape, generator=generator).to(extra.device)
    latents = euler(guided(model, conditions, extra, guidance), noise, steps)
    return to_uint8(vae.decode(latents))


STRIDE = WINDOW - 4
"""Step of the grid of windows: neighbours share 4 latents, over which they are faded into each other."""


def window_starts(length: int, offset: int) -> list[int]:
    """Starts of the windows that cover one side, the grid moved back by `offset` latents.

    Every window lies inside: at the ends it is pushed inward and overlaps its neighbour.
    """
    starts = range(-(offset % STRIDE), length - WINDOW + STRIDE, STRIDE)
    return sorted({min(max(start, 0), length - WINDOW) for start in starts})


def window_weight() -> Tensor:
    """Weight (WINDOW, WINDOW) of a window's places: 1 inside, falling off over the shared latents."""
    shared = WINDOW - STRIDE
    ramp = (torch.arange(WINDOW) + 1).clamp(max=shared + 1) / (shared + 1)
    side = torch.minimum(ramp, ramp.flip(0))
    return side[:, None] * side[None]


def denoise_region(
    velocity_of: Callable[[NDArray[np.int64]], Velocity],
    noise: Tensor,
    steps: int,
    batch_size: int,
    on_step: Callable[[], object] | None = None,
) -> Tensor:
    """Integrate a region larger than the window, all windows together.

    At each step windows cover the region, and their grid moves from step to step, so that every
    place is at a border in few of the steps. Where windows overlap, their velocities are faded
    into each other, so that what is denoised apart grows together without a seam. Batches have a
    fixed size (the last is filled up), so that the result does not depend on the region's other
    windows.

    Parameters
    ----------
    velocity_of
        Given window corners (n, 2) as y, x in latents of the region, returns the velocity
        function for a batch of these windows.
    noise
        (channels, height, width) latents at t = 0; neither side under WINDOW.

    Returns
    -------
    Tensor
        (channels, height, width) latents at t = 1.

    Raises
    ------
    ValueError
        If the region is smaller than a window.
    """
    height, width = noise.shape[1:]
    if min(height, width) < WINDOW:
        raise ValueError(f"noise: found {height} x {width} latents; expected at least {WINDOW} x {WINDOW}")
    x = noise
    weight = window_weight().to(noise)
    times = sampling_times(steps)
    for step in range(steps):
        # 7 and 5 share no factor with the stride: all offsets are visited before one comes again.
        ys, xs = window_starts(height, 7 * step), window_starts(width, 5 * step)
        corners = np.array([(top, left) for top in ys for left in xs], np.int64)
        change, covered = torch.zeros_like(x), torch.zeros_like(x[:1])
        for start in range(0, len(corners), batch_size):
            chosen = corners[start : start + batch_size]
            filled = np.concatenate([chosen, np.repeat(chosen[-1:], batch_size - len(chosen), axis=0)])
            windows = torch.stack([x[:, top : top + WINDOW, left : left + WINDOW] for top, left in filled])
            t = torch.full((batch_size,), times[step], dtype=x.dtype, device=x.device)
            for (top, left), velocity in zip(chosen, velocity_of(filled)(windows, t), strict=False):
                change[:, top : top + WINDOW, left : left + WINDOW] += weight * velocity
                covered[:, top : top + WINDOW, left : left + WINDOW] += weight
        x = x + (times[step + 1] - times[step]) * change / covered
        if on_step is not None:
            on_step()
    return x


DECODE_HALO = 16
"""Latents around a decoded tile: over the decoder's reach, so that tiles fit without seams."""


@torch.no_grad()
def decode_region(vae: MuPDVAE, latents: Tensor, write: Callable[[int, int, NDArray[np.uint8]], None]) -> None:
    """Decode latents (channels, h, w) tile by tile; `write(y, x, pixels)` gets each tile in pixels.

    The decoder's norms read one pixel each, so a tile with a halo comes out as in a whole decode.
    """
    side = 64
    _, height, width = latents.shape
    for y in range(0, height, side):
        for x in range(0, width, side):
            top, left = max(0, y - DECODE_HALO), max(0, x - DECODE_HALO)
            part = latents[:, top : y + side + DECODE_HALO, left : x + side + DECODE_HALO]
            pixels = to_uint8(vae.decode(part[None]))[0]
            y0, x0 = (y - top) * DOWNSAMPLE, (x - left) * DOWNSAMPLE
            tall, wide = min(side, height - y) * DOWNSAMPLE, min(side, width - x) * DOWNSAMPLE
            write(y * DOWNSAMPLE, x * DOWNSAMPLE, pixels[y0 : y0 + tall, x0 : x0 + wide])
