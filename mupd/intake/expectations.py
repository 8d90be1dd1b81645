"""The suites of sheet, inventory and measured RNA matrices, run on a shard's rows."""

from __future__ import annotations

from collections.abc import Sequence

from mupd.config import Config
from mupd.errors import InputFaults
from mupd.expectations.evaluate import argument_faults, run_suite
from mupd.expectations.results import SuiteResult, results_path, tell, write_results
from mupd.expectations.suites import read_suites
from mupd.expectations.tables import TABLES, Row, Table, inventory_rows, rna_rows, sheet_rows
from mupd.ids import shard_name
from mupd.inventory import CaseInventory
from mupd.sheet import SheetCase


def meet(cases: Sequence[SheetCase], inventories: Sequence[CaseInventory], config: Config) -> list[SuiteResult]:
    """What the suites say of these cases; the matrices are not read again, their facts are looked at.

    Raises
    ------
    InputFaults
        If a suite of the user's cannot be used.
    """
    rows: dict[Table, list[Row]] = {
        "sheet": sheet_rows(cases),
        "inventory": inventory_rows(inventories),
        "rna_profiles": rna_rows(inventories),
    }
    return [
        run_suite(suite, rows[table])
        for table in rows
        for suite in read_suites(table, getattr(config.expectations.suites, table))
    ]


def meet_and_write(
    cases: Sequence[SheetCase], inventories: Sequence[CaseInventory], config: Config, shard: int
) -> None:
    """Write ``expectations/SHARD.intake.json`` and warn of what is not met.

    Raises
    ------
    InputFaults
        If a suite of the user's cannot be used.
    ExpectationError
        If something is not met and expectations.on_failure is ``stop``; the results are written before.
    """
    found = meet(cases, inventories, config)
    name = shard_name(shard)
    write_results(results_path(config.out, "intake", name), "intake", name, found)
    tell(found, stop=config.expectations.on_failure == "stop")


def refuse_wrong_arguments(config: Config) -> None:
    """Look at the arguments of all suites as Great Expectations does, before anything runs.

    Raises
    ------
    InputFaults
        With every fault, of the suites of all tables.
    """
    suites = [suite for table in TABLES for suite in read_suites(table, getattr(config.expectations.suites, table))]
    if faults := argument_faults(suites):
        raise InputFaults("expectation suites", faults)
