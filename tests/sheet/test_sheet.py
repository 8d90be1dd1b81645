from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mupd.base.ids import artifact_name, is_case_id, shard_of
from mupd.config import Config
from mupd.errors import InputFaults
from mupd.sheet import cases_of_shard, filled_shards, read_sheet

Make = Callable[..., Config]
Write = Callable[..., Path]


def faults_of(config: Config) -> list[str]:
    with pytest.raises(InputFaults) as caught:
        read_sheet(config)
    assert caught.value.exit_code == 2
    return [str(fault) for fault in caught.value.faults]


def raw_sheet(tmp_path: Path, content: str | bytes, name: str = "cases.tsv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_reads_rows_with_paths_relative_to_the_sheet(tmp_path: Path, make_config: Make, write_sheet: Write) -> None:
    for name in ("a.svs", "a.csv", "a.txt"):
        (tmp_path / name).touch()
    row = {"case_id": "A-1", "he": "a.svs", "rna": "a.csv", "text": "a.txt", "he_mpp": "0.5", "organ": "breast"}
    other = {"case_id": "B", "x_site": ""}
    sheet = read_sheet(make_config(write_sheet([row | {"x_site": "Ulm"}, other])))
    first, second = sheet.cases
    assert (first.case_id, first.he, first.he_mpp, first.line) == ("A-1", tmp_path / "a.svs", 0.5, 2)
    assert first.extra == {"x_site": "Ulm"}
    assert (second.he, second.rna, second.text, second.he_mpp) == (None, None, None, None)


@pytest.mark.parametrize("name", ["cases.csv", "cases.tsv"])
def test_byte_order_mark_crlf_and_blank_lines_are_tolerated(tmp_path: Path, make_config: Make, name: str) -> None:
    separator = "," if name.endswith("csv") else "\t"
    text = f"\ufeffcase_id{separator}organ\r\nA{separator} lung \r\n\r\nB{separator}\r\n"
    sheet = read_sheet(make_config(raw_sheet(tmp_path, text, name)))
    assert [(case.case_id, case.organ, case.line) for case in sheet.cases] == [("A", "lung", 2), ("B", "", 4)]


def test_every_fault_is_told_at_once_with_its_line(tmp_path: Path, make_config: Make) -> None:
    (tmp_path / "there.txt").touch()
    lines = [
        "case_id\the\trna\ttext\the_mpp\torgan",
        "A\tgone.svs\t\tthere.txt\t0.5\t",
        "A\t\t\t\t\t",
        "a\t\t\t\t\t",
        "B::1\t\t\t\t\t",
        "C\x07\t\t\t\t\t",
        "D\t\t\t\t0,5\t",
        "E\t\t\t\t40\t",
        "F\t\t",
        "G\t\tgone.csv\tgone.txt\t\t" + "x" * 65,
        "\tgone.svs\t\t\t\t",
        "H" * 257 + "\t\t\t\t\t",
    ]
    config = make_config(raw_sheet(tmp_path, "\n".join(lines)), tables={"rna": "gone.h5ad", "text": "reports.xlsx"})
    faults = faults_of(config)
    places = [fault.split(": found")[0] for fault in faults]
    assert places == [
        "cases.tsv:2 [he]",
        "cases.tsv:3 [case_id]",
        "cases.tsv:4 [case_id]",
        "cases.tsv:5 [case_id]",
        "cases.tsv:6 [case_id]",
        "cases.tsv:7 [he_mpp]",
        "cases.tsv:8 [he_mpp]",
        "cases.tsv:9",
        "cases.tsv:10 [organ]",
        "cases.tsv:10 [rna]",
        "cases.tsv:10 [text]",
        "cases.tsv:11 [case_id]",
        "cases.tsv:11 [he]",
        "cases.tsv:12 [case_id]",
        "configuration [tables.rna]",
        "configuration [tables.text]",
    ]
    assert "line 2" in faults[1]
    assert "upper and lower case" in faults[2]
    assert "\x07" not in "".join(faults)
    assert "3 cells; expected 6" in faults[7]


def test_unknown_columns_say_how_to_name_free_ones(make_config: Make, write_sheet: Write) -> None:
    faults = faults_of(make_config(write_sheet([{"case_id": "A", "Organ": "lung", "smoker": "no", "x_smoker": "no"}])))
    assert len(faults) == 2
    assert "did you mean 'organ'" in faults[0]
    assert "x_" in faults[1]
    assert "'smoker'" in faults[1]


def test_faults_of_columns_do_not_hide_those_of_rows(make_config: Make, write_sheet: Write) -> None:
    rows = [{"case_id": "A::B", "smoker": "\x07"}, {"case_id": "C", "smoker": ""}, {"case_id": "C", "smoker": "no"}]
    places = [fault.split(": found")[0] for fault in faults_of(make_config(write_sheet(rows)))]
    assert places == ["cases.tsv:1 [column 2]", "cases.tsv:2 [case_id]", "cases.tsv:4 [case_id]"]
    places = [fault.split(": found")[0] for fault in faults_of(make_config(write_sheet([{"id": "A", "he": "gone"}])))]
    assert places == ["cases.tsv:1 [column 1]", "cases.tsv:1", "cases.tsv:2 [he]"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        (b"case_id\the\n", "header without rows"),
        (b"he\trna\n\t\n", "a column 'case_id'"),
        (b"case_id\tcase_id\nA\tB\n", "second time"),
        (b"case_id\torgan\nA\tbr\0east\n", "cases.tsv:2: found a NUL byte"),
        ("case_id\torgan\nA\tMünchen\n".encode("latin-1"), "cases.tsv:2: found byte 0xfc"),
        ("case_id\torgan\nA\tlung\n".encode("utf-16"), "NUL byte"),
        (b'case_id\torgan\nA\t"open\n', "balanced quotes"),
    ],
)
def test_files_that_are_no_sheet(tmp_path: Path, make_config: Make, content: bytes, words: str) -> None:
    assert words in "\n".join(faults_of(make_config(raw_sheet(tmp_path, content))))


