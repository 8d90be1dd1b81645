"""Attention of the trunk: self-attention, and one cross-attention a condition stream.

Decoupled cross-attention (MuPD, arXiv:2604.03635): text, RNA and reference tiles each have key and
value projections of their own; what they find is summed with learned gates. Keys and values depend
on the conditions alone, so they are projected once a sample, not once a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mupd.model.cpu.products import layer_norm, linear, linear_gelu, quick

Conditions = dict[str, tuple[Tensor, Tensor]]
"""Stream name to (tokens (batch, n, dim), mask (batch, n) bool; a row without True = absent)."""


@dataclass(frozen=True)
class StreamContext:
    """One stream, projected for every block of the trunk; only the samples that have it are in it.

    Attributes
    ----------
    rows
        (k,) int64, which samples of the batch have the stream; a slice where they follow each other; None = all of
        them, in order.
    keys, values
        For each block (k, heads, tokens, width / heads).
    mask
        (k, tokens) bool, True where there is a token; None = everywhere.
    pooled
        (k, width), the stream's share of the vector that modulates the blocks.
    """

    rows: Tensor | slice | None
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor | None
    pooled: Tensor

    def take(self, index: Tensor) -> StreamContext:
        """The context of samples `index` (n,) of a batch in which all have the stream.

        Raises
        ------
        ValueError
            If some sample lacks it.
        """
        if self.rows is not None:
            raise ValueError("rows: found samples without the stream; expected a stream that all samples have")
        return StreamContext(
            None,
            tuple(key.index_select(0, index) for key in self.keys),
            tuple(value.index_select(0, index) for value in self.values),
            None if self.mask is None else self.mask.index_select(0, index),
            self.pooled.index_select(0, index),
        )


@dataclass(frozen=True)
class Context:
    """What a batch is conditioned on: the streams that at least one sample has."""

    batch: int
    streams: Mapping[str, StreamContext]

    def take(self, index: Tensor) -> Context:
        """The context of samples `index` (n,)."""
        return Context(len(index), {name: stream.take(index) for name, stream in self.streams.items()})

    def without(self, names: Sequence[str]) -> Context:
        """The same batch with some streams left out."""
        return Context(self.batch, {name: stream for name, stream in self.streams.items() if name not in names})


def _in_a_row(index: Tensor) -> Tensor | slice:
    """The same samples as a slice, where they follow each other: a slice is looked at in place, not copied."""
    first, last = int(index[0]), int(index[-1])
    return slice(first, last + 1) if torch.equal(index, torch.arange(first, last + 1).to(index)) else index


def added(x: Tensor, rows: Tensor | slice | None, change: Tensor) -> Tensor:
    """`x` (batch, ...) with `change` (k, ...) added to some of its samples; in place where no gradient is taken.

    `x` is not to be used again.
    """
    if rows is None:
        return x + change
    if isinstance(rows, Tensor):
        return x.index_add(0, rows, change)
    if quick(x):
        x[rows] += change
        return x
    return torch.cat([x[: rows.start], x[rows] + change, x[rows.stop :]])


def stack_contexts(parts: Sequence[Context]) -> Context:
    """One batch of several, one behind the other, for passes that run together.

    A stream that one part lacks costs its rows nothing.

    Raises
    ------
    ValueError
        If a stream has another number of tokens in one part than in another.
    """
    names = list(dict.fromkeys(name for part in parts for name in part.streams))
    total = sum(part.batch for part in parts)
    stacked = {}
    for name in names:
        rows, stacked_streams, offset = [], [], 0
        for part in parts:
            if (stream := part.streams.get(name)) is not None:
                own = torch.arange(part.batch, device=stream.pooled.device)
                rows.append((own if stream.rows is None else own[stream.rows]) + offset)
                stacked_streams.append(stream)
            offset += part.batch
        if len({(stream.keys[0].shape[2], stream.mask is None) for stream in stacked_streams}) > 1:
            raise ValueError(f"context[{name!r}]: found different numbers of tokens; expected the same in every part")
        index = torch.cat(rows)
        stacked[name] = StreamContext(
            None if len(index) == total else _in_a_row(index),
            tuple(torch.cat(keys) for keys in zip(*(stream.keys for stream in stacked_streams), strict=True)),
            tuple(torch.cat(values) for values in zip(*(stream.values for stream in stacked_streams), strict=True)),
            None
            if stacked_streams[0].mask is None
            else torch.cat([s.mask for s in stacked_streams if s.mask is not None]),
            torch.cat([stream.pooled for stream in stacked_streams]),
        )
    return Context(total, stacked)


class ConditionStream(nn.Module):
    """Turns raw condition vectors into tokens of the trunk's width.

    Each vector becomes `split` tokens, so that a single profile can be read in parts. Tokens of one
    stream have no order: a bag of tiles may come in any.
    """

    def __init__(self, dim: int, width: int, split: int) -> None:
        super().__init__()
        self.split = split
        self.norm = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, width * split)
        self.position = nn.Parameter(torch.randn(split, width) * 0.02)
        self.pool = nn.Sequential(nn.Linear(dim, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (batch, n * split, width), their mask, and a pooled vector (batch, width).

        Every row of `mask` (batch, n) has at least one True.
        """
        batch, n, _ = vectors.shape
        tokens = self.project(self.norm(vectors)).reshape(batch, n, self.split, -1) + self.position
        weight = mask.to(vectors.dtype)[:, :, None]
        pooled = self.pool((vectors * weight).sum(1) / weight.sum(1))
        return tokens.flatten(1, 2), mask.repeat_interleave(self.split, dim=1), pooled


