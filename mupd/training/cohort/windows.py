"""Windows of the slides of a cohort, cut once and kept in the work folder; training opens no slide."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mupd.base.files import atomic_path
from mupd.errors import CaseError
from mupd.model.encoders import TILE_PX, WINDOW_UM, TileEncoder
from mupd.model_folder.geometry import TRAINED
from mupd.slides.reader import open_slide, source_files
from mupd.slides.tiles import read_window, tissue_tiles
from mupd.training.cohort.cases import TrainingCase

MARGIN_PX = 24
"""Pixels around a window, within which its crops are moved."""

SIDE_PX = TRAINED.window_px + 2 * MARGIN_PX
_BATCH = 16


@dataclass(frozen=True)
class Windows:
    """Windows of one case.

    Attributes
    ----------
    pixels
        (n, 176, 176, 3) uint8 at 0.78 um/px, mapped from disk.
    raw
        (n, 2560) backbone features of the tiles around the same centres.
    spots
        (n,) row of the profile for each window; empty where the profile is no spatial one.
    """

    pixels: NDArray[np.uint8]
    raw: NDArray[np.float32]
    spots: NDArray[np.int64]


def _key(case: TrainingCase, most: int) -> str:
    """Hash of everything that the windows depend on: the slide's files, its scale, the spots, and their number."""
    files = (
        []
        if case.he is None
        else [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in _files(case.he)]
    )
    spots = None if case.profile is None or case.profile.xy_px is None else case.profile.xy_px.tolist()
    return hashlib.sha256(json.dumps([files, case.mpp, spots, most, SIDE_PX]).encode()).hexdigest()[:16]


def _files(path: Path) -> list[Path]:
    files = [
        file for source in source_files(path) for file in ([source] if source.is_file() else sorted(source.rglob("*")))
    ]
    return [file for file in files if file.is_file()]


def _centres(case: TrainingCase, most: int, reader: object) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Centres (n, 2) x, y in pixels of level 0, and the spot of each."""
    profile = case.profile
    if profile is None or profile.xy_px is None:
        return tissue_tiles(reader, WINDOW_UM, most, seed=0), np.zeros(0, np.int64)  # type: ignore[arg-type]
    half = TRAINED.window_px * TRAINED.mpp / float(case.mpp or TRAINED.mpp) / 2
    size = np.array(reader.size_px)  # type: ignore[attr-defined]
    inside = ((profile.xy_px >= half) & (profile.xy_px <= size - half)).all(1) & (profile.matrix.sum(1) > 0)
    rows = np.flatnonzero(inside)
    if len(rows) > most:
        seed = int.from_bytes(hashlib.sha256(case.case_id.encode()).digest()[:8], "big")
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return profile.xy_px[rows], rows


def cut_windows(case: TrainingCase, encoder: TileEncoder, most: int, folder: Path) -> Windows:
    """The windows of a case: around its spots, or spread over its tissue; at most `most`.

    Raises
    ------
    CaseError
        If no spot lies on the slide, or there is no tissue.
    """
    if case.he is None:
        raise ValueError(f"{case.case_id}: found no slide; expected one")
    place = folder / f"{case.case_id}-{_key(case, most)}"
    if not place.exists():
        with open_slide(case.he, case.mpp) as reader:
            centres, spots = _centres(case, most, reader)
            if len(centres) == 0:
                raise CaseError(f"{case.case_id}: found no spot on the slide, or no tissue; expected some to train on")
            window_um = SIDE_PX * TRAINED.mpp
            with atomic_path(place) as temporary:
                temporary.mkdir(parents=True)
                pixels = np.lib.format.open_memmap(
                    temporary / "pixels.npy", "w+", np.uint8, (len(centres), SIDE_PX, SIDE_PX, 3)
                )
                raw = []
                for start in range(0, len(centres), _BATCH):
                    part = centres[start : start + _BATCH]
                    for row, centre in enumerate(part, start):
                        pixels[row] = read_window(reader, centre, window_um, SIDE_PX)
                    raw.append(encoder.raw(np.stack([read_window(reader, c, 2 * WINDOW_UM, TILE_PX) for c in part])))
                pixels.flush()
                np.save(temporary / "raw.npy", np.concatenate(raw), allow_pickle=False)
                np.save(temporary / "spots.npy", spots, allow_pickle=False)
    return Windows(
        np.load(place / "pixels.npy", mmap_mode="r", allow_pickle=False),
        np.load(place / "raw.npy", allow_pickle=False),
        np.load(place / "spots.npy", allow_pickle=False),
    )
