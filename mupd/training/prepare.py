"""Codecs and paired data that training starts from, made once and kept in the work folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from mupd.base.files import atomic_path
from mupd.base.progress import track
from mupd.model.encoders import TILE_PX, WINDOW_UM, TileEncoder
from mupd.model.pathway_scores import PathwayScorer, universe
from mupd.model.rna_codec import RnaCodec, fit_panel, panel_values
from mupd.rna.gene_sets import read_gmt
from mupd.training.sources import (
    HELD_OUT_SECTION,
    HER2ST_MPP,
    TEST_PATIENTS,
    read_her2st_counts,
    read_her2st_section,
)

TCGA_COHORTS = ("blca", "coadread", "stad")
_SPOT_GENES = 1_000
_SCORED_GENES, _SCORED_SPOTS = 2_000, 3_000


Split = Literal["train", "validation", "held_out"]


def split_of(case_id: str) -> Split:
    """Where a TCGA patient or a group of H&E tiles belongs, by a hash of its name.

    A tenth is held out and never trained on, another validates: on it records are calibrated. The patients of
    :data:`~mupd.training.sources.TEST_PATIENTS` are held out whatever their hash says.
    """
    if case_id in TEST_PATIENTS:
        return "held_out"
    bucket = int.from_bytes(hashlib.sha256(f"held-out\0{case_id}".encode()).digest()[:4], "big") % 10
    return "held_out" if bucket == 0 else "validation" if bucket == 1 else "train"


def is_held_out(case_id: str) -> bool:
    """Whether a patient or group is never trained on: the fixed tenth, and the test patients."""
    return split_of(case_id) == "held_out"


def is_validation(case_id: str) -> bool:
    """Whether a patient or group belongs to the fixed tenth that the trunk is not trained on but calibrated by."""
    return split_of(case_id) == "validation"


def log_cp10k(counts: NDArray[np.floating]) -> NDArray[np.float32]:
    """log1p of counts per 10,000, per row."""
    total = counts.sum(1, keepdims=True)
    return np.log1p(1e4 * counts / np.where(total > 0, total, 1)).astype(np.float32)


def read_tcga(folder: Path, cohort: str) -> pd.DataFrame:
    """TPM (patients x genes) of a cohort from its log2(TPM + 0.001) table; repeated patients left out."""
    table = pd.read_csv(folder / f"{cohort}_log2tpm.csv.gz", index_col=0)
    table = table[~table.index.duplicated(keep=False)]
    return (np.exp2(table) - 0.001).clip(lower=0)


@dataclass(frozen=True)
class TrainingProfiles:
    """Profiles that codecs are fitted to, none of them held out.

    Attributes
    ----------
    spots
        log1p CP10k of each section, (spots, genes).
    spot_genes
        The genes that all sections have.
    bulk
        (patients, bulk genes) log1p CP10k.
    """

    spots: list[NDArray[np.float32]]
    spot_genes: list[str]
    bulk: NDArray[np.float32]
    bulk_genes: list[str]


def training_profiles(her2st: Path, tcga: Path) -> TrainingProfiles:
    """All HER2ST sections but the held-out one, and the TCGA patients that are not held out."""
    names = sorted(path.name.split(".")[0] for path in (her2st / "counts").glob("*.tsv.gz"))
    sections = [read_her2st_counts(her2st, name)[1] for name in track(names, "spots") if name != HELD_OUT_SECTION]
    shared = sorted(set.intersection(*(set(section.columns) for section in sections)))
    bulk = pd.concat([read_tcga(tcga, cohort) for cohort in TCGA_COHORTS])
    bulk = bulk[[not is_held_out(case) for case in bulk.index]]
    return TrainingProfiles(
        [log_cp10k(section[shared].to_numpy(np.float32)) for section in sections],
        shared,
        log_cp10k(bulk.to_numpy(np.float32)),
        list(bulk.columns),
    )


def fit_rna_codec(profiles: TrainingProfiles, dim: int) -> RnaCodec:
    """Panels of spots (the genes of highest mean) and of bulk tumours (all their genes)."""
    level = sum(section.mean(0) for section in profiles.spots)
    genes = [profiles.spot_genes[i] for i in sorted(np.argsort(-level)[:_SPOT_GENES])]
    spots = np.concatenate([panel_values(section, profiles.spot_genes, genes) for section in profiles.spots])
    spots = spots[np.isfinite(spots).all(1) & (spots.sum(1) > 0)]
    values = panel_values(profiles.bulk, profiles.bulk_genes, profiles.bulk_genes)
    return RnaCodec({"spot": fit_panel(spots, genes, dim), "bulk": fit_panel(values, profiles.bulk_genes, dim)})


def fit_pathways(gene_sets: Path, profiles: TrainingProfiles) -> PathwayScorer:
    """Scorer of a GMT file's gene sets, standardised on a sample of the training profiles of each kind."""
    sets = read_gmt(gene_sets)
    level = sum(section.mean(0) for section in profiles.spots)
    genes = universe(sets, profiles.spot_genes, level, _SCORED_GENES)
    columns = [profiles.spot_genes.index(gene) for gene in genes]
    spots = np.concatenate([section[:, columns] for section in profiles.spots])
    spots = spots[spots.any(1)]
    chosen = np.random.default_rng(0).choice(len(spots), min(_SCORED_SPOTS, len(spots)), replace=False)
    return PathwayScorer.fit(
        sets, {"spot": spots[chosen], "bulk": profiles.bulk}, {"spot": genes, "bulk": profiles.bulk_genes}
    )


