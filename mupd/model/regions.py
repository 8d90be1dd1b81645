"""H&E of any size: overlapping windows denoised together in latent space, decoded tile by tile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.model.journal import RegionJournal
from mupd.model.solvers import Solver, Velocity, scheduler_of
from mupd.model.vae import Autoencoder
from mupd.model_folder.geometry import DECODE_SIDE, DOWNSAMPLE, TRAINED, Geometry

DECODE_HALO = 16
"""Latents around a decoded tile: over the decoder's reach, so that tiles fit without seams."""


def he_extra(mpp: float | None) -> Tensor:
    """The extra vector (2,) of H&E: log2 of mpp over the native, and whether it is known."""
    return torch.zeros(2) if mpp is None else torch.tensor([math.log2(mpp / TRAINED.mpp), 1.0])


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """(batch, channels, h, w) in [-1, 1] to (batch, h, w, channels) uint8."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


def from_uint8(pixels: NDArray[np.uint8]) -> Tensor:
    """(batch, h, w, channels) uint8 to (batch, channels, h, w) in [-1, 1]; the inverse of :func:`to_uint8`."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def window_weight(geometry: Geometry) -> Tensor:
    """Weight (window, window) of a window's places: 1 inside, falling off over the shared latents."""
    shared = geometry.window - geometry.stride
    ramp = (torch.arange(geometry.window) + 1).clamp(max=shared + 1) / (shared + 1)
    side = torch.minimum(ramp, ramp.flip(0))
    return side[:, None] * side[None]


@dataclass(frozen=True)
class RegionSampling:
    """How a region is sampled.

    Attributes
    ----------
    steps
        Of the solver.
    batch_size
        Windows a batch: the last is filled up, because the size changes the last bits of the values.
    on_step
        Called after each evaluation.
    journal
        Of this very region with these settings: keeps every micro-batch. What it holds is not computed again.
    """

    steps: int
    batch_size: int
    solver: Solver = "euler"
    on_step: Callable[[], object] | None = None
    journal: RegionJournal | None = None


