"""The convolutions around the trunk, over maps (height, width, batch, channels).

Rows of a batch are passes, one behind the other, of the same windows: what they have in common is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from mupd.model.cpu.convolution import Convolution
from mupd.model.cpu.layers import Product, scale_of_unit
from mupd.model.cpu.workspace import Workspace
from mupd.model.layers import CHANNEL_EPS, ChannelNorm, ResBlock, sincos_positions_2d
from mupd.model.stems import LatentStem

Modulation = tuple[Tensor, Tensor]
"""Scale and shift of a block, each (batch, channels)."""


def _gain(norm: ChannelNorm) -> Tensor:
    """Gain of a norm, with the factor that :func:`scale_of_unit` leaves out; (channels,)."""
    return norm.gain.detach().flatten() * math.sqrt(norm.gain.numel())


class PreparedBlock:
    """A :class:`mupd.model.layers.ResBlock`; its modulation is handed over ready, see :class:`PreparedStem`."""

    def __init__(self, block: ResBlock, work: Workspace) -> None:
        self._gain = _gain(block.norm1)
        self._conv1 = Convolution(block.conv1, work)
        self._conv2 = Convolution(block.conv2, work)

    def before(self, x: Tensor, name: str) -> Tensor:
        """All until the modulation, of the map `x`, in the workspace under `name`."""
        h = self._conv1.places("normed", *x.shape)
        torch.mul(x, scale_of_unit(x, CHANNEL_EPS), out=h)
        h = self._conv1([F.silu(h.mul_(self._gain), inplace=True)], self._conv1.places(name, *x.shape))
        return h.mul_(scale_of_unit(h, CHANNEL_EPS))

    def after(self, x: Tensor, h: Tensor, modulation: Modulation) -> Tensor:
        """The rest, added to `x` in place.

        `h` has the rows of `x`, or those of one of its passes.
        """
        scale, shift = modulation
        inner = self._conv2.places("modulated", *x.shape)
        by_pass = inner.unflatten(2, (-1, h.shape[2]))
        shape = by_pass.shape[2:]
        torch.addcmul(shift.view(shape), h[:, :, None], scale.view(shape), out=by_pass)
        return self._conv2([F.silu(inner, inplace=True)], x, add=True)


class PreparedStem:
    """A :class:`mupd.model.stems.LatentStem` of one block at least, its weights packed."""

    def __init__(self, stem: LatentStem, work: Workspace) -> None:
        self._work = work
        self.expect = stem.expect
        self._channels = channels = stem.first.out_channels
        self._width = stem.down.out_channels
        self._first = Convolution(stem.first, work, beside=stem.aligned)
        down, up = cast(list[ResBlock], list(stem.down_blocks)), cast(list[ResBlock], list(stem.up_blocks))
        self._down_blocks = [PreparedBlock(block, work) for block in down]
        self._up_blocks = [PreparedBlock(block, work) for block in up]
        self._modulation = _modulations([*down, *up])
        self._join = Convolution(stem.join, work)
        self._last_gain = _gain(stem.last_norm)
        self._last = Convolution(stem.last, work)
        self._out = stem.last.out_channels
        # A patch of 2 x 2 places lies place by place, then channel by channel.
        self._down = Product(stem.down.weight.permute(0, 2, 3, 1).flatten(1), stem.down.bias)
        rows = torch.arange(4 * channels).unflatten(0, (channels, 4)).t().flatten()
        self._up = Product(stem.up.weight.flatten(1)[rows], None if stem.up.bias is None else stem.up.bias[rows])

    def modulations(self, vector: Tensor) -> list[Modulation]:
        """What `vector` (batch, width) makes of each block's norm, those before the trunk first."""
        parts = self._modulation(vector).chunk(2 * (len(self._down_blocks) + len(self._up_blocks)), dim=1)
        return [(scale.contiguous(), shift.contiguous()) for scale, shift in zip(parts[::2], parts[1::2], strict=True)]

    def tokens(
        self, x: Tensor, aligned: Tensor | None, modulations: Sequence[Modulation], passes: int
    ) -> tuple[Tensor, Tensor]:
        """Tokens (batch, n, width) and the map to skip over the trunk, both in the workspace.

        Parameters
        ----------
        x, aligned
            (batch / passes, channels, height, width).
        """
        size, _, height, width = x.shape
        parts = []
        for number, part in enumerate([x] if aligned is None else [x, aligned]):
            place = self._first.places(f"input {number}", height, width, size, part.shape[1])
            parts.append(place.copy_(part.permute(2, 3, 0, 1)))
        common = self._first(parts, self._first.places("common", height, width, size, self._channels))
        skip = self._first.places("skip", height, width, passes * size, self._channels)
        skip.unflatten(2, (passes, size)).copy_(common[:, :, None])
        for number, (block, modulation) in enumerate(zip(self._down_blocks, modulations, strict=False)):
            block.after(skip, block.before(skip if number else common, "inner"), modulation)
        rows, columns = height // 2, width // 2
        patches = self._work("patches", passes * size, rows, columns, 2, 2, self._channels)
        patches.copy_(skip.unflatten(1, (columns, 2)).unflatten(0, (rows, 2)).permute(4, 0, 2, 1, 3, 5))
        tokens = self._work("tokens", passes * size, rows * columns, self._width)
        torch.add(self._down(patches.flatten(3).flatten(1, 2)), _positions(rows, columns, self._width), out=tokens)
        return tokens, skip

    def velocity(
        self, tokens: Tensor, skip: Tensor, modulations: Sequence[Modulation], weights: Sequence[float]
    ) -> Tensor:
        """Velocities (batch / passes, channels, height, width): the sum of those of all passes, by their weights.

        The last convolution is linear, and the weights add up to 1: it is computed once for all passes.
        """
        height, width, batch, channels = skip.shape
        rows, columns = height // 2, width // 2
        places = self._join.places("joined", height, width, batch, channels)
        patches = self._up(tokens).unflatten(2, (2, 2, channels)).unflatten(1, (rows, columns))
        places.unflatten(1, (columns, 2)).unflatten(0, (rows, 2)).copy_(patches.permute(1, 3, 2, 4, 0, 5))
        x = self._join([places, skip], self._join.places("up", height, width, batch, channels))
        for block, modulation in zip(self._up_blocks, modulations[len(self._down_blocks) :], strict=True):
            block.after(x, block.before(x, "inner"), modulation)
        x = F.silu(x.mul_(scale_of_unit(x, CHANNEL_EPS)).mul_(self._last_gain), inplace=True)
        size = batch // len(weights)
        by_pass = x.unflatten(2, (len(weights), size)).unbind(2)
        mixed = self._last.places("mixed passes", height, width, size, channels)
        torch.mul(by_pass[0], weights[0], out=mixed)
        for part, weight in zip(by_pass[1:], weights[1:], strict=True):
            mixed.add_(part, alpha=weight)
        return self._last([mixed], self._last.places("output", height, width, size, self._out)).permute(2, 3, 0, 1)


_positions = lru_cache(maxsize=8)(sincos_positions_2d)


def _modulations(blocks: Sequence[ResBlock]) -> Product:
    """The modulations of all blocks as one product: scales with 1 and the norm's gain in them, and shifts."""
    weights, biases = [], []
    for block in blocks:
        layer, gain = block.modulation, _gain(block.norm2)
        if layer is None:
            raise ValueError("blocks: found one without a modulation; expected one in each")
        (scale, shift), (scale_bias, shift_bias) = layer.weight.chunk(2), layer.bias.chunk(2)
        weights += [gain[:, None] * scale, shift]
        biases += [gain * (1 + scale_bias), shift_bias]
    return Product(torch.cat(weights), torch.cat(biases))
