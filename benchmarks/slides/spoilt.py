"""Deliberately spoilt H&E, and a slide of 100,000 px per side in a few megabytes."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Pixels = NDArray[np.uint8]
Spoil = Callable[[Pixels, float], Pixels]
"""(rows, columns, 3) uint8 and its micrometres per pixel -> the same, spoilt."""


def _blurred(sigma_um: float) -> Spoil:
    def _spoil(pixels: Pixels, mpp: float) -> Pixels:
        sigma = sigma_um / mpp
        return np.round(ndimage.gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0))).astype(np.uint8)

    return _spoil


def _immunohistochemistry(share: float) -> Spoil:
    """Haematoxylin alone, with diaminobenzidine on a share of the picture in place of eosin."""

    def _spoil(pixels: Pixels, _mpp: float) -> Pixels:
        from skimage.color import hed2rgb, rgb2hed

        stains = rgb2hed(pixels)
        noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=pixels.shape[:2]), 20)
        brown = noise > np.quantile(noise, 1 - share)
        stains[..., 2] = np.where(brown, 1.5 * np.maximum(stains[..., 0], stains[..., 1]), 0)
        stains[..., 1] = 0
        return np.asarray(hed2rgb(stains) * 255).clip(0, 255).astype(np.uint8)

    return _spoil


def _brown_for_eosin(pixels: Pixels, _mpp: float) -> Pixels:
    """Diaminobenzidine as dense as eosin and where it was: a marker of cytoplasm and stroma."""
    from skimage.color import hed2rgb, rgb2hed

    stains = rgb2hed(pixels)
    stains[..., 2], stains[..., 1] = stains[..., 1], 0
    return np.asarray(hed2rgb(stains) * 255).clip(0, 255).astype(np.uint8)


def _brown_nuclei(pixels: Pixels, mpp: float) -> Pixels:
    """Haematoxylin alone, and in patches of half the area diaminobenzidine over most of it: a marker of nuclei."""
    from skimage.color import hed2rgb, rgb2hed

    stains = rgb2hed(pixels)
    brown = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=pixels.shape[:2]), 4 / mpp) > 0
    stains[..., 1] = 0
    stains[..., 2] = np.where(brown, 1.3 * stains[..., 0], 0)
    stains[..., 0] *= np.where(brown, 0.3, 1)
    return np.asarray(hed2rgb(stains) * 255).clip(0, 255).astype(np.uint8)


def _stretched(pixels: Pixels, _mpp: float) -> Pixels:
    low, high = np.percentile(pixels, (40, 60))
    return ((pixels.astype(np.float32) - low) * 255 / max(1.0, high - low)).clip(0, 255).astype(np.uint8)


KINDS: dict[str, Spoil] = {
    "none": lambda pixels, _mpp: pixels,
    "blur of 0.5 um (sigma)": _blurred(0.5),
    "blur of 1 um": _blurred(1),
    "blur of 1.5 um": _blurred(1.5),
    "blur of 2 um": _blurred(2),
    "blur of 4 um": _blurred(4),
    "haematoxylin only": _immunohistochemistry(0),
    "haematoxylin, DAB on 2 % of the area": _immunohistochemistry(0.02),
    "haematoxylin, DAB on 10 %": _immunohistochemistry(0.1),
    "haematoxylin, DAB on 50 %": _immunohistochemistry(0.5),
    "haematoxylin, half of it brown (nuclear DAB)": _brown_nuclei,
    "haematoxylin, DAB in place of eosin": _brown_for_eosin,
    "contrast stretched to the middle fifth of the values": _stretched,
}


def _jpeg(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=85, subsampling=0)
    return stream.getvalue()


def _tissue(side_px: int) -> Pixels:
    rng = np.random.default_rng(0)
    pixels = np.full((side_px, side_px, 3), (222, 150, 195), np.float64)
    rows, columns = np.mgrid[:side_px, :side_px]
    for y, x in rng.integers(0, side_px, (120, 2)):
        pixels[(rows - y) ** 2 + (columns - x) ** 2 < 36] = (95, 60, 140)
    return (pixels + rng.normal(0, 3, pixels.shape)).clip(0, 255).astype(np.uint8)


def vast_tiff(path: Path, side_px: int, levels: int, tile_px: int = 256) -> Path:
    """A BigTIFF of `side_px` squared at 0.25 um/px whose tiles share two JPEGs a level: tissue, and glass around it."""
    out = bytearray(b"II+\0" + struct.pack("<HHQ", 8, 0, 0))
    link = 8
    per_cm = struct.unpack("<Q", struct.pack("<II", 40_000, 1))[0]
    tissue = Image.fromarray(_tissue(tile_px))
    for level in range(levels):
        factor = 4**level
        width = side_px // factor
        across = -(-width // tile_px)
        small = np.asarray(tissue.resize((max(1, tile_px // factor),) * 2, Image.Resampling.BOX))
        repeats = -(-tile_px // small.shape[0])
        kinds = (
            np.tile(small, (repeats, repeats, 1))[:tile_px, :tile_px],
            np.full((tile_px, tile_px, 3), 243, np.uint8),
        )
        rows, columns = np.mgrid[:across, :across] - across / 2
        glass = (np.hypot(rows, columns) >= 0.3 * across).ravel()
        places: list[tuple[int, int]] = []
        for kind in kinds:
            data = _jpeg(kind)
            places.append((len(out), len(data)))
            out += data
        tables = []
        for of_tissue, of_glass in zip(*places, strict=True):
            tables.append(len(out))
            out += np.where(glass, of_glass, of_tissue).astype("<u8").tobytes()
        tags = [(254, 4, 1, int(level > 0)), (256, 4, 1, width), (257, 4, 1, width), (258, 3, 3, 8 | 8 << 16 | 8 << 32)]
        tags += [(259, 3, 1, 7), (262, 3, 1, 6), (277, 3, 1, 3), (282, 5, 1, per_cm), (283, 5, 1, per_cm)]
        tags += [(296, 3, 1, 3), (322, 4, 1, tile_px), (323, 4, 1, tile_px)]
        tags += [(324, 16, across**2, tables[0]), (325, 16, across**2, tables[1])]
        struct.pack_into("<Q", out, link, len(out))
        out += struct.pack("<Q", len(tags)) + b"".join(struct.pack("<HHQQ", *tag) for tag in tags)
        link = len(out)
        out += struct.pack("<Q", 0)
    path.write_bytes(out)
    return path
