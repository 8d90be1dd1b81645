"""Spots of HER2ST sections with picture and RNA, and backbone features of training tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from mupd.base.progress import track
from mupd.model.encoders import TILE_PX, WINDOW_UM, TileEncoder
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.rna_codec import RnaCodec
from mupd.model_folder.geometry import TRAINED
from mupd.training.cache import cached_array
from mupd.training.public.read import HER2ST_MPP, log_cp10k, read_her2st_section


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


def windows_at(image: NDArray[np.uint8], xy_px: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Windows (n, 128, 128, 3) around places (n, 2) given as x, y."""
    half = TRAINED.window_px // 2
    return np.stack([image[y - half : y + half, x - half : x + half] for x, y in np.rint(xy_px).astype(int)])


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


def _oriented_spot_tiles(section: Spots, turn: int) -> NDArray[np.uint8]:
    """Tiles around spots in one of two of their eight orientations: as they are, and transposed."""
    tiles = spot_tiles(section)
    return tiles if turn == 0 else np.ascontiguousarray(tiles.transpose(0, 2, 1, 3))


def backbone() -> TileEncoder:
    """The tile encoder without a projection, for raw features."""
    return TileEncoder(np.zeros(1, np.float32), np.zeros((1, 1), np.float32))


class RawFeatures:
    """Backbone features of training tiles, computed once and kept as .npy files in a folder.

    They do not depend on the projection, which is fitted to them and then applied.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _encoder(self) -> TileEncoder:
        return backbone()

    def _kept(self, name: str, tiles: Callable[[], NDArray[np.uint8]]) -> NDArray[np.float32]:
        def features() -> NDArray[np.float32]:
            batches = np.array_split(tiles(), 16)
            return np.concatenate([self._encoder.raw(batch) for batch in track(batches, f"features of {name}")])

        return cached_array(self.folder / f"{name}.npy", features)

    def spots(self, section: Spots) -> list[NDArray[np.float32]]:
        """(spots, 2560) for each of two orientations of the tiles around a section's spots."""
        oriented = [partial(_oriented_spot_tiles, section, turn) for turn in range(2)]
        return [self._kept(f"spots-{section.name}-{turn}", tiles) for turn, tiles in enumerate(oriented)]

    def organs(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """(rows of the table, 2560)."""
        return self._kept("organs", lambda: organ_tiles(table))
