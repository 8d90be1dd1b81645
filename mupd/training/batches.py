"""What a training step gets from its data: one form of batch for all targets, and batches of several sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mupd.model.attention import Conditions
from mupd.training.tokens import join_conditions


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
