"""Synoptic records as vectors: one block of a common length for each field."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mupd.base.files import write_text
from mupd.model.calibration import mixed
from mupd.model_folder.contents import (
    DIRECTIONS,
    ORGAN_FIELD,
    RECORD_FILE,
    Reliance,
    Shares,
    Temperatures,
    read_record_fields,
    read_record_reliance,
    read_record_shares,
    read_record_temperatures,
    share_faults,
)

Probabilities = dict[str, dict[str, float]]
_MODALITY = {"he": "he", "rna": "rna", "pathways": "rna"}


def direction_of(streams: Iterable[str]) -> str:
    """Direction, as :data:`~mupd.model_folder.contents.DIRECTIONS` names it, of the streams that a record is made from.

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
        of :data:`~mupd.model_folder.contents.DIRECTIONS`; 1 where not fitted.
    shares
        {organ: {field: {value: share}}} among the records that were trained on.
    reliance
        {direction: {field: weight}} of the model's own probabilities beside these shares; 1 where not fitted.
    """

    def __init__(
        self,
        fields: Mapping[str, Sequence[str]],
        temperatures: Mapping[str, Mapping[str, float]] | None = None,
        reliance: Mapping[str, Mapping[str, float]] | None = None,
        shares: Shares | None = None,
    ) -> None:
        if not fields or not all(fields.values()):
            raise ValueError(f"fields: found {dict(fields)!r}; expected at least one, each with values")
        self.fields = {field: tuple(values) for field, values in fields.items()}
        self.block = max(len(values) for values in self.fields.values())
        self.dim = self.block * len(self.fields)
        self.temperatures: Temperatures = self._by_direction("temperatures", temperatures, math.inf)
        self.reliance: Reliance = self._by_direction("reliance", reliance, 1.0)
        self.shares: Shares = shares or {}
        if wrong := share_faults(self.shares, self.fields):
            raise ValueError(f"shares: {wrong}")
        self._shares = self._share_table()

    def _by_direction(
        self, name: str, given: Mapping[str, Mapping[str, float]] | None, most: float
    ) -> dict[str, dict[str, float]]:
        """One number, over 0 and at most `most`, for each direction and field; 1 where not given."""
        rows = {direction: dict(row) for direction, row in (given or {}).items()}
        wrong: dict[str, object] = {direction: row for direction, row in rows.items() if direction not in DIRECTIONS}
        for direction, row in rows.items():
            for field, value in row.items():
                if field not in self.fields or not (0 < value < math.inf and value <= most):
                    wrong[f"{direction}: {field}"] = value
        if wrong:
            raise ValueError(
                f"{name}: found {wrong}; expected, for some of {list(DIRECTIONS)}, numbers over 0 (at most {most:g}) "
                f"of the fields {list(self.fields)}"
            )
        return {
            direction: {field: float(rows.get(direction, {}).get(field, 1.0)) for field in self.fields}
            for direction in DIRECTIONS
        }

    def _share_table(self) -> Tensor:
        """(organs, fields, block) shares; of a field that no organ has shares of 0.

        Where other organs have some and this one has none, training never told the field of it: all values have the
        same share.
        """
        organs = self.fields.get(ORGAN_FIELD, ())
        table = torch.zeros(len(organs), len(self.fields), self.block)
        shared = {field for rows in self.shares.values() for field in rows}
        for place, organ in enumerate(organs):
            for index, (field, values) in enumerate(self.fields.items()):
                if field in shared:
                    row = self.shares.get(organ, {}).get(field) or dict.fromkeys(values, 1.0)
                    for value, share in row.items():
                        table[place, index, values.index(value)] = share / sum(row.values())
        return table

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> RecordCodec:
        """The codec of a model folder (``record.json``; without one, the fields of models before it).

        Raises
        ------
        ModelError
            If the file is no record's vocabulary.
        """
        path = Path(folder)
        fields, temperatures = read_record_fields(path), read_record_temperatures(path)
        return cls(fields, temperatures, read_record_reliance(path), read_record_shares(path))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``record.json`` into a model folder."""
        # Not with sorted keys: the order of the fields is that of the vector's blocks.
        value: dict[str, object] = {"fields": self.fields, "temperatures": self.temperatures}
        if self.shares:
            value |= {"reliance": self.reliance, "shares": self.shares}
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
            If the direction is none of :data:`~mupd.model_folder.contents.DIRECTIONS`.
        """
        blocks = logits.unflatten(1, (len(self.fields), self.block))
        if direction is not None:
            if direction not in self.temperatures:
                raise ValueError(f"direction: found {direction!r}; expected one of {list(self.temperatures)}")
            blocks = blocks / torch.tensor(list(self.temperatures[direction].values()), device=logits.device)[:, None]
        return blocks.masked_fill(~self.usable_values().to(blocks.device), -1e4).log_softmax(-1)

    def shares_of(self, organs: Tensor) -> Tensor:
        """Shares (batch, fields, block) under probabilities of organs (batch, block); 0 for the organ itself."""
        return torch.einsum("bo,ofv->bfv", organs[:, : len(self._shares)], self._shares.to(organs))

    def blended(self, probabilities: Tensor, direction: str) -> Tensor:
        """Probabilities (batch, fields, block) with the shares of the organ, as far as a direction relies on them."""
        if not self.shares:
            return probabilities
        reliance = torch.tensor(list(self.reliance[direction].values())).to(probabilities)[:, None]
        shares = self.shares_of(probabilities[:, list(self.fields).index(ORGAN_FIELD)])
        mixture: Tensor = mixed(probabilities, shares, reliance)
        return mixture

    def leaning(self, organs: Mapping[str, float], direction: str) -> dict[str, float]:
        """{field: weight} of training shares in a record whose organ has these probabilities; under 1 % left out."""
        leanings = {}
        for field, own in self.reliance[direction].items():
            known = sum(share for organ, share in organs.items() if field in self.shares.get(organ, {}))
            if (1 - own) * known >= 0.01:
                leanings[field] = (1 - own) * known
        return leanings

    def redrawn(self, values: Mapping[str, str], direction: str, rng: np.random.Generator) -> dict[str, str]:
        """A drawn record of which each field, as often as not relied on, is drawn from its organ's shares instead.

        Records that were drawn from a model's own probabilities become records of :meth:`blended` ones.
        """
        redrawn_values = dict(values)
        if not self.shares:
            return redrawn_values
        table = self._shares[self.fields[ORGAN_FIELD].index(values[ORGAN_FIELD])]
        for row, (field, named) in zip(table.double().numpy(), self.fields.items(), strict=True):
            kept = rng.random() < self.reliance[direction][field]
            choice, upper = rng.random(), row.cumsum()
            if not kept and upper[-1]:
                redrawn_values[field] = named[int(np.searchsorted(upper, choice * upper[-1], side="right"))]
        return redrawn_values

    def named_probabilities(self, probabilities: Tensor) -> Probabilities:
        """(fields, block) to {field: {value: probability}}."""
        return {
            field: {value: float(probabilities[row, column]) for column, value in enumerate(values)}
            for row, (field, values) in enumerate(self.fields.items())
        }
