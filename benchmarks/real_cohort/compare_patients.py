"""Imputed against withheld for TCGA patients: bulk RNA, fields of H&E without spots, real reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.real_cohort import baselines
from benchmarks.real_cohort.build import text_of_case
from benchmarks.real_cohort.compare import (
    NO_FIGURES,
    Bench,
    Row,
    guesses_of_text,
    he_of_section,
    rna_of_section,
    scores_of_record,
    tcga_table,
    text_of,
)
from benchmarks.real_cohort.figures import Floats, Look, correlation, look_of, mean_look
from benchmarks.real_cohort.pattern import Case
from mupd.engines.mupd.conditions import MOST_TILES
from mupd.model.encoders import TILE_PX, WINDOW_UM
from mupd.model.rna_codec import panel_values
from mupd.reports.record.fields import extract_record
from mupd.slides.reader import open_slide
from mupd.slides.tiles import read_window, tissue_tiles
from mupd.training.public.read import log_cp10k

_LOOKS = (
    ("haematoxylin", "haematoxylin OD, error of mean", "{:.3f}"),
    ("nuclei_mm2", "nuclei per mm2, error", "{:.0f}"),
    ("tissue", "share of tissue, error", "{:.2f}"),
)


def pixels_of(path: Path) -> NDArray[np.uint8]:
    """A plain picture, (rows, columns, 3)."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def slide_pixels(folder: Path) -> tuple[NDArray[np.uint8], float | None]:
    """Level 0 of a generated slide (rows, columns, 3), and its micrometres per pixel."""
    with open_slide(folder) as slide:
        return slide.read(0, 0, *slide.size_px), slide.mpp


def _bulk(bench: Bench, case: Case) -> tuple[NDArray[np.float32], list[str]]:
    """The patient's measured profile (1, genes) as log1p CP10k, and the genes."""
    table = tcga_table(bench.data / "tcga", case.table).loc[[case.source]]
    return log_cp10k(table.to_numpy(np.float32)), list(table.columns)


@cache
def _look_of_files(paths: tuple[Path, ...], mpp: float | None) -> Look:
    return mean_look([look_of(pixels_of(path), mpp) for path in paths])


def he_of_patient(bench: Bench, case: Case) -> list[Row]:
    """Mean look of the generated slides against that of the patient's pictures; the field of view is another."""
    folder = bench.data / "tcga" / "he"
    truth = _look_of_files(tuple(folder / name for name in case.pictures), case.mpp)
    own_look = mean_look([look_of(*slide_pixels(path)) for path in bench.artifacts(case, "he")])
    training = bench.training
    typical = Look(
        *(float(v.mean()) for v in (training.spot_haematoxylin, training.spot_nuclei_mm2, training.spot_tissue))
    )
    neighbour = Look(math.nan, math.nan, math.nan)
    if "rna" in case.used:
        codec = bench.pipeline.rna_codec
        condition = codec.condition(codec.bulk_as_spot(*_bulk(bench, case)), "spot")
        best = baselines.nearest(condition, training.spot_conditions)[0, 0]
        neighbour = Look(
            float(training.spot_haematoxylin[best]),
            float(training.spot_nuclei_mm2[best]),
            float(training.spot_tissue[best]),
        )
    rows = []
    for name, measure, form in _LOOKS:
        real, made = getattr(truth, name), getattr(own_look, name)
        errors = [abs(getattr(look, name) - real) for look in (own_look, typical, neighbour)]
        note = f"real {form.format(real)}, generated {form.format(made)}"
        if not math.isfinite(real):
            note = f"no scale is stated for the picture; generated {form.format(made)}"
        row = bench.row(case, "he", measure, errors, note, higher_is_better=False)
        rows.append(replace(row, found=made, truth=real if math.isfinite(real) else None))
    return rows


def slide_used(bench: Bench, case: Case) -> Path:
    """The patient's picture that stands for the slide: intake takes the one with most tissue."""
    from mupd.contracts.inventory import read_inventory

    for path in sorted((bench.out / "results" / "intake").glob("shard-*.parquet")):
        for entry in read_inventory(path):
            if entry.case_id == case.case_id:
                return Path(entry.entries["he"].source)
    raise FileNotFoundError(f"{case.case_id}: found no row in results/intake; expected its inventory")


def features_of(bench: Bench, case: Case) -> Floats:
    """Features (n, d) of the tiles of the patient's slide that the model looks at."""
    path = slide_used(bench, case)
    if path.name not in bench.tiles:
        with open_slide(path, case.mpp) as slide:
            centres = tissue_tiles(slide, WINDOW_UM, MOST_TILES, seed=0)
            windows = [read_window(slide, centre, 2 * WINDOW_UM, TILE_PX) for centre in centres]
        bench.tiles[path.name] = (centres, bench.pipeline.tile_encoder(np.stack(windows)))
    return bench.tiles[path.name][1]


