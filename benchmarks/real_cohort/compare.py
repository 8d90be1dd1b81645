"""Imputed against withheld, beside the training mean (or majority) and the nearest training neighbour."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.real_cohort import baselines
from benchmarks.real_cohort.figures import Floats, correlation, interval, per_gene
from benchmarks.real_cohort.pattern import Case, Seen
from benchmarks.real_cohort.training import Training, spot_window_haematoxylin
from benchmarks.real_cohort.workflow import Manifest
from mupd.base.ids import Modality
from mupd.engines.mupd.conditions import MOST_TILES
from mupd.model.encoders import TILE_PX, WINDOW_UM
from mupd.model.pipeline import MuPDPipeline
from mupd.model.rna_codec import panel_values
from mupd.model_folder.geometry import TRAINED
from mupd.slides.reader import open_slide
from mupd.slides.tiles import read_window, tissue_tiles
from mupd.training.public.read import HER2ST_MPP, log_cp10k, read_her2st_counts, read_her2st_section, read_tcga

NEAR_UM = 100.0
TOP_GENES = 250
LEAST_SPOTS = 5
_FLOOR = 1e-6


@dataclass(frozen=True)
class Row:
    """One figure of one case.

    Attributes
    ----------
    direction
        E.g. ``he->rna``.
    model, constant, neighbour
        The figure for mupd, for the training mean or majority, and for the nearest neighbour; None where it
        cannot be computed (the note says why).
    higher_is_better
        Otherwise lower is.
    found, truth
        Where the figure is an error: what mupd made and what was withheld.
    """

    direction: str
    case_id: str
    source: str
    seen: Seen
    measure: str
    model: float | None
    constant: float | None
    neighbour: float | None
    higher_is_better: bool = True
    note: str = ""
    found: float | None = None
    truth: float | None = None


@dataclass(frozen=True)
class Bench:
    """Where everything is."""

    out: Path
    data: Path
    pipeline: MuPDPipeline
    training: Training
    manifest: Manifest
    slide_px: int
    tiles: dict[str, tuple[NDArray[np.float64], Floats]] = field(default_factory=dict)
    """Kept by :func:`tiles_of`."""

    def artifacts(self, case: Case, modality: Modality) -> list[Path]:
        """What the run wrote for a modality."""
        names = self.manifest[case.case_id, modality]["artifact"].split(";")
        return [self.out / "results" / name for name in names if name]

    def row(
        self,
        case: Case,
        target: Modality,
        measure: str,
        figures: Sequence[float],
        note: str,
        higher_is_better: bool = True,
    ) -> Row:
        """A row of the comparison: figures of mupd, the constant and the neighbour; NaN becomes None."""
        direction = f"{'+'.join(case.used) or 'nothing'}->{target}"
        model, constant, neighbour = (float(value) if math.isfinite(value) else None for value in figures)
        return Row(
            direction,
            case.case_id,
            case.source,
            case.seen,
            measure,
            model,
            constant,
            neighbour,
            higher_is_better,
            note,
        )


NO_FIGURES = (math.nan, math.nan, math.nan)


def _pseudobulk(values: Floats) -> Floats:
    return np.log1p(np.expm1(values.astype(np.float64)).mean(0))


def tiles_of(bench: Bench, source: str) -> tuple[NDArray[np.float64], Floats]:
    """Centres (n, 2) in level-0 px of the tiles of a section that the model looks at, and their features (n, d)."""
    if source not in bench.tiles:
        with open_slide(bench.data / "her2st" / "images" / f"{source}.jpg", HER2ST_MPP) as slide:
            centres = tissue_tiles(slide, WINDOW_UM, MOST_TILES, seed=0)
            windows = [read_window(slide, centre, 2 * WINDOW_UM, TILE_PX) for centre in centres]
        bench.tiles[source] = (centres, bench.pipeline.tile_encoder(np.stack(windows)))
    return bench.tiles[source]


def rna_of_section(bench: Bench, case: Case) -> list[Row]:
    """Tiles of the imputed RNA against the measured spot nearest to each, within 100 um."""
    import anndata

    imputed = anndata.read_h5ad(bench.artifacts(case, "rna")[0])
    panel = bench.pipeline.rna_codec.panels["spot"]
    xy_px, counts = read_her2st_counts(bench.data / "her2st", case.source)
    values = panel_values(log_cp10k(counts.to_numpy(np.float32)), list(counts.columns), panel.genes)
    order = [list(imputed.var_names).index(gene) for gene in panel.genes]
    centres, predicted = np.asarray(imputed.obsm["spatial"]), np.asarray(imputed.X)[:, order]
    distance = np.sqrt(((centres[:, None] - xy_px[None]) ** 2).sum(-1)) * HER2ST_MPP
    tiles = np.flatnonzero(distance.min(1) <= NEAR_UM)
    if len(tiles) < LEAST_SPOTS:
        note = f"{len(tiles)} tiles have a measured spot within {NEAR_UM:g} um"
        return [bench.row(case, "rna", "per-gene Pearson over tiles", NO_FIGURES, note)]
    truth = np.nan_to_num(values[distance.argmin(1)[tiles]])
    predicted = predicted[tiles]
    kept = bench.training.others(case.source)
    looked_at, features = tiles_of(bench, case.source)
    if not np.allclose(looked_at, centres):
        raise ValueError(f"{case.case_id}: the artifact's tiles are not those that the generate stage looks at")
    features = features[tiles]
    neighbour = bench.training.spot_values[kept][baselines.nearest(features, bench.training.spot_features[kept])[:, 0]]
    every, top = np.arange(len(panel.genes)), np.argsort(-panel.mean)[:TOP_GENES]
    note = f"{len(tiles)} tiles"
    rows = []
    for measure, genes in ((f"all {len(every)} panel genes", every), (f"{len(top)} most expressed genes", top)):
        figures = (per_gene(predicted, truth, genes), 0.0, per_gene(neighbour, truth, genes))
        spread = interval(lambda kept, genes=genes: per_gene(predicted[kept], truth[kept], genes), len(tiles))  # type: ignore[misc]
        rows.append(bench.row(case, "rna", f"per-gene Pearson, {measure}", figures, f"{note}; {spread}"))
    whole = _pseudobulk(truth)
    guesses = (_pseudobulk(predicted), panel.mean, _pseudobulk(neighbour))
    easy = f"{note}; easy: genes differ far more than tissues do"
    return [
        *rows,
        bench.row(case, "rna", "pseudobulk Pearson over genes", [correlation(g, whole) for g in guesses], easy),
    ]


def placed_spots(xy_px: NDArray[np.float64], slide_px: int) -> NDArray[np.float64]:
    """Where spots (n, 2) lie in the generated slide, in its pixels: it is centred on their median."""
    return xy_px - np.median(xy_px, axis=0) + slide_px / 2


def he_of_section(bench: Bench, case: Case) -> list[Row]:
    """Haematoxylin of the generated slide at each placed spot against the real tissue at that spot."""
    section = read_her2st_section(bench.data / "her2st", case.source)
    if section.image is None:
        raise FileNotFoundError(f"{case.place_of('he')}: not there")
    side, half = TRAINED.window_px, TRAINED.window_px // 2
    placed = placed_spots(section.xy_px, bench.slide_px)
    real_size = np.array(section.image.shape[1::-1])
    visible = (placed >= half).all(1) & (placed <= bench.slide_px - half).all(1)
    visible &= (section.xy_px >= half).all(1) & (section.xy_px <= real_size - half - 1).all(1)
    rows = np.flatnonzero(visible)
    if len(rows) == 0:
        return [bench.row(case, "he", "haematoxylin", NO_FIGURES, "no spot lies in the generated slide")]
    generated = []
    for folder in bench.artifacts(case, "he"):
        with open_slide(folder) as slide:
            pixels = slide.read(0, 0, *slide.size_px)
        generated.append(spot_window_haematoxylin(pixels, placed[rows], side))
    density = np.mean(generated, axis=0)
    truth = spot_window_haematoxylin(section.image, section.xy_px[rows], side)
    codec, kept = bench.pipeline.rna_codec, bench.training.others(case.source)
    values = log_cp10k(section.counts.to_numpy(np.float32)[rows])
    conditions = codec.condition(codec.encode(values, list(section.counts.columns), "spot"), "spot")
    order = baselines.nearest(conditions, bench.training.spot_conditions[kept])
    neighbour = bench.training.spot_haematoxylin[kept][order[:, 0]]
    typical = float(bench.training.spot_haematoxylin.mean())
    note = f"{len(rows)} spots lie in the slide"
    errors = tuple(abs(float(np.mean(guess)) - float(truth.mean())) for guess in (density, typical, neighbour))
    result = [bench.row(case, "he", "haematoxylin OD at spots, error of mean", errors, note, higher_is_better=False)]
    if len(rows) >= LEAST_SPOTS:
        figures = (correlation(density, truth), 0.0, correlation(neighbour, truth))
        note = f"{note}; {interval(lambda kept: correlation(density[kept], truth[kept]), len(rows))}"
    else:
        figures, note = NO_FIGURES, f"{note}: too few to correlate"
    result.append(bench.row(case, "he", "haematoxylin OD, Pearson over spots", figures, note))
    return result


@cache
def tcga_table(folder: Path, table: str) -> pd.DataFrame:
    """TPM (patients x genes) of a TCGA cohort, read once."""
    return read_tcga(folder, table)


def condition_of(bench: Bench, case: Case) -> Floats:
    """The case's RNA as the record model reads it: (components + 1,), mean over spots."""
    codec = bench.pipeline.rna_codec
    if case.is_section:
        counts = read_her2st_counts(bench.data / "her2st", case.source)[1]
        values, genes = log_cp10k(counts.to_numpy(np.float32)), list(counts.columns)
        return codec.condition(codec.encode(values, genes, "spot"), "spot").mean(0)
    table = tcga_table(bench.data / "tcga", case.table).loc[[case.source]]
    return codec.condition(codec.encode(log_cp10k(table.to_numpy(np.float32)), list(table.columns), "bulk"), "bulk")[0]


