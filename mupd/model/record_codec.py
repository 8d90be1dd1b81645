"""Synoptic records as vectors: one block of a common length for each field."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mupd.files import write_text
from mupd.model.facts import RECORD_FILE, read_record_fields

Probabilities = dict[str, dict[str, float]]


class RecordCodec:
    """A record's fields and values as places of a vector; a model keeps its own, so that it outlives a change.

    Attributes
    ----------
    fields
        {field: values}, in the order of the vector's blocks.
    block
        Length of a field's block; fields with fewer values leave the rest unused.
    dim
        Length of the vector, ``len(fields) * block``.
    """

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        if not fields or not all(fields.values()):
            raise ValueError(f"fields: found {dict(fields)!r}; expected at least one, each with values")
        self.fields = {field: tuple(values) for field, values in fields.items()}
        self.block = max(len(values) for values in self.fields.values())
        self.dim = self.block * len(self.fields)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> RecordCodec:
        """The codec of a model folder (``record.json``; without one, the fields of models before it).

        Raises
        ------
        ModelError
            If the file is no record's vocabulary.
        """
        return cls(read_record_fields(Path(folder)))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``record.json`` into a model folder."""
        # Not with sorted keys: the order of the fields is that of the vector's blocks.
        text = json.dumps({"fields": self.fields}, indent=2, ensure_ascii=False)
        write_text(Path(folder) / RECORD_FILE, text + "\n")

    def encode(self, record: Mapping[str, str]) -> tuple[Tensor, Tensor]:
        """One-hot blocks (fields, block) and which fields are known (fields,) bool.

        Raises
        ------
        ValueError
            If a field or a value is not in the vocabulary.
        """
        names = list(self.fields)
        values, known = torch.zeros(len(names), self.block), torch.zeros(len(names), dtype=torch.bool)
        for field, value in record.items():
            if field not in self.fields:
                raise ValueError(f"record: found field {field!r}; expected one of {names}")
            if value not in self.fields[field]:
                raise ValueError(f"record[{field!r}]: found {value!r}; expected one of {list(self.fields[field])}")
            row = names.index(field)
            values[row, self.fields[field].index(value)] = 1
            known[row] = True
        return values, known

    def usable_values(self) -> Tensor:
        """(fields, block) bool: which places of each block stand for a value."""
        return torch.stack([torch.arange(self.block) < len(values) for values in self.fields.values()])

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Log-softmax over each field's own values; (batch, fields * block) to (batch, fields, block)."""
        blocks = logits.unflatten(1, (len(self.fields), self.block))
        return blocks.masked_fill(~self.usable_values().to(blocks.device), -1e4).log_softmax(-1)

    def named_probabilities(self, probabilities: Tensor) -> Probabilities:
        """(fields, block) to {field: {value: probability}}."""
        return {
            field: {value: float(probabilities[row, column]) for column, value in enumerate(values)}
            for row, (field, values) in enumerate(self.fields.items())
        }
