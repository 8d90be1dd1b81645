"""The model card: written from the plan and the measured figures, so that no number in it is typed."""

from __future__ import annotations

import json
from typing import Any

from mupd.files import write_text
from mupd.model.training.plan import Plan

PARTS = ("vae", "he", "rna", "text")

_TEXT = """\
# {name}

A small any-to-any model of H&E, RNA and clinical text for `mupd`: it generates each of the three from the others.
**For research only; nothing it makes may be used for diagnosis.** How it works: docs/model.md.

## Measured limits

Made by `mupd train config/train/{name}.yaml --part metrics`, on what was never trained on: section {held_out} of
HER2ST, a fixed tenth of the TCGA patients and of the groups of H&E tiles. Section {held_out} is unseen, its patient is
not: other sections of patient C were trained on.

| figure | model | 95 % interval | baseline | what it is |
| --- | --- | --- | --- | --- |
{figures}

![Real windows of {held_out} (upper four rows) and windows generated from the RNA of the same spots](grid.png)

## Training

| part | parameters | steps | minutes |
| --- | --- | --- | --- |
{training}

On two CPU cores in 32-bit floating point, shared with other work. AdamW, cosine schedule, averaged weights; all
settings stand in config/train/{name}.yaml.

## Data

| data | use | source and licence |
| --- | --- | --- |
| HER2ST sections {sections} | H&E with spatial RNA: all parts | Andersson et al. 2021, Nat Commun 12:6012, CC BY 4.0 |
| all HER2ST sections but {held_out} | spot panel of the RNA codec | the same |
| TCGA BLCA, COADREAD, STAD | bulk RNA, clinical fields, reports: RNA and text | TCGA; Xena TOIL; TCGA-Reports (MIT) |
| LC25000 | H&E of lung and colon with class: H&E and text | Borkowski et al. 2019, free for any use by AI researchers |
| BreCaHAD | H&E of breast | Aksac et al. 2019, CC BY 4.0 |
| Osteosarcoma-Tumor-Assessment | H&E of bone | Leavey et al. 2019, CC BY 3.0 |
| CRC-VAL-HE-7K | H&E of colorectum | Kather et al. 2018, CC BY 4.0 |
| BreakHis | H&E of breast | Spanhol et al. 2016, CC BY 4.0 |

Frozen encoders, from Python packages: EfficientNet-Lite0 (ImageNet weights, Apache-2.0) and all-MiniLM-L6-v2
(Apache-2.0).

## Known limits

- H&E and RNA were seen together in two patients with HER2-positive breast cancer only.
- Most tiles of other organs come without a scale; conditioned on text alone, the scale of a slide is nominal.
- Bulk RNA was never seen with H&E: such slides look like breast and say so in their notes.
- `grade` follows the TCGA tables, which code bladder's low and high grade as G1 and G2. `t_category` follows their
  column `stage`, which holds the T category.
- The reports that text to RNA was trained on state organ and diagnosis: it learns these, little of the person.
- Draws of RNA carry no count noise: their range is narrower than that of measurements (see coverage).
"""


def _figure(name: str, entry: dict[str, Any]) -> str:
    interval = "" if "interval_95" not in entry else " to ".join(str(v) for v in entry["interval_95"])
    baseline = "" if entry["baseline"] is None else str(entry["baseline"])
    return f"| {name} | {entry['value']} | {interval} | {baseline} | {entry['note']} |"


def _minutes(plan: Plan, part: str) -> float:
    """Minutes over all resumptions: the log counts each from 0."""
    total, last = 0.0, 0.0
    for line in (plan.work / part / "log.jsonl").read_text(encoding="utf-8").splitlines():
        minutes = float(json.loads(line)["minutes"])
        total += last if minutes < last else 0.0
        last = minutes
    return total + last


def _training_row(plan: Plan, part: str, parameters: int) -> str:
    progress = json.loads((plan.work / part / "progress.json").read_text(encoding="utf-8"))
    name = "vae" if part == "vae" else f"transformer_{part}"
    return f"| {name} | {parameters / 1e6:.1f} M | {progress['step']:,} | {_minutes(plan, part):.0f} |"


def write_card(plan: Plan, metrics: dict[str, dict[str, Any]], parameters: dict[str, int], held_out: str) -> None:
    """Write README.md of the model folder.

    Parameters
    ----------
    parameters
        Number of parameters of each part in :data:`PARTS`.
    """
    text = _TEXT.format(
        name=plan.name,
        held_out=held_out,
        figures="\n".join(_figure(name, entry) for name, entry in metrics.items()),
        training="\n".join(_training_row(plan, part, parameters[part]) for part in PARTS),
        sections=", ".join(plan.sections),
    )
    write_text(plan.out / "README.md", text)
