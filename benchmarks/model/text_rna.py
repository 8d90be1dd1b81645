"""Figures of RNA from text: bulk profiles of held-out TCGA patients, beside simpler predictors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.model.bench import Bench
from benchmarks.model.rna import TOP_GENES, Draws, coverage_figure, draw_profiles, per_gene, ridge_predictor
from benchmarks.stats import Figure, Metrics
from mupd.base.progress import track
from mupd.training.calibrate.spread import top_columns
from mupd.training.public.pairs import Patient
from mupd.training.tokens import padded

SOURCES = {"text to RNA": "sentences of the record", "report to RNA": "the real pathology report"}


@dataclass(frozen=True)
class TextPairs:
    """Patients with a text: what was trained on and what was held out.

    Attributes
    ----------
    trained, held
        The patients.
    seen, given
        (n, 384) mean embedding of each one's text, training and held-out.
    y, truth
        (n, genes) measured panel values, training and held-out.
    draws
        Of the held-out, made from their texts.
    """

    trained: list[Patient]
    held: list[Patient]
    seen: NDArray[np.float32]
    given: NDArray[np.float32]
    y: NDArray[np.float32]
    truth: NDArray[np.float32]
    draws: Draws

    def organ_means(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Mean over the training patients of each held-out patient's organ; `values` are (trained, ...)."""
        organ = np.array([p.record["organ"] for p in self.trained])
        means = {name: values[organ == name].mean(0) for name in np.unique(organ)}
        return np.stack([means[p.record["organ"]] for p in self.held])


def text_pairs(bench: Bench, name: str) -> TextPairs:
    """Texts and profiles of one of :data:`SOURCES`, with draws, which are kept under the model's hash."""
    whole = name == "report to RNA"
    trained, held = (
        [person for person in bench.patients(split) if person.report or not whole] for split in ("train", "held_out")
    )
    texts = [[p.report if whole else p.sentences for p in people] for people in (trained, held)]
    seen, given = ([bench.texts(text) for text in track(part, f"texts, {name}")] for part in texts)
    bench.texts.save()
    y, truth = (np.stack([p.values for p in people]) for people in (trained, held))
    conditions = {"text": padded(list(given), given[0].shape[1])}

    def drawn() -> NDArray[np.float32]:
        made = draw_profiles(bench, conditions, "bulk", bench.effort.text_draws, name)
        return np.stack([rows for rows in (made.expected, made.values, made.narrow) if rows is not None])

    draws = Draws(*bench.cached(f"{name.replace(' ', '-')}-{bench.effort.text_draws}", drawn))
    x, x_held = (np.stack([rows.mean(0) for rows in part]) for part in (seen, given))
    return TextPairs(trained, held, x, x_held, np.nan_to_num(y), truth, draws)


def measure_text_to_rna(bench: Bench) -> Metrics:
    """Bulk profiles from the sentences of a record and from real reports, on held-out TCGA patients."""
    panel = bench.pipeline.rna_codec.panels["bulk"]
    metrics: Metrics = {}
    for name, source in SOURCES.items():
        pairs = text_pairs(bench, name)
        truth, draws = pairs.truth, pairs.draws
        top = top_columns(panel.mean, TOP_GENES, np.isfinite(truth).all(0))
        mine = draws.mean(len(draws.expected))[:, top]
        ridge = ridge_predictor(pairs.seen, pairs.y, np.arange(len(pairs.seen)) % 5, top)(pairs.given)[:, top]
        by_organ = pairs.organ_means(pairs.y)[:, top]
        value, interval = per_gene(bench, mine, truth[:, top])
        what = f"{len(top)} most expressed genes, {len(truth)} held-out TCGA patients, {source} given"
        metrics[f"{name}: per gene"] = Figure(
            value,
            f"mean Pearson per gene over patients, {what}, mean of {len(draws.expected)} draws",
            interval,
            len(truth),
            {
                "training mean of the organ": per_gene(bench, by_organ, truth[:, top]),
                "ridge": per_gene(bench, ridge, truth[:, top]),
                "training mean": 0.0,
            },
        ).entry()
        metrics[f"{name}: coverage of the 90 % interval"] = coverage_figure(draws, truth, top, what).entry()
    return metrics
