"""The comparison as a table for the terminal, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.real_cohort.compare import Row
from benchmarks.real_cohort.pattern import Case
from benchmarks.real_cohort.workflow import Manifest
from mupd.files import write_json, write_text

HEADER = ("direction", "case", "source", "model has seen it", "measure", "mupd", "mean or majority", "nearest", "note")
_TARGETS = ("rna", "he", "text")

NOTES = (
    "mupd: mean of the accepted draws. Mean or majority: the mean of the training data, or its most common value. "
    "Nearest: the nearest training neighbour by what the case was given, as the model encodes it; never from the "
    "case's own section.",
    "A constant correlates with nothing: the training mean scores 0 by construction. Log-probabilities are natural, "
    "means over the fields; the nearest neighbour's come from the ten nearest (of H&E: from every tile's nearest).",
    "Cases 'in training' show how well the model remembers, not how well it imputes. C5 is an unseen section of "
    "patient C, three of whose sections (C2 to C4) were trained on: an unseen section, not an unseen patient. "
    "'Codec only': the section's counts helped to choose genes and axes, no network saw it. TCGA patients are all "
    "of the held-out tenth.",
    "Text stands here for sentences made from clinical fields: easier than a report as pathologists write it.",
)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def best_of(row: Row) -> str | None:
    """Which of ``model``, ``constant`` and ``neighbour`` has the best figure; None without a figure of mupd's."""
    figures = {name: getattr(row, name) for name in ("model", "constant", "neighbour")}
    known = {name: value for name, value in figures.items() if value is not None}
    if "model" not in known:
        return None
    return (max if row.higher_is_better else min)(known, key=lambda name: known[name])


def held_out_means(rows: list[Row]) -> list[Row]:
    """For each target and measure with several cases that were held out, the mean over them."""
    found = []
    for target in _TARGETS:
        own = [row for row in rows if row.direction.endswith(f">{target}") and row.seen != "in training"]
        for measure in dict.fromkeys(row.measure for row in own):
            same = [row for row in own if row.measure == measure and row.model is not None]
            if len(same) < 2:
                continue
            mean = replace(
                same[0],
                direction=f"any->{target}",
                case_id="",
                source="",
                seen="held out",
                model=_mean(row.model for row in same),
                constant=_mean(row.constant for row in same),
                neighbour=_mean(row.neighbour for row in same),
                note=f"mean of {len(same)} cases not in training",
            )
            found.append(mean)
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _ordered(rows: list[Row]) -> list[Row]:
    targets = [row.direction.split("->")[1] for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (_TARGETS.index(targets[i]), rows[i].direction, i))
    return [rows[i] for i in order]


def _cells(row: Row) -> tuple[str, ...]:
    figures = (_number(row.model), _number(row.constant), _number(row.neighbour))
    return (row.direction, row.case_id or "mean", row.source, row.seen, row.measure, *figures, row.note)


def _groups(rows: list[Row]) -> Iterator[list[Row]]:
    for _, group in groupby(_ordered(rows), key=lambda row: row.direction):
        yield list(group)


def _styled(row: Row) -> list[Text]:
    cells = [Text(cell) for cell in _cells(row)]
    best = best_of(row)
    if best is not None:
        cells[{"model": 5, "constant": 6, "neighbour": 7}[best]].stylize("bold green" if best == "model" else "bold")
    if row.seen == "in training":
        cells[3].stylize("yellow")
    return cells


def show(rows: list[Row], console: Console) -> None:
    """Print the table."""
    table = Table(title="Imputed against withheld", caption="bold: the best of the three", show_edge=False)
    for name in HEADER:
        table.add_column(name, justify="right" if name in HEADER[5:8] else "left", overflow="fold")
    for group in [*_groups(rows), held_out_means(rows)]:
        for row in group:
            table.add_row(*_styled(row))
        table.add_section()
    console.print(table)
    for note in NOTES:
        console.print(Text(note, style="dim"))


def not_compared(cases: list[Case], manifest: Manifest) -> list[str]:
    """Modalities that were imputed and have no truth here, with their verdict."""
    return [
        f"{case.case_id} {modality}: {manifest[case.case_id, modality]['verdict']}"
        for case in cases
        for modality in ("he", "rna", "text")
        if modality not in (*case.given, *case.withheld)
    ]


def as_markdown(rows: list[Row], untold: list[str], facts: dict[str, Any]) -> str:
    """The comparison as a Markdown document."""
    lines = ["# Real cohort: imputed against withheld", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", f"| {' | '.join(HEADER)} |", f"|{' --- |' * len(HEADER)}"]
    for row in [*_ordered(rows), *held_out_means(rows)]:
        cells = [cell.replace("|", "/") for cell in _cells(row)]
        best = best_of(row)
        if best is not None:
            column = {"model": 5, "constant": 6, "neighbour": 7}[best]
            cells[column] = f"**{cells[column]}**"
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *[f"{note}\n" for note in NOTES]]
    if untold:
        lines.append(f"Imputed without a truth to compare with: {'; '.join(untold)}.")
    return "\n".join(lines).rstrip() + "\n"


def write(out: Path, rows: list[Row], untold: list[str], facts: dict[str, Any]) -> None:
    """Write comparison.json and comparison.md."""
    value = {
        "facts": facts,
        "rows": [asdict(row) for row in _ordered(rows)],
        "held_out_means": [asdict(row) for row in held_out_means(rows)],
        "imputed_without_truth": untold,
        "notes": list(NOTES),
    }
    write_json(out / "comparison.json", value)
    write_text(out / "comparison.md", as_markdown(rows, untold, facts))
