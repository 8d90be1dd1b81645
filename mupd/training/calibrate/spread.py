"""Spread of bulk draws from text, fitted on patients that the trunk was not trained on.

The draws of a trunk that has learned from a few hundred patients are too similar: the truth lies outside their range
too often. As with ensembles of weather forecasts, error and spread are compared: where the squared error of the mean
of the draws exceeds their variance, noise with the variance of the difference is added (Fortin et al. 2014, "Why should
ensemble spread match the RMSE of the ensemble mean?", J. Hydrometeorol. 15:1708). The noise has mean 0 and changes the
measured values alone; the expectation of a draw stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mupd.base.progress import track
from mupd.model.pipeline import MuPDPipeline
from mupd.model.rna_codec import RnaCodec, Spread, fit_panel, panel_values
from mupd.model.sampling import sample_vectors, seeded_noise
from mupd.training.cache import TextCache
from mupd.training.public.pairs import Patient
from mupd.training.public.read import TCGA_COHORTS, log_cp10k, read_tcga
from mupd.training.public.splits import split_of
from mupd.training.tokens import on_device, padded

DRAWS = 40
TOP_GENES = 250
_STEPS = 20
_NOMINAL = 0.9
_FACTORS = (0.5, 4.0)


def top_columns(level: NDArray[np.floating], count: int, usable: NDArray[np.bool_] | np.bool_) -> NDArray[np.int64]:
    """Indices of the `count` columns of highest level among the `usable` ones; fewer if there are not as many."""
    return np.argsort(-np.where(usable, level, -np.inf))[: min(count, int(np.sum(usable)))]


def draw_interval(draws: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Lower and upper limit of the 90 % interval of draws (draws, ...).

    These are the 5th and 95th percentile with Weibull's plotting positions, i / (n + 1) for n ordered draws: another
    draw of the same distribution falls between them 90 % of the time, however many draws there are. Between the usual
    percentiles of 20 draws it falls only 81 % of the time.

    Raises
    ------
    ValueError
        If there are fewer than 19 draws: their range is less than a 90 % interval.
    """
    if len(draws) < 19:
        raise ValueError(f"draws: found {len(draws)}; expected at least 19 for a 90 % interval")
    low, high = np.percentile(draws, [5, 95], axis=0, method="weibull")
    return low, high


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
    """(k,) standard deviation of the noise that the draws of each component lack; 0 where they are wide enough.

    Its square is the mean squared error of the mean of the draws, less their variance and the variance of the mean.
    """
    count = len(drawn.components)
    error = ((drawn.components.mean(0) - drawn.truth) ** 2).mean(0, dtype=np.float64)
    variance = drawn.components.var(0, ddof=1).mean(0, dtype=np.float64)
    return np.sqrt(np.maximum(error - variance * (1 + 1 / count), 0))


def coverage(codec: RnaCodec, drawn: DrawnBulk, spread: Spread | None, genes: NDArray[np.int64]) -> float:
    """Share of measured values in the 90 % interval of the draws with a spread, see :func:`draw_interval`."""
    wide = codec.with_spread("bulk", "text", spread)
    values = np.stack(
        [
            wide.measure(rows, "bulk", np.random.default_rng((draw, 2)), "text")[:, genes]
            for draw, rows in enumerate(drawn.components)
        ]
    )
    low, high = draw_interval(values)
    truth = drawn.values[:, genes]
    return float(((truth >= low) & (truth <= high)).mean())


def fitted_spread(codec: RnaCodec, drawn: DrawnBulk, genes: NDArray[np.int64], unseen: float = 1.0) -> Spread:
    """The spread whose 90 % interval covers 90 % of the measured values of these patients.

    Each component gets the noise it lacks; the factor on the residual is then found by bisection.

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


def unseen_residual(codec: RnaCodec, tcga: Path) -> float:
    """Residual of profiles that the codec was not fitted to, over that of profiles that it was fitted to.

    The bulk panel is fitted to training and validation patients. A panel fitted to the training patients alone leaves
    a larger residual of the validation patients.
    """
    splits: dict[str, list[NDArray[np.float32]]] = {"train": [], "validation": []}
    genes = list(codec.panels["bulk"].genes)
    for cohort in TCGA_COHORTS:
        table = read_tcga(tcga, cohort)
        values = panel_values(log_cp10k(table.to_numpy(np.float32)), list(table.columns), genes)
        for split, rows in splits.items():
            rows.append(values[[split_of(case) == split for case in table.index]])
    train, validation = (np.nan_to_num(np.concatenate(splits[split])) for split in ("train", "validation"))
    if min(len(train), len(genes)) <= codec.dim or not len(validation):
        return 1.0

    def left(fitted_to: NDArray[np.float32]) -> float:
        panel = fit_panel(fitted_to, genes, codec.dim)
        standardised = (validation - panel.mean) / panel.sd
        return float((standardised - standardised @ panel.components.T @ panel.components).std())

    return left(train) / left(np.concatenate([train, validation]))


def draw_bulk(pipeline: MuPDPipeline, people: Sequence[Patient], texts: TextCache) -> DrawnBulk:
    """Draws for patients, given the sentences of their record and, separately, their report."""
    pairs = [(p, text) for p in people for text in (p.sentences, p.report) if text]
    tokens = [texts(text) for _, text in track(pairs, "texts of the validation tenth")]
    texts.save()
    conditions = {"text": padded(tokens, tokens[0].shape[1])}
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
                steps=_STEPS,
                scales={},
            )
            for draw in track(range(DRAWS), "draws of the validation tenth")
        ]
    values = np.stack([person.values for person, _ in pairs])
    truth = codec.encode(np.nan_to_num(values), list(codec.panels["bulk"].genes), "bulk")
    return DrawnBulk(np.stack([row.cpu().numpy() for row in drawn]), truth, values)


def fit_bulk_spread(pipeline: MuPDPipeline, people: Sequence[Patient], texts: TextCache, tcga: Path) -> Spread:
    """The spread of draws from text that fits the patients of the validation tenth."""
    codec = pipeline.rna_codec
    drawn = draw_bulk(pipeline, people, texts)
    genes = top_columns(codec.panels["bulk"].mean, TOP_GENES, np.isfinite(drawn.values).all(0))
    return fitted_spread(codec, drawn, genes, unseen_residual(codec, tcga))
