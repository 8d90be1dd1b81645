"""What the baselines know: the model's training data, encoded by the model's own encoders.

Spots with their tiles (HER2ST), tiles of other organs, and TCGA patients. A nearest neighbour is never
taken from the case's own section: it would be the spot itself.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_cohort.training import Array, Record, Training
from mupd.model.encoders import TextEncoder
from mupd.reports.record.fields import FIELDS, render_record
from mupd.training.public.labels import HER2ST_RECORD

NEIGHBOURS = 10
"""Neighbours whose values give a probability; the value itself is the nearest one's."""
_PRIOR = 0.1


def nearest(queries: Array, pool: Array) -> NDArray[np.int64]:
    """Rows of the pool in order of Euclidean distance to each query, (queries, pool)."""
    distance = ((queries**2).sum(1)[:, None] - 2 * queries @ pool.T) + (pool**2).sum(1)[None]
    return np.argsort(distance, axis=1, kind="stable")


def frequencies(values: list[str], field: str) -> dict[str, float]:
    """Share of each value of a field, a little pulled towards even shares so that none is impossible."""
    counts = Counter(values)
    total = len(values) + _PRIOR * len(FIELDS[field])
    return {value: (counts[value] + _PRIOR) / total for value in FIELDS[field]}


Guess = dict[str, tuple[str, dict[str, float]]]
"""For each field that the training data knows, the value and the probability of each value."""


def majority(training: Training) -> Guess:
    """The most common value of each field among the training patients and sections."""
    records = [*training.patient_records, *([HER2ST_RECORD] * len(set(training.spot_section)))]
    guess: Guess = {}
    for field in FIELDS:
        if values := [record[field] for record in records if field in record]:
            guess[field] = (Counter(values).most_common(1)[0][0], frequencies(values, field))
    return guess


def by_rna(condition: Array, training: Training, source: str) -> Guess:
    """The training profile of the same kind nearest to a condition (k + 1,); shares are of the nearest ten.

    None of the case's own section or patient (`source`) is among them.
    """
    if condition[-1] > 0.5:
        rows = training.other_patients(source)
        pool, records = training.patient_conditions[rows], [training.patient_records[row] for row in rows]
    else:
        pool = training.spot_conditions[training.others(source)]
        records = [HER2ST_RECORD] * len(pool)
    order = nearest(condition[None], pool)[0]
    guess: Guess = {}
    for field in FIELDS:
        values = [records[row][field] for row in order if field in records[row]][:NEIGHBOURS]
        if values:
            guess[field] = (values[0], frequencies(values, field))
    return guess


def by_tiles(features: Array, training: Training, section: str) -> Guess:
    """Vote of the nearest training tile of each tile (n, d)."""
    kept = training.others(section)
    pool = np.concatenate([training.tile_features, training.spot_features[kept]])
    records = [*training.tile_records, *([HER2ST_RECORD] * int(kept.sum()))]
    order = nearest(features, pool)
    guess: Guess = {}
    for field in FIELDS:
        known = np.array([field in record for record in records])
        if not known.any():
            continue
        values = [records[next(row for row in ranks if known[row])][field] for ranks in order]
        guess[field] = (Counter(values).most_common(1)[0][0], frequencies(values, field))
    return guess


def rna_by_text(record: Record, training: Training, encoder: TextEncoder, source: str) -> tuple[Array, int]:
    """Profile (genes of the bulk panel,) of the other training patients with the nearest text, and how many tie.

    Texts are the records' sentences, so several patients have the very same one: their mean is taken, which
    is the best that this neighbour can say.
    """
    rows = training.other_patients(source)
    texts = {row: render_record(training.patient_records[row]) for row in rows}
    best = render_record(record)
    if best not in texts.values():
        query = encoder(best).mean(0)
        embedded = {text: encoder(text).mean(0) for text in sorted(set(texts.values()))}
        best = min(embedded, key=lambda text: float(((embedded[text] - query) ** 2).sum()))
    tied = [row for row, text in texts.items() if text == best]
    return training.patient_values[tied].mean(0), len(tied)


def organ_mean(organ: str, training: Training, source: str) -> Array:
    """Mean profile (genes of the bulk panel,) of the other training patients of an organ.

    Raises
    ------
    ValueError
        If there are none.
    """
    rows = [row for row in training.other_patients(source) if training.patient_records[row].get("organ") == organ]
    if not rows:
        raise ValueError(f"organ: found {organ!r}; expected one that training patients have")
    return training.patient_values[rows].mean(0)
