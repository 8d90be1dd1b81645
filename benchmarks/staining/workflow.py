"""A trained stainer run by the whole workflow on held-out fields: ``python -m benchmarks.staining workflow``.

The patches of each held-out field become one slide (a TIFF pyramid, patches side by side on glass), the sample sheet
has a case a field, and Snakemake stains them twice: draws (``mif``) and the stainer's expectation (``mif-one``, one
step). What came out is then read back as others would read it, DICOM by wsidicom and OME-TIFF by tifffile, verified,
and held against the measured patches of this very run. All is written under WORK, which holds measured pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pages import table
from benchmarks.real_cohort.workflow import run_workflow
from benchmarks.staining.artifacts import artifacts_of, manifest_rows
from mupd.base.files import write_json, write_text
from mupd.errors import MupdError
from mupd.model_folder.stainer import stainer_facts
from mupd.training.stain.card import channel_cells
from mupd.training.stain.figures import grid, save_picture
from mupd.training.stain.measure import score
from mupd.training.stain.pairs import PairRow, kept_pairs
from mupd.training.stain.plan import StainPlan, load_stain_plan

PATCH_PX = 256
ACROSS = 5
"""Patches in a row of a slide."""

DRAW, ONE = "mif", "mif-one"
READINGS = {DRAW: "one draw", ONE: "one step"}
SHOWN = 4

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Field:
    """One held-out field as a slide.

    Attributes
    ----------
    case_id
        Its case.
    group
        Its name in the table of pairs.
    pairs
        Patches (PATCH_PX, PATCH_PX, 3 + channels), H&E first, row by row on the slide.
    """

    case_id: str
    group: str
    pairs: tuple[Picture, ...]

    def corners(self) -> list[tuple[int, int]]:
        """Upper left corner (y, x) of each patch on the slide."""
        return [(n // ACROSS * PATCH_PX, n % ACROSS * PATCH_PX) for n in range(len(self.pairs))]

    def slide(self) -> Picture:
        """The H&E of all patches side by side, white where there are none."""
        rows = -(-len(self.pairs) // ACROSS)
        pixels = np.full((rows * PATCH_PX, ACROSS * PATCH_PX, 3), 255, np.uint8)
        for (y, x), pair in zip(self.corners(), self.pairs, strict=True):
            pixels[y : y + PATCH_PX, x : x + PATCH_PX] = pair[..., :3]
        return pixels


def held_out_fields(plan: StainPlan, most: int, patches: int) -> list[Field]:
    """The first fields that were not trained on.

    Parameters
    ----------
    most
        How many fields at most; 0 = all.
    patches
        How many patches of each at most; 0 = all.

    Raises
    ------
    MupdError
        If the pairs have none of :data:`PATCH_PX` or more a side.
    """
    by_group: dict[str, list[PairRow]] = {}
    for row in kept_pairs(plan):
        if row.used and row.held_out:
            by_group.setdefault(row.group, []).append(row)
    fields = []
    for number, (group, rows) in enumerate(sorted(by_group.items())[: most or None]):
        arrays = [np.load(plan.work / "pairs" / row.array, allow_pickle=False) for row in rows]
        pairs = [a[:PATCH_PX, :PATCH_PX] for a in arrays if min(a.shape[:2]) >= PATCH_PX][: patches or None]
        if pairs:
            fields.append(Field(f"FIELD-{number + 1}", group, tuple(pairs)))
    if not fields:
        raise MupdError(f"{plan.work / 'pairs'}: found no held-out pair of {PATCH_PX} px or more a side")
    return fields


def write_slide(pixels: Picture, path: Path) -> None:
    """Write a tiled pyramid without loss, as OpenSlide reads it."""
    import tifffile

    path.parent.mkdir(parents=True, exist_ok=True)
    how: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib", "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, **how)
        writer.write(np.ascontiguousarray(pixels[::2, ::2]), subfiletype=1, **how)


def write_inputs(fields: Sequence[Field], work: Path, options: argparse.Namespace, mpp: float) -> Path:
    """Slides, sample sheet and configuration; returns the configuration."""
    import yaml

    lines = ["case_id\the\the_mpp"]
    for field in fields:
        write_slide(field.slide(), work / "slides" / f"{field.case_id}.tif")
        lines.append(f"{field.case_id}\tslides/{field.case_id}.tif\t{mpp:g}")
    write_text(work / "cases.tsv", "\n".join(lines) + "\n")
    model = str(options.stainer.resolve())
    values = {
        "cases": str(work.resolve() / "cases.tsv"),
        "outdir": "results",
        "model": str(options.model.resolve()),
        "shards": 1,
        "draws": {"he": 1, "rna": 1, "text": 1},
        "sampler": {"steps": options.steps, "device": options.device},
        "stains": [{"name": DRAW, "model": model}, {"name": ONE, "model": model, "steps": 1}],
        "report": {"title": "Virtual stains of held-out fields"},
    }
    write_text(work / "config.yaml", yaml.safe_dump(values, sort_keys=False))
    return work / "config.yaml"


def patches_of(stain: Picture, field: Field) -> list[Picture]:
    """The patches of a stained slide, in the order of the field's pairs."""
    return [stain[y : y + PATCH_PX, x : x + PATCH_PX] for y, x in field.corners()]


