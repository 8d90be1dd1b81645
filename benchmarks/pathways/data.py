"""Profiles and stain densities of the public data, split as the shipped model splits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mupd.model.pathway_scores import PathwayScorer, universe
from mupd.model.rna_codec import Kind, Panel, RnaCodec, fit_panel, panel_values
from mupd.rna.gene_sets import GeneSets
from mupd.slides.tissue import stain_density
from mupd.training.public.read import (
    HELD_OUT_SECTION,
    TCGA_COHORTS,
    log_cp10k,
    read_her2st_counts,
    read_her2st_section,
    read_tcga,
)
from mupd.training.public.splits import is_held_out

HIGH_GENES = 3000
COMPONENTS = 64
_PANEL_GENES = 1000
_SPOT_PX = 64


@dataclass(frozen=True)
class Profiles:
    """Log1p counts per 10,000 (n, genes) and the genes."""

    values: NDArray[np.float32]
    genes: list[str]

    def over(self, genes: Sequence[str]) -> NDArray[np.float32]:
        """Values over a part of the genes, with their own depth."""
        return panel_values(self.values, self.genes, genes)


def training_spots(her2st: Path) -> Profiles:
    """Spots of all sections but the held-out one, over the genes that all of them have."""
    names = sorted(path.name.split(".")[0] for path in (her2st / "counts").glob("*.tsv.gz"))
    sections = [read_her2st_counts(her2st, name)[1] for name in names if name != HELD_OUT_SECTION]
    genes = sorted(set.intersection(*(set(section.columns) for section in sections)))
    counts = np.concatenate([section[genes].to_numpy(np.float32) for section in sections])
    return Profiles(log_cp10k(counts[counts.sum(1) > 0]), genes)


def patients(tcga: Path, training: bool) -> Profiles:
    """Bulk profiles: those of training, or all."""
    table = pd.concat([read_tcga(tcga, cohort) for cohort in TCGA_COHORTS])
    kept = [not (training and is_held_out(case)) for case in table.index]
    return Profiles(log_cp10k(table[kept].to_numpy(np.float32)), list(table.columns))


def fitted(gene_sets: GeneSets, spots: Profiles, bulk: Profiles) -> tuple[PathwayScorer, RnaCodec]:
    """A scorer over the 3,000 highest genes and all members, and 64 components of the 1,000 highest."""
    level = spots.values.mean(0)
    scored = universe(gene_sets, spots.genes, level, HIGH_GENES)
    scorer = PathwayScorer.fit(
        gene_sets, {"spot": spots.over(scored), "bulk": bulk.values}, {"spot": scored, "bulk": bulk.genes}
    )
    panel = [spots.genes[column] for column in sorted(np.argsort(-level)[:_PANEL_GENES])]
    panels: dict[Kind, Panel] = {
        "spot": fit_panel(spots.over(panel), panel, COMPONENTS),
        "bulk": fit_panel(bulk.values, bulk.genes, COMPONENTS),
    }
    return scorer, RnaCodec(panels)


@dataclass(frozen=True)
class Section:
    """Spots of one section: profiles, and mean stain densities (n, 2) of the 100 um around each."""

    profiles: Profiles
    stains: NDArray[np.float64]


def read_section(her2st: Path, name: str) -> Section:
    """Spots at least a spot's width inside the picture."""
    section = read_her2st_section(her2st, name)
    if section.image is None:
        raise FileNotFoundError(f"{her2st / 'images' / (name + '.jpg')}: this section has no picture")
    height, width = section.image.shape[:2]
    inside = (section.xy_px > 2 * _SPOT_PX).all(1) & (section.xy_px < np.array([width, height]) - 2 * _SPOT_PX).all(1)
    stains = []
    for x, y in np.rint(section.xy_px[inside]).astype(int):
        densities = stain_density(section.image[y - _SPOT_PX : y + _SPOT_PX, x - _SPOT_PX : x + _SPOT_PX])
        stains.append([density.mean() for density in densities])
    counts = section.counts.to_numpy(np.float32)[inside]
    return Section(Profiles(log_cp10k(counts), list(section.counts.columns)), np.array(stains))
