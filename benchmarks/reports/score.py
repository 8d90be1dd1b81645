"""Labels of real reports, what the rules find in the same reports, and counts of both."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pages import table
from mupd.errors import MupdError
from mupd.reports.files.tables import texts_of
from mupd.reports.record.findings import REPORT_FIELDS, ReportField
from mupd.reports.record.synoptic import extract_report

LABELS = Path("tests/reports/data/report_labels.csv")
HALVES = ("development", "held-out")
_WITH_RNA = ("blca", "coadread", "stad")


@dataclass(frozen=True)
class Label:
    """What a person read in a report: {field: value} without unstated fields."""

    case_id: str
    half: str
    cohort: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Score:
    """Counts over the reports of a half: `right` of `found` values, `stated` by the reports."""

    half: str
    field: ReportField
    right: int
    found: int
    stated: int

    @property
    def precision(self) -> float:
        """Share of the found values that are right; nan where none was found."""
        return self.right / self.found if self.found else float("nan")

    @property
    def recall(self) -> float:
        """Share of the stated values that were found; nan where none is stated."""
        return self.right / self.stated if self.stated else float("nan")


def read_labels(path: Path = LABELS) -> list[Label]:
    """The labels of a table with `case_id`, `half`, `cohort` and one column per field ("" = not stated)."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [
        Label(row["case_id"], row["half"], row["cohort"], {f: row[f] for f in REPORT_FIELDS if row[f]}) for row in rows
    ]


def label_texts(labels: Sequence[Label], folder: Path) -> dict[str, str]:
    """The reports of the labels, {case id: text with identifiers masked}, from the folder of the TCGA tables.

    Raises
    ------
    MupdError
        If a report is not there.
    """
    from mupd.reports.read import read_text_row

    texts = {}
    for label in labels:
        table = (folder if label.cohort in _WITH_RNA else folder / "other_reports") / f"{label.cohort}_reports.csv.gz"
        if not table.exists() or label.case_id not in texts_of(table):
            raise MupdError(f"{table}: found no report of {label.case_id}; expected the tables that SOURCES.md names")
        texts[label.case_id] = read_text_row(table, label.case_id)
    return texts


def scores_of(labels: Sequence[Label], texts: Mapping[str, str]) -> list[Score]:
    """Counts per half and field; a value is right where it equals the label."""
    read = {label.case_id: extract_report(texts[label.case_id]).values() for label in labels}
    scores = []
    for half in HALVES:
        of_half = [label for label in labels if label.half == half]
        for field in REPORT_FIELDS:
            pairs = [(label.values.get(field, ""), read[label.case_id].get(field, "")) for label in of_half]
            right = sum(bool(value) and value == truth for truth, value in pairs)
            stated, named = sum(bool(truth) for truth, _ in pairs), sum(bool(value) for _, value in pairs)
            scores.append(Score(half, field, right, named, stated))
    return scores


def table_of(scores: Sequence[Score], labels: Sequence[Label]) -> str:
    """A Markdown table of both halves, with the counts behind each share."""
    sizes = {half: sum(label.half == half for label in labels) for half in HALVES}
    head = [f"{half} ({sizes[half]}): {share}" for half in HALVES for share in ("precision", "recall")]
    lines = []
    for field in REPORT_FIELDS:
        cells = [f"`{field}`"]
        for half in HALVES:
            score = next(s for s in scores if s.half == half and s.field == field)
            cells.append(f"{score.precision:.2f} ({score.right} of {score.found})")
            cells.append(f"{score.recall:.2f} ({score.right} of {score.stated})")
        lines.append(cells)
    return table(["field", *head], lines, numbers=len(head))
