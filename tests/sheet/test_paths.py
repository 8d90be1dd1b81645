"""Which files a cell of the sheet names, and which paths are refused."""

from __future__ import annotations

import gzip
import json
import os
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.config import Config
from mupd.errors import InputFaults
from mupd.run.shards import inputs_of
from mupd.sheet import read_sheet
from mupd.sheet.columns import TABLE_SUFFIXES
from mupd.sheet.paths import MAX_SLIDES, Places, Wanted
from tests.fixtures.intake import examine

Make = Callable[..., Config]
Write = Callable[..., Path]
SLIDES = Wanted(several=True, folder=True, what="slide")
ONE = Wanted(several=False, folder=False, what="file")


@pytest.fixture
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """cohort/ with slides, and outside/ beside it, which is no root; the working folder is another one."""
    for name in ("cohort/slides/P1_a.svs", "cohort/slides/P1_b.svs", "cohort/slides/P2.svs", "outside/secret.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "cohort"


def found(places: Places, cell: str, wanted: Wanted = SLIDES) -> list[str]:
    paths, problem = places.find(cell, wanted)
    assert problem is None, problem
    return [path.name for path in paths]


def refused(places: Places, cell: str, wanted: Wanted = SLIDES) -> str:
    _, problem = places.find(cell, wanted)
    assert problem is not None, cell
    return "; expected ".join(problem)


def test_wildcards_and_lists_of_slides(cohort: Path) -> None:
    places = Places(cohort)
    assert found(places, "slides/P1_*.svs") == ["P1_a.svs", "P1_b.svs"]
    assert found(places, "s*/P1_[b].sv?") == ["P1_b.svs"]
    assert found(places, "slides/*2.svs; slides/P1_a.svs") == ["P2.svs", "P1_a.svs"]
    assert found(places, "slides/P2*", ONE) == ["P2.svs"]
    assert "matches nothing" in refused(places, "slides/P9*")
    assert "matches 2: P1_a.svs, P1_b.svs; expected one file" in refused(places, "slides/P1_*", ONE)
    assert "only `he` takes several" in refused(places, "slides/P1_a.svs;slides/P2.svs", ONE)
    assert "names a file twice" in refused(places, "slides/P2.svs;slides/*2.svs")
    assert "an empty part" in refused(places, "slides/P2.svs;")
    assert "not expanded" in refused(places, "**/*.svs")
    for number in range(MAX_SLIDES + 1):
        (cohort / f"many{number}.svs").touch()
    assert f"at most {MAX_SLIDES} slides" in refused(Places(cohort), "many*")


def test_a_name_with_signs_of_ours_is_taken_as_it_stands(cohort: Path) -> None:
    for name in ("a;b.svs", "c [1].svs", "*.svs"):
        (cohort / name).touch()
        assert found(Places(cohort), name) == [name]
    (cohort / ".hidden.svs").touch()
    assert ".hidden.svs" not in found(Places(cohort), "?*.svs")
    assert found(Places(cohort), ".h*.svs") == [".hidden.svs"]


@pytest.mark.parametrize(
    "cell", ["s3://b/a.svs", "http://h/a.svs", "file:///etc/passwd", "file:/etc/passwd", "gs://b/*"]
)
def test_urls_are_refused(cohort: Path, cell: str) -> None:
    assert "URL" in refused(Places(cohort), cell)
    assert "URL" in refused(Places(cohort), f"slides/P2.svs;{cell}")


def test_paths_out_of_the_roots_are_refused_with_the_root_to_add(cohort: Path) -> None:
    outside = cohort.parent / "outside"
    (cohort / "link.txt").symlink_to(outside / "secret.txt")
    (cohort / "folder").symlink_to(outside)
    (cohort / "dicom").mkdir()
    (cohort / "dicom" / "1.dcm").symlink_to(outside / "secret.txt")
    cells = (
        "link.txt",
        "folder/secret.txt",
        "../outside/secret.txt",
        "folder",
        "dicom",
        "fold*/s*",
        "*/../../outside/*",
    )
    for cell in cells:
        words = refused(Places(cohort), cell)
        assert f"add '{outside if cell != 'folder' else outside.parent}' to `roots`" in words, cell
        assert Places(cohort, [str(outside.parent)]).find(cell, SLIDES)[1] is None, cell
    # The link's own absolute path does not say where it leads either; what it leads to does.
    assert "`roots`" in refused(Places(cohort), str(cohort.parent / "work" / ".." / "outside" / "secret.txt"))
    assert found(Places(cohort), str(outside / "secret.txt")) == ["secret.txt"]
    assert found(Places(cohort), f"{outside}/s*.txt") == ["secret.txt"]
    (outside / "away").symlink_to("/etc/hostname")
    assert "`roots`" in refused(Places(cohort), str(outside / "away"))


def test_roots_hold_absolute_paths_too(cohort: Path, tmp_path: Path) -> None:
    secret = str(cohort.parent / "outside" / "secret.txt")
    (tmp_path / "third").mkdir()
    assert "add" in refused(Places(cohort, [str(tmp_path / "third")]), secret)
    assert found(Places(cohort, [str(tmp_path / "third"), str(tmp_path / "outside")]), secret) == ["secret.txt"]


def test_home_links_in_circles_and_pipes(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(cohort / "slides"))
    assert found(Places(cohort), "~/P2.svs") == ["P2.svs"]
    (cohort / "circle").symlink_to("circle")
    assert "circle" in refused(Places(cohort), "circle")
    os.mkfifo(cohort / "pipe")
    assert "pipe or socket" in refused(Places(cohort), "pipe")
    (cohort / "dangling").symlink_to("gone")
    assert "not there" in refused(Places(cohort), "dangling")


def test_rows_of_tables_and_several_slides_reach_the_case(cohort: Path, make_config: Make) -> None:
    for name in ("m.h5ad", "reports.csv"):
        (cohort / name).touch()
    lines = ["case_id\the\trna\ttext", "A\tslides/P1_*.svs\tm.h5ad::row 1\treports.csv::A/1", "B\t\tm.h5ad\t"]
    (cohort / "cases.tsv").write_text("\n".join(lines))
    config = make_config(cohort / "cases.tsv")
    for checked in (True, False):
        first, second = read_sheet(config, checked).cases
        assert (first.he, first.further_he) == (cohort / "slides/P1_a.svs", (cohort / "slides/P1_b.svs",))
        assert (first.rna, first.rna_row) == (cohort / "m.h5ad", "row 1")
        assert (first.text, first.text_row) == (cohort / "reports.csv", "A/1")
        assert (second.rna, second.rna_row, second.further_he) == (cohort / "m.h5ad", "", ())
    assert str(cohort / "slides/P1_b.svs") in inputs_of([first], config)


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES["text"])
def test_a_row_of_every_text_table_that_has_a_reader_can_be_named(
    tmp_path: Path, make_config: Make, suffix: str
) -> None:
    words = "Invasive ductal carcinoma of the breast, grade 2, pT2 pN0."
    content = {
        ".csv": f'case_id,text\nR1,"{words}"\n',
        ".tsv": f"case_id\ttext\nR1\t{words}\n",
        ".json": json.dumps([{"case_id": "R1", "text": words}]),
    }.get(suffix.removesuffix(".gz"), json.dumps({"case_id": "R1", "text": words}) + "\n")
    (tmp_path / f"t{suffix}").write_bytes(
        gzip.compress(content.encode()) if suffix.endswith(".gz") else content.encode()
    )
    (tmp_path / "cases.tsv").write_text(f"case_id\ttext\nA\tt{suffix}::R1\nB\tt{suffix}::R2\n")
    config = make_config(tmp_path / "cases.tsv")
    found = [examine(case, "text", config, ()) for case in read_sheet(config).cases]
    assert [entry.status for entry in found] == ["measured", "unusable"], found
    table = make_config(tmp_path / "cases.tsv", tables={"text": str(tmp_path / f"t{suffix}")})
    assert read_sheet(table).cases


