"""Plain facts that a model folder carries beside its weights: name, genes, ranges of its training data."""

from __future__ import annotations

from typing import Any

import numpy as np

import mupd
from mupd.files import write_json
from mupd.modalities.tissue import stain_density, tissue_mask
from mupd.model.training.data_module import DataModule
from mupd.model.training.plan import Plan
from mupd.model.training.sources import HER2ST_MPP, TRAINED_TILE_SOURCES


def write_facts(plan: Plan) -> None:
    """Write model_index.json, genes.json and reference.json."""
    data = DataModule(plan)
    trained_on: dict[str, Any] = {}
    if plan.public:
        trained_on = {"her2st_sections": list(plan.sections), "tile_sources": list(TRAINED_TILE_SOURCES)}
    if plan.cohort is not None:
        trained_on["cohort"] = {"cases": data.cohort.counts()["train"], "pairs": data.cohort.pairs()}
    codec = plan.codec
    index = {
        "name": plan.name,
        "mupd_version": mupd.__version__,
        "native_mpp": HER2ST_MPP,
        "trained_on": trained_on,
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
