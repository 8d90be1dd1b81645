"""Pictures to measure on: real sections and tiles, and slides that the model generated."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mupd.modalities.slides import open_slide
from mupd.modalities.tissue import tissue_mask

Pixels = NDArray[np.uint8]
TILE_PX = 512
_MASK_REDUCTION = 16
_LEAST_TISSUE = 0.5

GENERATED = "generated slides"
SECTIONS = "HER2ST sections"
TILES = "tiles of other organs"
SLIDE = "CMU-1 (SVS)"
PAIRS = "H&E of H&E/mIF pairs"


@dataclass(frozen=True)
class Picture:
    """A picture to cut tiles from.

    Attributes
    ----------
    group
        Kind of content, as in the tables.
    name
        File name, or the store key of a generated slide.
    """

    group: str
    name: str
    pixels: Pixels


def _read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def generated(runs: Path) -> Iterator[Picture]:
    """The H&E draws in the stores of all runs below a folder, as generated: before any mark."""
    for path in sorted(runs.rglob("generated/store/*/*/pixels.npy")):
        yield Picture(GENERATED, path.parent.name, np.load(path, allow_pickle=False))


def real(data: Path, least_px: int = TILE_PX, every: int = 1) -> Iterator[Picture]:
    """Real H&E of at least `least_px` on both sides; of the small pictures only one in `every`."""
    for path in sorted((data / "her2st" / "images").iterdir()):
        yield Picture(SECTIONS, path.name, _read(path))
    slide = data / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(slide) as reader:
        yield Picture(SLIDE, slide.name, reader.read(0, 0, *reader.size_px))
    with (data / "he_tiles" / "tiles.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if min(int(row["width"]), int(row["height"])) >= least_px]
    for row in rows[::every]:
        yield Picture(TILES, row["file"], _read(data / "he_tiles" / row["file"]))
    for path in sorted((data / "tcga" / "he").iterdir())[::every]:
        pixels = _read(path)
        if min(pixels.shape[:2]) >= least_px:
            yield Picture(TILES, path.name, pixels)
    if least_px <= 256:
        for path in sorted((data / "he_mif" / "he").iterdir())[::every]:
            yield Picture(PAIRS, path.name, _read(path))


def tissue_share(picture: Pixels) -> NDArray[np.float64]:
    """Integral image of the tissue mask at 1/16 of the size, for :func:`share_in`."""
    small = Image.fromarray(picture).reduce(_MASK_REDUCTION)
    mask = tissue_mask(np.asarray(small))
    return np.pad(mask.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)


def share_in(integral: NDArray[np.float64], top: int, left: int, side: int) -> float:
    """Share of tissue in a square of `side` px."""
    step = _MASK_REDUCTION
    rows, columns = (min(size - 1, max(1, side // step)) for size in integral.shape)
    y, x = min(top // step, integral.shape[0] - 1 - rows), min(left // step, integral.shape[1] - 1 - columns)
    inside = integral[y + rows, x + columns] - integral[y, x + columns] - integral[y + rows, x] + integral[y, x]
    return float(inside / (rows * columns))


def places(picture: Pixels, most: int, rng: np.random.Generator, aligned: bool, side: int = TILE_PX) -> list[list[int]]:
    """Up to `most` upper left corners [top, left] of tiles of which at least half is tissue.

    Parameters
    ----------
    aligned
        On the 512 px grid of the blocks that are marked (without repeats), else anywhere.
    """
    integral = tissue_share(picture)
    height, width = (length - side for length in picture.shape[:2])
    if aligned:
        grid = [[top, left] for top in range(0, height + 1, TILE_PX) for left in range(0, width + 1, TILE_PX)]
        candidates = [grid[index] for index in rng.permutation(len(grid))]
    else:
        tries = 20 * most
        candidates = np.stack([rng.integers(0, height + 1, tries), rng.integers(0, width + 1, tries)], 1).tolist()
    return [place for place in candidates if share_in(integral, place[0], place[1], side) >= _LEAST_TISSUE][:most]
