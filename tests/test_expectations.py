"""Expectation suites: files at the door, results, no network."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mupd.config import Config
from mupd.errors import InputFaults
from mupd.expectations.evaluate import run_suite
from mupd.expectations.results import ExpectationError, merged, read_results, tell, write_results
from mupd.expectations.suites import read_suite, read_suites
from mupd.expectations.tables import COLUMNS, TABLES

UNIQUE = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "case_id"}}


def write_suite(folder: Path, *expectations: Any, name: str = "my.json") -> Path:
    path = folder / name
    path.write_text(json.dumps({"name": "mine", "expectations": list(expectations)}), encoding="utf-8")
    return path


def with_kwargs(**kwargs: Any) -> dict[str, Any]:
    return {"type": UNIQUE["type"], "kwargs": {"column": "case_id"} | kwargs}


@pytest.mark.parametrize(
    ("expectation", "field"),
    [
        ({"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "SELECT 1"}}, "type"),
        ({"type": "expect_column_values_to_match_json_schema", "kwargs": {"column": "case_id"}}, "type"),
        (with_kwargs(column="nope"), "kwargs.column"),
        (with_kwargs(row_condition="@__import__('os').system('x')", condition_parser="python"), "kwargs.row_condition"),
        (with_kwargs(mostly={"$PARAMETER": "now()"}), "kwargs.mostly.$PARAMETER"),
        ({"type": UNIQUE["type"], "kwargs": []}, "kwargs"),
        (UNIQUE | {"code": "x"}, "code"),
    ],
)
def test_unsafe_and_unknown_is_a_fault_of_the_configuration(
    tmp_path: Path, make_config: Callable[..., Config], expectation: Any, field: str
) -> None:
    path = write_suite(tmp_path, UNIQUE, expectation)
    with pytest.raises(InputFaults, match=r"my\.json") as caught:
        make_config(expectations={"suites": {"inventory": [str(path)]}})
    assert f"[expectations.1.{field}]" in str(caught.value)


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"expectations": 3}', "[" * 100000])
def test_what_is_no_suite_is_a_fault(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(InputFaults, match=r"bad\.json"):
        read_suite(path, "sheet")


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    suite = read_suite(write_suite(tmp_path, with_kwargs(colour="red")), "sheet")
    with pytest.raises(InputFaults, match="colour"):
        run_suite(suite, [{"case_id": "A"}])


def test_suites_run_without_a_network_and_name_the_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("a connection was tried")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for table in TABLES:
        for suite in read_suites(table):
            assert not [r.problem for r in run_suite(suite, [{"case_id": "A"}]).results if r.problem]
    rows = [{"case_id": case_id} for case_id in ("A", "A", "B")]
    (result,) = run_suite(read_suite(write_suite(tmp_path, UNIQUE), "sheet"), rows).results
    assert (result.outcome, result.checked, result.unexpected, result.cases) == ("failed", 3, 2, ("A",))


def test_results_are_merged_over_shards_and_stop_where_asked(tmp_path: Path) -> None:
    suite = read_suite(write_suite(tmp_path, UNIQUE), "sheet")
    found = [run_suite(suite, [{"case_id": "A"}, {"case_id": second}]) for second in "BA"]
    write_results(tmp_path / "r.json", "intake", "shard-0000", found)
    assert read_results(tmp_path / "r.json") == found
    (whole,) = merged(found)
    assert (whole.rows, whole.results[0].outcome, whole.results[0].unexpected) == (4, "failed", 2)
    tell(found, stop=False)
    with pytest.raises(ExpectationError, match="on_failure"):
        tell(found, stop=True)


def test_an_empty_table_is_nothing_to_check() -> None:
    (suite,) = read_suites("generated_rna")
    assert {result.outcome for result in run_suite(suite, []).results} == {"nothing to check"}


def test_columns_of_the_manifest_are_the_cohorts() -> None:
    from mupd.cohort.manifest import COLUMNS as OF_MANIFEST

    assert tuple(COLUMNS["manifest"]) == OF_MANIFEST