def test_rows_of_what_is_no_table_are_refused(cohort: Path, make_config: Make) -> None:
    lines = ["case_id\trna\ttext", "A\tslides/P2.svs::x\t::x", "B\tm.h5ad::\tgone.csv::x"]
    (cohort / "cases.tsv").write_text("\n".join(lines))
    with pytest.raises(InputFaults) as caught:
        read_sheet(make_config(cohort / "cases.tsv"))
    words = [str(fault) for fault in caught.value.faults]
    assert [word.split(": found")[0] for word in words] == [
        "cases.tsv:2 [rna]",
        "cases.tsv:2 [text]",
        "cases.tsv:3 [rna]",
        "cases.tsv:3 [text]",
    ]
    assert all("TABLE::ROW" in word for word in words[:3])
    assert "not there" in words[3]


def test_ten_thousand_rows_with_paths_of_their_own_are_read_in_seconds(tmp_path: Path, make_config: Make) -> None:
    (tmp_path / "d").mkdir()
    lines = ["case_id\the\trna\ttext"]
    for number in range(10_000):
        for end in ("a.svs", "b.svs", "x.txt"):
            os.close(os.open(tmp_path / "d" / f"C{number:05}_{end}", os.O_CREAT))
        lines.append(f"C{number:05}\td/C{number:05}_?.svs\td/C{number:05}_x.txt\td/C{number:05}_x*")
    (tmp_path / "cases.tsv").write_text("\n".join(lines))
    config = make_config(tmp_path / "cases.tsv")
    started = time.process_time()
    sheet = read_sheet(config)
    # About 2 s; a folder that is listed anew for each row takes minutes.
    assert time.process_time() - started < 20
    assert all(len(case.further_he) == 1 for case in sheet.cases)


