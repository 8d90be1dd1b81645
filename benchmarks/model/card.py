"""The model card, written from the plan and the measured figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.model.words import figure_table, measured_limits
from benchmarks.stats import Metrics
from mupd.base.files import write_json, write_text
from mupd.model_folder.contents import read_json_file
from mupd.training.plan import Plan

_TEXT = """\
# {name}

A small any-to-any model of H&E, RNA and clinical text for `mupd`: it generates each of the three from the others.
**For research only; nothing it makes may be used for diagnosis.** How it works: docs/model.md.

## Measured limits

Made by `python -m benchmarks.model config/train/{name}.yaml`, on what was never trained on: section {held_out} of
HER2ST, and a fixed tenth of the TCGA patients and of the groups of H&E tiles. Section {held_out} is unseen, its patient
is not: other sections of patient C were trained on. Intervals are bootstrap 95 % intervals over spots, patients or
groups; neighbouring spots are alike, so that those over spots are on the narrow side.

{figures}

![Real windows of {held_out} (upper four rows) and windows generated from the RNA of the same spots](grid.png)

![The generated windows that are nearest to a training window (above), and that window (below)](closest.png)

## Known limits

{limits}
- H&E and RNA were seen together in two patients with HER2-positive breast cancer only.
- Most tiles of other organs come without a scale; conditioned on text alone, the scale of a slide is nominal.
- Bulk RNA was never seen with H&E.
- `grade` follows the TCGA tables, which code bladder's low and high grade as G1 and G2. `t_category` follows their
  column `stage`, which holds the T category.
- The tissue of labelled HER2ST spots was trained on in all labelled sections: how well RNA tells it is not measured.

## Training

| part | parameters | processes | steps | minutes |
| --- | --- | --- | --- | --- |
{training}

{history}On {threads} CPU {threads_word} a process in 32-bit floating point. AdamW, cosine schedule, averaged
weights; all settings are in `config/train/{name}.yaml`.

## Data

| data | use | source and licence |
| --- | --- | --- |
| HER2ST sections {sections} | H&E with spatial RNA: all parts | Andersson et al. 2021, Nat Commun 12:6012, CC BY 4.0 |
| all HER2ST sections but {held_out} | spot panel of the RNA codec, tissue of labelled spots | the same |
| TCGA BLCA, COADREAD, STAD | bulk RNA, clinical fields, reports: RNA and text | TCGA; Xena TOIL; TCGA-Reports (MIT) |
| TCGA LUAD, BRCA, COADREAD | reports as texts of tiles, of other patients than theirs | TCGA-Reports (MIT) |
| LC25000 | H&E of lung and colon with class: H&E and text | Borkowski et al. 2019, free for any use by AI researchers |
| BreCaHAD | H&E of breast | Aksac et al. 2019, CC BY 4.0 |
| Osteosarcoma-Tumor-Assessment | H&E of bone | Leavey et al. 2019, CC BY 3.0 |
| CRC-VAL-HE-7K | H&E of colorectum | Kather et al. 2018, CC BY 4.0 |
| BreakHis | H&E of breast | Spanhol et al. 2016, CC BY 4.0 |

A second tenth of the TCGA patients and tile groups was kept from the trunk's training and used to calibrate the
record's probabilities and the spread of bulk draws from text. Frozen encoders, from Python packages:
EfficientNet-Lite0 (ImageNet weights, Apache-2.0) and all-MiniLM-L6-v2 (Apache-2.0); figures in features use
EfficientNet-Lite1 (ImageNet weights, Apache-2.0).
"""


def _minutes(folder: Path) -> float:
    """Minutes over all resumptions: the log counts each from 0."""
    total, last = 0.0, 0.0
    for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        minutes = float(json.loads(line)["minutes"])
        total += last if minutes < last else 0.0
        last = minutes
    return total + last


def trained_parts(plan: Plan, parameters: dict[str, int]) -> list[dict[str, Any]]:
    """The trained parts in order: name, parameters, steps and minutes of each.

    Parts of the work folder are added to those in ``training.json`` of the model folder, or replace those of the same
    name there: weights may have been trained further, and the work folder of the beginning be gone.
    """
    path = plan.out / "training.json"
    parts = {part["part"]: part for part in read_json_file(path) or []}
    folders = [path.parent for path in plan.work.glob("*/progress.json") if (path.parent / "log.jsonl").exists()]
    for folder in sorted(folders, key=lambda path: (path / "log.jsonl").stat().st_mtime):
        count = parameters["vae" if folder.name.startswith("vae") else "trunk"]
        progress = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
        part = {
            "part": folder.name,
            "parameters": count,
            "processes": progress["processes"],
            "steps": progress["step"],
            "minutes": round(_minutes(folder), 1),
        }
        parts[folder.name] = part
    return list(parts.values())


def _training_rows(parts: list[dict[str, Any]]) -> str:
    """One row for each part."""
    return "\n".join(
        f"| {part['part']} | {part['parameters'] / 1e6:.1f} M | {part['processes']} | {part['steps']:,} | "
        f"{part['minutes']:.0f} |"
        for part in parts
    )


def write_card(plan: Plan, metrics: Metrics, parameters: dict[str, int], held_out: str) -> None:
    """Write README.md and training.json of the model folder.

    Parameters
    ----------
    parameters
        Number of parameters of ``vae`` and ``trunk``.
    """
    parts = trained_parts(plan, parameters)
    write_json(plan.out / "training.json", parts)
    text = _TEXT.format(
        name=plan.name,
        held_out=held_out,
        figures=figure_table(metrics),
        limits="\n".join(f"- {line}" for line in measured_limits(metrics)),
        training=_training_rows(parts),
        history=plan.history.strip() + "\n\n" if plan.history.strip() else "",
        threads=plan.threads,
        threads_word="thread" if plan.threads == 1 else "threads",
        sections=", ".join(plan.sections),
    )
    write_text(plan.out / "README.md", text)
