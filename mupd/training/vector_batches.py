"""Batches of RNA components and of records with their conditions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.model.attention import Conditions
from mupd.model.record_codec import RecordCodec
from mupd.training.he_batches import STREAM_DROPOUT
from mupd.training.labels import HER2ST_RECORD
from mupd.training.vector_pairs import LabelledSpots, Patient, SpotSet, TileClass, bag, padded

Rows = list[NDArray[np.float32] | None]
FEATURE_NOISE = 0.3
RNA_NOISE = 1.0
"""Noise on RNA conditions of records: few hundred patients are soon known by heart."""
SCORE_NOISE = 0.3
_MOST_CHUNKS = 8


def noisy(rows: NDArray[np.float32], level: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """`rows` with normal noise of standard deviation `level`."""
    return rows + level * rng.standard_normal(rows.shape).astype(np.float32)


def noisy_profile(rows: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """RNA condition vectors with noise on all but the last column, which says bulk or spots."""
    found = noisy(rows, RNA_NOISE, rng)
    found[:, -1] = rows[:, -1]
    return found


def _kept(rows: NDArray[np.float32], rng: np.random.Generator, dropout: float) -> NDArray[np.float32] | None:
    return None if rng.random() < dropout else rows


@dataclass
class RnaBatches:
    """RNA components given tiles (spots) or texts (patients).

    Attributes
    ----------
    own_texts
        Embeddings (chunks, 384) of texts that hold for all spots.
    """

    spots: list[SpotSet]
    people: list[Patient]
    own_texts: list[NDArray[np.float32]]

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Conditions, Tensor]:
        """Components (size, dim), conditions, and the extra vector whose first entry is 1 for bulk."""
        weights = np.array([len(s.components) for s in self.spots], np.float64)
        targets, tiles, texts = [], Rows(), Rows()
        extra = torch.zeros(size, 2)
        for index in range(size):
            if rng.random() < 0.6:
                section = self.spots[rng.choice(len(self.spots), p=weights / weights.sum())]
                row = int(rng.integers(len(section.components)))
                feature = section.features[rng.integers(len(section.features))][row : row + 1]
                targets.append(section.components[row])
                tiles.append(_kept(noisy(feature, FEATURE_NOISE, rng), rng, STREAM_DROPOUT))
                texts.append(_kept(self.own_texts[rng.integers(len(self.own_texts))], rng, 0.5))
            else:
                patient = self.people[rng.integers(len(self.people))]
                chunks = patient.texts[rng.integers(len(patient.texts))]
                targets.append(patient.components)
                tiles.append(None)
                texts.append(_kept(bag(chunks, _MOST_CHUNKS, rng), rng, STREAM_DROPOUT))
                extra[index, 0] = 1.0
        dim = self.spots[0].features[0].shape[1]
        conditions = {"he": padded(tiles, dim), "text": padded(texts, self.own_texts[0].shape[1])}
        return torch.from_numpy(np.stack(targets)), conditions, extra


@dataclass
class RecordBatches:
    """Records given tiles of organs, RNA of patients, bags of spots (tiles, RNA or both), or RNA of labelled spots."""

    codec: RecordCodec
    spots: list[SpotSet]
    people: list[Patient]
    classes: list[TileClass]
    labelled: list[LabelledSpots]
    weights: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        # Each class as often as the square root of its size: else the largest alone would be learned.
        sizes = np.array([len(c.features) for c in self.classes], np.float64)
        names = [(c.record["organ"], c.record.get("diagnosis"), c.record.get("tissue")) for c in self.classes]
        total = {name: sum(s for s, n in zip(sizes, names, strict=True) if n == name) for name in set(names)}
        weights = np.array([s / total[n] ** 0.5 for s, n in zip(sizes, names, strict=True)])
        self.weights = weights / weights.sum()

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Conditions]:
        """One-hot blocks (size, fields, block), known fields (size, fields) bool, conditions."""
        records: list[dict[str, str]] = []
        tiles, rna, pathways = Rows(), Rows(), Rows()
        for _ in range(size):
            record, *given = self._sample(rng)
            records.append(record)
            for column, rows in zip((tiles, rna, pathways), given, strict=True):
                column.append(rows)
        pairs = [self.codec.encode(record) for record in records]
        conditions = {
            "he": padded(tiles, self.spots[0].features[0].shape[1]),
            "rna": padded(rna, self.spots[0].conditions.shape[1]),
            "pathways": padded(pathways, self.spots[0].pathways.shape[1]),
        }
        return torch.stack([values for values, _ in pairs]), torch.stack([known for _, known in pairs]), conditions

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Log-probabilities of each field's values."""
        return self.codec.log_probabilities(logits)

    def _sample(self, rng: np.random.Generator) -> tuple[dict[str, str], *tuple[NDArray[np.float32] | None, ...]]:
        """Record, tiles, RNA conditions, pathway scores; None = absent."""
        kind = rng.random()
        if kind < 0.35:
            chosen = self.classes[rng.choice(len(self.classes), p=self.weights)]
            return chosen.record, noisy(bag(chosen.features, 16, rng), FEATURE_NOISE, rng), None, None
        if kind < 0.75:
            patient = self.people[rng.integers(len(self.people))]
            rna = noisy_profile(patient.condition[None], rng)
            scores = noisy(patient.pathways[None], SCORE_NOISE, rng)
            return patient.record, None, *_one_or_both(rna, scores, rng)
        if kind < 0.87 and self.labelled:
            section = self.labelled[rng.integers(len(self.labelled))]
            row = int(rng.integers(len(section.tissue)))
            rna = noisy_profile(section.conditions[row : row + 1], rng)
            scores = noisy(section.pathways[row : row + 1], SCORE_NOISE, rng)
            return HER2ST_RECORD | {"tissue": section.tissue[row]}, None, *_one_or_both(rna, scores, rng)
        spots = self.spots[rng.integers(len(self.spots))]
        features = spots.features[rng.integers(len(spots.features))]
        which = rng.random()
        tiles = noisy(bag(features, 16, rng), FEATURE_NOISE, rng) if which < 0.7 else None
        if which <= 0.4:
            return HER2ST_RECORD, tiles, None, None
        rows = bag(np.arange(len(spots.conditions), dtype=np.float32), 64, rng).astype(np.int64)
        rna = noisy_profile(spots.conditions[rows].mean(0, keepdims=True), rng)
        return HER2ST_RECORD, tiles, rna, noisy(spots.pathways[rows].mean(0, keepdims=True), SCORE_NOISE, rng)


def _one_or_both(
    rna: NDArray[np.float32], scores: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Both, or one of the two left out: a tenth of the time each."""
    which = rng.random()
    return (None if which < STREAM_DROPOUT else rna), (None if which > 1 - STREAM_DROPOUT else scores)