def reading_table(scores: dict[str, dict[str, Any]], channels: Sequence[str]) -> str:
    """Markdown: Pearson of each reading, at patch and field level."""
    rows = []
    for figure in ("patch", "field"):
        for name, of_reading in scores.items():
            mean = np.mean([row[0] for row in of_reading[figure]])
            rows.append((f"Pearson, {figure}", name, *channel_cells(of_reading[figure]), f"{mean:.3f}"))
    return table(("figure", "read as", *channels, "mean"), rows) + "\n"


def compare(fields: Sequence[Field], work: Path, channels: Sequence[str]) -> dict[str, Any]:
    """Read what the workflow made, hold it against the measured patches, and write figures and pictures."""
    results = work / "results"
    rows = manifest_rows(results)
    verdicts = {
        f"{field.case_id} stain:{name}": {key: rows[field.case_id, f"stain:{name}"][key] for key in ("verdict", "why")}
        for field in fields
        for name in READINGS
    }
    about: dict[str, Any] = {"fields": len(fields), "patches": sum(len(f.pairs) for f in fields), "verdicts": verdicts}
    scores: dict[str, Any] = {}
    shown: dict[str, list[Picture]] = {}
    for name, words in READINGS.items():
        accepted = [f for f in fields if verdicts[f"{f.case_id} stain:{name}"]["verdict"] == "accepted"]
        if not accepted:
            continue
        predicted, real, wrong, groups = [], [], [], []
        for field in accepted:
            stain = artifacts_of(rows[field.case_id, f"stain:{name}"], results, channels)
            own = [patch.astype(np.float32) for patch in patches_of(stain, field)]
            predicted += own
            wrong += own[1:] + own[:1]  # of the neighbour: what a stain that knows nothing of its place reaches
            real += [pair[..., 3:].astype(np.float32) for pair in field.pairs]
            groups += [field.group] * len(own)
        scores[words] = score(real, predicted, groups)
        if name == ONE:
            scores["one step, of another patch"] = score(real, wrong, groups)
        shown[words] = [patch.astype(np.uint8) for patch in predicted]
        shown["he"] = [pair[..., :3] for field in accepted for pair in field.pairs]
        shown["real"] = [pair[..., 3:] for field in accepted for pair in field.pairs]
    if len({len(pictures) for pictures in shown.values()}) == 1:
        chosen = [int(n) for n in np.linspace(0, len(shown["he"]) - 1, SHOWN)]
        stains = [np.stack([shown[key][n] for n in chosen]) for key in ("real", *READINGS.values())]
        save_picture(grid(np.stack([shown["he"][n] for n in chosen]), stains, "mif"), work / "beside.png")
    written = reading_table(scores, channels) if scores else "no stain was accepted\n"
    write_json(work / "scores.json", about | {"channels": list(channels), "scores": scores})
    write_text(work / "table.md", written)
    return about | {"table": written}


def main(words: Sequence[str]) -> None:
    """Make the slides, run the workflow, read back, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.staining workflow", description=__doc__)
    parser.add_argument("stainer", type=Path, metavar="STAINER", help="folder of a trained stainer of mif")
    parser.add_argument("work", type=Path, metavar="WORK", help="folder for slides, run and figures")
    parser.add_argument("--config", type=Path, required=True, help="training configuration of the stainer")
    parser.add_argument(
        "--model", type=Path, default=Path("resources/models/mupd-mini"), help="model of the other tasks"
    )
    parser.add_argument("--steps", type=int, default=10, help="steps of a draw")
    parser.add_argument("--fields", type=int, default=0, help="held-out fields at most; 0 = all")
    parser.add_argument("--patches", type=int, default=0, help="patches of a field at most; 0 = all")
    parser.add_argument("--cores", type=int, default=1, help="cores for Snakemake")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args(words)
    facts, plan = stainer_facts(options.stainer), load_stain_plan(options.config)
    if facts.stain != "mif" or plan.channels != facts.channels:
        found = f"{facts.stain} of {', '.join(facts.channels)}"
        raise MupdError(f"{options.stainer}: found {found}; expected mif of {', '.join(plan.channels)}")
    fields = held_out_fields(plan, options.fields, options.patches)
    config = write_inputs(fields, options.work, options, facts.mpp)
    run_workflow(options.work, config.resolve(), options.cores)
    about = compare(fields, options.work, facts.channels)
    for name, verdict in about["verdicts"].items():
        print(f"{name}: {verdict['verdict']} {verdict['why']}".rstrip())
    print(f"{about['patches']} patches of {about['fields']} fields\n\n{about['table']}")
    print(f"{options.work / 'results' / 'report.html'}\n{options.work / 'beside.png'}")
