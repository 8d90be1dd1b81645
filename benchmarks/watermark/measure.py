"""Detection after common treatments of pictures, and scores of pictures without a mark."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.watermark.content import TILE_PX, Picture, Pixels, places
from mupd.synthetic.picture.watermark import detect, embed, embed_picture

QUALITY = 80


@dataclass(frozen=True)
class Score:
    """One tile: kind of content, what was done to it, the detector's score, PSNR of the marked tile in dB or None."""

    group: str
    treatment: str
    score: float
    psnr: float | None = None


def as_jpeg(pixels: Pixels, quality: int = QUALITY) -> Pixels:
    """Encoded by Pillow (4:2:0) and decoded again."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        return np.asarray(image)


def as_png(pixels: Pixels) -> Pixels:
    """Encoded as PNG and decoded again."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    with Image.open(stream) as image:
        return np.asarray(image)


def resized(pixels: Pixels, factor: float) -> Pixels:
    """Resized with Pillow's bicubic filter."""
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _turned(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(np.rot90(pixels)[:, ::-1])


ALIGNED: dict[str, Callable[[Pixels], Pixels]] = {
    "PNG": as_png,
    "JPEG q80": as_jpeg,
    "JPEG q80, half size": lambda pixels: resized(as_jpeg(pixels), 1 / 2),
    "JPEG q80, half size, JPEG q80": lambda pixels: as_jpeg(resized(as_jpeg(pixels), 1 / 2)),
}
"""Of tiles that are whole marked blocks."""

ANYWHERE: dict[str, Callable[[Pixels], Pixels]] = {
    "cut anywhere, JPEG q80, half size": ALIGNED["JPEG q80, half size"],
    "cut anywhere, JPEG q80, half size, JPEG q80": ALIGNED["JPEG q80, half size, JPEG q80"],
    "cut anywhere, turned and mirrored, JPEG q80": lambda pixels: as_jpeg(_turned(pixels)),
    "cut anywhere, 2/3 size, JPEG q80": lambda pixels: as_jpeg(resized(pixels, 2 / 3)),
    "cut anywhere, 1/3 size, JPEG q80": lambda pixels: as_jpeg(resized(pixels, 1 / 3)),
    "cut anywhere, 224 px of it, JPEG q80": lambda pixels: as_jpeg(pixels[:224, :224]),
}
"""Of tiles at random corners."""


def _psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(255**2 / max(np.square(one.astype(np.float64) - other).mean(), 1e-9)))


def marked_tiles(picture: Picture, most: int, rng: np.random.Generator) -> Iterator[Score]:
    """Scores of up to `most` tiles of a picture that was marked, after each treatment."""
    marked = embed_picture(picture.pixels)
    for aligned, treatments in ((True, ALIGNED), (False, ANYWHERE)):
        for top, left in places(picture.pixels, most, rng, aligned):
            part = np.s_[top : top + TILE_PX, left : left + TILE_PX]
            noise = _psnr(picture.pixels[part], marked[part])
            for name, treat in treatments.items():
                yield Score(picture.group, name, detect(treat(marked[part])).score, noise)


def level_tiles(picture: Picture, most: int, rng: np.random.Generator, quality: int = 90) -> Iterator[Score]:
    """Scores of 512 px tiles of each level of a pyramid made as slides are: halved by averaging, each level a JPEG."""
    pixels = embed_picture(picture.pixels)
    for level in range(4):
        if level:
            # What is one pixel short of a pair is left out, as at the edge of a slide.
            height, width = (length // 2 * 2 for length in pixels.shape[:2])
            pixels = np.asarray(Image.fromarray(pixels[:height, :width]).reduce(2))
        if min(pixels.shape[:2]) < TILE_PX:
            return
        for top, left in places(pixels, most, rng, aligned=False):
            tile = as_jpeg(pixels[top : top + TILE_PX, left : left + TILE_PX], quality)
            yield Score(picture.group, f"512 px of DICOM level {level}, JPEG q{quality}", detect(tile).score)


_PLAIN: tuple[tuple[str, Callable[[Pixels], Pixels]], ...] = (
    ("as it is", lambda pixels: pixels),
    ("JPEG q80", as_jpeg),
    ("half size", lambda pixels: resized(pixels, 1 / 2)),
    ("JPEG q80, half size, JPEG q80", ALIGNED["JPEG q80, half size, JPEG q80"]),
)


def unmarked_tiles(picture: Picture, most: int, rng: np.random.Generator, turn: int) -> Iterator[Score]:
    """Scores of tiles of a picture that was never marked, each as it is or treated in one way.

    Of a picture that is one tile itself there is one score a turn, and none after each treatment had its turn.
    """
    side = min(TILE_PX, *picture.pixels.shape[:2])
    if side == max(picture.pixels.shape[:2]):
        most = 1 if turn < len(_PLAIN) else 0
    corners = places(picture.pixels, most, rng, aligned=False, side=side)
    for number, (top, left) in enumerate(corners):
        name, treat = _PLAIN[(number + turn) % len(_PLAIN)]
        tile = treat(np.ascontiguousarray(picture.pixels[top : top + side, left : left + side]))
        yield Score(picture.group, name, detect(tile).score)


def pace(pictures: Iterable[Picture]) -> dict[str, float]:
    """Processor time: megapixels marked a second, seconds to look at one 512 px tile; and the growth of a JPEG."""
    tiles = [picture.pixels[:TILE_PX, :TILE_PX] for picture in pictures]
    tiles = [tile for tile in tiles if tile.shape[:2] == (TILE_PX, TILE_PX)]
    embed(tiles[0])
    detect(tiles[0])
    began = time.process_time()
    marked = [embed(tile) for tile in tiles for _ in range(5)][::5]
    embedded = time.process_time()
    for tile in tiles:
        detect(tile)
    looked = time.process_time()
    return {
        "embed_megapixels_a_second": 5 * len(tiles) * TILE_PX**2 / 1e6 / (embedded - began),
        "detect_seconds_a_tile": (looked - embedded) / len(tiles),
        "jpeg_q90_growth": _jpeg_bytes(marked) / _jpeg_bytes(tiles) - 1,
    }


def _jpeg_bytes(tiles: Iterable[Pixels]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tile.jpg"
        total = 0
        for tile in tiles:
            Image.fromarray(tile).save(path, quality=90)
            total += path.stat().st_size
        return total
