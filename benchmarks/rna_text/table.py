"""The tables of docs/text.md."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.pages import table, with_interval
from benchmarks.rna_text.fields import Row
from benchmarks.rna_text.profiles import ProfileRow
from benchmarks.stats import Metrics

BEGIN, END = "<!-- rna and reports: begin -->", "<!-- rna and reports: end -->"
_CALIBRATED = ("RNA to text: calibration error", "H&E to text: calibration error")
_COVERED = ("text to RNA", "report to RNA", "H&E to RNA")


def cell(score: tuple[float, tuple[float, float]] | None) -> str:
    """A value with its interval."""
    if score is None:
        return ""
    return with_interval(*score)


def rna_table(rows: Sequence[Row]) -> str:
    """RNA to record."""
    names = ("MuPD", "nearest neighbour", "ridge", "logistic", "MuPD less logistic")
    head = ["field", "patients", "values, rarest", "majority", *names]
    body = [
        [row.field, str(row.n), f"{row.classes}, {row.rarest}", f"{1 / row.classes:.2f}"]
        + [cell(row.scores.get(name)) for name in names]
        for row in rows
    ]
    return table(head, body)


def both_table(rows: Sequence[Row]) -> str:
    """Report and RNA, each alone and together."""
    names = (
        "whole report",
        "report, nearest neighbour",
        "report",
        "RNA",
        "both",
        "both less report",
        "both less RNA",
        "MuPD",
        "MuPD and report",
        "MuPD and report less MuPD",
        "MuPD and report less report",
    )
    head = ["field", "patients, stated", "majority", *names]
    body = [
        [row.field, f"{row.n}, {row.stated}", f"{1 / row.classes:.2f}"] + [cell(row.scores.get(name)) for name in names]
        for row in rows
    ]
    return table(head, body)


def profile_table(rows: Sequence[ProfileRow]) -> str:
    """RNA from texts."""
    names = ("MuPD", "ridge", "organ mean", "nearest neighbour")
    body = [
        [row.source, f"{row.measure} ({row.columns})", str(row.n)]
        + [cell(row.scores.get(name)) if name in row.scores else "0" for name in names]
        + ["0"]
        for row in rows
    ]
    return table(["given", "mean Pearson over", "patients", *names, "cohort mean"], body)


def calibration_table(metrics: Metrics) -> str:
    """Calibration error and coverage, as metrics.json of the model has them."""
    body = []
    for name in (*_CALIBRATED, *(f"{name}: coverage of the 90 % interval" for name in _COVERED)):
        if row := metrics.get(name):
            others = "; ".join(f"{other} {entry['value']:.3f}" for other, entry in row["baselines"].items())
            body.append([name, with_interval(row["value"], row["interval_95"], 3), others])
    return table(["figure", "model", "beside it"], body)


def page(
    fields: Sequence[Row], both: Sequence[Row], profiles: Sequence[ProfileRow], metrics: Metrics, model: str
) -> str:
    """All tables under their headings, as they stand between the marks; `model` says which weights they are of."""
    parts = (
        ("RNA to record: balanced accuracy", rna_table(fields)),
        ("Report, RNA, and both: balanced accuracy", both_table(both)),
        ("RNA from text: correlation over patients", profile_table(profiles)),
        ("Calibration", calibration_table(metrics)),
    )
    tables = "\n\n".join(f"### {title}\n\n{table}" for title, table in parts)
    return f"Measured on {model}.\n\n{tables}"
