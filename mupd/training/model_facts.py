"""Plain facts that a model folder carries beside its weights: name, genes, ranges of its training data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import mupd
from mupd.base.files import write_json
from mupd.model_folder.contents import read_record_fields
from mupd.model_folder.trained_on import DIRECTIONS, TRAINED_ON_FILE, TrainedOn, read_trained_on, write_trained_on
from mupd.slides.tissue import stain_density, tissue_mask
from mupd.training.cohort.cases import TrainingCase
from mupd.training.data_module import DataModule
from mupd.training.plan import Plan
from mupd.training.sources import HER2ST_MPP, TRAINED_TILE_SOURCES
from mupd.training.trained_organs import Organs, organs_of_cases, organs_of_public, trained_on
from mupd.training.vector_pairs import organs_of_patients, organs_of_tiles


def organs_of_plan(plan: Plan, cases: Sequence[TrainingCase]) -> TrainedOn:
    """Which organs a plan trains its trunk on, by direction, with those of the weights that it starts from.

    Parameters
    ----------
    cases
        Those of the plan's own cohort.

    Raises
    ------
    ModelError
        If the folder of the transformer it starts from stands beside a ``trained_on.json`` that cannot be used.
    """
    parts: list[Organs] = []
    targets = list(plan.targets())
    if plan.public:
        tiles, patients = organs_of_tiles(plan.tiles), organs_of_patients(plan.tcga)
        parts.append(organs_of_public(tiles, patients, targets, plan.tile_share))
    parts.append(organs_of_cases(cases, read_record_fields(plan.out), targets))
    found = trained_on(parts, None if plan.start is None else read_trained_on(plan.start.parent))
    if unsaid := [direction for direction in DIRECTIONS if direction not in found]:
        print(
            f"mupd train: {TRAINED_ON_FILE} says nothing of {', '.join(unsaid)}: there the organ of a case is known "
            "from neither the sheet (column `organ`) nor the report, or that of the weights it starts from is not"
        )
    return found


def write_facts(plan: Plan) -> None:
    """Write model_index.json, trained_on.json, genes.json and reference.json."""
    data = DataModule(plan)
    write_trained_on(plan.out, organs_of_plan(plan, data.cohort.cases))
    sources: dict[str, Any] = {}
    if plan.public:
        sources = {"her2st_sections": list(plan.sections), "tile_sources": list(TRAINED_TILE_SOURCES)}
    if plan.cohort is not None:
        sources["cohort"] = {"cases": data.cohort.counts()["train"], "pairs": data.cohort.pairs()}
    codec = plan.codec
    index = {
        "name": plan.name,
        "mupd_version": mupd.__version__,
        "native_mpp": HER2ST_MPP,
        "trained_on": sources,
    }
    write_json(plan.out / "model_index.json", index)
    write_json(plan.out / "genes.json", codec.genes)
    densities = []
    for window in data.stain_windows():
        mask = tissue_mask(window)
        if mask.any():
            haematoxylin, eosin = stain_density(window)
            densities.append((haematoxylin[mask].mean(), eosin[mask].mean()))
    reference: dict[str, Any] = {"rna_mean": {}, "rna_sd": {}}
    if densities:
        spread = np.percentile(np.array(densities), [0.5, 99.5], axis=0)
        # Half as much again as the training windows' own range on either side.
        reference |= {"haematoxylin_od": _widened(spread[:, 0]), "eosin_od": _widened(spread[:, 1])}
    for kind, panel in codec.panels.items():
        for name in ("mean", "sd"):
            values = dict(zip(panel.genes, getattr(panel, name).tolist(), strict=True))
            rounded = {gene: round(value, 4) for gene, value in values.items()}
            reference[f"rna_{name}"][kind] = [rounded.get(gene) for gene in codec.genes]
    write_json(plan.out / "reference.json", reference)


def _widened(limits: np.ndarray) -> list[float]:
    low, high = (float(value) for value in limits)
    margin = 0.5 * (high - low)
    return [round(max(0.0, low - margin), 4), round(high + margin, 4)]