pieces = st.sampled_from(
    ["..", ".", "slides", "folder", "P2.svs", "*", "s*", "", "~", "secret.txt", "link.txt", "?[", "]"]
)


@settings(max_examples=150)
@given(st.lists(pieces, max_size=6), st.booleans())
def test_no_relative_path_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str], several: bool) -> None:
    base = tmp_path_factory.getbasetemp() / "escape"
    cohort, outside = base / "cohort", base / "outside"
    if not base.exists():
        (cohort / "slides").mkdir(parents=True)
        outside.mkdir()
        (cohort / "slides" / "P2.svs").touch()
        (outside / "secret.txt").touch()
        (cohort / "folder").symlink_to(outside)
        (cohort / "link.txt").symlink_to(outside / "secret.txt")
    cell = "/".join(parts).lstrip("/~")
    if cell:
        paths, problem = Places(cohort).find(cell, SLIDES if several else ONE)
        allowed = (cohort.resolve(), Path.cwd().resolve())
        assert problem or all(any(path.resolve().is_relative_to(root) for root in allowed) for path in paths)


@pytest.mark.parametrize(("stored", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
@pytest.mark.parametrize("name", ["Müller/Zoë.svs", "café.svs", "plain/Ångström.svs"])
def test_an_accent_is_the_same_in_either_encoding(tmp_path: Path, name: str, stored: str, written: str) -> None:
    on_disk = tmp_path / unicodedata.normalize(stored, name)
    on_disk.parent.mkdir(exist_ok=True)
    on_disk.write_text("x")
    paths, problem = Places(tmp_path).find(unicodedata.normalize(written, name), SLIDES)
    assert problem is None
    assert paths == (on_disk,)


def test_a_name_that_is_there_in_neither_encoding_is_named_as_written(tmp_path: Path) -> None:
    assert Places(tmp_path).find("Zoë.svs", SLIDES)[1][0] == "'Zoë.svs', which is not there"  # type: ignore[index]
