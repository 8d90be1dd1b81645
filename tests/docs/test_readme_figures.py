"""The figures that README.md states are the model's own."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.paths import REPOSITORY

METRICS = json.loads((REPOSITORY / "resources/models/mupd-mini/metrics.json").read_text(encoding="utf-8"))

ROWS = {
    "RNA to H&E: haematoxylin density": ("| RNA to H&E |", "haematoxylin"),
    "RNA to H&E: nuclear count": ("| RNA to H&E |", "nuclei"),
    "H&E to RNA: per gene": ("| H&E to RNA |", "per gene"),
    "H&E to RNA: coverage of the 90 % interval": ("| H&E to RNA |", "interval"),
    "RNA to text: organ": ("| RNA to text |", "organ"),
    "RNA to text: grade": ("| RNA to text |", "grade"),
    "RNA to text: t_category": ("| RNA to text |", "T category"),
    "H&E to text: organ": ("| H&E to text |", ""),
    "text to RNA: per gene": ("| text to RNA |", ""),
}


@pytest.mark.parametrize("metric", ROWS)
def test_readme_states_what_was_measured(metric: str) -> None:
    begins, holds = ROWS[metric]
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(begins) and holds in line]
    assert len(rows) == 1
    model, baseline = (cell.strip() for cell in rows[0].split("|")[3:5])
    assert float(model) == pytest.approx(METRICS[metric]["value"], abs=0.0051)
    assert f"{METRICS[metric]['baseline']:.2f}" in baseline
