"""Figures of the record: fields from RNA and from H&E on patients and tile groups that were held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.model.bench import Bench
from benchmarks.model.record_scores import field_error, log_loss, share_probabilities
from benchmarks.stats import Figure, Interval, Metrics, balanced_accuracy, bootstrap, rounded
from mupd.model.calibration import UNTOLD, apply_temperature, calibrated_error, expected_calibration_error
from mupd.model.record_codec import RecordCodec
from mupd.model_folder.contents import ORGAN_FIELD
from mupd.training.augment import MOST_TILES
from mupd.training.calibrate.records import Scored, records_of_groups, records_of_patients, value_indices
from mupd.training.public.pairs import tile_classes

_LEAST_ROWS = 5
_ECE_TARGET = 0.1


def calibrated(scored: Scored, codec: RecordCodec, direction: str) -> NDArray[np.float64]:
    """Probabilities (n, fields, block) that a record states: tempered, and with the shares of its organ."""
    logits = torch.from_numpy(scored.logits).flatten(1)
    probabilities: NDArray[np.float64] = codec.blended(
        codec.log_probabilities(logits, direction).exp(), direction
    ).numpy()
    return probabilities


def _logistic(x: NDArray[np.floating], y: NDArray[np.int64]) -> Any:
    """Logistic regression; strength and class weights chosen by cross-validated balanced accuracy."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    grid = {"logisticregression__C": [0.003, 0.03, 0.3], "logisticregression__class_weight": [None, "balanced"]}
    folds = int(min(3, np.bincount(y)[np.bincount(y) > 0].min()))
    if folds < 2:  # a class with a single row cannot be cross-validated
        return make_pipeline(StandardScaler(), LogisticRegression(C=0.03, max_iter=300)).fit(x, y)
    search = GridSearchCV(model, grid, scoring="balanced_accuracy", cv=StratifiedKFold(folds))
    return search.fit(x, y)


def _accuracy(bench: Bench, predicted: NDArray[np.int64], truth: NDArray[np.int64]) -> tuple[float, Interval]:
    interval = bootstrap(
        lambda rows: balanced_accuracy(predicted[rows], truth[rows]), len(truth), bench.effort.bootstraps
    )
    return balanced_accuracy(predicted, truth), interval


@dataclass(frozen=True)
class Sets:
    """One direction: training and held-out rows, as features of simpler models."""

    name: str
    units: str
    direction: str
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    x_held: NDArray[np.float32]
    held: Scored


def _fields(bench: Bench, sets: Sets) -> Metrics:
    metrics: Metrics = {}
    stated = calibrated(sets.held, bench.pipeline.record_codec, sets.direction)
    for index, (field, values) in enumerate(bench.pipeline.record_codec.fields.items()):
        known, trained = sets.held.truth[:, index] >= 0, sets.y[:, index] >= 0
        truth, y = sets.held.truth[known, index], sets.y[trained, index]
        if known.sum() < _LEAST_ROWS or len(np.unique(truth)) < 2 or len(np.unique(y)) < 2:
            continue
        mine = stated[known, index].argmax(1)
        x, x_held = sets.x[trained], sets.x_held[known]
        logistic = _logistic(x, y).predict(x_held)
        neighbour = y[((x_held[:, None] - x[None]) ** 2).sum(-1).argmin(1)]
        value, interval = _accuracy(bench, mine, truth)
        classes = len(np.unique(truth))
        rare = min(np.bincount(truth)[np.unique(truth)])
        metrics[f"{sets.name}: {field}"] = Figure(
            value,
            f"balanced accuracy on {len(truth)} held-out {sets.units}, {classes} of {len(values)} values, the rarest "
            f"{rare} times",
            interval,
            len(truth),
            {
                "majority": 1 / classes,
                "logistic regression": _accuracy(bench, logistic, truth),
                "nearest neighbour": _accuracy(bench, neighbour, truth),
            },
            (1 / classes, None),
        ).entry()
    return metrics


