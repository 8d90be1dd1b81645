"""Fields of the record from RNA, from reports whose statements of the field are masked, and from both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.model.bench import Bench
from benchmarks.model.records import calibrated
from benchmarks.rna_text import predictors as simple
from benchmarks.rna_text.masking import leaked_fields, mask_report, masked_together
from benchmarks.stats import Interval, balanced_accuracy, bootstrap
from mupd.base.progress import track
from mupd.training.calibrate.records import records_of_patients, value_indices
from mupd.training.public.pairs import Patient

Places = NDArray[np.int64]
Said = dict[str, NDArray[np.float64]]
FIELDS = ("t_category", "grade", "subtype", "diagnosis", "organ")
_LEAST_ROWS = 5


@dataclass(frozen=True)
class Row:
    """One field: {predictor: (balanced accuracy, 95 % interval)} of `n` patients with `classes` values.

    Attributes
    ----------
    rarest
        Patients with the rarest value.
    stated
        Patients whose report stated the field, by the rules, before it was masked; None where none was read.
    """

    field: str
    n: int
    classes: int
    rarest: int
    scores: dict[str, tuple[float, Interval]]
    stated: int | None = None


def _vectors(people: list[Patient]) -> NDArray[np.float32]:
    return np.stack([np.concatenate([p.condition, p.pathways]) for p in people])


def trunk_says(bench: Bench) -> Said:
    """Calibrated probabilities (fields, block) of each held-out patient from RNA, as the model's metrics have them."""
    pipeline, held = bench.pipeline, bench.patients("held_out")
    probabilities = calibrated(records_of_patients(pipeline, held), pipeline.record_codec, "rna")
    return {person.case_id: rows for person, rows in zip(held, probabilities, strict=True)}


class _Task:
    """Patients of whom a field is known: training and held-out, and their truth."""

    def __init__(self, bench: Bench, field: str, trained: list[Patient], held: list[Patient]) -> None:
        fields = bench.pipeline.record_codec.fields
        index = list(fields).index(field)
        self.values = len(fields[field])
        self.trained = [p for p in trained if field in p.record]
        self.held = [p for p in held if field in p.record]
        self.y = value_indices(fields, [p.record for p in self.trained])[:, index]
        self.truth = value_indices(fields, [p.record for p in self.held])[:, index]
        self.x, self.x_held = (_vectors(people) if people else np.zeros((0, 1)) for people in (self.trained, self.held))
        self.bench, self.field, self.index = bench, field, index

    @property
    def can_be_scored(self) -> bool:
        """Whether there is something to tell apart."""
        return len(self.truth) >= _LEAST_ROWS and len(np.unique(self.truth)) > 1 and len(np.unique(self.y)) > 1

    def trunk(self, said: Said) -> NDArray[np.float64]:
        """The model's calibrated probabilities (n, values) from RNA."""
        return np.stack([said[p.case_id][self.index, : self.values] for p in self.held])

    def row(self, predicted: dict[str, Places], compared: dict[str, tuple[str, str]], stated: int | None = None) -> Row:
        """Scores of the predictions, and differences of pairs of them, resampled together."""
        truth, draws = self.truth, self.bench.effort.bootstraps
        everyone = np.arange(len(truth))
        scores = {}
        for name, of in predicted.items():

            def accuracy(rows: Places, of: Places = of) -> float:
                return balanced_accuracy(of[rows], truth[rows])

            scores[name] = (accuracy(everyone), bootstrap(accuracy, len(truth), draws))
        for name, (more, less) in compared.items():

            def gain(rows: Places, one: Places = predicted[more], other: Places = predicted[less]) -> float:
                return balanced_accuracy(one[rows], truth[rows]) - balanced_accuracy(other[rows], truth[rows])

            scores[name] = (gain(everyone), bootstrap(gain, len(truth), draws))
        classes, counts = np.unique(truth, return_counts=True)
        return Row(self.field, len(truth), len(classes), int(counts.min()), scores, stated)


def rna_rows(bench: Bench) -> list[Row]:
    """RNA to record on the held-out tenth: the model beside simpler predictors of the same features."""
    rows = []
    said = trunk_says(bench)
    for field in track(FIELDS, "RNA to record"):
        if field not in bench.pipeline.record_codec.fields:
            continue
        task = _Task(bench, field, bench.patients("train"), bench.patients("held_out"))
        if not task.can_be_scored:
            continue
        predicted = {
            "MuPD": task.trunk(said).argmax(1),
            "nearest neighbour": simple.nearest_values(task.x, task.y, task.x_held),
            "ridge": simple.ridge_values(task.x, task.y, task.x_held),
            "logistic": simple.from_vectors(task.x, task.y, task.x_held, task.values).argmax(1),
        }
        rows.append(task.row(predicted, {"MuPD less logistic": ("MuPD", "logistic")}))
    return rows


def both_rows(bench: Bench) -> list[Row]:
    """Report alone, RNA alone and both, on the patients with a report; what it states of the field is masked.

    Raises
    ------
    ValueError
        If the rules still read the field in a masked report.
    """
    rows = []
    trained, held = ([p for p in bench.patients(split) if p.report] for split in ("train", "held_out"))
    said = trunk_says(bench)
    masks: dict[tuple[str, ...], dict[str, str]] = {}
    for field in FIELDS:
        if field not in bench.pipeline.record_codec.fields:
            continue
        task = _Task(bench, field, trained, held)
        if not task.can_be_scored:
            continue
        group = masked_together(field)
        if group not in masks:
            everyone = [*trained, *held]
            masks[group] = {p.case_id: mask_report(p.report, field) for p in track(everyone, f"masks of {field}")}
        hidden = masks[group]
        if left := [p.case_id for p in task.held if field in leaked_fields(hidden[p.case_id], field)]:
            raise ValueError(f"{field}: found in {len(left)} masked reports; expected in none")
        whole = simple.word_rows([p.report for p in task.trained], [p.report for p in task.held])
        words = simple.word_rows(*([hidden[p.case_id] for p in people] for people in (task.trained, task.held)))
        of_rna = simple.from_vectors(task.x, task.y, task.x_held, task.values)
        of_words = simple.from_words(words[0], task.y, words[1], task.values)
        own = task.trunk(said)
        predicted = {
            "whole report": simple.from_words(whole[0], task.y, whole[1], task.values).argmax(1),
            "report, nearest neighbour": simple.nearest_text(words[0], task.y, words[1]),
            "report": of_words.argmax(1),
            "RNA": of_rna.argmax(1),
            "both": simple.together(of_words, of_rna).argmax(1),
            "MuPD": own.argmax(1),
            "MuPD and report": simple.together(of_words, simple.even_prior(own, task.y)).argmax(1),
        }
        compared = {
            "both less report": ("both", "report"),
            "both less RNA": ("both", "RNA"),
            "MuPD and report less MuPD": ("MuPD and report", "MuPD"),
            "MuPD and report less report": ("MuPD and report", "report"),
        }
        stated = sum(field in leaked_fields(p.report, field) for p in task.held)
        rows.append(task.row(predicted, compared, stated))
    return rows
