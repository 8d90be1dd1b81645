"""Spread of bulk draws from text, fitted on patients that the trunk was not trained on.

Draws of a trunk that has learned a few hundred patients are too alike: the truth lies outside of their range more
often than it should. As for forecasts of weather ensembles, error and spread are compared: where the squared error of
the mean of the draws exceeds their variance, noise of the difference is added (Fortin et al. 2014, "Why should ensemble
spread match the RMSE of the ensemble mean?", J. Hydrometeorol. 15:1708). It has mean 0 and goes into the measured
values alone: what a draw expects stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mupd.base.progress import track
from mupd.model.rna_codec import RnaCodec, Spread, fit_panel, panel_values
from mupd.model.sampling import sample_vectors, seeded_noise
from mupd.training.measure.bench import Bench, on_device, top_columns
from mupd.training.measure.patients import Cohort, text_embeddings
from mupd.training.measure.stats import draw_interval
from mupd.training.prepare import TCGA_COHORTS, log_cp10k, read_tcga, split_of
from mupd.training.vector_pairs import padded

DRAWS = 40
TOP_GENES = 250
_NOMINAL = 0.9
_FACTORS = (0.5, 4.0)


@dataclass(frozen=True)
class DrawnBulk:
    """Draws for patients and the truth.

    Attributes
    ----------
    components
        (draws, n, k) whitened.
    truth
        (n, k) of the measured profiles.
    values
        (n, genes) measured panel values.
    """

    components: NDArray[np.float32]
    truth: NDArray[np.float32]
    values: NDArray[np.float32]


def lacking_sd(drawn: DrawnBulk) -> NDArray[np.float64]:
    """(k,) standard deviation of the noise that each component's draws lack.

    Its square is the mean squared error of the mean of the draws less their variance, of which the mean has
    1 / draws too; 0 where the draws are wide enough.
    """
    count = len(drawn.components)
    error = ((drawn.components.mean(0) - drawn.truth) ** 2).mean(0, dtype=np.float64)
    variance = drawn.components.var(0, ddof=1).mean(0, dtype=np.float64)
    return np.sqrt(np.maximum(error - variance * (1 + 1 / count), 0))


def coverage(codec: RnaCodec, drawn: DrawnBulk, spread: Spread | None, genes: NDArray[np.int64]) -> float:
    """Share of measured values in the 90 % interval of the draws with a spread, see :func:`draw_interval`."""
    given = codec.with_spread("bulk", "text", spread)
    values = np.stack(
        [
            given.measure(rows, "bulk", np.random.default_rng((draw, 2)), "text")[:, genes]
            for draw, rows in enumerate(drawn.components)
        ]
    )
    low, high = draw_interval(values)
    truth = drawn.values[:, genes]
    return float(((truth >= low) & (truth <= high)).mean())


def fitted_spread(codec: RnaCodec, drawn: DrawnBulk, genes: NDArray[np.int64], unseen: float = 1.0) -> Spread:
    """The spread whose 90 % interval covers 90 % of the measured values of these patients.

    Components get what they lack by themselves; the factor on the residual is then searched for.

    Parameters
    ----------
    genes
        Columns over which coverage is taken.
    unseen
        Residual of profiles that the codec was not fitted to over that of these, which it was.
    """
    lacking = tuple(round(float(sd), 4) for sd in lacking_sd(drawn))
    low, high = _FACTORS
    for _ in range(12):
        middle = (low + high) / 2
        if coverage(codec, drawn, Spread(lacking, middle), genes) < _NOMINAL:
            low = middle
        else:
            high = middle
    return Spread(lacking, round(high * unseen, 3))


def unseen_residual(bench: Bench) -> float:
    """How much larger the residual of profiles is that the codec was not fitted to.

    The bulk panel is fitted to training and validation patients; fitted to the former alone, it leaves more of the
    latter.
    """
    codec = bench.pipeline.rna_codec
    found: dict[str, list[NDArray[np.float32]]] = {"train": [], "validation": []}
    genes = list(codec.panels["bulk"].genes)
    for cohort in TCGA_COHORTS:
        table = read_tcga(bench.plan.tcga, cohort)
        values = panel_values(log_cp10k(table.to_numpy(np.float32)), list(table.columns), genes)
        for split, rows in found.items():
            rows.append(values[[split_of(case) == split for case in table.index]])
    train, validation = (np.nan_to_num(np.concatenate(found[split])) for split in ("train", "validation"))
    if min(len(train), len(genes)) <= codec.dim or not len(validation):
        return 1.0

    def left(fitted_to: NDArray[np.float32]) -> float:
        panel = fit_panel(fitted_to, genes, codec.dim)
        standardised = (validation - panel.mean) / panel.sd
        return float((standardised - standardised @ panel.components.T @ panel.components).std())

    return left(train) / left(np.concatenate([train, validation]))


def draw_validation(bench: Bench) -> DrawnBulk:
    """Draws for the validation patients, given the sentences of their record and, apart, their report."""
    cohort = Cohort(bench)
    pipeline, embed = bench.pipeline, text_embeddings(bench)
    people = cohort.people("validation")
    pairs = [(p, text) for p in people for text in (p.sentences, p.report) if text]
    tokens = [embed(text) for _, text in track(pairs, "texts of the validation tenth")]
    embed.save()
    conditions = {"text": padded(list(tokens), tokens[0].shape[1])}
    codec, device, n = pipeline.rna_codec, pipeline.device, len(pairs)
    extra = torch.tensor([1.0, 0.0], device=device).expand(n, 2)
    with torch.no_grad():
        context = pipeline.transformer.context(on_device(conditions, device), n)
        drawn = [
            sample_vectors(
                pipeline.transformer,
                context,
                extra,
                seeded_noise((n, codec.dim), draw, device),
                steps=bench.effort.steps,
                scales={},
            )
            for draw in track(range(DRAWS), "draws of the validation tenth")
        ]
    values = cohort.measured([p.case_id for p, _ in pairs])
    genes = list(codec.panels["bulk"].genes)
    truth = codec.encode(np.nan_to_num(values), genes, "bulk")
    return DrawnBulk(np.stack([row.cpu().numpy() for row in drawn]), truth, values)


def fit_bulk_spread(bench: Bench) -> Spread:
    """The spread of draws from text that the validation tenth asks for."""
    codec = bench.pipeline.rna_codec
    drawn = draw_validation(bench)
    genes = top_columns(codec.panels["bulk"].mean, TOP_GENES, np.isfinite(drawn.values).all(0))
    return fitted_spread(codec, drawn, genes, unseen_residual(bench))
