"""What a training step gets from its data: one form of batch for all targets, and batches of several sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.model.attention import Conditions
from mupd.model.encoders import TEXT_DIM
from mupd.model.record_codec import RecordCodec
from mupd.model.regions import from_uint8
from mupd.training.tokens import join_conditions, padded


@dataclass(frozen=True)
class Batch:
    """Samples of one target.

    Attributes
    ----------
    clean
        Without noise: images (size, 3, 128, 128) in [-1, 1], RNA components (size, dim), or one-hot blocks of
        records (size, fields, block).
    conditions
        What the target is drawn from.
    extra
        (size, 2): for H&E the scale, for RNA 1 in the first column for bulk.
    known
        (size, fields) bool: fields that a record states. Empty for the other targets.
    """

    clean: Tensor
    conditions: Conditions
    extra: Tensor
    known: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.bool))


class BatchSource(Protocol):
    """Where the batches of a target come from."""

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """`size` random samples."""
        ...


Tokens = NDArray[np.float32] | None
"""Tokens (n, dim) of a condition; None = absent."""


class HeSample(NamedTuple):
    """A window (128, 128, 3) uint8, what it is drawn from, and its row of :attr:`Batch.extra`."""

    window: NDArray[np.uint8]
    rna: Tokens
    pathways: Tokens
    text: Tokens
    extra: Tensor


class RnaSample(NamedTuple):
    """RNA components (dim,), what they are drawn from, and whether they are of a bulk profile."""

    components: NDArray[np.float32]
    tiles: Tokens
    text: Tokens
    bulk: bool


class RecordSample(NamedTuple):
    """A record and what it is drawn from."""

    record: dict[str, str]
    tiles: Tokens
    rna: Tokens
    pathways: Tokens


Dims = Mapping[str, int]
"""Length of the tokens of each condition: ``he``, ``rna``, ``pathways``."""


def he_batch(samples: Sequence[HeSample], dims: Dims) -> Batch:
    """Windows as a batch."""
    conditions = {
        "rna": padded([sample.rna for sample in samples], dims["rna"]),
        "pathways": padded([sample.pathways for sample in samples], dims["pathways"]),
        "text": padded([sample.text for sample in samples], TEXT_DIM),
    }
    images = from_uint8(np.stack([sample.window for sample in samples]))
    return Batch(images, conditions, torch.stack([sample.extra for sample in samples]))


def rna_batch(samples: Sequence[RnaSample], dims: Dims) -> Batch:
    """RNA components as a batch."""
    conditions = {
        "he": padded([sample.tiles for sample in samples], dims["he"]),
        "text": padded([sample.text for sample in samples], TEXT_DIM),
    }
    extra = torch.tensor([[float(sample.bulk), 0.0] for sample in samples])
    return Batch(torch.from_numpy(np.stack([sample.components for sample in samples])), conditions, extra)


def record_batch(samples: Sequence[RecordSample], dims: Dims, codec: RecordCodec) -> Batch:
    """Records as a batch."""
    conditions = {
        "he": padded([sample.tiles for sample in samples], dims["he"]),
        "rna": padded([sample.rna for sample in samples], dims["rna"]),
        "pathways": padded([sample.pathways for sample in samples], dims["pathways"]),
    }
    pairs = [codec.encode(sample.record) for sample in samples]
    blocks, known = (torch.stack(column) for column in zip(*pairs, strict=True))
    return Batch(blocks, conditions, torch.zeros(len(samples), 2), known)


class Mixed:
    """Several sources of one target as one: each sample comes from one of them.

    Parameters
    ----------
    shares
        How often each source is drawn from; they need not add up to 1.
    """

    def __init__(self, sources: Sequence[BatchSource], shares: Sequence[float]) -> None:
        self.sources, self.shares = sources, np.array(shares) / sum(shares)

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """`size` random samples."""
        counts = rng.multinomial(size, self.shares)
        parts = [source.batch(int(n), rng) for n, source in zip(counts, self.sources, strict=True) if n]
        return Batch(
            torch.cat([part.clean for part in parts]),
            join_conditions([(len(part.clean), part.conditions) for part in parts]),
            torch.cat([part.extra for part in parts]),
            torch.cat([part.known for part in parts]),
        )
