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

from mupd.modalities.records import render_record
from mupd.model.attention import Conditions
from mupd.model.regions import HE_WINDOW_PX, he_extra
from mupd.model.training.labels import HER2ST_RECORD, TILE_ORGAN, tile_record
from mupd.model.training.prepare import Spots, split_of
from mupd.model.training.sources import HER2ST_MPP, read_tiles, tissue_windows

TILE_SHARE, TISSUE_SHARE = 0.25, 0.2
STREAM_DROPOUT = 0.1
RNA_NOISE = 0.25
JITTER_PX = 24
TileBalance = Literal["classes", "organs"]
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
    """

    def __init__(
        self,
        sections: list[Spots],
        tiles: Path | None,
        encoder: Callable[[str], NDArray[np.float32]],
        tile_share: float = TILE_SHARE,
        balance: TileBalance = "classes",
    ) -> None:
        self.sections = sections
        self.spot_share = (1 - tile_share) * (1 - TISSUE_SHARE)
        self.section_share = 1 - tile_share
        self.corners = [tissue_windows(s.image, HE_WINDOW_PX, 64) for s in sections]
        self.images: list[NDArray[np.uint8]] = []
        self.texts: list[list[Tensor]] = []
        self.mpps: list[float] = []
        self.own = [torch.from_numpy(encoder(text)) for text in HER2ST_TEXTS]
        if tiles is not None:
            cache: dict[str, Tensor] = {}
            table = read_tiles(tiles)
            table = table[[split_of(str(group)) == "train" for group in table["group"]]]
            self.weights = tile_weights(table, balance)
            for row in table.itertuples():
                self.images.append(np.asarray(Image.open(row.path).convert("RGB")))
                self.mpps.append(float(row.mpp))
                forms = tile_texts(row.organ, row.diagnosis, row.text)
                for form in forms:
                    if form not in cache:
                        cache[form] = torch.from_numpy(encoder(form))
                self.texts.append([cache[form] for form in forms])

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Conditions, Tensor]:
        """Images (size, 3, 128, 128) in [-1, 1], conditions, and the extra vector (size, 2)."""
        dim, sets = self.sections[0].conditions.shape[1], self.sections[0].pathways.shape[1]
        rna, has_rna = torch.zeros(size, 1, dim), torch.zeros(size, 1, dtype=torch.bool)
        pathways, has_pathways = torch.zeros(size, 1, sets), torch.zeros(size, 1, dtype=torch.bool)
        text, has_text = torch.zeros(size, 1, 384), torch.zeros(size, 1, dtype=torch.bool)
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
                text[i] = self.own[rng.integers(len(self.own))]
                has_text[i] = rng.random() < 0.5
            else:
                tile = int(rng.choice(len(self.images), p=self.weights))
                image, mpp = self.images[tile], self.mpps[tile]
                y = int(rng.integers(image.shape[0] - HE_WINDOW_PX + 1))
                x = int(rng.integers(image.shape[1] - HE_WINDOW_PX + 1))
                text[i] = self.texts[tile][rng.integers(len(self.texts[tile]))]
                has_text[i] = rng.random() >= STREAM_DROPOUT
            if math.isfinite(mpp) and rng.random() < 0.5:
                extra[i] = he_extra(mpp)
            crop = image[y : y + HE_WINDOW_PX, x : x + HE_WINDOW_PX]
            crop = np.rot90(crop, int(rng.integers(4)))
            crops.append(np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop))
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
        return images, {"rna": (rna, has_rna), "pathways": (pathways, has_pathways), "text": (text, has_text)}, extra
