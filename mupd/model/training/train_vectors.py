"""Training of the RNA transformer (velocity) and of the record transformer (clean-record logits)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.modalities.records import FIELDS
from mupd.model.record_codec import RecordCodec
from mupd.model.training.labels import HER2ST_RECORD
from mupd.model.training.loop import LoopSettings, train
from mupd.model.training.train_he import STREAM_DROPOUT, logit_normal
from mupd.model.training.vector_pairs import (
    Patient,
    SpotSet,
    TileClass,
    bag,
    padded,
    record_targets,
)
from mupd.model.transformer import Conditions, MuPDTransformer

Rows = list[NDArray[np.float32] | None]
FEATURE_NOISE = 0.3
RNA_NOISE = 1.0
"""Noise on RNA conditions of records: few hundred patients are soon known by heart."""
_MOST_CHUNKS = 8


def _noisy(rows: NDArray[np.float32], level: float, rng: np.random.Generator) -> NDArray[np.float32]:
    return rows + level * rng.standard_normal(rows.shape).astype(np.float32)


def _kept(rows: NDArray[np.float32], rng: np.random.Generator, dropout: float) -> NDArray[np.float32] | None:
    return None if rng.random() < dropout else rows


def rna_batch(
    spots: list[SpotSet],
    people: list[Patient],
    own_texts: list[NDArray[np.float32]],
    size: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Conditions, Tensor]:
    """Components (size, dim), conditions, and the extra vector whose first entry is 1 for bulk."""
    weights = np.array([len(s.components) for s in spots], np.float64)
    targets, tiles, texts = [], Rows(), Rows()
    extra = torch.zeros(size, 2)
    for index in range(size):
        if rng.random() < 0.6:
            section = spots[rng.choice(len(spots), p=weights / weights.sum())]
            row = int(rng.integers(len(section.components)))
            feature = section.features[rng.integers(len(section.features))][row : row + 1]
            targets.append(section.components[row])
            tiles.append(_kept(_noisy(feature, FEATURE_NOISE, rng), rng, STREAM_DROPOUT))
            texts.append(_kept(own_texts[rng.integers(len(own_texts))], rng, 0.5))
        else:
            patient = people[rng.integers(len(people))]
            chunks = patient.texts[rng.integers(len(patient.texts))]
            targets.append(patient.components)
            tiles.append(None)
            texts.append(_kept(bag(chunks, _MOST_CHUNKS, rng), rng, STREAM_DROPOUT))
            extra[index, 0] = 1.0
    dim = spots[0].features[0].shape[1]
    conditions = {"he": padded(tiles, dim), "text": padded(texts, own_texts[0].shape[1])}
    return torch.from_numpy(np.stack(targets)), conditions, extra


def train_rna(
    model: MuPDTransformer,
    spots: list[SpotSet],
    people: list[Patient],
    own_texts: list[NDArray[np.float32]],
    settings: LoopSettings,
    folder: Path,
    batch_size: int = 128,
) -> dict[str, Tensor]:
    """Train on velocity of the linear interpolant between noise and components; returns EMA weights."""

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        rng = np.random.default_rng((settings.seed, step))
        clean, conditions, extra = rna_batch(spots, people, own_texts, batch_size, rng)
        t = logit_normal(len(clean), generator, mean=-0.5)
        noise = torch.randn(clean.shape, generator=generator)
        x = (1 - t)[:, None] * noise + t[:, None] * clean
        return (model(x, t, conditions, extra) - (clean - noise)).square().mean()

    return train(model, loss_of_step, settings, folder)


def record_batch(
    spots: list[SpotSet], people: list[Patient], classes: list[TileClass], size: int, rng: np.random.Generator
) -> tuple[list[dict[str, str]], Conditions]:
    """Records and their conditions: tiles of organs, patients' RNA, and bags of spots (tiles, RNA or both)."""
    records: list[dict[str, str]] = []
    tiles, rna = Rows(), Rows()
    sizes = np.array([len(c.features) for c in classes], np.float64)
    names = [f"{c.record['organ']}/{c.record.get('diagnosis')}" for c in classes]
    total = {name: sum(s for s, n in zip(sizes, names, strict=True) if n == name) for name in set(names)}
    weights = np.array([s / total[n] ** 0.5 for s, n in zip(sizes, names, strict=True)])
    weights /= weights.sum()
    for _ in range(size):
        kind = rng.random()
        if kind < 0.4:
            tile_class = classes[rng.choice(len(classes), p=weights)]
            records.append(tile_class.record)
            tiles.append(_noisy(bag(tile_class.features, 16, rng), FEATURE_NOISE, rng))
            rna.append(None)
        elif kind < 0.85:
            patient = people[rng.integers(len(people))]
            records.append(patient.record)
            tiles.append(None)
            rna.append(_with_kind(_noisy(patient.condition[None], RNA_NOISE, rng), patient.condition[-1]))
        else:
            section = spots[rng.integers(len(spots))]
            records.append(HER2ST_RECORD)
            features = section.features[rng.integers(len(section.features))]
            which = rng.random()
            tiles.append(_noisy(bag(features, 16, rng), FEATURE_NOISE, rng) if which < 0.7 else None)
            profile = bag(section.conditions, 64, rng).mean(0, keepdims=True)
            rna.append(_with_kind(_noisy(profile, RNA_NOISE, rng), 0.0) if which > 0.4 else None)
    conditions = {
        "he": padded(tiles, spots[0].features[0].shape[1]),
        "rna": padded(rna, spots[0].conditions.shape[1]),
    }
    return records, conditions


def _with_kind(rows: NDArray[np.float32], kind: float) -> NDArray[np.float32]:
    rows[:, -1] = kind
    return rows


def train_record(
    model: MuPDTransformer,
    spots: list[SpotSet],
    people: list[Patient],
    classes: list[TileClass],
    settings: LoopSettings,
    folder: Path,
    batch_size: int = 128,
) -> dict[str, Tensor]:
    """Train on the cross-entropy of known fields; unknown ones stay pure noise and are not scored."""
    codec = RecordCodec(FIELDS)

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        records, conditions = record_batch(
            spots, people, classes, batch_size, np.random.default_rng((settings.seed, step))
        )
        clean, known = record_targets(records, codec)
        # Half of the batch at t = 0, where the network states each field's distribution.
        t = torch.rand(len(clean), generator=generator) * (torch.rand(len(clean), generator=generator) < 0.5)
        noise = torch.randn(clean.shape, generator=generator)
        x = torch.where(known[:, :, None], (1 - t)[:, None, None] * noise + t[:, None, None] * clean, noise)
        logits = model(x.flatten(1), t, conditions, torch.zeros(len(clean), 2))
        scored = -(clean * codec.log_probabilities(logits)).sum(-1)
        return (scored * known).sum() / known.sum()

    return train(model, loss_of_step, settings, folder)
