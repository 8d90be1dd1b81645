"""Building blocks shared by the autoencoder and the transformers."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mupd.model.cpu.products import quick

CHANNEL_EPS = 1e-5


class ChannelNorm(nn.Module):
    """Root-mean-square norm over the channels of each pixel, with a learned gain.

    Unlike GroupNorm it reads no other pixel: what is computed on a tile with a halo is what would
    have been computed on the whole picture, so tiled decoding leaves no seams.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`x` is (batch, channels, height, width)."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + CHANNEL_EPS) * self.gain


Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def zeroed(layer: Layer) -> Layer:
    """The layer with weight and bias 0: what it feeds begins as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResBlock(nn.Module):
    """ChannelNorm, SiLU, 3x3 convolution, twice, around an identity; optional scale-shift by a vector."""

    def __init__(self, channels: int, modulation_dim: int | None = None) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = ChannelNorm(channels)
        self.conv2 = zeroed(nn.Conv2d(channels, channels, 3, padding=1))
        self.modulation: nn.Linear | None = None
        if modulation_dim is not None:
            self.modulation = zeroed(nn.Linear(modulation_dim, 2 * channels))

    def forward(self, x: Tensor, modulation: Tensor | None = None) -> Tensor:
        """`x` is (batch, channels, height, width); `modulation` is (batch, modulation_dim)."""
        return self.after(x, self.before(x), modulation)

    def before(self, x: Tensor) -> Tensor:
        """What does not depend on the modulation: all until it, (batch, channels, height, width)."""
        return self.norm2(self.conv1(F.silu(self.norm1(x), inplace=quick(x))))

    def after(self, x: Tensor, h: Tensor, modulation: Tensor | None = None) -> Tensor:
        """The rest: `h` is what :meth:`before` made of `x`."""
        if self.modulation is not None and modulation is not None:
            scale, shift = self.modulation(modulation)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        if quick(x):
            return self.conv2(F.silu(h, inplace=True)).add_(x)
        return x + self.conv2(F.silu(h))


def timestep_embedding(t: Tensor, dim: int) -> Tensor:
    """Sinusoidal embedding of times in [0, 1] (scaled by 1,000); (batch,) to (batch, dim)."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angles = 1_000.0 * t.float()[:, None] * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def sincos_positions_2d(height: int, width: int, dim: int, scale: float = 1.0) -> Tensor:
    """Fixed 2-D sin-cos positions, (height * width, dim); sizes other than trained are allowed."""
    quarter = dim // 4
    omega = 1.0 / 10_000 ** (torch.arange(quarter, dtype=torch.float32) / quarter)
    y = torch.arange(height, dtype=torch.float32)[:, None] * scale * omega
    x = torch.arange(width, dtype=torch.float32)[:, None] * scale * omega
    rows = torch.cat([y.sin(), y.cos()], -1)[:, None].expand(height, width, 2 * quarter)
    columns = torch.cat([x.sin(), x.cos()], -1)[None].expand(height, width, 2 * quarter)
    return torch.cat([rows, columns], -1).reshape(height * width, 4 * quarter)
