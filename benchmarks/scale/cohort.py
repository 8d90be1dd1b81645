"""Cohorts of any size: RNA and text in cohort tables, slides by reference to a few files."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.command import REPOSITORY

TESTS = REPOSITORY / "tests"
CASES_PER_SHARD = 64
SLIDES = 4


def tiny_model_module() -> Any:
    """The model of the tests: seconds instead of hours, every stage real."""
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))
    import tiny_model

    return tiny_model


def case_ids(count: int, prefix: str = "SCALE") -> list[str]:
    """Ids of `count` cases."""
    return [f"{prefix}-{index:06d}" for index in range(count)]


@dataclass(frozen=True)
class Holes:
    """Shares of the cases that lack one modality, and how many have none and fail; the others are complete."""

    he: float = 0.0
    rna: float = 0.0
    text: float = 0.0
    failing: int = 0


def lacking(count: int, holes: Holes) -> list[str]:
    """For each case what it lacks: ``he``, ``rna``, ``text``, ``all`` or ""; the failing ones are spread evenly."""
    every = count // holes.failing if holes.failing else count + 1
    patterns = []
    for index in range(count):
        share = (index * 0.6180339887) % 1
        if index % every == every - 1 and index // every < holes.failing:
            patterns.append("all")
        elif share < holes.he:
            patterns.append("he")
        elif share < holes.he + holes.rna:
            patterns.append("rna")
        elif share < holes.he + holes.rna + holes.text:
            patterns.append("text")
        else:
            patterns.append("")
    return patterns


def write_slides(folder: Path, count: int = SLIDES) -> list[Path]:
    """A few pictures of tissue of 256 px; the last one is truncated."""
    tiny_model_module()
    from conftest import he_pixels
    from PIL import Image

    paths = []
    for index in range(count):
        path = folder / f"slide-{index}.png"
        Image.fromarray(he_pixels(256, 256, index)).save(path)
        paths.append(path)
    broken = folder / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:5000])
    return [*paths, broken]


def write_rna_table(path: Path, ids: Sequence[str], genes: Sequence[str]) -> None:
    """A row a case, a column a gene, counts."""
    counts = np.random.default_rng(7).negative_binomial(2, 0.02, (len(ids), len(genes))) + 1
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["case_id", *genes])
        writer.writerows([name, *row] for name, row in zip(ids, counts.tolist(), strict=True))


def write_text_table(path: Path, ids: Sequence[str]) -> None:
    """Columns case_id and text."""
    rows = [f"{name}\tInvasive breast carcinoma, G{1 + index % 3}, pT2." for index, name in enumerate(ids)]
    path.write_text("\n".join(["case_id\ttext", *rows]) + "\n", encoding="utf-8")


def write_cohort(
    folder: Path, count: int, holes: Holes, model: Path, per_shard: int = CASES_PER_SHARD, with_tables: bool = True
) -> Path:
    """Write sheet, tables, slides and configuration of a cohort; returns the configuration's path.

    `with_tables` False writes tables of one row only, for a look at the DAG alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids, holes_of = case_ids(count), lacking(count, holes)
    *slides, broken = write_slides(folder)
    lines = ["case_id\the\trna\ttext\torgan\tdiagnosis\the_mpp"]
    for index, (name, lacks) in enumerate(zip(ids, holes_of, strict=True)):
        slide = "" if lacks == "he" else slides[index % len(slides)].name
        if lacks == "all":
            # Half of the failing cases have nothing at all, half a slide that cannot be read.
            slide = broken.name if index % 2 else ""
        lines.append(f"{name}\t{slide}\t\t\tbreast\t\t{'0.78' if slide else ''}")
    (folder / "cases.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = list(zip(ids, holes_of, strict=True))
    rna = [name for name, lacks in pairs if lacks not in ("rna", "all")]
    text = [name for name, lacks in pairs if lacks not in ("text", "all")]
    genes = tiny_model_module().tiny_codec().genes
    write_rna_table(folder / "rna.tsv", rna if with_tables else rna[:1], genes)
    write_text_table(folder / "text.tsv", text if with_tables else text[:1])
    values: dict[str, Any] = {
        "cases": str(folder / "cases.tsv"),
        "tables": {"rna": str(folder / "rna.tsv"), "text": str(folder / "text.tsv")},
        "outdir": "results",
        "model": str(model),
        "shards": -(-count // per_shard),
        "draws": {"he": 1, "rna": 1, "text": 1},
        "slide": {"width_px": 128, "height_px": 128},
        "sampler": {"steps": 1, "batch_size": 1, "device": "cpu"},
        "intake": {"min_tissue_mm2": 0.001},
        "check": {"min_tissue_fraction": 0.0},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path
