"""Conditions as padded sets of tokens with masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.model.attention import Conditions

Rows = list[NDArray[np.float32] | None]
"""Tokens (n, dim) of each sample; None where the sample lacks this condition."""


def padded(rows: Sequence[NDArray[np.float32] | None], dim: int) -> tuple[Tensor, Tensor]:
    """Token sets of different sizes as (batch, longest, dim) float32 and their mask (batch, longest) bool."""
    longest = max([1, *(len(row) for row in rows if row is not None)])
    tokens, mask = torch.zeros(len(rows), longest, dim), torch.zeros(len(rows), longest, dtype=torch.bool)
    for index, row in enumerate(rows):
        if row is not None:
            tokens[index, : len(row)] = torch.from_numpy(row)
            mask[index, : len(row)] = True
    return tokens, mask


def one_token(rows: NDArray[np.floating]) -> tuple[Tensor, Tensor]:
    """Each row (n, dim) as the only token of a sample, and its mask."""
    tokens = torch.from_numpy(np.ascontiguousarray(rows, np.float32))[:, None]
    return tokens, torch.ones(len(rows), 1, dtype=torch.bool)


def on_device(conditions: Conditions, device: str | torch.device) -> Conditions:
    """Conditions moved to a device."""
    return {name: (tokens.to(device), mask.to(device)) for name, (tokens, mask) in conditions.items()}


def join_conditions(parts: Sequence[tuple[int, Conditions]]) -> Conditions:
    """Concatenate the conditions of batches of known sizes; rows of a batch without a stream are masked there."""
    names = dict.fromkeys(name for _, conditions in parts for name in conditions)
    joined: Conditions = {}
    for name in names:
        present = [conditions[name] for _, conditions in parts if name in conditions]
        longest, dim = max(tokens.shape[1] for tokens, _ in present), present[0][0].shape[2]
        total = sum(size for size, _ in parts)
        tokens, mask = torch.zeros(total, longest, dim), torch.zeros(total, longest, dtype=torch.bool)
        start = 0
        for size, conditions in parts:
            if name in conditions:
                own_tokens, own_mask = conditions[name]
                tokens[start : start + size, : own_tokens.shape[1]] = own_tokens
                mask[start : start + size, : own_mask.shape[1]] = own_mask
            start += size
        joined[name] = (tokens, mask)
    return joined