@torch.no_grad()
def denoise_region(
    velocity_of: Callable[[NDArray[np.int64]], Velocity],
    noise: Tensor,
    sampling: RegionSampling,
    geometry: Geometry = TRAINED,
) -> Tensor:
    """Integrate a region larger than the window, all windows together.

    At each evaluation windows cover the region, and their grid moves from one to the next, so that
    every place is at a border in few of them. Where windows overlap, their velocities are faded
    into each other, so that what is denoised apart grows together without a seam. Batches have a
    fixed size (the last is filled up), so that a window's velocity is bit-identical whatever other
    windows there are. Memory beyond a few copies of the latents does not grow with the region.

    Parameters
    ----------
    velocity_of
        Given window corners (batch_size, 2) as y, x in latents of the region, returns the velocity
        of a batch of these windows.
    noise
        (channels, height, width) latents at t = 0; neither side under the window.
    geometry
        Of the model.

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
    window = geometry.window
    if min(height, width) < window:
        raise ValueError(f"noise: found {height} x {width} latents; expected at least {window} x {window}")
    x = noise
    weight = window_weight(geometry).to(noise)
    batch_size, on_step, journal = sampling.batch_size, sampling.on_step, sampling.journal
    scheduler = scheduler_of(sampling.solver, sampling.steps)
    begin, kept = journal.start() if journal is not None else (0, None)
    if kept is not None:
        x = torch.from_numpy(kept).to(noise)
        scheduler.set_begin_index(begin)
    for step, timestep in enumerate(scheduler.timesteps):
        if step < begin:
            if on_step is not None:
                on_step()
            continue
        ys, xs = geometry.window_grid(height, width, step)
        corners = np.array([(top, left) for top in ys for left in xs], np.int64)
        change, covered = torch.zeros_like(x), torch.zeros_like(x[:1])
        t = torch.full((batch_size,), 1.0 - float(timestep) / 1000, dtype=x.dtype, device=x.device)
        known = journal.velocities(step, (batch_size, len(x), window, window)) if journal is not None else []
        for number, start in enumerate(range(0, len(corners), batch_size)):
            chosen = corners[start : start + batch_size]
            filled = np.concatenate([chosen, np.repeat(chosen[-1:], batch_size - len(chosen), axis=0)])
            if number < len(known):
                velocities = torch.from_numpy(known[number].copy()).to(x)
            else:
                windows = torch.stack([x[:, top : top + window, left : left + window] for top, left in filled])
                velocities = velocity_of(filled)(windows, t)
                if journal is not None:
                    journal.append(step, number, velocities.float().cpu().numpy())
            for (top, left), velocity in zip(chosen, velocities, strict=False):
                change[:, top : top + window, left : left + window] += weight * velocity
                covered[:, top : top + window, left : left + window] += weight
        x = scheduler.step(-change / covered, timestep, x, return_dict=False)[0]
        # Between the two evaluations of a Heun step the scheduler holds more than the latents.
        if journal is not None and getattr(scheduler, "state_in_first_order", True):
            journal.save(step + 1, x.float().cpu().numpy())
        if on_step is not None:
            on_step()
    return x


@torch.no_grad()
def encode_region(
    vae: Autoencoder, read: Callable[[int, int, int, int], NDArray[np.uint8]], shape: tuple[int, int]
) -> Tensor:
    """Latents (channels, height, width) of a picture of any size, read and encoded tile by tile.

    A tile is encoded with a halo over the encoder's reach: it comes out as in a whole encode.

    Parameters
    ----------
    read
        x, y, width and height in pixels to pixels (height, width, channels).
    shape
        Height and width in latents.
    """
    height, width = shape
    encoded: Tensor | None = None
    device = vae.device
    for y in range(0, height, DECODE_SIDE):
        for x in range(0, width, DECODE_SIDE):
            top, left = max(0, y - DECODE_HALO), max(0, x - DECODE_HALO)
            bottom, right = min(height, y + DECODE_SIDE + DECODE_HALO), min(width, x + DECODE_SIDE + DECODE_HALO)
            sides = left, top, right - left, bottom - top
            pixels = read(*(side * DOWNSAMPLE for side in sides))
            latents = vae.encode(from_uint8(pixels[None]).to(device))[0]
            if encoded is None:
                encoded = latents.new_empty(len(latents), height, width)
            part = encoded[:, y : y + DECODE_SIDE, x : x + DECODE_SIDE]
            part.copy_(latents[:, y - top : y - top + part.shape[1], x - left : x - left + part.shape[2]])
    if encoded is None:
        raise ValueError(f"shape: found {shape}; expected sides over 0")
    return encoded


@torch.no_grad()
def decode_region(
    vae: Autoencoder,
    latents: Tensor,
    write: Callable[[int, int, NDArray[np.uint8]], None],
    journal: RegionJournal | None = None,
) -> None:
    """Decode latents (channels, h, w) tile by tile; `write(y, x, pixels)` gets each tile in pixels.

    The decoder's norms read one pixel each, so a tile with a halo comes out as in a whole decode. Tiles that the
    journal counts as decoded are left out.
    """
    _, height, width = latents.shape
    done = journal.decoded if journal is not None else frozenset()
    number = -1
    for y in range(0, height, DECODE_SIDE):
        for x in range(0, width, DECODE_SIDE):
            number += 1
            if number in done:
                continue
            top, left = max(0, y - DECODE_HALO), max(0, x - DECODE_HALO)
            part = latents[:, top : y + DECODE_SIDE + DECODE_HALO, left : x + DECODE_SIDE + DECODE_HALO]
            pixels = to_uint8(vae.decode(part[None]))[0]
            y0, x0 = (y - top) * DOWNSAMPLE, (x - left) * DOWNSAMPLE
            tall, wide = min(DECODE_SIDE, height - y) * DOWNSAMPLE, min(DECODE_SIDE, width - x) * DOWNSAMPLE
            write(y * DOWNSAMPLE, x * DOWNSAMPLE, pixels[y0 : y0 + tall, x0 : x0 + wide])
            if journal is not None:
                journal.tile_done(number)
