"""Tiny files in the form of the public data that the shipped model is trained on: HER2ST, TCGA, H&E tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from conftest import he_pixels
from PIL import Image
from tiny_model import BULK_GENES, GENE_SETS, SPOT_GENES

from mupd.model.training.prepare import TCGA_COHORTS, split_of

SECTIONS = ("B4", "C5")
PATIENTS = 24
_SUBTYPE = {"blca": "BLCA", "coadread": "COAD", "stad": "STAD"}
_CLASSES = (
    ("lc25000_768", "lung", "adenocarcinoma"),
    ("lc25000_768", "colon", "benign"),
    ("brecahad", "breast", "breast carcinoma"),
    ("not_allowed", "lung", "benign"),
)


def _counts(rng: np.random.Generator, rows: int, genes: tuple[str, ...]) -> np.ndarray:
    return rng.negative_binomial(2, 0.02, (rows, len(genes))) + 1


def write_her2st(folder: Path) -> Path:
    """Two sections of nine spots with pictures of 640 px, and a labelled one without."""
    rng = np.random.default_rng(0)
    for name in ("images", "counts", "spots", "labels"):
        (folder / name).mkdir(parents=True)
    grid = [(x, y) for x in range(3) for y in range(3)]
    ids = [f"{x}x{y}" for x, y in grid]
    for number, name in enumerate((*SECTIONS, "A1")):
        counts = pd.DataFrame(_counts(rng, 9, SPOT_GENES), index=ids, columns=list(SPOT_GENES))
        counts.to_csv(folder / "counts" / f"{name}.tsv.gz", sep="\t")
        spots = pd.DataFrame(grid, columns=["x", "y"])
        spots["pixel_x"], spots["pixel_y"] = 220.0 + 100 * spots["x"], 220.0 + 100 * spots["y"]
        spots.to_csv(folder / "spots" / f"{name}_selection.tsv", sep="\t", index=False)
        if name != "A1":
            Image.fromarray(he_pixels(640, 640, number)).save(folder / "images" / f"{name}.jpg", quality=95)
    labels = pd.DataFrame(grid, columns=["x", "y"]).assign(
        label=["invasive cancer", "connective tissue", "breast glands"] * 3
    )
    labels.to_csv(folder / "labels" / "A1_labeled_coordinates.tsv", sep="\t", index=False)
    return folder


def write_tcga(folder: Path) -> Path:
    """Three cohorts of a few patients each, with tables of RNA, clinical columns and reports."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for cohort in TCGA_COHORTS:
        cases = [f"TCGA-{cohort.upper()}-{number:04d}" for number in range(PATIENTS)]
        tpm = 1e6 * (counts := _counts(rng, PATIENTS, BULK_GENES)) / counts.sum(1, keepdims=True)
        table = pd.DataFrame(np.log2(tpm + 0.001), index=cases, columns=list(BULK_GENES))
        table.to_csv(folder / f"{cohort}_log2tpm.csv.gz")
        clinical = pd.DataFrame({"case_id": cases, "stage": "II", "grade": ["G1", "G2", "G3"] * 8})
        clinical.assign(subtype=_SUBTYPE[cohort]).to_csv(folder / f"{cohort}_clinical.csv", index=False)
        texts = [f"Tumour number {number} of the {cohort} series." for number in range(PATIENTS)]
        pd.DataFrame({"case_id": cases, "text": texts}).to_csv(folder / f"{cohort}_reports.csv.gz", index=False)
    return folder


def write_tiles(folder: Path) -> Path:
    """Tiles of three classes and of a source that may not be trained on; some groups are held out."""
    folder.mkdir(parents=True)
    groups = [f"g{number}" for number in range(40)]
    groups = [g for g in groups if split_of(g) == "train"][:3] + [g for g in groups if split_of(g) != "train"][:1]
    rows: list[dict[str, Any]] = []
    for source, organ, diagnosis in _CLASSES:
        for group in groups:
            name = f"{source}-{organ}-{diagnosis}-{group}.png".replace(" ", "-")
            Image.fromarray(he_pixels(240, 240, len(rows))).save(folder / name)
            text = f"H&E histology of {organ} {diagnosis}"
            known = {"source": source, "organ": organ, "diagnosis": diagnosis, "text": text, "group": f"{group}"}
            rows.append({"file": name, "mpp": "" if len(rows) % 2 else "0.5"} | known)
    pd.DataFrame(rows).to_csv(folder / "tiles.csv", index=False)
    return folder


def write_public_data(folder: Path) -> dict[str, str]:
    """All three, as the configuration's `data`."""
    makers = {"her2st": write_her2st, "tcga": write_tcga, "tiles": write_tiles}
    return {name: str(make(folder / name)) for name, make in makers.items()}


def write_gene_sets(folder: Path) -> Path:
    """The gene sets of the tiny model as a GMT file."""
    path = folder / "tiny.gmt"
    lines = ["\t".join([name, "of the tests", *genes]) for name, genes in GENE_SETS.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


TINY_VAE = {"steps": 2, "batch_size": 2, "checkpoint_every": 2, "finish_steps": 1}
TINY_TRUNK = {
    "width": 32,
    "depth": 1,
    "heads": 4,
    "stem_width": 8,
    "steps": 2,
    "checkpoint_every": 2,
    "warmup_steps": 1,
    "targets": {"he": {"batch_size": 4}, "rna": {"batch_size": 8}, "text": {"batch_size": 8}},
}


def write_training(folder: Path, data: dict[str, Any], **changes: Any) -> Path:
    """A training configuration that takes seconds; returns its path."""
    values: dict[str, Any] = {
        "name": "tiny-trained",
        "data": data,
        "work": str(folder / "work"),
        "out": str(folder / "out"),
        "gene_sets": str(write_gene_sets(folder)),
        "sections": ["B4"],
        "rna_components": 8,
        "tile_components": 8,
        "threads": 1,
        "vae": TINY_VAE,
        "trunk": TINY_TRUNK,
    }
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(values | changes), encoding="utf-8")
    return path
