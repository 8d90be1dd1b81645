"""Sheets in Excel workbooks."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mupd.config import Config
from mupd.errors import InputFaults
from mupd.sheet import read_sheet

Make = Callable[..., Config]


def workbook(
    path: Path, rows: Sequence[Sequence[Any]], title: str = "Sheet1", before: Sequence[Sequence[Any]] = ()
) -> Path:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    if before:
        for row in before:
            sheet.append(list(row))
        sheet = book.create_sheet()
    sheet.title = title
    for row in rows:
        sheet.append(list(row))
    book.save(path)
    return path


def faults_of(config: Config) -> list[str]:
    with pytest.raises(InputFaults) as caught:
        read_sheet(config)
    return [str(fault) for fault in caught.value.faults]


def test_a_workbook_reads_as_the_same_table(tmp_path: Path, make_config: Make) -> None:
    (tmp_path / "a.svs").touch()
    rows = [["case_id", "he", "he_mpp", "x_date", "x_n", None], ["A", "a.svs", 0.5, dt.date(2024, 3, 1), 7], [], [12]]
    first, second = read_sheet(make_config(workbook(tmp_path / "cases.xlsx", rows))).cases
    assert (first.case_id, first.he, first.he_mpp, first.line) == ("A", tmp_path / "a.svs", 0.5, 2)
    assert first.extra == {"x_date": "2024-03-01", "x_n": "7"}
    assert (second.case_id, second.line) == ("12", 4)


def test_the_worksheet_cases_goes_before_the_first(tmp_path: Path, make_config: Make) -> None:
    path = workbook(tmp_path / "c.xlsx", [["case_id"], ["A"]], "Cases", before=[["notes"]])
    assert [case.case_id for case in read_sheet(make_config(path)).cases] == ["A"]


def test_what_a_spreadsheet_made_of_ids_is_told_with_the_remedy(tmp_path: Path, make_config: Make) -> None:
    rows = [
        ["case_id", "he_mpp", "text"],
        [dt.datetime(2024, 3, 1), None, None],
        [1.5, None, None],
        [True, None, None],
        ["=A1&B1", "=1/2", None],
        ["#N/A", "#DIV/0!", None],
        ["B", dt.time(0, 30), "gone.txt"],
        ["C", None, None, "beyond the header"],
    ]
    faults = faults_of(make_config(workbook(tmp_path / "cases.xlsx", rows)))
    found = [fault.split("; expected")[0] for fault in faults]
    place = "cases.xlsx:Sheet1"
    assert found == [
        f"{place}!2 [case_id]: found the date or time 2024-03-01",
        f"{place}!3 [case_id]: found the decimal number 1.5",
        f"{place}!4 [case_id]: found the truth value TRUE",
        f"{place}!5 [case_id]: found a formula without its value",
        f"{place}!5 [he_mpp]: found a formula without its value",
        f"{place}!6 [case_id]: found the error #N/A",
        f"{place}!6 [he_mpp]: found the error #DIV/0!",
        f"{place}!7 [he_mpp]: found the date or time 00:30:00",
        f"{place}!7 [text]: found 'gone.txt', which is not there",
        f"{place}!8: found 4 cells",
    ]
    assert "format the column as Text" in faults[0]
    assert "open and save it in a spreadsheet program" in faults[3]


def rewritten(source: Path, target: Path, change: Callable[[bytes], bytes]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name == "xl/worksheets/sheet1.xml" else data)
    return target


def test_an_id_stored_as_1_0_and_a_formula_with_its_value(tmp_path: Path, make_config: Make) -> None:
    plain = workbook(tmp_path / "plain.xlsx", [["case_id", "organ"], [1, 2], [3, "lung"]])
    path = rewritten(plain, tmp_path / "cases.xlsx", lambda data: data.replace(b"<v>1</v>", b"<v>1.0</v>"))
    assert "found the decimal number 1.0" in faults_of(make_config(path))[0]
    path = rewritten(plain, tmp_path / "cases.xlsx", lambda data: data.replace(b"<v>2</v>", b"<f>1+1</f><v>2</v>"))
    assert [case.organ for case in read_sheet(make_config(path)).cases] == ["2", "lung"]


def test_bombs_are_refused_before_they_are_unpacked(
    tmp_path: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mupd.sheet.xlsx.MAX_BYTES", 4 << 20)
    plain = workbook(tmp_path / "plain.xlsx", [["case_id"], ["A"]])
    bomb = rewritten(plain, tmp_path / "bomb.xlsx", lambda data: data + b" " * (5 << 20))
    assert bomb.stat().st_size < 1 << 16
    assert "bytes when unpacked" in faults_of(make_config(bomb))[0]
    far = rewritten(
        plain, tmp_path / "far.xlsx", lambda data: data.replace(b'r="2"', b'r="1048576"').replace(b"A2", b"A1048576")
    )
    assert "more than 100,000 rows" in faults_of(make_config(far))[0]


def test_cut_workbooks_are_faults(tmp_path: Path, make_config: Make) -> None:
    whole = workbook(tmp_path / "whole.xlsx", [["case_id"], ["A"]]).read_bytes()
    for tenth in range(10):
        (tmp_path / "cut.xlsx").write_bytes(whole[: len(whole) * tenth // 10])
        assert "no readable Excel workbook" in faults_of(make_config(tmp_path / "cut.xlsx"))[0]
    for xml in (b"<worksheet/>", b"<a", b"", b'<!DOCTYPE a [<!ENTITY b "c">]><worksheet>&b;</worksheet>'):
        faults = faults_of(make_config(rewritten(tmp_path / "whole.xlsx", tmp_path / "cut.xlsx", lambda _, x=xml: x)))
        assert "cut.xlsx" in faults[0]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_workbooks_give_a_sheet_or_faults(
    tmp_path: Path, make_config: Make, hits: list[tuple[int, int]]
) -> None:
    path = tmp_path / "whole.xlsx"
    if not path.exists():
        workbook(path, [["case_id", "organ"], ["A", "lung"], ["B", 2.5]])
    data = bytearray(path.read_bytes())
    for at, value in hits:
        data[at % len(data)] = value
    (tmp_path / "hit.xlsx").write_bytes(data)
    outcome: Sequence[object]
    try:
        outcome = read_sheet(make_config(tmp_path / "hit.xlsx")).cases
    except InputFaults as error:
        outcome = error.faults
    assert outcome


def test_the_libraries_of_other_formats_load_only_with_them(tmp_path: Path) -> None:
    (tmp_path / "cases.tsv").write_text("case_id\tx_a\nA\tb\n")
    code = (
        "import sys; from mupd.config import parse_config; from mupd.sheet import read_sheet;"
        f"read_sheet(parse_config({{'cases': {str(tmp_path / 'cases.tsv')!r}}}, 'x'));"
        "print(sorted({'openpyxl', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
