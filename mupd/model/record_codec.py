"""Synoptic records as vectors: one block of a common length for each field."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mupd.modalities.records import FIELDS

BLOCK = max(len(values) for values in FIELDS.values())
"""Length of a field's block; fields with fewer values leave the rest unused."""

RECORD_DIM = BLOCK * len(FIELDS)

Probabilities = dict[str, dict[str, float]]


def encode_record(record: Mapping[str, str]) -> tuple[Tensor, Tensor]:
    """One-hot blocks (fields, BLOCK) and which fields are known (fields,) bool.

    Raises
    ------
    ValueError
        If a field or a value is not in the vocabulary.
    """
    values, known = torch.zeros(len(FIELDS), BLOCK), torch.zeros(len(FIELDS), dtype=torch.bool)
    for field, value in record.items():
        if field not in FIELDS:
            raise ValueError(f"record: found field {field!r}; expected one of {list(FIELDS)}")
        if value not in FIELDS[field]:
            raise ValueError(f"record[{field!r}]: found {value!r}; expected one of {list(FIELDS[field])}")
        row = list(FIELDS).index(field)
        values[row, FIELDS[field].index(value)] = 1
        known[row] = True
    return values, known


def usable_values() -> Tensor:
    """(fields, BLOCK) bool: which places of each block stand for a value."""
    return torch.stack([torch.arange(BLOCK) < len(values) for values in FIELDS.values()])


def log_probabilities(logits: Tensor) -> Tensor:
    """Log-softmax over each field's own values; (batch, fields * BLOCK) to (batch, fields, BLOCK)."""
    blocks = logits.unflatten(1, (len(FIELDS), BLOCK))
    return blocks.masked_fill(~usable_values().to(blocks.device), -1e4).log_softmax(-1)


def named_probabilities(probabilities: Tensor) -> Probabilities:
    """(fields, BLOCK) to {field: {value: probability}}."""
    return {
        field: {value: float(probabilities[row, column]) for column, value in enumerate(values)}
        for row, (field, values) in enumerate(FIELDS.items())
    }