def _calibration(bench: Bench, sets: Sets) -> Metrics:
    codec, truth = bench.pipeline.record_codec, sets.held.truth
    known = truth >= 0
    owner = np.nonzero(known)[0]

    def error(probabilities: NDArray[np.float64]) -> tuple[float, Interval]:
        rows, values = probabilities[known], truth[known]

        def of(chosen: NDArray[np.int64]) -> float:
            picked = np.concatenate([np.nonzero(owner == unit)[0] for unit in chosen])
            return expected_calibration_error(rows[picked], values[picked]) if len(picked) else 0.0

        whole = expected_calibration_error(rows, values)
        return whole, bootstrap(of, len(truth), min(300, bench.effort.bootstraps))

    after, before = calibrated(sets.held, codec, sets.direction), _uncalibrated(sets)
    value, interval = error(after)
    temperatures = {field: t for field, t in codec.temperatures[sets.direction].items() if t < UNTOLD}
    untold = [field for field in codec.fields if field not in temperatures]
    shares = {field: round(1 - own, 2) for field, own in codec.reliance[sets.direction].items() if own < 1}
    return {
        f"{sets.name}: calibration error": Figure(
            value,
            f"expected calibration error (10 bins) over all known fields of {len(truth)} held-out {sets.units}; "
            f"fitted on the validation tenth: temperatures ({_listed(temperatures)}) and weights of training shares of "
            f"the organ ({_listed(shares) or 'none'}){'; not told: ' if untold else ''}{', '.join(untold)}",
            interval,
            len(truth),
            {
                "before calibration": error(before),
                "a calibrated model, by chance alone": calibrated_error(after[known])[0],
                "mean over fields": field_error(after, truth),
                "mean over fields, before": field_error(before, truth),
                "log loss": log_loss(after, truth),
                "log loss, before": log_loss(before, truth),
            },
            (None, _ECE_TARGET),
        ).entry()
        | {"shares": shares, "untold": untold}
    } | log_loss_figure(bench, sets, after, before)


def _listed(numbers: dict[str, float]) -> str:
    return ", ".join(f"{field} {number:.2f}" for field, number in numbers.items())


def _uncalibrated(sets: Sets) -> NDArray[np.float64]:
    return np.stack([apply_temperature(sets.held.logits[:, i], 1.0) for i in range(sets.y.shape[1])], axis=1)


def log_loss_figure(bench: Bench, sets: Sets, after: NDArray[np.float64], before: NDArray[np.float64]) -> Metrics:
    """Log loss of all fields but the organ, beside the shares of training records of the true organ."""
    fields, truth = bench.pipeline.record_codec.fields, sets.held.truth
    shares = share_probabilities(fields, sets.y, truth, after.shape[2])
    seen = truth.copy()
    for index, field in enumerate(fields):  # a value that training never had is no question of shares
        same = np.isin(seen[:, index], sets.y[:, index]) & (field != ORGAN_FIELD)
        seen[~same, index] = -1

    def of(probabilities: NDArray[np.float64]) -> tuple[float, Interval]:
        def loss(rows: NDArray[np.int64]) -> float:
            return log_loss(probabilities[rows], seen[rows]) if (seen[rows] >= 0).any() else 0.0

        return loss(np.arange(len(seen))), bootstrap(loss, len(seen), min(300, bench.effort.bootstraps))

    known = np.any(seen >= 0, axis=0)
    if not known.any():
        return {}
    value, interval = of(after)
    by_field = [
        f"{field} {rounded(log_loss(after[:, [i]], seen[:, [i]])):.2f} and "
        f"{rounded(log_loss(shares[:, [i]], seen[:, [i]])):.2f}"
        for i, field in enumerate(fields)
        if known[i]
    ]
    return {
        f"{sets.name}: log loss beyond the organ": Figure(
            value,
            f"mean negative log-probability of the true values of {len(seen)} held-out {sets.units} but for the organ, "
            f"less is better; each field's and that of the shares: {'; '.join(by_field)}",
            interval,
            len(seen),
            {"training shares of the true organ": of(shares), "before calibration": of(before)},
            (None, log_loss(shares, seen)),
        ).entry()
    }


def _patient_sets(bench: Bench) -> Sets | None:
    trained, held = bench.patients("train"), bench.patients("held_out")
    if not (trained and held):
        return None
    fields = bench.pipeline.record_codec.fields
    x, x_held = (np.stack([np.concatenate([p.condition, p.pathways]) for p in people]) for people in (trained, held))
    truth = value_indices(fields, [p.record for p in trained])
    return Sets("RNA to text", "TCGA patients", "rna", x, truth, x_held, records_of_patients(bench.pipeline, held))


def _tile_sets(bench: Bench) -> Sets | None:
    plan, encoder = bench.plan, bench.pipeline.tile_encoder
    trained, held = (tile_classes(plan.tiles, plan.raw, encoder, split) for split in ("train", "held_out"))
    if not (trained and held):
        return None
    x, x_held = (np.stack([group.features[:MOST_TILES].mean(0) for group in groups]) for groups in (trained, held))
    truth = value_indices(bench.pipeline.record_codec.fields, [group.record for group in trained])
    return Sets("H&E to text", "groups of tiles", "he", x, truth, x_held, records_of_groups(bench.pipeline, held))


def measure_records(bench: Bench) -> Metrics:
    """RNA to text on patients and H&E to text on groups of tiles: accuracy of each field, and calibration.

    A direction for which nothing is held out has no figures.
    """
    metrics: Metrics = {}
    for sets in (_patient_sets(bench), _tile_sets(bench)):
        if sets is not None:
            metrics |= _fields(bench, sets) | _calibration(bench, sets)
    return metrics
