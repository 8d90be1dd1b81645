"""``mupd status --json`` and ``--html``."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mupd.base.ids import Modality
from mupd.config import Config
from mupd.contracts.inventory import CaseInventory, Entry
from mupd.inputs.pool import Pool
from mupd.run.status.fixes import ANOTHER, fix_of
from mupd.run.status.html import write_status_html
from mupd.run.status.pictures import pictures_of
from mupd.run.status.plain import status_json
from mupd.run.status.terminal import summary
from tests.conftest import he_pixels
from tests.fixtures.paths import REPOSITORY

EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


def a_case(case_id: str, secret: str = "") -> CaseInventory:
    facts = {"words": 12, "masked": {"name": 3}, "record": {"organ": secret}}
    return CaseInventory(
        case_id,
        {
            "he": Entry(case_id, "he", "unusable", f"/home/jane/slide.svs: {EVIL}", "/home/jane/slide.svs"),
            "rna": Entry(case_id, "rna", "missing", "no file in the sample sheet"),
            "text": Entry(case_id, "text", "measured", "", "/home/jane/text.txt", "ab" * 32, facts),
        },
        organ=EVIL,
        diagnosis="{{ 7 * 7 }}",
        sheet_id="Jane Doe",
    )


@pytest.fixture
def page(tmp_path: Path, make_config: Callable[..., Config]) -> str:
    path = tmp_path / "s.html"
    write_status_html(path, [a_case(EVIL, "KEPT-PRIVATE"), a_case("B")], make_config(report={"title": EVIL}))
    return path.read_text(encoding="utf-8")


def test_everything_is_escaped_and_nothing_is_remote(page: str) -> None:
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("<script>") == 1
    assert "{{ 7 * 7 }}" in page
    tags: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))  # type: ignore[method-assign]
    parser.feed(page)
    assert not [tag for tag, of in tags if tag == "img" or "src" in of or "href" in of or "onerror" in of]
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page


def test_words_are_counted_and_nothing_of_text_path_or_name_is_shown(page: str) -> None:
    assert "3 name" in page
    for word in ("KEPT-PRIVATE", "/home/jane", "Jane Doe"):
        assert word not in page


def test_json_has_the_documented_keys(make_config: Callable[..., Config]) -> None:
    found = json.loads(json.dumps(status_json([a_case("A"), a_case("B")], make_config())))
    assert set(found) == {"schema", "summary", "cases"}
    assert found["schema"] == "mupd-status/1"
    assert found["summary"]["entries"] == {"measured": 2, "missing": 2, "unusable": 2}
    assert found["summary"]["tasks"] == 4
    (first, _) = found["cases"]
    assert first["entries"]["text"]["facts"]["words"] == 12
    assert [task["name"] for task in first["tasks"]] == ["text->he", "text->rna"]


def test_a_synthetic_input_is_never_counted_among_the_measured(
    tmp_path: Path, make_config: Callable[..., Config]
) -> None:
    entry = Entry("C", "text", "measured", "let in", "t.txt", "ab" * 32, {"synthetic_input": "let in"})
    case = CaseInventory("C", a_case("C").entries | {"text": entry})
    write_status_html(tmp_path / "s.html", [case, a_case("B")], make_config())
    page = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert "1 measured, 1 synthetic input" in page
    assert "<dt>Measured</dt><dd>1<small>and 1 synthetic input, let in" in page
    assert "1 measured, 1 synthetic input, let in, 2 missing" in summary([case, a_case("B")], make_config())


WORKER = (sys.executable, str(REPOSITORY / "tests/fixtures/misbehaving_worker.py"))


def test_slides_are_pictured_by_workers_under_limits(tmp_path: Path, make_config: Callable[..., Config]) -> None:
    """Slides that crash the reader or need too much memory cost their own picture and no other."""
    for name in ("good", "let-in"):
        Image.fromarray(he_pixels(256, 200, 1)).save(tmp_path / f"{name}.png")
    for act in ("segv", "eat"):
        (tmp_path / act).write_text(f"{act} ")
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:3000])
    cases = []
    for name in ("segv", "eat", "broken.png", "good.png", "let-in.png"):
        facts = {"synthetic_input": "let in"} if name.startswith("let") else {}
        slide = Entry(name, "he", "measured", "", str(tmp_path / name), "ab" * 32, facts)
        cases.append(CaseInventory(name, a_case(name).entries | {"he": slide}))
    config = make_config(intake={"file_mb": 500})
    pool = Pool(1, WORKER)
    try:
        run = partial(pool.run, config=config, genes=())
        found = pictures_of(cases, {case.case_id: 0.78 for case in cases}, 10, run)
    finally:
        pool.close()
    assert set(found) == {"good.png", "let-in.png"}
    assert pool.replaced == 2
    pixels = {
        name: np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))) for name, uri in found.items()
    }
    assert max(pixels["good.png"].shape) <= 300
    magenta = np.array([194, 24, 122])
    shares = {name: float((np.abs(image - magenta).max(axis=2) < 30).mean()) for name, image in pixels.items()}
    assert shares["let-in.png"] > 0.05 > shares["good.png"]


@pytest.mark.parametrize(
    ("modality", "reason", "fix"),
    [
        ("he", "does not open as a slide: the file is empty", "Copy the file again"),
        ("he", "truncated: 1 of its 13 tiles lie behind the end of the file; copy it anew from its source", "Copy"),
        ("he", "no micrometres per pixel in the file: give it as he_mpp in the sample sheet", "he_mpp"),
        ("he", "no tissue found beside marks of a pen (blue 2.0% of the picture)", "pen marks"),
        ("he", "0.0010 mm2 of tissue at 0.5 um/px, under intake.min_tissue_mm2 = 0.05", "intake.min_tissue_mm2"),
        ("he", "out of focus: 90% of 8 windows of tissue lack fine detail", "in focus"),
        ("he", "not H&E: 100% of the picture is nearly black, as in fluorescence", "H&E-stained"),
        ("he", "not read in 120 s: damaged so that it never ends; intake.file_seconds is the limit", "file_seconds"),
        ("rna", "the file: found HDF5 that cannot be read (Unable to synchronously open file)", "anndata"),
        ("rna", "values down to -5 on the scale log1p: expected none below 0; not counts or TPM", "Export the matrix"),
        ("rna", "not human: 100% of the gene names are written as mouse symbols are", "human data"),
        ("rna", "no gene in common with the model: none of 12 names is among its 12 gene symbols", "Ensembl ids"),
        ("rna", "an HDF5 link to another file: expected all data inside", "all its data inside"),
        ("text", "a PDF without text on its page: scanned; run OCR on it first", "OCR"),
        ("text", "a damaged PDF: Detected cyclic page references.", "Copy the file again"),
        ("text", "1 words, under intake.min_text_words = 3", "min_text_words"),
        ("text", "it is synthetic (file name contains synthetic): never read as measured", "measured file"),
        ("text", "nothing that anybody has seen yet", ANOTHER),
    ],
)
def test_what_to_do_fits_the_reason(modality: Modality, reason: str, fix: str) -> None:
    assert fix in fix_of(Entry("A", modality, "unusable", reason))
    assert "sheet's column" in fix_of(Entry("A", modality, "missing", reason))
    assert fix_of(Entry("A", modality, "measured", reason)) == ""
