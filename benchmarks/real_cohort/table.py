"""The comparison as a table for the terminal, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks import pages
from benchmarks.real_cohort.compare import Row
from benchmarks.real_cohort.pattern import Case, Part
from benchmarks.real_cohort.table_patients import DETAIL, SUMMARY, as_table, detail, mean_of, number, summary
from benchmarks.real_cohort.workflow import Manifest
from mupd.base.files import write_json, write_text
from mupd.base.ids import MODALITIES

HEADER = ("direction", "case", "source", "model has seen it", "measure", "mupd", "mean or majority", "nearest", "note")
_TARGETS = ("rna", "he", "text")

NOTES = (
    "mupd: mean of the accepted draws. Mean or majority: the mean of the training data (of a patient's RNA: of the "
    "organ's other training patients), or its most common value. Nearest: the nearest training neighbour by what the "
    "case was given, as the model encodes it; never from the case's own section or patient.",
    "A constant correlates with nothing: the training mean scores 0 by construction. Log-probabilities are natural, "
    "means over the fields; the nearest neighbour's come from the ten nearest (of H&E: from every tile's nearest).",
    "Cases 'in training' show how well the model remembers, not how well it imputes. C5 is an unseen section of "
    "patient C, three of whose sections (C2 to C4) were trained on: an unseen section, not an unseen patient. "
    "'Codec only': the section's counts helped to choose genes and axes, no network saw it. RC-08 to RC-12 are "
    "patients of the held-out tenth of TCGA, others than the six.",
    "Text is the patient's real report; of sections, for which there is none, sentences made from what is known of "
    "them. What a report states is read from it by rules.",
)


def best_of(row: Row) -> str | None:
    """Which of ``model``, ``constant`` and ``neighbour`` has the best figure; None without a figure of mupd's."""
    figures = {name: getattr(row, name) for name in ("model", "constant", "neighbour")}
    known = {name: value for name, value in figures.items() if value is not None}
    if "model" not in known:
        return None
    return (max if row.higher_is_better else min)(known, key=lambda name: known[name])


def held_out_means(rows: list[Row]) -> list[Row]:
    """For each target and measure with several cases that were held out, the mean over them."""
    means = []
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
                model=mean_of(row.model for row in same),
                constant=mean_of(row.constant for row in same),
                neighbour=mean_of(row.neighbour for row in same),
                note=f"mean of {len(same)} cases not in training",
            )
            means.append(mean)
    return means


def _ordered(rows: list[Row]) -> list[Row]:
    targets = [row.direction.split("->")[1] for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (_TARGETS.index(targets[i]), rows[i].direction, i))
    return [rows[i] for i in order]


def _cells(row: Row) -> tuple[str, ...]:
    figures = (number(row.model), number(row.constant), number(row.neighbour))
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
    """Modalities that were imputed and have no truth here, or were given and refused, with their verdict."""
    return [
        f"{case.case_id} {modality}: {manifest[case.case_id, modality]['verdict']}"
        for case in cases
        for modality in MODALITIES
        if modality not in case.used and modality not in case.withheld
    ]


@dataclass(frozen=True)
class Result:
    """What one part of the cohort came to.

    Attributes
    ----------
    facts
        Name and value of what there is to say of the run.
    untold
        :func:`not_compared`.
    """

    part: Part
    cases: list[Case]
    manifest: Manifest
    rows: list[Row]
    untold: list[str]
    facts: dict[str, Any]


TITLES: dict[Part, str] = {
    "tcga": "TCGA patients with H&E, RNA and report",
    "her2st": "HER2ST sections",
}


def _row_table(rows: list[Row]) -> list[str]:
    lines = []
    for row in [*_ordered(rows), *held_out_means(rows)]:
        cells = list(_cells(row))
        best = best_of(row)
        if best is not None:
            column = {"model": 5, "constant": 6, "neighbour": 7}[best]
            cells[column] = f"**{cells[column]}**"
        lines.append(cells)
    return as_table(HEADER, lines)


def as_markdown(result: Result) -> str:
    """A part's figures as a section of a Markdown document."""
    lines = [f"## {TITLES[result.part]}", ""]
    lines += [f"- {name}: {value}" for name, value in result.facts.items()]
    three = [case for case in result.cases if case.pictures]
    if three:
        names = {case.case_id for case in three}
        own = [row for row in result.rows if row.case_id in names]
        lines += ["", *as_table(SUMMARY, summary(own, three)), "", "Each patient, each pattern:", ""]
        lines += as_table(DETAIL, detail(own, three, result.manifest))
        lines += ["", "Patients without a picture:"]
    names = {case.case_id for case in result.cases if not case.pictures}
    if rows := [row for row in result.rows if row.case_id in names]:
        lines += ["", *_row_table(rows)]
    if result.untold:
        lines += ["", f"Imputed without a truth to compare with: {'; '.join(result.untold)}."]
    return "\n".join(lines) + "\n"


def document(results: list[Result]) -> str:
    """The figures of all parts, and what their columns mean."""
    return "\n".join([*(as_markdown(result) for result in results), *(f"{note}\n" for note in NOTES)])


def write(out: Path, results: list[Result]) -> None:
    """Write comparison.json and comparison.md."""
    parts = {
        result.part: {
            "facts": result.facts,
            "rows": [asdict(row) for row in _ordered(result.rows)],
            "held_out_means": [asdict(row) for row in held_out_means(result.rows)],
            "imputed_without_truth": result.untold,
        }
        for result in results
    }
    write_json(out / "comparison.json", {"parts": parts, "notes": list(NOTES)})
    write_text(out / "comparison.md", "# Real cohort: imputed against withheld\n\n" + document(results))


def marks(name: str) -> tuple[str, str]:
    """The lines of a page between which a part's figures (``tcga``, ``her2st``) or the ``notes`` stand."""
    return f"<!-- real cohort: {name} -->", f"<!-- real cohort: end of {name} -->"


def fill(page: Path, results: list[Result]) -> None:
    """Put figures and notes into a page of the docs, each between its marks; parts that were not run stay.

    Raises
    ------
    MupdError
        If the page lacks the marks.
    """
    blocks = {marks(result.part): f"\n{as_markdown(result)}" for result in results}
    pages.fill(page, blocks | {marks("notes"): "\n" + "\n".join(f"{note}\n" for note in NOTES)})
