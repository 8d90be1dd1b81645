"""A trunk prepared for a CPU, and the velocities it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from mupd.model.attention import Block, Context
from mupd.model.cpu.layers import available
from mupd.model.cpu.stem import PreparedStem
from mupd.model.cpu.trunk import Folded, PreparedModulations, PreparedTrunkBlock
from mupd.model.cpu.workspace import Workspace
from mupd.model.layers import timestep_embedding
from mupd.model.solvers import Velocity
from mupd.model.transformer import MuPDTransformer

_PLACES = 8_192
"""Latents of all passes that are computed together: fewer read the weights too often, more need memory."""

Passes = Sequence[tuple[Sequence[str], float]]
"""Streams given to each pass and its weight in the velocity, see :func:`mupd.model.guidance.guidance_passes`."""


class PreparedTrunk:
    """Velocities of H&E latents by copies of a trunk's weights, packed for the layers that are fast on a CPU.

    Values are those of the trunk up to rounding. Fewer of them are computed: a pass without a stream has no attention
    to it, what passes have in common is computed once, the values of a stream are carried through the output's
    projection once a sample.
    """

    def __init__(self, model: MuPDTransformer) -> None:
        work = Workspace()
        blocks = [cast(Block, block) for block in model.blocks]
        self._width = model.config["width"]
        self._time, self._extra, self._activation = model.time, model.extra["he"], model.activation
        self._stem = PreparedStem(model.stem_he, work)
        self._blocks = [PreparedTrunkBlock(block, work) for block in blocks]
        self._modulations = PreparedModulations(model.modulation, blocks)

    @torch.no_grad()
    def velocity(
        self,
        context: Context,
        extra: Tensor,
        passes: Passes,
        aligned: Tensor | None = None,
    ) -> Velocity:
        """The velocity of a batch, of x (batch, channels, height, width) and t (batch,); of the shape of x.

        It raises a ValueError where batches differ, or `aligned` does not fit.

        Parameters
        ----------
        context
            In which every sample has all streams.
        extra
            (batch, 2).
        aligned
            (batch, aligned_channels, height, width), where the trunk has such channels.
        """
        folded = [block.fold(context, index) for index, block in enumerate(self._blocks)]
        pooled = {name: stream.pooled for name, stream in context.streams.items()}
        weights = [weight for _, weight in passes]
        beside = self._extra(extra.float())

        def of_rows(x: Tensor, t: Tensor, rows: slice | Tensor) -> Tensor:
            base = self._time(timestep_embedding(t[rows], self._width)) + beside[rows]
            vector = torch.cat([sum((pooled[name][rows] for name in names), base) for names, _ in passes])
            own = [{name: stream.take(rows) for name, stream in block.items()} for block in folded]
            streams = [[{name: block[name] for name in names} for names, _ in passes] for block in own]
            return self._of(x[rows], None if aligned is None else aligned[rows], vector, streams, weights)

        @torch.no_grad()
        def velocity(x: Tensor, t: Tensor) -> Tensor:
            if not len(x) == len(t) == len(extra) == context.batch:
                batches = f"{len(x)} latents, {len(t)} times, {len(extra)} extras"
                raise ValueError(f"context: found {batches}; expected {context.batch} of each")
            self._stem.expect(x, aligned)
            out = torch.empty_like(x)
            size = _together(len(x), len(passes) * x.shape[2] * x.shape[3])
            for start in range(0, len(x), size):
                end = min(start + size, len(x))
                # Filled up to the same number of rows: a window has the same bits wherever it stands.
                filled = torch.arange(start, start + size).clamp_(max=end - 1)
                rows = slice(start, end) if end - start == size else filled
                out[start:end] = of_rows(x, t, rows)[: end - start]
            return out

        return velocity

    def _of(
        self,
        x: Tensor,
        aligned: Tensor | None,
        vector: Tensor,
        streams: Sequence[Sequence[Folded]],
        weights: Sequence[float],
    ) -> Tensor:
        by_convolution = self._stem.modulations(vector)
        tokens, skip = self._stem.tokens(x, aligned, by_convolution, len(weights))
        modulations = self._modulations(self._activation(vector))
        for block, modulation, own in zip(self._blocks, modulations, streams, strict=True):
            block(tokens, modulation, own)
        return self._stem.velocity(tokens, skip, by_convolution, weights)


def _together(batch: int, places: int) -> int:
    """How many windows of so many latents, all passes counted, are computed together."""
    groups = -(-batch * places // _PLACES)
    return -(-batch // min(groups, batch))


@dataclass
class _Preparation:
    """What is known of a trunk that may be prepared; `versions` of its weights when it was."""

    trunk: PreparedTrunk | None = None
    versions: tuple[int, ...] = ()


_PREPARATIONS: WeakKeyDictionary[MuPDTransformer, _Preparation] = WeakKeyDictionary()


def prepare(model: MuPDTransformer) -> MuPDTransformer:
    """Have the trunk's H&E velocities computed by packed copies of its weights, made when they are first needed.

    On a device other than the CPU, in another precision than float32, and without convolutions around the trunk, it
    computes as it stands.

    Returns
    -------
    MuPDTransformer
        `model`.
    """
    _PREPARATIONS[model] = _Preparation()
    return model


def prepared(model: MuPDTransformer, context: Context) -> PreparedTrunk | None:
    """The trunk's quicker form, if it is to have one and every sample has all streams of the context; else None.

    It is made anew where weights have changed.
    """
    preparation = _PREPARATIONS.get(model)
    if preparation is None or model.training or not available():
        return None
    if model.device.type != "cpu" or model.dtype != torch.float32 or not len(model.stem_he.down_blocks):
        return None
    if any(stream.rows is not None for stream in context.streams.values()):
        return None
    versions = tuple(part for weight in model.parameters() for part in (weight._version, weight.data_ptr()))
    if preparation.trunk is None or preparation.versions != versions:
        with torch.inference_mode(False), torch.no_grad():
            preparation.trunk, preparation.versions = PreparedTrunk(model), versions
    return preparation.trunk
