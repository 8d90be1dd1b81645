"""What the six patients with all three modalities show: a mean a direction, and a line a patient and pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.real_cohort.compare import Row
from benchmarks.real_cohort.pattern import Case
from benchmarks.real_cohort.workflow import Manifest
from mupd.base.ids import MODALITIES

SUMMARY = (
    "given -> imputed",
    "measure",
    "patients",
    "mupd",
    "patients swapped",
    "mean or majority",
    "nearest",
)
DETAIL = ("patient", "given", "H&E", "RNA", "text, by the report", "text, by the tables")


def mean_of(values: Iterable[float | None]) -> float | None:
    """Mean of what is known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def number(value: float | None) -> str:
    """Three significant decimals, fewer of large numbers."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3f}"


def swapped(rows: Sequence[Row]) -> float | None:
    """Mean error of each patient's artifact against every other patient's truth; None where it has no sense.

    A model that hears its condition is nearer to its own patient than this.
    """
    known = [(row.source, row.found, row.truth) for row in rows if row.found is not None and row.truth is not None]
    errors = [abs(found - truth) for who, found, _ in known for other, _, truth in known if who != other]
    return sum(errors) / len(errors) if errors else None


def summary(rows: Sequence[Row], cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """Lines of :data:`SUMMARY`; cases of which a given modality had to be refused are left out."""
    whole = {case.case_id for case in cases if not case.unusable}
    kept = [row for row in rows if row.case_id in whole]
    keys = dict.fromkeys((row.direction, row.measure) for row in kept if row.measure != "no artifact")
    order = {modality: i for i, modality in enumerate(MODALITIES)}
    lines = []
    for direction, measure in sorted(keys, key=lambda key: order[key[0].split("->")[1]]):  # type: ignore[index]
        own = [r for r in kept if (r.direction, r.measure) == (direction, measure) and r.model is not None]
        if not own:
            continue
        figures = [mean_of(getattr(row, name) for row in own) for name in ("model", "constant", "neighbour")]
        cells = [number(figure) for figure in figures]
        known = [figure for figure in figures if figure is not None]
        best = (max if own[0].higher_is_better else min)(known)
        cells = [
            f"**{cell}**" if figure == best and len(known) > 1 else cell
            for cell, figure in zip(cells, figures, strict=True)
        ]
        lines.append((direction, measure, str(len(own)), cells[0], number(swapped(own)), *cells[1:]))
    return lines


def _told(case: Case, rows: Sequence[Row], manifest: Manifest, target: str) -> list[str]:
    own = [row for row in rows if row.case_id == case.case_id and row.direction.endswith(f">{target}")]
    if target not in case.withheld:
        return []
    if not own or own[0].measure == "no artifact":
        state = manifest[case.case_id, target]
        return [f"{state['verdict']}: {state['why']}"]
    return [_sentence(row) for row in own]


def _sentence(row: Row) -> str:
    if row.truth is not None or row.measure.endswith("error"):
        return f"{row.measure.split(',')[0].removesuffix(' per mm2')}: {row.note}"
    if row.direction.endswith(">rna"):
        return f"{number(row.model)} (organ's mean {number(row.constant)}, nearest {number(row.neighbour)})"
    return row.note


def detail(rows: Sequence[Row], cases: Sequence[Case], manifest: Manifest) -> list[tuple[str, ...]]:
    """Lines of :data:`DETAIL`, one a case."""
    lines: list[tuple[str, ...]] = []
    for case in cases:
        given = ", ".join(f"{m} (unusable)" if m in case.unusable else m for m in case.given)
        text = _told(case, rows, manifest, "text")
        report, tables = (text[0], text[-1]) if len(text) > 1 else (text[0] if text else "", "")
        cells = (
            "; ".join(_told(case, rows, manifest, "he")),
            "; ".join(_told(case, rows, manifest, "rna")),
            report,
            tables,
        )
        lines.append((case.source, given, *cells))
    return lines


def as_table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [
        f"| {' | '.join(header)} |",
        f"|{' --- |' * len(header)}",
        *(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines),
    ]