class SelfAttention(nn.Module):
    """Multi-head self-attention with RMS-normalised queries and keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.query_norm = nn.RMSNorm(width // heads)
        self.key_norm = nn.RMSNorm(width // heads)

    def forward(self, x: Tensor) -> Tensor:
        """`x` is (batch, n, width)."""
        batch, n, width = x.shape
        parts = linear(self.qkv, x).reshape(batch, n, 3, self.heads, -1)
        query, key, value = parts.unbind(2)
        if quick(x):
            # Both gains reach the product of query and key alone: one of them can carry both.
            query, key = F.rms_norm(parts[:, :, :2], (width // self.heads,)).unbind(2)
            query.mul_(self.query_norm.weight * self.key_norm.weight)
        else:
            query, key = self.query_norm(query), self.key_norm(key)
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, key, value)
        return linear(self.out, attended.transpose(1, 2).reshape(batch, n, width))


class CrossAttention(nn.Module):
    """Attention to one stream, with its own key and value projections and a learned gate."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.query_norm = nn.RMSNorm(width // heads)
        self.key_norm = nn.RMSNorm(width // heads)
        self.gate = nn.Parameter(torch.ones(1))

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (normalised) and values of `tokens` (k, m, width), each (k, heads, m, width / heads)."""
        k, m, _ = tokens.shape
        key, value = self.key_value(tokens).reshape(k, m, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.key_norm(key), value

    def forward(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """`x` (k, n, width) attends to the keys and values where `mask` (k, m)."""
        k, n, width = x.shape
        query = self.query_norm(linear(self.query, x).reshape(k, n, self.heads, -1)).transpose(1, 2)
        attend = None if mask is None else mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=attend)
        return self.gate * linear(self.out, attended.transpose(1, 2).reshape(k, n, width))


class Block(nn.Module):
    """Self-attention, one cross-attention a stream, feed-forward; modulated by adaLN-zero (SiT, DiT).

    Parameters
    ----------
    own_modulation
        Whether the block has a modulation table of its own, as in DiT; otherwise it adds a learned
        offset to a table that all blocks share, which saves a third of a small model.
    """

    def __init__(self, width: int, heads: int, streams: Sequence[str], own_modulation: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_cross = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.cross = nn.ModuleDict({name: CrossAttention(width, heads) for name in streams})
        self.feed_in = nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(4 * width, width)
        self.offset = nn.Parameter(torch.zeros(6 * width))
        self.table: nn.Linear | None = None
        if own_modulation:
            self.table = nn.Linear(width, 6 * width)
            nn.init.zeros_(self.table.weight)
            nn.init.zeros_(self.table.bias)

    def project(self, stream: str, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a stream's tokens, see :meth:`CrossAttention.project`."""
        return cast(CrossAttention, self.cross[stream]).project(tokens)

    def forward(self, x: Tensor, modulation: Tensor, context: Context, index: int, dropout: float) -> Tensor:
        """`x` (batch, n, width); `modulation` (batch, 6 * width), or (batch, width) for an own table."""
        if self.table is not None:
            modulation = self.table(modulation)
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.offset)[:, None].chunk(6, dim=-1)
        x = torch.addcmul(x, gate1, self.attention(torch.addcmul(shift1, layer_norm(self.norm1, x), 1 + scale1)))
        if context.streams:
            # Every stream reads the same tokens, whatever another has added; the norm is taken of all samples once.
            h = layer_norm(self.norm_cross, x)
            for name, stream in context.streams.items():
                own = h if stream.rows is None else h[stream.rows]
                attended = self.cross[name](own, stream.keys[index], stream.values[index], stream.mask)
                x = added(x, stream.rows, attended)
        h = torch.addcmul(shift2, layer_norm(self.norm2, x), 1 + scale2)
        h = linear_gelu(self.feed_in, h)
        return torch.addcmul(x, gate2, linear(self.feed_out, F.dropout(h, dropout, self.training)))
