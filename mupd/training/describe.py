"""What a model folder states about itself beside its weights: name, genes, organs, ranges of its training data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import mupd
from mupd.base.files import write_json
from mupd.model_folder.contents import read_record_fields
from mupd.model_folder.geometry import TRAINED
from mupd.model_folder.trained_on import DIRECTIONS, TRAINED_ON_FILE, TrainedOn, read_trained_on, write_trained_on
from mupd.slides.tissue import stain_density, tissue_mask
from mupd.training.cohort.cases import TrainingCase
from mupd.training.data import TrainingData
from mupd.training.organs import (
    Organs,
    organs_of_cases,
    organs_of_patients,
    organs_of_public,
    organs_of_tiles,
    trained_on,
)
from mupd.training.plan import Plan
from mupd.training.public.read import TRAINED_TILE_SOURCES


def organs_of_plan(plan: Plan, cases: Sequence[TrainingCase]) -> TrainedOn:
    """Organs that the trunk of a plan is trained on, by direction, with those of the weights that it starts from.

    Parameters
    ----------
    cases
        Of the plan's own cohort.

    Raises
    ------
    ModelError
        If the ``trained_on.json`` of the model that it starts from cannot be used.
    """
    parts: list[Organs] = []
    targets = list(plan.targets())
    if plan.public:
        tiles, patients = organs_of_tiles(plan.tiles), organs_of_patients(plan.tcga)
        parts.append(organs_of_public(tiles, patients, targets, plan.data.tile_share))
    parts.append(organs_of_cases(cases, read_record_fields(plan.out), targets))
    organs = trained_on(parts, None if plan.start is None else read_trained_on(plan.start.parent))
    if missing := [direction for direction in DIRECTIONS if direction not in organs]:
        print(
            f"mupd train: {TRAINED_ON_FILE} leaves out {', '.join(missing)}: there the organ of a case is in neither "
            "the sheet (column `organ`) nor the report, or the organs of the weights that it starts from are unknown"
        )
    return organs


def write_description(plan: Plan) -> None:
    """Write model_index.json, trained_on.json, genes.json and reference.json."""
    data = TrainingData(plan)
    write_trained_on(plan.out, organs_of_plan(plan, data.cohort.cases))
    sources: dict[str, object] = {}
    if plan.public:
        sources = {"her2st_sections": list(plan.sections), "tile_sources": list(TRAINED_TILE_SOURCES)}
    if plan.data.cohort is not None:
        sources["cohort"] = {"cases": data.cohort.counts()["train"], "pairs": data.cohort.pairs()}
    codec = plan.codec
    index = {
        "name": plan.name,
        "mupd_version": mupd.__version__,
        "native_mpp": TRAINED.mpp,
        "window_px": TRAINED.window_px,
        "trained_on": sources,
    }
    write_json(plan.out / "model_index.json", index)
    write_json(plan.out / "genes.json", codec.genes)
    reference: dict[str, object] = _stain_ranges(data.stain_windows())
    for name in ("mean", "sd"):
        by_kind = {}
        for kind, panel in codec.panels.items():
            levels = {gene: round(x, 4) for gene, x in zip(panel.genes, getattr(panel, name).tolist(), strict=True)}
            by_kind[kind] = [levels.get(gene) for gene in codec.genes]
        reference[f"rna_{name}"] = by_kind
    write_json(plan.out / "reference.json", reference)


def _stain_ranges(windows: Sequence[NDArray[np.uint8]]) -> dict[str, object]:
    """Optical densities of training windows, widened by half of their range on either side; {} without tissue."""
    densities = []
    for window in windows:
        mask = tissue_mask(window)
        if mask.any():
            haematoxylin, eosin = stain_density(window)
            densities.append((haematoxylin[mask].mean(), eosin[mask].mean()))
    if not densities:
        return {}
    low, high = np.percentile(np.array(densities), [0.5, 99.5], axis=0)
    margin = 0.5 * (high - low)
    limits = np.stack([np.maximum(0.0, low - margin), high + margin], axis=1)
    return {
        name: [round(float(limit), 4) for limit in row]
        for name, row in zip(("haematoxylin_od", "eosin_od"), limits, strict=True)
    }
