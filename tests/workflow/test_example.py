"""The example cohort: its reports, its marks, and the check of the demo's manifest."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mupd.config import Config
from mupd.reports.record.fields import FIELDS, extract_record
from mupd.sheet import SheetCase
from mupd.synthetic.picture.png_marks import PNG_TEXT, png_info, png_marks
from mupd.synthetic.verify.recognise import synthetic_marks
from tests.conftest import GENES, he_pixels
from tests.fixtures.demo_manifest import EXPECTED, MODALITIES, manifest_faults
from tests.fixtures.intake import inventory_of
from tests.fixtures.paths import REPOSITORY

EXAMPLE = REPOSITORY / "resources" / "example"
COLUMNS = (
    "case_id",
    "modality",
    "status",
    "reason",
    "task",
    "synthetic",
    "artifact",
    "verdict",
    "why",
    "draws",
    "sha256",
)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("EX-01", ("bladder", "urothelial carcinoma", None, "G2", "T3", None)),
        ("EX-02", ("breast", "invasive breast carcinoma", "ductal", "G3", "T2", None)),
        ("EX-03", ("colorectum", "colorectal adenocarcinoma", None, "G2", "T3", None)),
        ("EX-05", ("lung", "lung adenocarcinoma", None, "G2", "T2", None)),
    ],
)
def test_facts_of_the_reports_are_read(case: str, expected: tuple[str | None, ...]) -> None:
    record = extract_record((EXAMPLE / f"{case}.txt").read_text(encoding="utf-8"))
    assert tuple(record.get(field) for field in FIELDS) == expected


def test_what_the_model_made_says_so_and_is_small() -> None:
    files = [path for path in EXAMPLE.iterdir() if path.is_file() and path.suffix not in (".txt", ".py")]
    for path in files:
        assert "synthetic" in path.name, f"{path.name} is made by the model and does not say so"
    assert sum(path.stat().st_size for path in EXAMPLE.iterdir() if path.is_file()) < 10_000_000


def test_png_mark_survives_truncation_and_renaming(tmp_path: Path) -> None:
    path = tmp_path / "innocent.png"
    Image.fromarray(he_pixels()).save(path, pnginfo=png_info("made"))
    assert synthetic_marks(path) == [PNG_TEXT]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert png_marks(path) == [PNG_TEXT]
    Image.fromarray(he_pixels()).save(tmp_path / "plain.png")
    assert synthetic_marks(tmp_path / "plain.png") == []


@pytest.mark.parametrize("length", [0, 8, 12, 20, 33, 60])
def test_png_of_a_few_bytes_has_no_mark(tmp_path: Path, length: int) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:length])
    assert synthetic_marks(tmp_path / "cut.png") == []


def test_marked_input_that_is_let_in_says_so(tmp_path: Path, make_config: Callable[..., Config]) -> None:
    path = tmp_path / "made.synthetic.png"
    Image.fromarray(he_pixels()).save(path, pnginfo=png_info("made"))
    case = SheetCase("A", path, None, None, 0.78, "", "", {}, 2)
    limits = {"min_tissue_mm2": 0.0, "min_gene_overlap": 0.0}
    refused = inventory_of(case, make_config(intake=limits), GENES).entries["he"]
    assert refused.status == "unusable"
    assert PNG_TEXT in refused.reason
    allowed = inventory_of(case, make_config(intake=limits | {"allow_synthetic": ["made.*"]}), GENES).entries["he"]
    assert allowed.status == "measured"
    assert "let in by intake.allow_synthetic 'made.*'" in allowed.reason
    assert allowed.facts["synthetic_input"] == allowed.reason


def write_manifest(folder: Path, change: Callable[[list[dict[str, str]]], None] = lambda rows: None) -> Path:
    """A manifest as the demo should leave it, changed by `change`."""
    rows = []
    for case, three in EXPECTED.items():
        for modality, row in zip(MODALITIES, three, strict=True):
            artifact = f"artifacts/{case}/{modality}" if row.verdict == "accepted" else ""
            if artifact:
                (folder / artifact).mkdir(parents=True, exist_ok=True)
            digest = "a" * 64 if artifact or row.status == "measured" else ""
            cells = (case, modality, row.status, row.reason, row.task, row.synthetic, artifact, row.verdict, row.why)
            rows.append(dict(zip(COLUMNS, (*cells, "0", digest), strict=True)))
    change(rows)
    path = folder / "manifest.tsv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_right_manifest_has_no_fault(tmp_path: Path) -> None:
    assert manifest_faults(write_manifest(tmp_path)) == []
    assert len(EXPECTED) * len(MODALITIES) == 24


@pytest.mark.parametrize("index", range(24))
def test_missing_row_is_told(tmp_path: Path, index: int) -> None:
    faults = manifest_faults(write_manifest(tmp_path, lambda rows: rows.pop(index)))
    assert len(faults) == 1
    assert "found no row" in faults[0]


@pytest.mark.parametrize("column", ["status", "synthetic", "verdict", "task"])
@pytest.mark.parametrize("index", range(24))
def test_wrong_cell_is_told(tmp_path: Path, index: int, column: str) -> None:
    faults = manifest_faults(write_manifest(tmp_path, lambda rows: rows[index].update({column: "other"})))
    assert any(f"[{column}]: found 'other'" in fault for fault in faults)


def test_artifact_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = write_manifest(tmp_path)
    (tmp_path / "artifacts/EX-02/he").rmdir()
    assert manifest_faults(path) == ["EX-02 he [artifact]: artifacts/EX-02/he is not there"]


def test_absent_manifest_is_told(tmp_path: Path) -> None:
    assert "run `make demo` first" in manifest_faults(tmp_path / "manifest.tsv")[0]
