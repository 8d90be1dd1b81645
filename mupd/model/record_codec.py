"""Synoptic records as vectors: one block of a common length for each field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mupd.files import write_text
from mupd.model.facts import RECORD_FILE, read_record_fields, read_record_temperatures

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
    temperatures
        {field: temperature over 0} by which logits are divided (:mod:`mupd.model.calibration`), 1 where not fitted.
    """

    def __init__(self, fields: Mapping[str, Sequence[str]], temperatures: Mapping[str, float] | None = None) -> None:
        if not fields or not all(fields.values()):
            raise ValueError(f"fields: found {dict(fields)!r}; expected at least one, each with values")
        self.fields = {field: tuple(values) for field, values in fields.items()}
        self.block = max(len(values) for values in self.fields.values())
        self.dim = self.block * len(self.fields)
        given = dict(temperatures or {})
        wrong = {field: value for field, value in given.items() if field not in self.fields or not 0 < value < math.inf}
        if wrong:
            raise ValueError(f"temperatures: found {wrong}; expected numbers over 0 of the fields {list(self.fields)}")
        self.temperatures = {field: float(given.get(field, 1.0)) for field in self.fields}

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> RecordCodec:
        """The codec of a model folder (``record.json``; without one, the fields of models before it).

        Raises
        ------
        ModelError
            If the file is no record's vocabulary.
        """
        return cls(read_record_fields(Path(folder)), read_record_temperatures(Path(folder)))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``record.json`` into a model folder."""
        # Not with sorted keys: the order of the fields is that of the vector's blocks.
        value = {"fields": self.fields, "temperatures": self.temperatures}
        text = json.dumps(value, indent=2, ensure_ascii=False)
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
        """Log-softmax over each field's own values; (batch, fields * block) to (batch, fields, block).

        Logits are divided by their field's temperature first.
        """
        scale = torch.tensor(list(self.temperatures.values()), device=logits.device)[:, None]
        blocks = logits.unflatten(1, (len(self.fields), self.block)) / scale
        return blocks.masked_fill(~self.usable_values().to(blocks.device), -1e4).log_softmax(-1)

    def named_probabilities(self, probabilities: Tensor) -> Probabilities:
        """(fields, block) to {field: {value: probability}}."""
        return {
            field: {value: float(probabilities[row, column]) for column, value in enumerate(values)}
            for row, (field, values) in enumerate(self.fields.items())
        }