def guesses_of_text(bench: Bench, case: Case, features: Floats | None) -> tuple[baselines.Guess, ...]:
    """The imputed record, the majority's and the nearest neighbour's.

    Parameters
    ----------
    features
        Of the slide's tiles (n, d), where the neighbour is to be found by them; otherwise it is found by RNA.
    """
    report = json.loads(bench.artifacts(case, "text")[0].read_text(encoding="utf-8"))
    mine: baselines.Guess = {name: (part["value"], part["probabilities"]) for name, part in report["fields"].items()}
    if features is not None:
        neighbour = baselines.by_tiles(features, bench.training, case.source)
    else:
        neighbour = baselines.by_rna(condition_of(bench, case), bench.training, case.source)
    return mine, baselines.majority(bench.training), neighbour


def scores_of_record(guess: baselines.Guess, truth: dict[str, str]) -> tuple[float, float]:
    """Share of the true fields that a guess has right, and mean natural log-probability of the truth."""
    right = float(np.mean([name in guess and guess[name][0] == value for name, value in truth.items()]))
    shares = [guess[name][1].get(value, 0.0) if name in guess else 0.0 for name, value in truth.items()]
    return right, float(np.mean(np.log(np.maximum(shares, _FLOOR))))


def text_of(bench: Bench, case: Case) -> list[Row]:
    """The imputed record against the true one: share of fields right, and log-probability of the truth."""
    features = tiles_of(bench, case.source)[1] if "he" in case.given else None
    guesses = guesses_of_text(bench, case, features)
    right, likelihood = zip(*(scores_of_record(guess, case.record) for guess in guesses), strict=True)
    note = f"{len(case.record)} fields: {', '.join(case.record)}"
    if case.is_section:
        note += "; every training section is breast"
    return [
        bench.row(case, "text", "share of fields right", right, note),
        bench.row(case, "text", "log-probability of the truth", likelihood, note),
    ]
