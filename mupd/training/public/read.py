"""Readers of the public data that the shipped model is trained on.

HER2ST: Andersson et al. 2021, Nat Commun 12:6012 (H&E JPEG, counts and spot positions per section).
H&E tiles: a folder with a ``tiles.csv``. TCGA: tables of log2(TPM + 0.001), and of reports, per patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from mupd.slides.tissue import tissue_mask

HER2ST_MPP = 0.78
"""Micrometres per pixel of the HER2ST pictures: 200 um spot pitch over 255 px."""

HELD_OUT_SECTION = "C5"
TRAINED_TILE_SOURCES = (
    "lc25000_768",
    "lc25000_lung_224",
    "brecahad",
    "osteosarcoma_ut",
    "crc_val_he_7k",
    "breakhis_400x",
)
"""Tile sources whose licences allow a trained model to be shared."""

TCGA_COHORTS = ("blca", "coadread", "stad")


@dataclass(frozen=True)
class Section:
    """One HER2ST section: picture (height, width, 3) uint8, spots, counts per spot."""

    name: str
    image: NDArray[np.uint8] | None
    xy_px: NDArray[np.float64]
    counts: pd.DataFrame


def read_her2st_counts(folder: Path, name: str) -> tuple[NDArray[np.float64], pd.DataFrame]:
    """Positions (spots, 2) as x, y in pixels and counts (spots x genes) of a section's selected spots."""
    counts = pd.read_csv(folder / "counts" / f"{name}.tsv.gz", sep="\t", index_col=0)
    spots = pd.read_csv(folder / "spots" / f"{name}_selection.tsv", sep="\t")
    spots.index = pd.Index(spots["x"].astype(str) + "x" + spots["y"].astype(str))
    shared = counts.index.intersection(spots.index)
    xy = spots.loc[shared, ["pixel_x", "pixel_y"]].to_numpy(np.float64)
    return xy, counts.loc[shared]


def read_her2st_section(folder: Path, name: str) -> Section:
    """Picture, positions and counts of one section; the picture is None where there is no JPEG."""
    xy, counts = read_her2st_counts(folder, name)
    path = folder / "images" / f"{name}.jpg"
    image = None
    if path.exists():
        Image.MAX_IMAGE_PIXELS = None
        image = np.asarray(Image.open(path).convert("RGB"))
    return Section(name, image, xy, counts)


def tissue_windows(image: NDArray[np.uint8], window_px: int, stride_px: int, least: float = 0.5) -> NDArray[np.int64]:
    """Top-left corners (n, 2) as y, x of windows of which at least `least` is tissue.

    Judged by :func:`mupd.slides.tissue.tissue_mask` on an 8-fold reduced picture.
    """
    reduced = Image.fromarray(image).resize((image.shape[1] // 8, image.shape[0] // 8), Image.Resampling.BOX)
    mask = tissue_mask(np.asarray(reduced))
    integral = np.pad(mask.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    side = window_px // 8
    ys = np.arange(0, mask.shape[0] - side, stride_px // 8)
    xs = np.arange(0, mask.shape[1] - side, stride_px // 8)
    area = integral[ys[:, None] + side, xs + side] - integral[ys[:, None], xs + side]
    area = area - integral[ys[:, None] + side, xs] + integral[ys[:, None], xs]
    y, x = np.nonzero(area >= least * side * side)
    return np.stack([ys[y] * 8, xs[x] * 8], 1)


def read_tiles(folder: Path) -> pd.DataFrame:
    """Rows of ``tiles.csv`` whose source may be trained on, with absolute `path`."""
    table = pd.read_csv(folder / "tiles.csv")
    table = table[table["source"].isin(TRAINED_TILE_SOURCES)].reset_index(drop=True)
    table["path"] = [str(folder / name) for name in table["file"]]
    return table


def log_cp10k(counts: NDArray[np.floating]) -> NDArray[np.float32]:
    """log1p of counts per 10,000, per row."""
    total = counts.sum(1, keepdims=True)
    return np.log1p(1e4 * counts / np.where(total > 0, total, 1)).astype(np.float32)


def read_tcga(folder: Path, cohort: str) -> pd.DataFrame:
    """TPM (patients x genes) of a cohort from its log2(TPM + 0.001) table; repeated patients left out."""
    table = pd.read_csv(folder / f"{cohort}_log2tpm.csv.gz", index_col=0)
    table = table[~table.index.duplicated(keep=False)]
    return (np.exp2(table) - 0.001).clip(lower=0)


def read_reports(folder: Path, cohort: str) -> dict[str, str]:
    """Report of each patient; a text that two patients share is left out of both."""
    table = pd.read_csv(folder / f"{cohort}_reports.csv.gz", dtype=str, keep_default_na=False)
    table = table[~table["text"].duplicated(keep=False) & ~table["case_id"].duplicated(keep=False)]
    return dict(zip(table["case_id"], table["text"], strict=True))
