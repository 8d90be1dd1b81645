"""MuPDTransformer: velocity of one target modality, conditioned on any subset of the others.

A scalable interpolant transformer (SiT, arXiv:2401.08740) with the decoupled cross-attention of
MuPD (arXiv:2604.03635): every condition is a stream with its own key and value projections, and an
absent stream contributes exactly nothing.
"""

from __future__ import annotations

from typing import Literal

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from mupd.model.layers import ChannelNorm, ResBlock, sincos_positions_2d, timestep_embedding, zeroed

Conditions = dict[str, tuple[Tensor, Tensor]]
"""Stream name to (tokens (batch, n, dim), mask (batch, n) bool; a row without True = absent)."""


class ConditionStream(nn.Module):
    """Turns raw condition vectors into tokens of the transformer's width.

    Each vector becomes `split` tokens, so that a single profile can be read in parts.
    """

    def __init__(self, dim: int, width: int, split: int) -> None:
        super().__init__()
        self.split = split
        self.norm = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, width * split)
        self.position = nn.Parameter(torch.randn(split, width) * 0.02)
        self.pool = nn.Sequential(nn.Linear(dim, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (batch, n * split, width), their mask, and a pooled vector (batch, width)."""
        batch, n, _ = vectors.shape
        tokens = self.project(self.norm(vectors)).reshape(batch, n, self.split, -1) + self.position
        weight = mask.to(vectors.dtype)[:, :, None]
        mean = (vectors * weight).sum(1) / weight.sum(1).clamp(min=1)
        pooled = self.pool(mean) * mask.any(1).to(vectors.dtype)[:, None]
        return tokens.flatten(1, 2), mask.repeat_interleave(self.split, dim=1), pooled


class Attention(nn.Module):
    """Multi-head attention with RMS-normalised queries and keys."""

    def __init__(self, width: int, heads: int, *, cross: bool) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.query_norm = nn.RMSNorm(width // heads)
        self.key_norm = nn.RMSNorm(width // heads)
        self.gate = nn.Parameter(torch.ones(1)) if cross else None

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """`x` (batch, n, width) attends to `context` (batch, m, width) where `mask` (batch, m)."""
        batch, n, width = x.shape
        query = self.query(x).reshape(batch, n, self.heads, -1).transpose(1, 2)
        key, value = (
            part.reshape(batch, context.shape[1], self.heads, -1).transpose(1, 2)
            for part in self.key_value(context).chunk(2, dim=-1)
        )
        attend = None if mask is None else mask[:, None, None, :]
        found = F.scaled_dot_product_attention(self.query_norm(query), self.key_norm(key), value, attn_mask=attend)
        found = self.out(found.transpose(1, 2).reshape(batch, n, width))
        return found if self.gate is None else self.gate * found


class Block(nn.Module):
    """Self-attention, one cross-attention a stream, feed-forward; modulated by adaLN-zero."""

    def __init__(self, width: int, heads: int, streams: tuple[str, ...], dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_cross = nn.LayerNorm(width)
        self.attention = Attention(width, heads, cross=False)
        self.cross = nn.ModuleDict({name: Attention(width, heads, cross=True) for name in streams})
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        # The modulation table is shared by all blocks; each adds a learned offset of its own.
        self.offset = nn.Parameter(torch.zeros(6 * width))

    def forward(self, x: Tensor, modulation: Tensor, context: dict[str, tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """`context` holds for each stream its tokens, a mask without empty rows, and who has it."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.offset)[:, None].chunk(6, dim=-1)
        h = self.norm1(x) * (1 + scale1) + shift1
        x = x + gate1 * self.attention(h, h)
        if context:
            h = self.norm_cross(x)
            for name, (tokens, mask, present) in context.items():
                x = x + present[:, None, None] * self.cross[name](h, tokens, mask)
        h = self.norm2(x) * (1 + scale2) + shift2
        return x + gate2 * self.feed(h)


class LatentStem(nn.Module):
    """Convolutions at the latents' own size around the transformer, which works at half of it.

    The convolutions see over patch borders: a bare patch embedding of 2 leaves a lattice.
    """

    def __init__(self, channels: int, stem: int, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, stem, 3, padding=1)
        self.down_blocks = nn.ModuleList([ResBlock(stem, width) for _ in range(blocks)])
        self.down = nn.Conv2d(stem, width, 2, stride=2)
        self.up = nn.Conv2d(width, 4 * stem, 1)
        self.join = nn.Conv2d(2 * stem, stem, 3, padding=1)
        self.up_blocks = nn.ModuleList([ResBlock(stem, width) for _ in range(blocks)])
        self.last_norm = ChannelNorm(stem)
        self.last = zeroed(nn.Conv2d(stem, channels, 3, padding=1))

    def tokens(self, x: Tensor, vector: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Tokens (batch, n, width), the features to skip over the transformer, and the grid."""
        skip = self.first(x)
        for block in self.down_blocks:
            skip = block(skip, vector)
        small = self.down(skip)
        return small.flatten(2).transpose(1, 2), skip, (small.shape[2], small.shape[3])

    def velocity(self, tokens: Tensor, skip: Tensor, grid: tuple[int, int], vector: Tensor) -> Tensor:
        """Velocity of the latents, (batch, channels, height, width)."""
        small = tokens.transpose(1, 2).unflatten(2, grid)
        x = self.join(torch.cat([F.pixel_shuffle(self.up(small), 2), skip], dim=1))
        for block in self.up_blocks:
            x = block(x, vector)
        return self.last(F.silu(self.last_norm(x)))


class VectorStem(nn.Module):
    """A vector cut into equal tokens, and back; for RNA latents and record fields."""

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


class MuPDTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Velocity field of one target under a linear interpolant from noise (t = 0) to data (t = 1).

    Parameters
    ----------
    target
        ``he`` (latents of MuPDVAE), ``rna`` (whitened components) or ``text`` (record fields, one
        token a field; here the network predicts logits of the clean record instead of a velocity).
    streams
        Dimension of the vectors of each condition it can read.
    splits
        Tokens made of each vector of a stream; 1 where not named.
    channels
        Latent channels for ``he``, length of the vector for ``rna`` and ``text``.
    extra_dim
        Length of a vector of plain numbers beside the streams (magnification, kind of profile).
    """

    @register_to_config
    def __init__(
        self,
        target: Literal["he", "rna", "text"],
        streams: dict[str, int],
        splits: dict[str, int] | None = None,
        channels: int = 8,
        vector_tokens: int = 8,
        extra_dim: int = 2,
        width: int = 256,
        depth: int = 6,
        heads: int = 4,
        stem_width: int = 128,
        stem_blocks: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stream = nn.ModuleDict(
            {name: ConditionStream(dim, width, (splits or {}).get(name, 1)) for name, dim in streams.items()}
        )
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.extra = nn.Sequential(nn.Linear(extra_dim, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(width, 6 * width)))
        self.stem: LatentStem | VectorStem
        if target == "he":
            self.stem = LatentStem(channels, stem_width, width, stem_blocks)
        else:
            self.stem = VectorStem(channels, vector_tokens, width)
        self.blocks = nn.ModuleList([Block(width, heads, tuple(streams), dropout) for _ in range(depth)])

    def forward(self, x: Tensor, t: Tensor, conditions: Conditions, extra: Tensor) -> Tensor:
        """Velocity (or logits for text) at `x` and time `t`.

        Parameters
        ----------
        x
            (batch, channels, height, width) with even sides for ``he``, else (batch, channels).
        t
            (batch,), in [0, 1].
        conditions
            Any subset of the streams; a stream left out, or masked for a sample, changes nothing.
        extra
            (batch, extra_dim).

        Raises
        ------
        ValueError
            If a condition is unknown or of the wrong width.
        """
        width: int = self.config["width"]
        vector = self.time(timestep_embedding(t, width)) + self.extra(extra)
        context: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        for name, (tokens, mask) in conditions.items():
            self._expect(name, tokens)
            present = mask.any(1)
            if not bool(present.any()):
                continue
            tokens, mask, pooled = self.stream[name](tokens, mask)
            vector = vector + pooled
            # A row without any True would make softmax undefined; its result is multiplied by 0.
            context[name] = (tokens, mask | ~present[:, None], present.to(tokens.dtype))
        modulation = self.modulation(vector)
        if isinstance(self.stem, LatentStem):
            tokens, skip, grid = self.stem.tokens(x, vector)
            tokens = tokens + sincos_positions_2d(*grid, width).to(tokens)
        else:
            tokens = self.stem.tokens(x)
        for block in self.blocks:
            tokens = block(tokens, modulation, context)
        if isinstance(self.stem, LatentStem):
            return self.stem.velocity(tokens, skip, grid, vector)
        return self.stem.values(tokens)

    def _expect(self, name: str, tokens: Tensor) -> None:
        known: dict[str, int] = self.config["streams"]
        if name not in known:
            raise ValueError(f"conditions: found stream {name!r}; expected one of {sorted(known)}")
        if tokens.ndim != 3 or tokens.shape[-1] != known[name]:
            raise ValueError(
                f"conditions[{name!r}]: found shape {tuple(tokens.shape)}; expected (batch, n, {known[name]})"
            )
