"""Plain facts that a model folder carries beside its weights: name, genes, ranges of its training data."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

import mupd
from mupd.files import write_json
from mupd.modalities.tissue import stain_density, tissue_mask
from mupd.model.training.plan import Plan
from mupd.model.training.sources import HER2ST_MPP, TRAINED_TILE_SOURCES, read_tiles, tissue_windows

_WINDOW_PX = 512


def write_facts(plan: Plan) -> None:
    """Write model_index.json, genes.json and reference.json."""
    codec = plan.codec
    index = {
        "name": plan.name,
        "mupd_version": mupd.__version__,
        "native_mpp": HER2ST_MPP,
        "trained_on": {"her2st_sections": list(plan.sections), "tile_sources": list(TRAINED_TILE_SOURCES)},
    }
    write_json(plan.out / "model_index.json", index)
    write_json(plan.out / "genes.json", codec.genes)
    windows = [np.asarray(Image.open(path).convert("RGB")) for path in read_tiles(plan.tiles)["path"][::4]]
    rng = np.random.default_rng(0)
    for section in plan.spots(plan.sections):
        corners = tissue_windows(section.image, _WINDOW_PX, 128)
        for y, x in corners[rng.choice(len(corners), min(40, len(corners)), replace=False)]:
            windows.append(section.image[y : y + _WINDOW_PX, x : x + _WINDOW_PX])
    densities = []
    for window in windows:
        mask = tissue_mask(window)
        if mask.any():
            haematoxylin, eosin = stain_density(window)
            densities.append((haematoxylin[mask].mean(), eosin[mask].mean()))
    spread = np.percentile(np.array(densities), [0.5, 99.5], axis=0)
    reference: dict[str, Any] = {
        # Half as much again as the training windows' own range on either side.
        "haematoxylin_od": _widened(spread[:, 0]),
        "eosin_od": _widened(spread[:, 1]),
        "rna_mean": {},
        "rna_sd": {},
    }
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
