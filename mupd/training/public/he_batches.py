"""H&E windows with conditions: RNA of spots, texts of organs, and windows with neither."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from mupd.base.progress import track
from mupd.model.regions import he_extra
from mupd.model_folder.geometry import TRAINED
from mupd.reports.record.fields import render_record
from mupd.training.augment import (
    MOST_CHUNKS,
    SPOT_NOISE,
    STREAM_DROPOUT,
    bag,
    dropped,
    random_crop,
    turned,
)
from mupd.training.batches import Batch, HeSample, Tokens, he_batch
from mupd.training.public.labels import HER2ST_RECORD, organ_of_tile, tile_record
from mupd.training.public.read import HER2ST_MPP, read_reports, read_tiles, tissue_windows
from mupd.training.public.splits import split_of
from mupd.training.public.spots import Spots
from mupd.training.settings import TileBalance

TISSUE_SHARE = 0.2
"""Share of the section windows that lie anywhere on the tissue, without RNA."""
JITTER_PX = 24
REPORT_SHARE = 1 / 3
_REPORTS = 150
_REPORT_CLASSES = (
    ("luad", "lung", "adenocarcinoma"),
    ("brca", "breast", "breast carcinoma"),
    ("coadread", "colon", "adenocarcinoma"),
)
TextEmbedder = Callable[[str], NDArray[np.float32]]
Reports = dict[tuple[str, str], list[NDArray[np.float32]]]
"""{(organ, class) of tiles: embeddings (chunks, 384) of reports}."""
HER2ST_TEXTS = (
    render_record(HER2ST_RECORD),
    "H&E histology of invasive breast carcinoma, HER2 positive.",
    "Breast, invasive ductal carcinoma.",
)


def tile_weights(table: pd.DataFrame, balance: TileBalance) -> NDArray[np.float64]:
    """How often each tile is drawn; sums to 1.

    Parameters
    ----------
    table
        With `organ` and `diagnosis` of each tile.
    balance
        ``classes``: each class as often as the square root of its size; otherwise lung would outweigh all others.
        ``organs``: every organ equally often, and the classes of an organ as above.
    """
    organs = table["organ"].map(organ_of_tile)
    classes = table.groupby([organs, table["diagnosis"]])["file"].transform("count").to_numpy(np.float64)
    weights = classes**-0.5
    if balance == "organs":
        weights = weights / pd.Series(weights, index=table.index).groupby(organs).transform("sum").to_numpy()
    return weights / weights.sum()


def tile_texts(organ: str, diagnosis: str, text: str) -> list[str]:
    """Texts that state what a tile shows: its own, its record, and what a report says."""
    return [
        text,
        render_record(tile_record(organ, diagnosis)),
        f"{organ}, {diagnosis}",
        f"Final diagnosis: {organ}, {diagnosis}.",
        f"Surgical pathology report. Specimen: {organ}. Microscopy: {diagnosis}.",
    ]


def class_reports(folder: Path, encoder: TextEmbedder) -> Reports:
    """Real reports of TCGA patients as texts of tiles with the same organ and diagnosis.

    The patients are not those of the tiles: report and tile agree in organ and diagnosis alone. Of each cohort the
    first reports in order are taken; patients outside the training split are left out.
    """
    reports: Reports = {}
    for cohort, organ, diagnosis in _REPORT_CLASSES:
        texts = read_reports(folder / "other_reports", cohort)
        usable = [case for case in sorted(texts) if split_of(case) == "train" and texts[case].split()]
        cases = track(usable[:_REPORTS], f"reports of {cohort}")
        reports[organ, diagnosis] = [encoder(texts[case]) for case in cases]
    return reports


@dataclass(frozen=True)
class TileMix:
    """H&E tiles of other organs beside the sections.

    Attributes
    ----------
    folder
        With ``tiles.csv``.
    share
        Of the windows.
    reports
        Real reports by class; empty = texts of the tiles alone.
    """

    folder: Path
    share: float
    balance: TileBalance
    reports: Reports


class HeBatches:
    """Random windows of sections and of tiles, in one of eight orientations.

    Parameters
    ----------
    tiles
        None = windows of sections alone.
    """

    def __init__(self, sections: Sequence[Spots], encoder: TextEmbedder, tiles: TileMix | None = None) -> None:
        self.sections = sections
        self.section_share = 1.0 if tiles is None else 1 - tiles.share
        self.spot_share = self.section_share * (1 - TISSUE_SHARE)
        self.corners = [tissue_windows(s.image, TRAINED.window_px, 64) for s in sections]
        self.section_texts = [encoder(text) for text in HER2ST_TEXTS]
        self.images: list[NDArray[np.uint8]] = []
        self.texts: list[list[NDArray[np.float32]]] = []
        self.reports: list[list[NDArray[np.float32]]] = []
        self.mpps: list[float] = []
        if tiles is not None:
            self._read_tiles(tiles, encoder)

    def _read_tiles(self, tiles: TileMix, encoder: TextEmbedder) -> None:
        embedded: dict[str, NDArray[np.float32]] = {}
        table = read_tiles(tiles.folder)
        table = table[[split_of(str(group)) == "train" for group in table["group"]]]
        self.weights = tile_weights(table, tiles.balance)
        for row in table.itertuples():
            self.images.append(np.asarray(Image.open(row.path).convert("RGB")))
            self.mpps.append(float(row.mpp))
            forms = tile_texts(row.organ, row.diagnosis, row.text)
            for form in forms:
                if form not in embedded:
                    embedded[form] = encoder(form)
            self.texts.append([embedded[form] for form in forms])
            self.reports.append(tiles.reports.get((row.organ, row.diagnosis), []))

    def _text_of(self, tile: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Chunks (n, 384) of one of the texts of a tile."""
        reports = self.reports[tile]
        if reports and rng.random() < REPORT_SHARE:
            return bag(reports[rng.integers(len(reports))], MOST_CHUNKS, rng)
        return self.texts[tile][rng.integers(len(self.texts[tile]))]

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Windows with RNA, pathway scores and texts; the scale is stated for half of those whose scale is known."""
        first = self.sections[0]
        dims = {"rna": first.conditions.shape[1], "pathways": first.pathways.shape[1]}
        return he_batch([self._sample(rng) for _ in range(size)], dims)

    def _sample(self, rng: np.random.Generator) -> HeSample:
        kind = rng.random()
        rna = pathways = None
        text: Tokens
        if kind < self.section_share or not self.images:
            crop, rna, pathways = self._of_section(kind < self.spot_share, rng)
            own = self.section_texts[rng.integers(len(self.section_texts))]
            text, mpp = own if rng.random() < 0.5 else None, HER2ST_MPP
        else:
            tile = int(rng.choice(len(self.images), p=self.weights))
            crop, mpp = random_crop(self.images[tile], TRAINED.window_px, rng), self.mpps[tile]
            text = dropped(self._text_of(tile, rng), STREAM_DROPOUT, rng)
        states_scale = math.isfinite(mpp) and rng.random() < 0.5
        return HeSample(turned(crop, rng), rna, pathways, text, he_extra(mpp) if states_scale else torch.zeros(2))

    def _of_section(self, at_spot: bool, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Tokens, Tokens]:
        """A window, and RNA and pathway scores (1, dim) of its spot; None = left out."""
        which = int(rng.integers(len(self.sections)))
        section = self.sections[which]
        rna = pathways = None
        if at_spot:
            spot = int(rng.integers(len(section.xy_px)))
            centre = section.xy_px[spot] + rng.uniform(-JITTER_PX, JITTER_PX, 2)
            x, y = np.rint(centre).astype(int) - TRAINED.window_px // 2
            rna = _noisy_condition(section.conditions[spot], rng)
            # A bulk profile resembles spots most in its pathway scores: they often stand alone.
            rna = dropped(rna, 2 * STREAM_DROPOUT, rng)
            pathways = dropped(section.pathways[spot][None], STREAM_DROPOUT, rng)
        else:
            y, x = self.corners[which][rng.integers(len(self.corners[which]))]
        return section.image[y : y + TRAINED.window_px, x : x + TRAINED.window_px], rna, pathways


def _noisy_condition(condition: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """(1, dim) with noise on all but the last entry, the kind of profile, which is known exactly."""
    noise = SPOT_NOISE * rng.standard_normal(condition.shape, np.float32)
    noise[-1] = 0
    return (condition + noise)[None]
