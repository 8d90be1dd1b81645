"""Batches of RNA components and of records, with their conditions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mupd.model.record_codec import RecordCodec
from mupd.training.augment import (
    FEATURE_NOISE,
    MOST_CHUNKS,
    MOST_SPOTS,
    MOST_TILES,
    RNA_NOISE,
    SCORE_NOISE,
    STREAM_DROPOUT,
    bag,
    dropped,
    noisy,
    noisy_profile,
)
from mupd.training.batches import Batch, RecordSample, RnaSample, Tokens, record_batch, rna_batch
from mupd.training.public.labels import HER2ST_RECORD
from mupd.training.public.pairs import LabelledSpots, Patient, SpotSet, TileClass


@dataclass
class RnaBatches:
    """RNA components given tiles (spots) or texts (patients).

    Attributes
    ----------
    spot_texts
        Embeddings (chunks, 384) of texts that hold for all spots.
    """

    spots: list[SpotSet]
    people: list[Patient]
    spot_texts: list[NDArray[np.float32]]

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Components of single spots (60 %) and of patients."""
        return rna_batch([self._sample(rng) for _ in range(size)], {"he": self.spots[0].features[0].shape[1]})

    def _sample(self, rng: np.random.Generator) -> RnaSample:
        if rng.random() < 0.6:
            sizes = np.array([len(s.components) for s in self.spots], np.float64)
            section = self.spots[rng.choice(len(self.spots), p=sizes / sizes.sum())]
            row = int(rng.integers(len(section.components)))
            feature = section.features[rng.integers(len(section.features))][row : row + 1]
            tiles = dropped(noisy(feature, FEATURE_NOISE, rng), STREAM_DROPOUT, rng)
            text = dropped(self.spot_texts[rng.integers(len(self.spot_texts))], 0.5, rng)
            return RnaSample(section.components[row], tiles, text, bulk=False)
        patient = self.people[rng.integers(len(self.people))]
        chunks = patient.texts[rng.integers(len(patient.texts))]
        text = dropped(bag(chunks, MOST_CHUNKS, rng), STREAM_DROPOUT, rng)
        return RnaSample(patient.components, None, text, bulk=True)


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
        # Each class as often as the square root of its size: otherwise the largest would outweigh all others.
        sizes = np.array([len(c.features) for c in self.classes], np.float64)
        names = [(c.record["organ"], c.record.get("diagnosis"), c.record.get("tissue")) for c in self.classes]
        total = {name: sum(s for s, n in zip(sizes, names, strict=True) if n == name) for name in set(names)}
        weights = np.array([s / total[n] ** 0.5 for s, n in zip(sizes, names, strict=True)])
        self.weights = weights / weights.sum()

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Records with their conditions."""
        spots = self.spots[0]
        dims = {
            "he": spots.features[0].shape[1],
            "rna": spots.conditions.shape[1],
            "pathways": spots.pathways.shape[1],
        }
        return record_batch([self._sample(rng) for _ in range(size)], dims, self.codec)

    def _sample(self, rng: np.random.Generator) -> RecordSample:
        kind = rng.random()
        if kind < 0.35:
            chosen = self.classes[rng.choice(len(self.classes), p=self.weights)]
            tiles = noisy(bag(chosen.features, MOST_TILES, rng), FEATURE_NOISE, rng)
            return RecordSample(chosen.record, tiles, None, None)
        if kind < 0.75:
            patient = self.people[rng.integers(len(self.people))]
            return RecordSample(patient.record, None, *_profile(patient.condition[None], patient.pathways[None], rng))
        if kind < 0.87 and self.labelled:
            section = self.labelled[rng.integers(len(self.labelled))]
            row = int(rng.integers(len(section.tissue)))
            profile = _profile(section.conditions[row : row + 1], section.pathways[row : row + 1], rng)
            return RecordSample(HER2ST_RECORD | {"tissue": section.tissue[row]}, None, *profile)
        return self._bag_of_spots(rng)

    def _bag_of_spots(self, rng: np.random.Generator) -> RecordSample:
        """Tiles of some spots (40 %), their mean RNA (30 %), or both."""
        spots = self.spots[rng.integers(len(self.spots))]
        features = spots.features[rng.integers(len(spots.features))]
        which = rng.random()
        tiles = noisy(bag(features, MOST_TILES, rng), FEATURE_NOISE, rng) if which < 0.7 else None
        if which <= 0.4:
            return RecordSample(HER2ST_RECORD, tiles, None, None)
        rows = bag(np.arange(len(spots.conditions)), MOST_SPOTS, rng)
        rna = noisy_profile(spots.conditions[rows].mean(0, keepdims=True), RNA_NOISE, rng)
        pathways = noisy(spots.pathways[rows].mean(0, keepdims=True), SCORE_NOISE, rng)
        return RecordSample(HER2ST_RECORD, tiles, rna, pathways)


def _profile(
    condition: NDArray[np.float32], pathways: NDArray[np.float32], rng: np.random.Generator
) -> tuple[Tokens, Tokens]:
    """Noisy RNA and pathway scores (1, dim): both, or one of them left out, each a tenth of the time."""
    rna, scores = noisy_profile(condition, RNA_NOISE, rng), noisy(pathways, SCORE_NOISE, rng)
    which = rng.random()
    return (None if which < STREAM_DROPOUT else rna), (None if which > 1 - STREAM_DROPOUT else scores)
