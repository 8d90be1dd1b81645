"""The benchmark on real cases: its figures as tables and in their page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.real_cohort import compare
from benchmarks.real_cohort.pattern import Case
from benchmarks.real_cohort.table import Result, as_markdown, best_of, fill, held_out_means, marks
from benchmarks.real_cohort.table_patients import detail, summary, swapped
from mupd.errors import MupdError
from tests.fixtures.paths import REPOSITORY


def some_row(case_id: str, seen: Any, model: float | None, higher: bool = True) -> compare.Row:
    return compare.Row("rna->text", case_id, "X", seen, "share", model, 0.25, 0.5, higher, "a | b")


def test_table_means_leave_training_cases_out() -> None:
    rows = [some_row("A", "held out", 1.0), some_row("B", "codec only", 0.5), some_row("C", "in training", 0.0)]
    (mean,) = held_out_means([*rows, some_row("D", "held out", None)])
    assert mean.model == pytest.approx(0.75)
    assert best_of(rows[0]) == "model"
    assert best_of(some_row("A", "held out", 1.0, higher=False)) == "constant"
    record: dict[str, str] = {}
    cases = [Case(row.case_id, "X", "blca", ("rna",), ("text",), row.seen, record) for row in rows]
    text = as_markdown(Result("tcga", cases, {}, rows, ["E he: accepted"], {"cases": 3}))
    assert "a / b" in text
    assert "| **1.000** |" in text


def patient_rows() -> tuple[list[Case], list[compare.Row]]:
    """Three patients whose slide was withheld, real 1, 2, 3 and generated 1.5; the third's text was refused."""
    cases, rows = [], []
    for number in (1, 2, 3):
        unusable: tuple[Any, ...] = ("text",) if number == 3 else ()
        given: tuple[Any, ...] = ("rna", "text")
        name = f"P{number}-no-he"
        record = {"organ": "bladder"}
        cases.append(
            Case(name, f"P{number}", "blca", given, ("he",), "held out", record, ("a.png",), 0.5, "", unusable)
        )
        figures = (abs(number - 1.5), 2.0, None)
        row = compare.Row(
            "rna+text->he", name, f"P{number}", "held out", "haematoxylin OD, error of mean", *figures, False
        )
        rows.append(replace(row, found=1.5, truth=float(number), note="real, generated"))
    return cases, rows


def test_summary_of_patients_has_means_and_swapped_ones() -> None:
    cases, rows = patient_rows()
    (line,) = summary(rows, cases)
    # The third was refused an input: it is not among the means.
    assert line == (
        "rna+text->he", "haematoxylin OD, error of mean", "2", "**0.500**", "0.500", "2.000", "-",
    )  # fmt: skip
    assert swapped([replace(rows[0], found=5.0), rows[1]]) == pytest.approx((3.0 + 0.5) / 2)
    assert swapped(rows[:1]) is None
    manifest = {(case.case_id, "he"): {"verdict": "accepted", "why": ""} for case in cases}
    lines = detail(rows, cases, manifest)
    assert [part[1] for part in lines] == ["rna, text", "rna, text", "rna, text (unusable)"]
    assert all("haematoxylin OD: real, generated" in part[2] for part in lines)


def test_figures_go_between_the_marks_of_the_page(tmp_path: Path) -> None:
    cases, rows = patient_rows()
    result = Result("tcga", cases, {}, rows, [], {"model": "some model"})
    page = tmp_path / "real_cohort.md"
    parts = [f"{begin}\nold {name}\n{end}\n" for name in ("tcga", "her2st", "notes") for begin, end in (marks(name),)]
    page.write_text("before\n\n" + "\n".join(parts) + "\nafter\n", encoding="utf-8")
    fill(page, [result])
    once = page.read_text(encoding="utf-8")
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "some model" in once
    assert "old tcga" not in once
    assert "old notes" not in once
    assert "old her2st" in once, "a part that was not run has lost its figures"
    fill(page, [result])
    assert page.read_text(encoding="utf-8") == once
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(MupdError, match=r"found no place .* real cohort: tcga "):
        fill(page, [result])


def test_page_of_the_docs_has_the_marks() -> None:
    text = (REPOSITORY / "docs" / "real_cohort.md").read_text(encoding="utf-8")
    for name in ("tcga", "her2st", "notes"):
        assert all(text.count(mark) == 1 for mark in marks(name))
