"""What all suites found over all shards, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mupd.config import Config
from mupd.contracts.inventory import CaseInventory
from mupd.contracts.layout import Layout
from mupd.expectations.meet import input_rows, meet, rows_of_draws
from mupd.expectations.results import SuiteResult, tell, write_results
from mupd.sheet import read_sheet

TABLE_NAMES = {
    "sheet": "Sample sheet",
    "inventory": "Inventory",
    "rna_profiles": "Measured RNA",
    "generated_rna": "Generated RNA",
    "manifest": "Manifest",
}
_WORDS = {"passed": "met", "failed": "not met", "error": "undecided", "nothing to check": "nothing to check"}


def meet_and_write(
    inventories: Sequence[CaseInventory], manifest: Sequence[Mapping[str, Any]], config: Config
) -> dict[str, Any]:
    """Run the suites of all tables and write ``expectations/cohort.json``; warns of what is not met.

    Returns
    -------
    dict
        What the report shows (:func:`view`).

    Raises
    ------
    InputFaults
        If a suite of the user's cannot be used.
    MupdError
        If the verdicts of a shard are not there.
    """
    rows = input_rows(read_sheet(config, check_files=False).cases, inventories)
    results = meet(rows | rows_of_draws(config) | {"manifest": list(manifest)}, config)
    write_results(Layout(config.out).expectations("cohort"), "cohort", results)
    tell(results, stop=False)
    return view(results)


def view(suites: Sequence[SuiteResult]) -> dict[str, Any]:
    """Plain values for the template."""
    shown = [
        {
            "table": TABLE_NAMES[suite.table],
            "name": suite.suite,
            "file": "" if suite.own else suite.file,
            "rows": suite.rows,
            "failed": len(suite.failed),
            "results": [
                {
                    "words": result.words,
                    "type": result.type,
                    "outcome": result.outcome,
                    "word": _WORDS[result.outcome],
                    "checked": result.checked,
                    "unexpected": result.unexpected,
                    "observed": result.observed,
                    "cases": result.cases,
                    "problem": result.problem,
                }
                for result in suite.results
            ],
        }
        for suite in suites
    ]
    counts = {outcome: sum(r.outcome == outcome for s in suites for r in s.results) for outcome in _WORDS}
    return {"suites": shown, "counts": counts}