@dataclass(frozen=True)
class Spots:
    """Spots of one section that have a picture around them.

    Attributes
    ----------
    xy_px
        (n, 2) x and y in the picture.
    components
        (n, dim) whitened RNA components.
    conditions
        (n, dim + 1) the same as the trunk reads them.
    pathways
        (n, gene sets) standardised scores.
    """

    name: str
    image: NDArray[np.uint8]
    xy_px: NDArray[np.float64]
    components: NDArray[np.float32]
    conditions: NDArray[np.float32]
    pathways: NDArray[np.float32]


def read_spots(her2st: Path, name: str, codec: RnaCodec, scorer: PathwayScorer) -> Spots:
    """Picture, positions and RNA of a section; spots too near the border left out.

    Raises
    ------
    FileNotFoundError
        If the section has no picture.
    """
    section = read_her2st_section(her2st, name)
    if section.image is None:
        raise FileNotFoundError(f"{her2st / 'images' / (name + '.jpg')}: this section has no picture")
    height, width = section.image.shape[:2]
    inside = (section.xy_px > 140).all(1) & (section.xy_px < np.array([width - 140, height - 140])).all(1)
    values = log_cp10k(section.counts.to_numpy(np.float32)[inside])
    genes = list(section.counts.columns)
    components = codec.encode(values, genes, "spot")
    scores, _ = scorer.score(values, genes, "spot")
    return Spots(name, section.image, section.xy_px[inside], components, codec.condition(components, "spot"), scores)


def spot_tiles(spots: Spots) -> NDArray[np.uint8]:
    """Encoder input (n, 224, 224, 3) around each spot: 200 um, the inner half being the spot's 100."""
    half = round(WINDOW_UM / HER2ST_MPP)
    tiles = []
    for x, y in np.rint(spots.xy_px).astype(int):
        window = Image.fromarray(spots.image[y - half : y + half, x - half : x + half])
        tiles.append(np.asarray(window.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)))
    return np.stack(tiles)


def organ_tiles(table: pd.DataFrame) -> NDArray[np.uint8]:
    """Encoder input (n, 224, 224, 3): the largest central square of each picture, at most 448 px of it."""
    tiles = []
    for path in table["path"]:
        image = Image.open(path).convert("RGB")
        side = min(image.width, image.height, 2 * TILE_PX)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        crop = image.crop((left, top, left + side, top + side))
        tiles.append(np.asarray(crop.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)))
    return np.stack(tiles)


_TURNS = 2


def _oriented_spot_tiles(section: Spots, turn: int) -> NDArray[np.uint8]:
    """Tiles around spots in one of two of their eight orientations: as they are, and transposed."""
    tiles = spot_tiles(section)
    return tiles if turn == 0 else np.ascontiguousarray(tiles.transpose(0, 2, 1, 3))


class RawFeatures:
    """Backbone features of training tiles, computed once and kept as .npy files in a folder.

    They do not depend on the projection, so that it can be fitted to them and then applied.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _encoder(self) -> TileEncoder:
        return TileEncoder(np.zeros(1, np.float32), np.zeros((1, 1), np.float32))

    def _kept(self, name: str, tiles: Callable[[], NDArray[np.uint8]]) -> NDArray[np.float32]:
        path = self.folder / f"{name}.npy"
        if path.exists():
            return np.load(path, allow_pickle=False)
        batches = np.array_split(tiles(), 16)
        features = np.concatenate([self._encoder.raw(batch) for batch in track(batches, f"features of {name}")])
        with atomic_path(path) as temporary:
            np.save(temporary, features, allow_pickle=False)
        return features

    def spots(self, section: Spots) -> list[NDArray[np.float32]]:
        """(spots, 2560) for each of two orientations of the tiles around a section's spots."""
        oriented = [partial(_oriented_spot_tiles, section, turn) for turn in range(_TURNS)]
        return [self._kept(f"spots-{section.name}-{turn}", tiles) for turn, tiles in enumerate(oriented)]

    def organs(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """(rows of the table, 2560)."""
        return self._kept("organs", lambda: organ_tiles(table))
