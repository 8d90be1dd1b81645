"""The real workflow: where `expectations.on_failure: stop` stops, and what a changed suite or table runs again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mupd.base.ids import shard_of
from tests.fixtures.processes import snakemake
from tests.fixtures.tiny_model import write_tiny_cohort

CASES = [next(f"C{n}" for n in range(99) if shard_of(f"C{n}", 2) == shard) for shard in (0, 1)]
REPORT = "Invasive ductal carcinoma of the breast, grade 2, pT2 pN0. The margins are free of tumour."

pytestmark = pytest.mark.slow


def due(configfile: Path, folder: Path, *more: str) -> dict[str, int]:
    """{rule: jobs} that a run would do."""
    done = snakemake(configfile, folder, "--dry-run", *more)
    assert done.returncode == 0, done.stdout
    stats = done.stdout.split("Job stats:")[-1] if "Job stats:" in done.stdout else ""
    return {
        rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE) if rule not in ("total", "all")
    }


def write_suite(path: Path, most: int) -> None:
    expectation = {"type": "expect_table_row_count_to_be_between", "kwargs": {"max_value": most}}
    path.write_text(json.dumps({"name": "mine", "expectations": [expectation]}), encoding="utf-8")


def changed(configfile: Path, name: str, values: Mapping[str, Any]) -> Path:
    path = configfile.with_name(f"{name}.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(configfile.read_text(encoding="utf-8")) | dict(values)))
    return path


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A cohort of two shards that stops; its own suite of the sheet allows one row, so that only both together fail."""
    folder = tmp_path_factory.mktemp("cohort")
    suites = {table: [str(folder / f"{table}.json")] for table in ("sheet", "generated_rna", "manifest")}
    for table in suites:
        write_suite(folder / f"{table}.json", 99)
    write_suite(folder / "sheet.json", 1)
    expectations = {"on_failure": "stop", "suites": suites}
    path = write_tiny_cohort(folder, tiny_model, dict.fromkeys(CASES, "text"), shards=2, expectations=expectations)
    # As the shipped suites want it: an organ, and a text of some length.
    for case in CASES:
        (folder / f"{case}.txt").write_text(f"{REPORT} Block {case}.", encoding="utf-8")
    rows = [f"{case}\t{case}.txt\tbreast" for case in CASES]
    (folder / "cases.tsv").write_text("\n".join(["case_id\ttext\torgan", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was stopped before generation, then by its manifest, and then let go."""
    folder = tmp_path_factory.mktemp("run")
    stopped = snakemake(cohort, folder)
    assert stopped.returncode != 0
    results = folder / "results"
    assert "table is at most 1" in (results / "logs" / "expect_inputs.log").read_text(encoding="utf-8")
    assert len(list((results / "intake").glob("*.parquet"))) == 2
    assert not list((results / "generated").glob("*.json")), "generation was not held up"
    write_suite(cohort.with_name("sheet.json"), 99)
    write_suite(cohort.with_name("manifest.json"), 1)
    stopped = snakemake(cohort, folder)
    assert stopped.returncode != 0
    assert "manifest, mine" in (results / "logs" / "expect_run.log").read_text(encoding="utf-8")
    assert (results / "report.html").is_file(), "the report that says why is not there"
    write_suite(cohort.with_name("manifest.json"), 99)
    assert due(cohort, folder) == {"cohort": 1, "expect_run": 1}
    done = snakemake(cohort, folder)
    assert done.returncode == 0, done.stdout
    assert due(cohort, folder) == {}
    return folder


def test_a_changed_suite_runs_its_evaluation_and_the_report_alone(cohort: Path, finished: Path) -> None:
    write_suite(cohort.with_name("sheet.json"), 98)
    assert due(cohort, finished) == {"expect_inputs": 1, "cohort": 1, "expect_run": 1}
    write_suite(cohort.with_name("sheet.json"), 99)
    write_suite(cohort.with_name("generated_rna.json"), 98)
    assert due(cohort, finished) == {"expect_draws": 1, "cohort": 1, "expect_run": 1}
    write_suite(cohort.with_name("generated_rna.json"), 99)
    assert due(cohort, finished) == {}


def test_another_change_at_the_same_time_is_not_overlooked(cohort: Path, finished: Path) -> None:
    """Snakemake looks for no other reason in what comes after a job that is due."""
    write_suite(cohort.with_name("sheet.json"), 98)
    after = {"cohort": 1, "expect_run": 1, "expect_inputs": 1}
    seed = due(changed(cohort, "seed", {"seed": 2}), finished)
    both = {"generate": 2, "check": 2, "export": 2, "expect_draws": 1, "settings_of_stage": 1}
    assert seed == both | after
    limits = changed(cohort, "check", {"check": {"min_tissue_fraction": 0.01}})
    assert due(limits, finished) == {"check": 2, "export": 2, "expect_draws": 1, "settings_of_stage": 1} | after
    write_suite(cohort.with_name("sheet.json"), 99)


def test_a_changed_case_runs_its_own_shard_and_is_held_up(cohort: Path, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grown"
    shutil.copytree(finished, folder)
    report = cohort.parent / f"{CASES[0]}.txt"
    words = report.read_text(encoding="utf-8")
    try:
        report.write_text(words + " Margins are free.", encoding="utf-8")
        jobs = due(cohort, folder)
    finally:
        report.write_text(words, encoding="utf-8")
    one = dict.fromkeys(("intake", "generate", "check", "export"), 1)
    assert jobs == one | {"expect_inputs": 1, "expect_draws": 1, "cohort": 1, "expect_run": 1}


def test_one_more_case_in_a_cohort_table_concerns_its_own_shard_alone(tmp_path: Path, tiny_model: Path) -> None:
    configfile = write_tiny_cohort(tmp_path / "cohort", tiny_model, {"X": "text"}, shards=2)
    table, sheet = tmp_path / "cohort" / "reports.jsonl", tmp_path / "cohort" / "cases.tsv"
    late = next(f"L{n}" for n in range(99) if shard_of(f"L{n}", 2) == 1)

    def write(cases: list[str]) -> None:
        rows = [json.dumps({"case_id": case, "text": f"{REPORT} Block {case}."}) for case in cases]
        table.write_text("\n".join(rows) + "\n", encoding="utf-8")
        sheet.write_text("\n".join(["case_id", *cases]) + "\n", encoding="utf-8")

    write(CASES)
    configfile = changed(configfile, "tables", {"tables": {"text": str(table)}})
    folder = tmp_path / "run"
    done = snakemake(configfile, folder, "--until", "intake")
    assert done.returncode == 0, done.stdout
    written = {path.name: path.stat().st_mtime_ns for path in (folder / "results" / "intake").glob("*.parquet")}
    assert len(written) == 2
    write([*CASES, late])
    assert due(configfile, folder, "--until", "intake") == {"intake": 1}
    assert snakemake(configfile, folder, "--until", "intake").returncode == 0
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "results" / "intake").glob("*.parquet")}
    assert [after[name] != written[name] for name in sorted(written)] == [False, True]
