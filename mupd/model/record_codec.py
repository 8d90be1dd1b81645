"""Synoptic records as vectors: one block of a common length for each field."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mupd.files import write_text
from mupd.model.facts import DIRECTIONS, RECORD_FILE, Temperatures, read_record_fields, read_record_temperatures

Probabilities = dict[str, dict[str, float]]
_MODALITY = {"he": "he", "rna": "rna", "pathways": "rna"}


def direction_of(streams: Iterable[str]) -> str:
    """Direction, as :data:`~mupd.model.facts.DIRECTIONS` names it, of the streams that a record is made from.

    Pathway scores are part of the RNA that they were taken from.

    Raises
    ------
    ValueError
        If there is no stream, or one of which no record is made.
    """
    names = list(streams)
    if not names or not set(names) <= set(_MODALITY):
        raise ValueError(f"streams: found {names}; expected some of {list(_MODALITY)}")
    return "+".join(sorted({_MODALITY[name] for name in names}))


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
        {direction: {field: temperature over 0}} by which logits are divided (:mod:`mupd.model.calibration`), for each
        of :data:`~mupd.model.facts.DIRECTIONS`; 1 where not fitted.
    """

    def __init__(
        self, fields: Mapping[str, Sequence[str]], temperatures: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        if not fields or not all(fields.values()):
            raise ValueError(f"fields: found {dict(fields)!r}; expected at least one, each with values")
        self.fields = {field: tuple(values) for field, values in fields.items()}
        self.block = max(len(values) for values in self.fields.values())
        self.dim = self.block * len(self.fields)
        given = {direction: dict(row) for direction, row in (temperatures or {}).items()}
        wrong: dict[str, object] = {direction: row for direction, row in given.items() if direction not in DIRECTIONS}
        for direction, row in given.items():
            for field, value in row.items():
                if field not in self.fields or not 0 < value < math.inf:
                    wrong[f"{direction}: {field}"] = value
        if wrong:
            raise ValueError(
                f"temperatures: found {wrong}; expected, for some of {list(DIRECTIONS)}, numbers over 0 of the fields "
                f"{list(self.fields)}"
            )
        self.temperatures: Temperatures = {
            direction: {field: float(given.get(direction, {}).get(field, 1.0)) for field in self.fields}
            for direction in DIRECTIONS
        }

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

    def log_probabilities(self, logits: Tensor, direction: str | None = None) -> Tensor:
        """Log-softmax over each field's own values; (batch, fields * block) to (batch, fields, block).

        Parameters
        ----------
        direction
            What the logits were made from: they are divided by their field's temperature in this direction; None =
            they are taken as they are.

        Raises
        ------
        ValueError
            If the direction is none of :data:`~mupd.model.facts.DIRECTIONS`.
        """
        blocks = logits.unflatten(1, (len(self.fields), self.block))
        if direction is not None:
            if direction not in self.temperatures:
                raise ValueError(f"direction: found {direction!r}; expected one of {list(self.temperatures)}")
            blocks = blocks / torch.tensor(list(self.temperatures[direction].values()), device=logits.device)[:, None]
        return blocks.masked_fill(~self.usable_values().to(blocks.device), -1e4).log_softmax(-1)

    def named_probabilities(self, probabilities: Tensor) -> Probabilities:
        """(fields, block) to {field: {value: probability}}."""
        return {
            field: {value: float(probabilities[row, column]) for column, value in enumerate(values)}
            for row, (field, values) in enumerate(self.fields.items())
        }
