"""The blocks of the trunk between the convolutions, in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mupd.model.attention import Block, Context, CrossAttention
from mupd.model.cpu.layers import Product, centred_unit, scale_of_unit
from mupd.model.cpu.workspace import Workspace

_HEAD_EPS = torch.finfo(torch.float32).eps
"""Of the norms of queries and keys, which name none."""


@dataclass(frozen=True)
class FoldedStream:
    """One stream for one block: what its attention makes of the queries, the layers behind it included.

    Attributes
    ----------
    keys
        (batch, heads, m, width / heads), with the gain of the queries' norm.
    values
        (batch, heads * m, width), through the output's projection and the gate. Weights of a head add up to 1: the
        output's bias is spread over heads.
    hidden
        (batch, 1, m, 1) bool, True where there is no token; None = nowhere.
    """

    keys: Tensor
    values: Tensor
    hidden: Tensor | None

    def take(self, rows: slice | Tensor) -> FoldedStream:
        """Those samples."""
        return FoldedStream(self.keys[rows], self.values[rows], None if self.hidden is None else self.hidden[rows])


Folded = dict[str, FoldedStream]


class PreparedTrunkBlock:
    """A :class:`mupd.model.attention.Block` for batches of passes, each with streams of its own."""

    def __init__(self, block: Block, work: Workspace) -> None:
        attention = block.attention
        self._work = work
        self._heads = attention.heads
        self._eps, self._cross_eps = block.norm1.eps, block.norm_cross.eps
        self._qkv = Product(attention.qkv.weight, attention.qkv.bias)
        self._out = Product(attention.out.weight, attention.out.bias)
        # Both gains reach the product of query and key alone: one of them can carry both.
        self._gain = (attention.query_norm.weight * attention.key_norm.weight).detach()
        self._feed_in = Product(block.feed_in.weight, block.feed_in.bias)
        self._feed_out = Product(block.feed_out.weight, block.feed_out.bias)
        self._cross = {name: cast(CrossAttention, cross) for name, cross in block.cross.items()}
        self._norm_cross = block.norm_cross
        self._queries: dict[tuple[str, ...], Product] = {}

    def fold(self, context: Context, index: int) -> Folded:
        """The streams of a context, in which every sample has all of them, for this block, number `index`."""
        folded = {}
        for name, stream in context.streams.items():
            cross, keys, values = self._cross[name], stream.keys[index], stream.values[index]
            heads = keys.shape[1]
            out = (cross.gate * cross.out.weight).unflatten(1, (heads, -1)).permute(1, 2, 0)
            bias = cross.gate * cross.out.bias / heads
            folded[name] = FoldedStream(
                (keys * cross.query_norm.weight).contiguous(),
                (values @ out + bias).flatten(1, 2),
                None if stream.mask is None else ~stream.mask[:, None, :, None],
            )
        return folded

    def __call__(self, x: Tensor, modulation: Sequence[Tensor], passes: Sequence[Folded]) -> None:
        """Change `x` (batch, n, width) to what the block makes of it.

        Parameters
        ----------
        modulation
            Shift, scale and gate of attention, then of feed-forward, each (batch, 1, width); scales with 1 and the
            norm's factor in them.
        passes
            Streams of each pass; its rows follow each other in the batch.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation
        normed = self._work("normed tokens", *x.shape)
        x.addcmul_(gate1, self._attend(torch.addcmul(shift1, centred_unit(x, self._eps, normed), scale1, out=normed)))
        for streams, rows in zip(passes, x.chunk(len(passes)), strict=True):
            if streams:
                self._cross_attend(rows, streams)
        torch.addcmul(shift2, centred_unit(x, self._eps, normed), scale2, out=normed)
        x.addcmul_(gate2, self._feed_out(self._feed_in.gelu(normed)))

    def _attend(self, x: Tensor) -> Tensor:
        batch, n, width = x.shape
        parts = self._qkv(x).unflatten(2, (3, self._heads, -1))
        length = parts.shape[-1]
        query, key = units = self._work("query and key", 2, batch, self._heads, n, length)
        pair = parts[:, :, :2]
        torch.mul(pair.permute(2, 0, 3, 1, 4), scale_of_unit(pair, _HEAD_EPS).permute(2, 0, 3, 1, 4), out=units)
        key.mul_(self._gain)
        value = parts[:, :, 2].transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, key, value, scale=math.sqrt(length))
        return self._out(attended.transpose(1, 2).reshape(batch, n, width))

    def _cross_attend(self, x: Tensor, streams: Folded) -> None:
        batch, n, _ = x.shape
        normed = centred_unit(x, self._cross_eps, self._work("normed for streams", *x.shape))
        parts = self._queries_of(tuple(streams))(normed).unflatten(2, (len(streams), self._heads, -1))
        queries = self._work("queries", len(streams), batch, self._heads, n, parts.shape[-1])
        scale = scale_of_unit(parts, _HEAD_EPS)
        torch.mul(parts.permute(2, 0, 3, 1, 4), scale.permute(2, 0, 3, 1, 4), out=queries)
        for query, stream in zip(queries, streams.values(), strict=True):
            scores = torch.bmm(stream.keys.flatten(0, 1), query.flatten(0, 1).transpose(1, 2))
            scores = scores.unflatten(0, (batch, self._heads))
            if stream.hidden is not None:
                scores.masked_fill_(stream.hidden, -math.inf)
            x.baddbmm_(scores.softmax(2).flatten(1, 2).transpose(1, 2), stream.values)

    def _queries_of(self, names: tuple[str, ...]) -> Product:
        """Queries of several streams as one product, behind the norm that they share."""
        if names not in self._queries:
            gain = self._norm_cross.weight * math.sqrt(self._norm_cross.weight.numel())
            layers = [self._cross[name].query for name in names]
            self._queries[names] = Product(
                torch.cat([layer.weight * gain for layer in layers]),
                torch.cat([layer.weight @ self._norm_cross.bias + layer.bias for layer in layers]),
            )
        return self._queries[names]


class PreparedModulations:
    """What a vector makes of the norms of all blocks: from the table they share, or from one of each."""

    def __init__(self, shared: nn.Module, blocks: Sequence[Block]) -> None:
        factor = math.sqrt(blocks[0].feed_out.out_features)
        tables = [shared] if blocks[0].table is None else [block.table for block in blocks]
        self._products = []
        for table in tables:
            layer = cast(nn.Linear, table)
            weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
            for part in (weight.chunk(6), bias.chunk(6)):
                part[1].mul_(factor)
                part[4].mul_(factor)
            self._products.append(Product(weight, bias))
        self._offsets = []
        for block in blocks:
            shift1, scale1, gate1, shift2, scale2, gate2 = block.offset.detach().chunk(6)
            whole = [shift1, (1 + scale1) * factor, gate1, shift2, (1 + scale2) * factor, gate2]
            self._offsets.append(torch.cat(whole))

    def __call__(self, vector: Tensor) -> list[Sequence[Tensor]]:
        """For each block, of `vector` (batch, width) behind its activation, as :class:`PreparedTrunkBlock` wants it."""
        products = [product(vector) for product in self._products]
        tables = products if len(products) == len(self._offsets) else products * len(self._offsets)
        return [(table + offset)[:, None].chunk(6, dim=-1) for table, offset in zip(tables, self._offsets, strict=True)]