def _pseudobulk(values: Floats) -> Floats:
    return np.log1p(np.expm1(np.asarray(values, np.float64)).mean(0))


def rna_of_patient(bench: Bench, case: Case) -> list[Row]:
    """The imputed profile against the measured bulk profile, each gene in training standard deviations.

    A slide gives a spot-like profile a tile: their sum is compared over the genes of both panels, each profile
    as it departs from the mean of its own kind. A text alone gives a bulk profile.
    """
    import anndata

    imputed = anndata.read_h5ad(bench.artifacts(case, "rna")[0])
    codec = bench.pipeline.rna_codec
    bulk = codec.panels["bulk"]
    truth = np.nan_to_num(panel_values(*_bulk(bench, case), bulk.genes)[0])
    z = (truth - bulk.mean) / bulk.sd
    organ = (baselines.organ_mean(case.record["organ"], bench.training, case.source) - bulk.mean) / bulk.sd
    if "he" in case.used:
        panel = codec.panels["spot"]
        order = [list(imputed.var_names).index(gene) for gene in panel.genes]
        predicted = (_pseudobulk(np.asarray(imputed.X)[:, order]) - panel.mean) / panel.sd
        near = baselines.nearest(features_of(bench, case), bench.training.spot_features)[:, 0]
        other = (_pseudobulk(bench.training.spot_values[near]) - panel.mean) / panel.sd
        where = {gene: column for column, gene in enumerate(bulk.genes)}
        shared = [(column, where[gene]) for column, gene in enumerate(panel.genes) if gene in where]
        own, theirs = ([pair[side] for pair in shared] for side in (0, 1))
        predicted, other, z, organ = predicted[own], other[own], z[theirs], organ[theirs]
        note = f"{len(shared)} genes of both panels, {imputed.n_obs} tiles; neighbour: nearest training tiles"
    else:
        order = [list(imputed.var_names).index(gene) for gene in bulk.genes]
        stated = extract_record(text_of_case(case)) or case.record
        profile, tied = baselines.rna_by_text(stated, bench.training, bench.pipeline.text_encoder, case.source)
        predicted = (_pseudobulk(np.asarray(imputed.X)[:, order]) - bulk.mean) / bulk.sd
        other = (profile - bulk.mean) / bulk.sd
        note = f"{len(bulk.genes)} genes; neighbour: mean of {tied} training patients of the nearest record"
    figures = [correlation(guess, z) for guess in (predicted, organ, other)]
    return [bench.row(case, "rna", "z-scored profile, Pearson over genes", figures, note)]


def fields_told(guess: baselines.Guess, truth: dict[str, str]) -> dict[str, list[str]]:
    """Fields of `truth` by what a guess says of them: ``right``, ``wrong`` or ``undetermined``."""
    told: dict[str, list[str]] = {"right": [], "wrong": [], "undetermined": []}
    for name, value in truth.items():
        said = guess[name][0] if name in guess else None
        told["undetermined" if said is None else "right" if said == value else "wrong"].append(
            name if said is None or said == value else f"{name} ({said} for {value})"
        )
    return told


def text_of_patient(bench: Bench, case: Case) -> list[Row]:
    """The imputed record against what the report states, and against the public tables: they differ in places."""
    features = features_of(bench, case) if "he" in case.used and "rna" not in case.used else None
    guesses = guesses_of_text(bench, case, features)
    rows = []
    for source, truth in (("report", extract_record(case.report)), ("tables", case.record)):
        if not truth:
            continue
        told = [fields_told(guess, truth) for guess in guesses]
        note = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in told[0].items() if names)
        for kind, higher in (("right", True), ("wrong", False)):
            shares = [len(part[kind]) / len(truth) for part in told]
            rows.append(bench.row(case, "text", f"fields {kind}, by the {source}", shares, note, higher))
        likelihood = [scores_of_record(guess, truth)[1] for guess in guesses]
        rows.append(bench.row(case, "text", f"log-probability of the truth, by the {source}", likelihood, note))
    return rows


def measure_of(case: Case, target: str) -> Callable[[Bench, Case], list[Row]]:
    """The comparison that fits a case and what was withheld from it."""
    if case.is_section:
        return {"he": he_of_section, "rna": rna_of_section, "text": text_of}[target]
    return {"he": he_of_patient, "rna": rna_of_patient, "text": text_of_patient}[target]


def compare(bench: Bench, cases: list[Case]) -> list[Row]:
    """Every withheld modality of every case; one that was rejected or failed is a row without figures."""
    rows: list[Row] = []
    for case in cases:
        for modality in case.withheld:
            state = bench.manifest[case.case_id, modality]
            if state["verdict"] != "accepted":
                note = f"{state['verdict']}: {state['why']}"
                rows.append(bench.row(case, modality, "no artifact", NO_FIGURES, note))
            else:
                rows += measure_of(case, modality)(bench, case)
    return rows
