"""``mupd status --json`` and ``--html``."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mupd.config import Config
from mupd.intake.status import summary
from mupd.intake.status_html import write_status_html
from mupd.intake.status_json import status_json
from mupd.inventory import CaseInventory, Entry

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
