"""Records that a model is asked for, as probabilities before calibration, and the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mupd.model.attention import Conditions
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import RecordCodec
from mupd.model.sampling import sample_record, seeded_noise
from mupd.training.augment import MOST_TILES
from mupd.training.public.pairs import Patient, TileClass
from mupd.training.tokens import on_device, one_token, padded


@dataclass(frozen=True)
class Scored:
    """Records that a model was asked for, and the truth.

    Attributes
    ----------
    logits
        (n, fields, block) log-probabilities before temperatures.
    truth
        (n, fields) index of the true value, -1 where it is unknown.
    """

    logits: NDArray[np.float64]
    truth: NDArray[np.int64]


def value_indices(fields: Mapping[str, Sequence[str]], records: Sequence[Mapping[str, str]]) -> NDArray[np.int64]:
    """(n, fields) index of each record's value, -1 where the record does not state the field."""
    return np.array(
        [[values.index(r[field]) if field in r else -1 for field, values in fields.items()] for r in records], np.int64
    ).reshape(len(records), len(fields))


def record_logits(pipeline: MuPDPipeline, conditions: Conditions, seed: int) -> NDArray[np.float64]:
    """Log-probabilities (n, fields, block) before temperatures; -1e4 in places that stand for no value."""
    plain = RecordCodec(pipeline.record_codec.fields)
    n = len(next(iter(conditions.values()))[1])
    with torch.no_grad():
        context = pipeline.transformer.context(on_device(conditions, pipeline.device), n)
        noise = seeded_noise((n, plain.dim), seed, pipeline.device)
        _, marginal = sample_record(pipeline.transformer, plain, context, noise, steps=1)
    return np.log(np.maximum(marginal.double().cpu().numpy(), 1e-30)) + np.where(plain.usable_values(), 0.0, -1e4)


def records_of_patients(pipeline: MuPDPipeline, people: Sequence[Patient], seed: int = 0) -> Scored:
    """Records from the profiles of patients."""
    conditions = {
        "rna": one_token(np.stack([person.condition for person in people])),
        "pathways": one_token(np.stack([person.pathways for person in people])),
    }
    truth = value_indices(pipeline.record_codec.fields, [person.record for person in people])
    return Scored(record_logits(pipeline, conditions, seed), truth)


def records_of_groups(pipeline: MuPDPipeline, groups: Sequence[TileClass], seed: int = 0) -> Scored:
    """Records from the tiles of groups, at most 16 of each."""
    bags = [group.features[:MOST_TILES] for group in groups]
    truth = value_indices(pipeline.record_codec.fields, [group.record for group in groups])
    return Scored(record_logits(pipeline, {"he": padded(bags, bags[0].shape[1])}, seed), truth)
