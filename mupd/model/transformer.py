"""MuPDTransformer: one trunk for H&E, RNA and the record, each conditioned on any of the others.

A scalable interpolant transformer (SiT, arXiv:2401.08740) with the decoupled cross-attention of
MuPD (arXiv:2604.03635): every condition is a stream with its own key and value projections, and an
absent stream is skipped, so that it costs and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from mupd.model.attention import Block, Conditions, ConditionStream, Context, StreamContext, added
from mupd.model.layers import timestep_embedding, zeroed
from mupd.model.stems import LatentStem, VectorStem, repeated

Target = Literal["he", "rna", "text"]
TARGETS: tuple[Target, ...] = ("he", "rna", "text")
EXTRA_DIM = 2
"""Length of the plain numbers beside the streams: for H&E the scale and whether it is known, for RNA
whether the profile is bulk."""


class MuPDTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Velocity field under a linear interpolant from noise (t = 0) to data (t = 1), one trunk for all targets.

    Parameters
    ----------
    streams
        Length of the vectors of each condition it can read.
    splits
        Tokens made of each vector of a stream; 1 where not named.
    he_channels
        Latent channels of H&E.
    rna_dim, rna_tokens
        Components of an RNA profile, and tokens they are cut into.
    text_dim, text_tokens
        Length of the record's vector and its fields; for it the trunk predicts logits of the clean
        record instead of a velocity.
    width, depth, heads
        Of the trunk; presets are in :mod:`mupd.model.presets`.
    stem_width, stem_blocks
        Of the convolutions around the trunk for H&E; `stem_blocks` 0 is DiT's patch embedding.
    own_modulation
        A modulation table a block (SiT, DiT) instead of one for all.
    aligned_channels
        Latent channels of a picture that is a condition place by place (virtual staining: the H&E that is
        stained); 0 = none.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        streams: dict[str, int],
        splits: dict[str, int] | None = None,
        he_channels: int = 8,
        rna_dim: int = 64,
        rna_tokens: int = 8,
        text_dim: int = 52,
        text_tokens: int = 4,
        width: int = 192,
        depth: int = 4,
        heads: int = 4,
        stem_width: int = 96,
        stem_blocks: int = 2,
        own_modulation: bool = False,
        aligned_channels: int = 0,
    ) -> None:
        super().__init__()
        self.stream = nn.ModuleDict(
            {name: ConditionStream(dim, width, (splits or {}).get(name, 1)) for name, dim in streams.items()}
        )
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.extra = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(EXTRA_DIM, width), nn.SiLU(), nn.Linear(width, width)) for name in TARGETS}
        )
        self.activation = nn.SiLU()
        self.modulation = nn.Identity() if own_modulation else zeroed(nn.Linear(width, 6 * width))
        self.stem_he = LatentStem(he_channels, stem_width, width, stem_blocks, aligned_channels)
        self.stem_rna = VectorStem(rna_dim, rna_tokens, width)
        self.stem_text = VectorStem(text_dim, text_tokens, width)
        self.blocks = nn.ModuleList([Block(width, heads, tuple(streams), own_modulation) for _ in range(depth)])

    def context(self, conditions: Conditions, batch: int) -> Context:
        """Project conditions once, for as many calls of :meth:`forward` as a sample needs.

        Parameters
        ----------
        conditions
            Any subset of the streams; a stream left out, or masked for a sample, changes nothing.
        batch
            Samples in the batch.

        Raises
        ------
        ValueError
            If a condition is unknown, of the wrong shape, or not finite.
        """
        streams = {}
        for name, (vectors, mask) in conditions.items():
            self._expect(name, vectors, mask, batch)
            present = mask.any(1)
            if not bool(present.any()):
                continue
            rows = None if bool(present.all()) else present.nonzero()[:, 0]
            if rows is not None:
                vectors, mask = vectors[rows], mask[rows]
            tokens, token_mask, pooled = self.stream[name](vectors, mask)
            pairs = [cast(Block, block).project(name, tokens) for block in self.blocks]
            streams[name] = StreamContext(
                rows,
                tuple(key for key, _ in pairs),
                tuple(value for _, value in pairs),
                None if bool(mask.all()) else token_mask,
                pooled,
            )
        return Context(batch, streams)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        target: Target,
        context: Context,
        extra: Tensor,
        *,
        dropout: float = 0.0,
        features_of: int | None = None,
        aligned: Tensor | None = None,
        copies: int = 1,
    ) -> Any:
        """Velocity (for text: logits) at `x` and time `t`.

        Parameters
        ----------
        x
            (batch / copies, he_channels, height, width) with even sides for ``he``, else (batch / copies, dim).
        t
            (batch,), in [0, 1].
        context
            From :meth:`context`.
        extra
            (batch, 2).
        dropout
            In the feed-forward layers, while training.
        features_of
            Also return the tokens (batch, n, width) behind this block and their grid, for feature alignment.
        aligned
            (batch / copies, aligned_channels, height, width), for ``he``; needed where the trunk has such channels.
        copies
            How often the samples of `x` stand in the batch, one behind the other: what passes with other conditions
            have in common is computed once.

        Raises
        ------
        ValueError
            If the target is unknown, the batches of `x` and `context` differ, or `aligned` does not fit.
        """
        if target not in TARGETS:
            raise ValueError(f"target: found {target!r}; expected one of {', '.join(TARGETS)}")
        if context.batch != copies * len(x):
            raise ValueError(f"context: found a batch of {context.batch}; expected {copies * len(x)}, as x has")
        vector = self.time(timestep_embedding(t, self.config["width"]).to(x.dtype)) + self.extra[target](extra)
        for stream in context.streams.values():
            vector = added(vector, stream.rows, stream.pooled)
        modulation = self.modulation(self.activation(vector))
        skip, grid = x, (0, 0)
        if target == "he":
            tokens, skip, grid = self.stem_he.tokens(x, vector, aligned, copies)
        else:
            tokens = repeated(self._vector_stem(target).tokens(x), copies)
        features = None
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, modulation, context, index, dropout)
            if index == features_of:
                features = tokens
        if target == "he":
            velocity = self.stem_he.velocity(tokens, skip, grid, vector)
        else:
            velocity = self._vector_stem(target).values(tokens)
        return velocity if features_of is None else (velocity, features, grid)

    def _vector_stem(self, target: Target) -> VectorStem:
        return self.stem_rna if target == "rna" else self.stem_text

    def _expect(self, name: str, vectors: Tensor, mask: Tensor, batch: int) -> None:
        known: Mapping[str, int] = self.config["streams"]
        if name not in known:
            raise ValueError(f"conditions: found stream {name!r}; expected one of {sorted(known)}")
        if vectors.ndim != 3 or vectors.shape[0] != batch or vectors.shape[-1] != known[name]:
            raise ValueError(
                f"conditions[{name!r}]: found shape {tuple(vectors.shape)}; expected ({batch}, n, {known[name]})"
            )
        if mask.shape != vectors.shape[:2]:
            raise ValueError(
                f"conditions[{name!r}]: found a mask of {tuple(mask.shape)}; expected {tuple(vectors.shape[:2])}"
            )
        if not bool(torch.isfinite(vectors[mask]).all()):
            raise ValueError(f"conditions[{name!r}]: found values that are not finite; expected numbers")
