"""Expectation suites: files at the door, results, no network."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mupd.base.ids import shard_name, shard_of
from mupd.config import Config
from mupd.config.suite_columns import COLUMNS, TABLES
from mupd.config.suites import read_suite, read_suites
from mupd.contracts.layout import Layout
from mupd.contracts.verdicts import Verdict, write_verdicts
from mupd.errors import InputFaults, MupdError
from mupd.expectations.evaluate import run_suite
from mupd.expectations.meet import pass_gate, rows_of_draws
from mupd.expectations.results import ExpectationError, read_results, tell, write_results
from mupd.stages.intake import run_shard

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
        ({"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "SELECT 1"}}, ".type]"),
        ({"type": "expect_column_values_to_match_json_schema", "kwargs": {"column": "case_id"}}, ".type]"),
        (with_kwargs(column="nope"), ".kwargs.column]"),
        (
            with_kwargs(row_condition="@__import__('os').system('x')", condition_parser="python"),
            ".kwargs.row_condition]",
        ),
        (with_kwargs(mostly={"$PARAMETER": "now()"}), ".kwargs.mostly.$PARAMETER]"),
        ({"type": UNIQUE["type"], "kwargs": []}, ".kwargs]"),
        (UNIQUE | {"code": "x"}, "]: found unknown key 'code'"),
    ],
)
def test_unsafe_and_unknown_is_a_fault_of_the_configuration(
    tmp_path: Path, make_config: Callable[..., Config], expectation: Any, field: str
) -> None:
    path = write_suite(tmp_path, UNIQUE, expectation)
    with pytest.raises(InputFaults, match=r"my\.json") as caught:
        make_config(expectations={"suites": {"inventory": [str(path)]}})
    assert f"[expectations.1{field}" in str(caught.value)


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


def test_results_are_kept_and_stop_where_asked(tmp_path: Path) -> None:
    suite = read_suite(write_suite(tmp_path, UNIQUE), "sheet")
    found = [run_suite(suite, [{"case_id": "A"}, {"case_id": second}]) for second in "BA"]
    write_results(tmp_path / "r.json", "cohort", found)
    assert read_results(tmp_path / "r.json") == found
    tell(found, stop=False)
    with pytest.raises(ExpectationError, match="on_failure"):
        tell(found, stop=True)


def write_checked(config: Config, shard: int, rows: list[dict[str, Any]]) -> None:
    verdicts = [
        Verdict(row["case_id"], row["target"], row["draw"], "accepted", "", facts=json.loads(row["facts"]))
        for row in rows
    ]
    write_verdicts(Layout(config.out).checked(shard_name(shard)), verdicts)


def test_gates_see_all_shards_at_once_and_stop_only_where_asked(
    tmp_path: Path, make_config: Callable[..., Config]
) -> None:
    """Each shard alone has only unique organs; the cohort has not."""
    ids = [next(f"C{n}" for n in range(99) if shard_of(f"C{n}", 2) == shard) for shard in (0, 1)]
    (tmp_path / "cases.tsv").write_text("case_id\torgan\n" + "".join(f"{case}\tbreast\n" for case in ids))
    suites = tmp_path / "suites"
    suites.mkdir()
    organ = {"type": UNIQUE["type"], "kwargs": {"column": "organ"}}
    small = {"type": "expect_column_max_to_be_between", "kwargs": {"column": "largest", "max_value": 5}}
    own = {
        "sheet": [str(write_suite(suites, organ, name="organ.json"))],
        "generated_rna": [str(write_suite(suites, small, name="small.json"))],
    }
    sections: dict[str, Any] = {"shards": 2, "expectations": {"suites": own, "on_failure": "stop"}}
    config = make_config(tmp_path / "cases.tsv", **sections)
    with pytest.raises(MupdError, match="not there; run `mupd intake`"):
        pass_gate("inputs", config)
    for shard in (0, 1):
        run_shard(config, shard)
    with pytest.raises(ExpectationError, match="organ is never twice the same: 2 of 2"):
        pass_gate("inputs", config)
    (failed,) = [result for suite in read_results(Layout(config.out).expectations("inputs")) for result in suite.failed]
    assert set(failed.cases) == set(ids)
    report = make_config(
        tmp_path / "cases.tsv", **(sections | {"expectations": {"suites": own, "on_failure": "report"}})
    )
    assert pass_gate("inputs", report) == Layout(config.out).expectations("inputs")
    for shard, largest in ((0, 4.0), (1, 6.0)):
        facts = json.dumps({"largest": largest, "kind": "bulk"})
        rows = [{"case_id": ids[shard], "target": "rna", "draw": 0, "facts": facts}]
        write_checked(config, shard, [*rows, {"case_id": ids[shard], "target": "text", "draw": 0, "facts": "{}"}])
    assert rows_of_draws(config)["generated_rna"] == [
        {"case_id": case, "draw": 0, "largest": largest, "kind": "bulk"}
        for case, largest in zip(ids, (4.0, 6.0), strict=True)
    ]
    with pytest.raises(ExpectationError, match="largest is at most 5: 6"):
        pass_gate("draws", config)
    write_results(Layout(config.out).expectations("cohort"), "cohort", [])
    assert json.loads(pass_gate("run", config).read_text()) == {"expectations": 0, "stop": True}
    write_results(
        Layout(config.out).expectations("cohort"), "cohort", read_results(Layout(config.out).expectations("draws"))
    )
    with pytest.raises(ExpectationError, match="generated_rna, mine"):
        pass_gate("run", config)


def test_an_empty_table_is_nothing_to_check() -> None:
    (suite,) = read_suites("generated_rna")
    assert {result.outcome for result in run_suite(suite, []).results} == {"nothing to check"}


def test_columns_of_the_manifest_are_the_cohorts() -> None:
    from mupd.contracts.manifest import COLUMNS as OF_MANIFEST

    assert tuple(COLUMNS["manifest"]) == OF_MANIFEST
