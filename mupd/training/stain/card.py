"""The README of a stainer's folder: what it is, what it was trained on, what it is worth on held-out pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mupd.base.files import write_text
from mupd.training.stain.measure import StainerMetrics
from mupd.training.stain.plan import StainPlan

_FIGURES = {"patch": "Pearson, patch", "field": "Pearson, group", "ssim": "SSIM"}


def channel_cells(rows: Sequence[Sequence[float]]) -> list[str]:
    """Mean, low and high of each channel as a cell, e.g. ``0.841 (0.812 to 0.867)``."""
    return [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in rows]


def table_of(metrics: StainerMetrics) -> str:
    """A row for each reading and figure, a column for each channel: mean and 95 % interval over groups."""
    channels = metrics["channels"]
    lines = ["| reading | figure | " + " | ".join(channels) + " |", "| --- " * (len(channels) + 2) + "|"]
    for reading, scores in metrics["scores"].items():
        for figure, title in _FIGURES.items():
            lines.append(f"| {reading} | {title} | " + " | ".join(channel_cells(scores[figure])) + " |")
    return "\n".join(lines)


def write_card(plan: StainPlan, counts: Mapping[str, int], metrics: StainerMetrics) -> None:
    """Write README.md into the model folder."""
    facts = plan.facts
    trained, held = counts.get("train", 0), counts.get("held", 0)
    write_text(
        plan.out / "README.md",
        f"""# {facts.name}

A virtual stainer of mupd: H&E to {facts.stain} ({", ".join(facts.channels)}) at {facts.mpp:g} um/px. What it makes is
synthetic and for research alone.

Trained on {trained} pairs; {held} pairs of {metrics["groups"]} groups were held out. On these, mean and 95 % interval
(groups drawn with replacement):

{table_of(metrics)}

`one step` is the model's expectation of the stain's latents; it is blurred where the model is unsure. A draw is sharp
and may be wrong: cells that a draw marks positive need not be. Draws differ where the H&E does not tell.
""",
    )
