"""Embeddings and heads of each target: what turns its samples into tokens of the trunk, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mupd.model.layers import ChannelNorm, ResBlock, sincos_positions_2d, zeroed


def repeated(x: Tensor, copies: int) -> Tensor:
    """`copies` of a batch, one behind the other."""
    return x if copies == 1 else torch.cat([x] * copies)


class LatentStem(nn.Module):
    """H&E latents: convolutions at the latents' own size around the trunk, which works at half of it.

    The convolutions see over patch borders: a bare patch embedding of 2 leaves a lattice. With
    `blocks` 0 it is that bare patch embedding (DiT), for trunks that are large enough.

    Parameters
    ----------
    aligned
        Channels of a condition that lies on the latents place by place, such as another picture's latents. Its
        convolution is added to the first: the same as one convolution over the channels of both, and weights of a
        stem without it fit as they are.
    """

    def __init__(self, channels: int, stem: int, width: int, blocks: int, aligned: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, stem, 3, padding=1)
        self.aligned = nn.Conv2d(aligned, stem, 3, padding=1, bias=False) if aligned else None
        self.down_blocks = nn.ModuleList([ResBlock(stem, width) for _ in range(blocks)])
        self.down = nn.Conv2d(stem, width, 2, stride=2)
        self.up = nn.Conv2d(width, 4 * stem, 1)
        self.join = nn.Conv2d(2 * stem, stem, 3, padding=1)
        self.up_blocks = nn.ModuleList([ResBlock(stem, width) for _ in range(blocks)])
        self.last_norm = ChannelNorm(stem)
        self.last = zeroed(nn.Conv2d(stem, channels, 3, padding=1))

    def expect(self, x: Tensor, aligned: Tensor | None) -> None:
        """Check shapes, see :meth:`tokens`.

        Raises
        ------
        ValueError
            If a side of `x` is odd, or `aligned` is not what the stem was made for.
        """
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError(f"x: found {x.shape[2]} x {x.shape[3]} latents; expected even sides")
        wanted = None if self.aligned is None else (len(x), self.aligned.in_channels, *x.shape[2:])
        shape = None if aligned is None else tuple(aligned.shape)
        if shape != wanted:
            raise ValueError(f"aligned: found shape {shape or 'none'}; expected {wanted or 'none'}")

    def tokens(
        self, x: Tensor, vector: Tensor, aligned: Tensor | None = None, copies: int = 1
    ) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Tokens (batch, n, width), the features to skip over the trunk, and the grid (rows, columns).

        `x` (batch / copies, channels, height, width) stands for `copies` of it, one behind the other: what comes
        before `vector` (batch, width) makes them differ is computed once.

        Raises
        ------
        ValueError
            If a side of `x` is odd, or `aligned` is not what the stem was made for.
        """
        self.expect(x, aligned)
        skip = self.first(x)
        if self.aligned is not None and aligned is not None:
            skip = skip + self.aligned(aligned)
        for index, block in enumerate(cast(Iterable[ResBlock], self.down_blocks)):
            h = block.before(skip)
            if index == 0:
                h, skip = repeated(h, copies), repeated(skip, copies)
            skip = block.after(skip, h, vector)
        if not self.down_blocks:
            skip = repeated(skip, copies)
        small = self.down(skip)
        grid = small.shape[2], small.shape[3]
        tokens = small.flatten(2).transpose(1, 2)
        return tokens + sincos_positions_2d(*grid, tokens.shape[-1]).to(tokens), skip, grid

    def velocity(self, tokens: Tensor, skip: Tensor, grid: tuple[int, int], vector: Tensor) -> Tensor:
        """Velocity of the latents, (batch, channels, height, width)."""
        small = self.up(tokens.transpose(1, 2).unflatten(2, grid))
        x = self.join(torch.cat([F.pixel_shuffle(small, 2), skip], dim=1))
        for block in self.up_blocks:
            x = block(x, vector)
        return self.last(F.silu(self.last_norm(x)))


class VectorStem(nn.Module):
    """A vector cut into equal tokens, and back; for RNA components and record fields."""

    def __init__(self, dim: int, tokens: int, width: int) -> None:
        super().__init__()
        if dim % tokens:
            raise ValueError(f"dim: found {dim}; expected a multiple of {tokens} tokens")
        self.count = tokens
        self.first = nn.Linear(dim // tokens, width)
        self.position = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.last_norm = nn.LayerNorm(width)
        self.last = zeroed(nn.Linear(width, dim // tokens))

    def tokens(self, x: Tensor) -> Tensor:
        """(batch, dim) to (batch, tokens, width)."""
        return self.first(x.unflatten(1, (self.count, -1))) + self.position

    def values(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) to (batch, dim)."""
        return self.last(self.last_norm(tokens)).flatten(1)