def test_a_sheet_that_is_not_there(make_config: Make, tmp_path: Path) -> None:
    assert "No such file" in faults_of(make_config(tmp_path / "none.tsv"))[0]
    assert "suffix '.xls'" in faults_of(make_config(raw_sheet(tmp_path, "case_id\nA\n", "cases.xls")))[0]


def test_a_folder_is_a_slide_or_a_matrix_but_not_a_text(tmp_path: Path, make_config: Make, write_sheet: Write) -> None:
    (tmp_path / "dicom").mkdir()
    faults = faults_of(make_config(write_sheet([{"case_id": "A", "he": "dicom", "rna": "dicom", "text": "dicom"}])))
    assert len(faults) == 1
    assert "[text]: found 'dicom', a folder" in faults[0]


def test_files_may_be_left_unchecked(make_config: Make, write_sheet: Write) -> None:
    config = make_config(write_sheet([{"case_id": "A", "he": "gone.svs"}]))
    assert read_sheet(config, check_files=False).cases[0].he is not None
    assert faults_of(config)


@pytest.mark.parametrize(
    "sheet_id",
    ["A/B", "../../etc", "A\\B", "H.", "-x", "Ärztin 7", "名前", "x" * 100, "A B", "CON:", "=1+1", ".hidden"],
)
def test_an_id_that_is_no_name_gets_one_and_is_kept(make_config: Make, write_sheet: Write, sheet_id: str) -> None:
    (case,) = read_sheet(make_config(write_sheet([{"case_id": sheet_id, "x_note": "y"}]))).cases
    assert re.fullmatch(r"CASE-[0-9a-f]{16}", case.case_id)
    assert case.case_id == artifact_name(sheet_id)
    assert (case.sheet_id, case.row_id) == (sheet_id, sheet_id)


