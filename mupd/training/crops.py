"""Crops of H&E for the autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mupd.model.regions import from_uint8
from mupd.training.augment import random_crop, turned
from mupd.training.batches import Batch
from mupd.training.public.read import read_her2st_section, read_tiles, tissue_windows
from mupd.training.public.splits import split_of

CROP_PX = 128


def _batch_of(crops: Sequence[NDArray[np.uint8]]) -> Batch:
    return Batch(from_uint8(np.stack(crops)), {}, torch.zeros(len(crops), 2))


class PublicCrops:
    """Random flipped and transposed crops: section windows mixed with tiles of other organs."""

    def __init__(self, her2st: Path, sections: Sequence[str], tiles: Path | None, tile_share: float) -> None:
        self.images: list[NDArray[np.uint8]] = []
        self.corners: list[NDArray[np.int64]] = []
        for name in sections:
            section = read_her2st_section(her2st, name)
            if section.image is not None:
                self.images.append(section.image)
                self.corners.append(tissue_windows(section.image, CROP_PX, 64, least=0.3))
        self.tiles: list[NDArray[np.uint8]] = []
        if tiles is not None:
            table = read_tiles(tiles)
            table = table[[split_of(str(group)) == "train" for group in table["group"]]]
            self.tiles = [np.asarray(Image.open(path).convert("RGB")) for path in table["path"]]
        self.tile_share = tile_share if self.tiles else 0.0

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Crops without conditions."""
        return _batch_of([self._crop(rng) for _ in range(size)])

    def _crop(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        if rng.random() < self.tile_share:
            return turned(random_crop(self.tiles[rng.integers(len(self.tiles))], CROP_PX, rng), rng)
        which = int(rng.integers(len(self.images)))
        image = self.images[which]
        y, x = self.corners[which][rng.integers(len(self.corners[which]))] + rng.integers(0, 64, 2)
        y, x = min(y, image.shape[0] - CROP_PX), min(x, image.shape[1] - CROP_PX)
        return turned(image[y : y + CROP_PX, x : x + CROP_PX], rng)


class CohortCrops:
    """Crops of the windows of a cohort's cases, every case as often as any other.

    Parameters
    ----------
    windows
        Of each case, (n, side, side, 3) uint8, sides at least 128.
    """

    def __init__(self, windows: Sequence[NDArray[np.uint8]]) -> None:
        self.windows = windows

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Crops without conditions."""
        crops = []
        for _ in range(size):
            pixels = self.windows[int(rng.integers(len(self.windows)))]
            image = pixels[rng.integers(len(pixels))]
            y, x = rng.integers(0, image.shape[0] - CROP_PX + 1, 2)
            crops.append(turned(image[y : y + CROP_PX, x : x + CROP_PX], rng))
        return _batch_of(crops)
