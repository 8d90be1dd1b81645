"""H&E windows with conditions: RNA of spots, texts of organs, and windows with neither."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mupd.base.progress import track
from mupd.model.attention import Conditions
from mupd.model.encoders import TEXT_DIM
from mupd.model.regions import HE_WINDOW_PX, he_extra
from mupd.reports.record.fields import render_record
from mupd.training.labels import HER2ST_RECORD, TILE_ORGAN, tile_record
from mupd.training.prepare import Spots, split_of
from mupd.training.sources import HER2ST_MPP, read_tiles, tissue_windows
from mupd.training.vector_pairs import bag, padded, read_reports

TILE_SHARE, TISSUE_SHARE = 0.25, 0.2
STREAM_DROPOUT = 0.1
RNA_NOISE = 0.25
JITTER_PX = 24
REPORT_SHARE = 1 / 3
_REPORTS, _MOST_CHUNKS = 150, 8
_REPORT_CLASSES = (
    ("luad", "lung", "adenocarcinoma"),
    ("brca", "breast", "breast carcinoma"),
    ("coadread", "colon", "adenocarcinoma"),
)
TileBalance = Literal["classes", "organs"]
Reports = dict[tuple[str, str], list[NDArray[np.float32]]]
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
        ``classes``: each class as often as the square root of its size, else lung alone would be learned.
        ``organs``: every organ equally often, and its classes as above.
    """
    organs = table["organ"].replace(TILE_ORGAN)
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


def class_reports(folder: Path, encoder: Callable[[str], NDArray[np.float32]]) -> Reports:
    """Real reports (chunks, 384) by class of tiles: of TCGA patients whose cohort has this organ and diagnosis.

    They are no patients of the tiles: a report says what such a tile shows by its organ and diagnosis alone. Of
    each cohort the first in order, none of a patient who is held back by the hash of the id.
    """
    found: Reports = {}
    for cohort, organ, diagnosis in _REPORT_CLASSES:
        texts = read_reports(folder / "other_reports", cohort)
        usable = [case for case in sorted(texts) if split_of(case) == "train" and texts[case].split()]
        found[organ, diagnosis] = [encoder(texts[case]) for case in track(usable[:_REPORTS], f"reports of {cohort}")]
    return found


class HeBatches:
    """Batches of windows with their conditions.

    Three sources: windows around spots with the spot's RNA, windows of tissue between spots
    without, and tiles of other organs with text alone. Tiles whose scale is not stated condition
    on "scale unknown"; half of the others do too, so that the scale is not read as the organ.

    Parameters
    ----------
    tiles
        Folder of H&E tiles; None = sections alone.
    encoder
        Text to (chunks, 384).
    tile_share
        Share of the windows that are tiles.
    balance
        How often each tile is drawn, see :func:`tile_weights`.
    reports
        Of some classes of tiles, as :func:`class_reports` gives them; a third of their texts are from these.
    """

    def __init__(
        self,
        sections: list[Spots],
        tiles: Path | None,
        encoder: Callable[[str], NDArray[np.float32]],
        tile_share: float = TILE_SHARE,
        balance: TileBalance = "classes",
        reports: Reports | None = None,
    ) -> None:
        self.sections = sections
        self.spot_share = (1 - tile_share) * (1 - TISSUE_SHARE)
        self.section_share = 1 - tile_share
        self.corners = [tissue_windows(s.image, HE_WINDOW_PX, 64) for s in sections]
        self.images: list[NDArray[np.uint8]] = []
        self.texts: list[list[NDArray[np.float32]]] = []
        self.reports: list[list[NDArray[np.float32]]] = []
        self.mpps: list[float] = []
        self.own = [encoder(text) for text in HER2ST_TEXTS]
        if tiles is not None:
            cache: dict[str, NDArray[np.float32]] = {}
            table = read_tiles(tiles)
            table = table[[split_of(str(group)) == "train" for group in table["group"]]]
            self.weights = tile_weights(table, balance)
            for row in table.itertuples():
                self.images.append(np.asarray(Image.open(row.path).convert("RGB")))
                self.mpps.append(float(row.mpp))
                forms = tile_texts(row.organ, row.diagnosis, row.text)
                for form in forms:
                    if form not in cache:
                        cache[form] = encoder(form)
                self.texts.append([cache[form] for form in forms])
                self.reports.append((reports or {}).get((row.organ, row.diagnosis), []))

    def _text_of(self, tile: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Chunks (n, 384) of one of the texts of a tile."""
        reports = self.reports[tile]
        if reports and rng.random() < REPORT_SHARE:
            return bag(reports[rng.integers(len(reports))], _MOST_CHUNKS, rng)
        return self.texts[tile][rng.integers(len(self.texts[tile]))]

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Conditions, Tensor]:
        """Images (size, 3, 128, 128) in [-1, 1], conditions, and the extra vector (size, 2)."""
        dim, sets = self.sections[0].conditions.shape[1], self.sections[0].pathways.shape[1]
        rna, has_rna = torch.zeros(size, 1, dim), torch.zeros(size, 1, dtype=torch.bool)
        pathways, has_pathways = torch.zeros(size, 1, sets), torch.zeros(size, 1, dtype=torch.bool)
        texts: list[NDArray[np.float32] | None] = []
        extra, crops = torch.zeros(size, 2), []
        for i in range(size):
            kind = rng.random()
            mpp = math.nan
            if kind < self.section_share or not self.images:
                which = int(rng.integers(len(self.sections)))
                section = self.sections[which]
                if kind < self.spot_share:
                    spot = int(rng.integers(len(section.xy_px)))
                    centre = section.xy_px[spot] + rng.uniform(-JITTER_PX, JITTER_PX, 2)
                    x, y = np.rint(centre).astype(int) - HE_WINDOW_PX // 2
                    noise = RNA_NOISE * rng.standard_normal((dim,), np.float32)
                    noise[-1] = 0  # the kind of profile is known exactly
                    rna[i, 0] = torch.from_numpy(section.conditions[spot] + noise)
                    pathways[i, 0] = torch.from_numpy(section.pathways[spot])
                    # Scores alone are what a bulk profile shares best with spots.
                    has_rna[i] = rng.random() >= 2 * STREAM_DROPOUT
                    has_pathways[i] = rng.random() >= STREAM_DROPOUT
                else:
                    y, x = self.corners[which][rng.integers(len(self.corners[which]))]
                image, mpp = section.image, HER2ST_MPP
                own = self.own[rng.integers(len(self.own))]
                texts.append(own if rng.random() < 0.5 else None)
            else:
                tile = int(rng.choice(len(self.images), p=self.weights))
                image, mpp = self.images[tile], self.mpps[tile]
                y = int(rng.integers(image.shape[0] - HE_WINDOW_PX + 1))
                x = int(rng.integers(image.shape[1] - HE_WINDOW_PX + 1))
                own = self._text_of(tile, rng)
                texts.append(own if rng.random() >= STREAM_DROPOUT else None)
            if math.isfinite(mpp) and rng.random() < 0.5:
                extra[i] = he_extra(mpp)
            crop = image[y : y + HE_WINDOW_PX, x : x + HE_WINDOW_PX]
            crop = np.rot90(crop, int(rng.integers(4)))
            crops.append(np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop))
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
        text = padded(texts, TEXT_DIM)
        return images, {"rna": (rna, has_rna), "pathways": (pathways, has_pathways), "text": text}, extra