def test_an_id_that_is_the_name_of_another_is_refused(make_config: Make, write_sheet: Write) -> None:
    rows = [{"case_id": "A/B", "x_note": ""}, {"case_id": artifact_name("A/B"), "x_note": ""}]
    for order in (rows, rows[::-1]):
        assert "line 2" in faults_of(make_config(write_sheet(order)))[0]


@given(st.text(min_size=1, max_size=300))
def test_every_name_is_one_and_names_follow_from_ids(sheet_id: str) -> None:
    name = artifact_name(sheet_id)
    assert is_case_id(name)
    assert artifact_name(name) == name
    assert (name == sheet_id) == is_case_id(sheet_id)


def test_ten_thousand_rows_are_read_in_under_a_second(tmp_path: Path, make_config: Make) -> None:
    (tmp_path / "a.txt").touch()
    rows = [f"CASE-{number}\ta.txt\ta.txt\ta.txt\t0.5\tlung\tnote {number}" for number in range(10_000)]
    header = "case_id\the\trna\ttext\the_mpp\torgan\tx_note"
    config = make_config(raw_sheet(tmp_path, "\n".join([header, *rows])))
    started = time.process_time()
    assert len(read_sheet(config).cases) == 10_000
    assert time.process_time() - started < 2


def test_parsing_needs_no_heavy_import() -> None:
    code = "import sys, mupd.sheet; print([m for m in ('numpy', 'pandas', 'torch', 'PIL') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


ids = st.from_regex(r"[A-Z][A-Z0-9_-]{0,20}", fullmatch=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(ids, min_size=1, max_size=30, unique=True), st.integers(1, 20))
def test_shards_divide_the_cases(make_config: Make, write_sheet: Write, names: list[str], shards: int) -> None:
    sheet = read_sheet(make_config(write_sheet([{"case_id": name, "x_note": "y"} for name in names])))
    parts = [cases_of_shard(sheet, index, shards) for index in range(shards)]
    assert sorted(case.case_id for part in parts for case in part) == sorted(names)
    assert filled_shards(sheet, shards) == [index for index, part in enumerate(parts) if part]
    assert all(shard_of(case.case_id, shards) == index for index, part in enumerate(parts) for case in part)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_sheet_or_faults(tmp_path: Path, make_config: Make, content: bytes) -> None:
    config = make_config(raw_sheet(tmp_path, b"case_id\torgan\n" + content))
    try:
        cases = read_sheet(config).cases
    except InputFaults as error:
        cases = error.faults
    assert cases


@pytest.mark.parametrize(
    "cell", ["NA", "n/a", "NaN", "null", "None", "unknown", "-", "[Not Available]", "not reported"]
)
def test_an_organ_that_is_not_stated_is_an_empty_cell(make_config: Make, write_sheet: Write, cell: str) -> None:
    (case,) = read_sheet(make_config(write_sheet([{"case_id": "A", "organ": cell, "diagnosis": cell}]))).cases
    assert (case.organ, case.diagnosis) == ("", "")


@pytest.mark.parametrize("organ", ["nasal cavity", "Nodes", "breast", "unknown primary", "Naevus"])
def test_organs_that_begin_like_these_stay(make_config: Make, write_sheet: Write, organ: str) -> None:
    (case,) = read_sheet(make_config(write_sheet([{"case_id": "A", "organ": organ}]))).cases
    assert case.organ == organ


@pytest.mark.parametrize("column", ["he", "rna", "text", "he_mpp"])
def test_na_in_place_of_a_file_or_a_number_names_the_empty_cell(
    make_config: Make, write_sheet: Write, column: str
) -> None:
    (fault,) = faults_of(make_config(write_sheet([{"case_id": "A", column: "NA"}])))
    assert fault.endswith("expected an empty cell where there is nothing")
