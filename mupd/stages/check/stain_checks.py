"""Checks of a virtual stain against the slide that it was made from, over windows of tissue at full resolution."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.base.messages import reason_of
from mupd.config.stains import StainSettings
from mupd.contracts.draws import DrawMeta
from mupd.contracts.inventory import Entry
from mupd.contracts.verdicts import Check, not_measured
from mupd.errors import UnusableError
from mupd.model_folder.geometry import read_geometry
from mupd.slides.reader import READ_ERRORS, open_slide
from mupd.slides.region import RegionReader, region_from
from mupd.slides.stain_density import WINDOW_PX, tissue_windows
from mupd.slides.tissue import stain_density, tissue_mask
from mupd.stages.check.seams import seam_check

MIN_SPREAD = 8.0
"""Least spread of a channel's grey levels (1st to 99.9th percentile, of 255): below it is empty."""

MOST_SATURATED = 0.2
"""Largest share of a channel's pixels in tissue that may be 255."""

BLOCK_UM = 8.0
"""Side of the blocks whose means are correlated: about a nucleus and what is around it."""

_MAP_PX = 1024
_LEAST_BLOCKS = 50


def _windows(
    part: RegionReader, pixels: NDArray[np.uint8], path: Path
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Windows of tissue, of the slide and of its stain."""
    height, width = pixels.shape[:2]
    for x, y in tissue_windows(part.tissue_map(_MAP_PX), (width, height)):
        wide, tall = min(WINDOW_PX, width - x), min(WINDOW_PX, height - y)
        try:
            he = part.read(x, y, wide, tall)
        except READ_ERRORS as error:
            raise UnusableError(f"the slide cannot be read again: {reason_of(error, path)}") from error
        yield he, np.array(pixels[y : y + tall, x : x + wide])


def block_means(values: NDArray[Any], side: int) -> NDArray[np.float64]:
    """Means of blocks (rows // side, columns // side, ...) of an array (rows, columns, ...)."""
    rows, columns = values.shape[0] // side, values.shape[1] // side
    blocks = values[: rows * side, : columns * side].reshape(rows, side, columns, side, *values.shape[2:])
    return blocks.mean(axis=(1, 3), dtype=np.float64)


def _correlation(pairs: list[NDArray[np.float64]]) -> float | None:
    """Pearson's of the two columns of blocks (n, 2); None with too few, or where one is constant."""
    if not pairs:
        return None
    first, second = np.concatenate(pairs).T
    if len(first) < _LEAST_BLOCKS or not first.std() or not second.std():
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _nuclear_check(correlation: float | None, stain: StainSettings) -> Check:
    name, least = "nuclear_correlation", stain.min_nuclear_correlation
    if stain.kind == "mif" and stain.nuclear is None:
        return not_measured(name, "no channel of nuclei (nuclear_channel) to hold against haematoxylin")
    if correlation is None:
        return not_measured(name, "too little tissue, or nothing that varies in it")
    what = "haematoxylin of the stain" if stain.kind == "ihc" else f"channel {stain.nuclear}"
    words = f"{what} follows the slide's haematoxylin with a correlation of {correlation:.2f}, less than {least:.2f}"
    ok = correlation >= least
    return Check(name, round(correlation, 3), least, ok, "" if ok else words)


def _channel_checks(sampled: NDArray[np.uint8], stain: StainSettings) -> list[Check]:
    """Whether channels are empty or saturated, of sampled tissue (pixels, channels)."""
    if stain.kind == "ihc":
        grey = sampled.mean(axis=1)
        spread = float(np.ptp(np.percentile(grey, [1, 99.9])))
        words = f"the stain is flat: its grey levels span {spread:.0f} of 255"
        return [
            Check("spread", round(spread, 1), MIN_SPREAD, spread >= MIN_SPREAD, "" if spread >= MIN_SPREAD else words)
        ]
    spreads = {
        name: float(np.ptp(np.percentile(sampled[:, index], [1, 99.9]))) for index, name in enumerate(stain.channels)
    }
    empty = [name for name, spread in spreads.items() if spread < MIN_SPREAD]
    checks = []
    for index, (name, spread) in enumerate(spreads.items()):
        # A marker may well be nowhere in a tissue; nuclei are, and something is.
        bad = name in empty and (name == stain.nuclear or len(empty) == len(spreads))
        ok = False if bad else None if name in empty else True
        words = f"channel {name} is empty: its grey levels in tissue span {spread:.0f} of 255"
        checks.append(Check(f"spread_{name}", round(spread, 1), MIN_SPREAD, ok, words if name in empty else ""))
        full = float((sampled[:, index] == 255).mean())
        words = f"channel {name} is saturated in {full:.0%} of the tissue, more than {MOST_SATURATED:.0%}"
        ok = full <= MOST_SATURATED
        checks.append(Check(f"saturated_{name}", round(full, 4), MOST_SATURATED, ok, "" if ok else words))
    return checks


def check_stain(folder: Path, meta: DrawMeta, slide: Entry, stain: StainSettings) -> list[Check]:
    """Check ``pixels.npy`` of a stain's draw.

    Parameters
    ----------
    slide
        The entry of the slide that was stained; it is read again.

    Raises
    ------
    OSError, ValueError, EOFError, UnusableError
        If the draw or the slide cannot be read.
    """
    region = region_from(meta.settings["region"])
    pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    expected = (region.height_px, region.width_px, len(stain.channels))
    right = pixels.shape == expected and pixels.dtype == np.uint8
    size, asked = (" x ".join(map(str, shape)) for shape in (pixels.shape, expected))
    words = f"the stain is {size} {pixels.dtype}, not {asked} uint8"
    checks = [Check("size", size, asked, right, "" if right else words)]
    if not right:
        return checks
    index = stain.channels.index(stain.nuclear) if stain.nuclear else None
    side = max(1, round(BLOCK_UM / region.mpp))
    pairs: list[NDArray[np.float64]] = []
    sampled: list[NDArray[np.uint8]] = []
    with open_slide(Path(slide.source), slide.facts["mpp"]) as reader:
        for he, stained in _windows(RegionReader(reader, region), pixels, Path(slide.source)):
            tissue = tissue_mask(he)
            sampled.append(stained[tissue][::7])
            if stain.kind == "ihc":
                nuclei: NDArray[Any] = stain_density(stained)[0]
            elif index is not None:
                nuclei = stained[..., index]
            else:
                continue
            chosen = block_means(tissue, side) >= 0.5
            source = block_means(stain_density(he)[0], side)
            pairs.append(np.stack([source[chosen], block_means(nuclei, side)[chosen]], axis=1))
    if not sum(map(len, sampled)):
        bare = "no tissue in the stained part of the slide"
        return [*checks, Check("tissue", 0, "some", False, bare)]
    checks += _channel_checks(np.concatenate(sampled), stain)
    checks.append(_nuclear_check(_correlation(pairs), stain))
    geometry = read_geometry(Path(stain.model))
    return [*checks, seam_check(pixels, geometry, meta.settings)]
