"""Evaluates the suites of a run, all shards at once: Great Expectations is loaded once and sees whole tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from mupd.base.files import write_json
from mupd.base.ids import shard_name
from mupd.config import Config
from mupd.config.suite_columns import TABLES, Table
from mupd.config.suites import read_suites
from mupd.contracts.inventory import CaseInventory, read_inventory
from mupd.contracts.layout import Layout
from mupd.contracts.verdicts import FAILED_DRAW, read_verdicts
from mupd.errors import InputFaults, MupdError
from mupd.expectations.evaluate import argument_faults, run_suite
from mupd.expectations.results import SuiteResult, read_results, tell, write_results
from mupd.expectations.tables import Row, inventory_rows, rna_rows, sheet_rows
from mupd.sheet import SheetCase, filled_shards, read_sheet

Gate = Literal["inputs", "draws", "run"]
"""Points at which a run can be stopped: before generation, before export, at its end."""


def _of_every_shard(config: Config, path_of: Callable[[str], Path], stage: str) -> list[Path]:
    shards = filled_shards(read_sheet(config, check_files=False), config.shards)
    paths = [path_of(shard_name(shard)) for shard in shards]
    if lacking := [str(path) for path in paths if not path.is_file()]:
        more = f", and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise MupdError(f"{', '.join(lacking[:3])}{more}: not there; run `mupd {stage}` on every shard first")
    return paths


def input_rows(cases: Iterable[SheetCase], inventories: Sequence[CaseInventory]) -> dict[Table, list[Row]]:
    """Rows of the tables that are known before generation."""
    return {
        "sheet": sheet_rows(cases),
        "inventory": inventory_rows(inventories),
        "rna_profiles": rna_rows(inventories),
    }


def rows_of_inputs(config: Config) -> dict[Table, list[Row]]:
    """The same from the files of all shards.

    Raises
    ------
    MupdError
        If an inventory is missing.
    """
    cases = read_sheet(config, check_files=False).cases
    inventories = [
        case
        for path in _of_every_shard(config, Layout(config.out).inventory, "intake")
        for case in read_inventory(path)
    ]
    return input_rows(cases, inventories)


def rows_of_draws(config: Config) -> dict[Table, list[Row]]:
    """Rows of ``generated_rna`` from the verdicts, one per draw.

    Raises
    ------
    MupdError
        If the verdicts of a shard are missing.
    """
    verdicts = (
        row for path in _of_every_shard(config, Layout(config.out).checked, "check") for row in read_verdicts(path)
    )
    rows: list[Row] = [
        {"case_id": verdict.case_id, "draw": verdict.draw} | verdict.facts
        for verdict in verdicts
        if verdict.target == "rna" and verdict.draw != FAILED_DRAW
    ]
    return {"generated_rna": rows}


def meet(rows: Mapping[Table, Sequence[Mapping[str, object]]], config: Config) -> list[SuiteResult]:
    """Results of the suites of these tables, in the order of the tables.

    Raises
    ------
    InputFaults
        If a user's suite cannot be used.
    """
    return [
        run_suite(suite, rows[table])
        for table in TABLES
        if table in rows
        for suite in read_suites(table, getattr(config.expectations.suites, table))
    ]


def pass_gate(gate: Gate, config: Config) -> Path:
    """Evaluate the suites of a gate over all shards; returns the path of the results.

    ``inputs``: sheet, inventory, measured RNA. ``draws``: generated RNA. ``run`` evaluates nothing: it reads the
    results of the cohort stage for all tables.

    Raises
    ------
    InputFaults
        If a user's suite cannot be used.
    MupdError
        If files of earlier stages are missing.
    ExpectationError
        If an expectation is not met and expectations.on_failure is ``stop``; the results are written before.
    """
    stop = config.expectations.on_failure == "stop"
    if gate == "run":
        results = read_results(Layout(config.out).expectations("cohort"))
        tell(results, stop)
        path = Layout(config.out).expectations("met")
        write_json(path, {"expectations": sum(len(suite.results) for suite in results), "stop": stop})
        return path
    results = meet(rows_of_inputs(config) if gate == "inputs" else rows_of_draws(config), config)
    path = Layout(config.out).expectations(gate)
    write_results(path, gate, results)
    tell(results, stop)
    return path


def refuse_wrong_arguments(config: Config) -> None:
    """Check the arguments of all suites with Great Expectations, before anything runs.

    Raises
    ------
    InputFaults
        Lists every fault of all suites.
    """
    suites = [suite for table in TABLES for suite in read_suites(table, getattr(config.expectations.suites, table))]
    if faults := argument_faults(suites):
        raise InputFaults("expectation suites", faults)
