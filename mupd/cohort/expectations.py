"""The suite of the manifest, and what all suites found, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mupd.config import Config
from mupd.expectations.evaluate import run_suite
from mupd.expectations.results import SuiteResult, merged, read_results, results_path, tell, write_results
from mupd.expectations.suites import read_suites
from mupd.expectations.tables import TABLES
from mupd.ids import shard_name

TABLE_NAMES = {
    "sheet": "Sample sheet",
    "inventory": "Inventory",
    "rna_profiles": "Measured RNA",
    "generated_rna": "Generated RNA",
    "manifest": "Manifest",
}
_WORDS = {"passed": "met", "failed": "not met", "error": "undecided", "nothing to check": "nothing to check"}


def meet_and_write(rows: Sequence[Mapping[str, Any]], config: Config) -> list[SuiteResult]:
    """Run the manifest's suites and write ``expectations/cohort.json``; warns of what is not met.

    Raises
    ------
    InputFaults
        If a suite of the user's cannot be used.
    """
    suites = read_suites("manifest", config.expectations.suites.manifest)
    found = [run_suite(suite, rows) for suite in suites]
    write_results(results_path(config.out, "cohort"), "cohort", "", found)
    tell(found, stop=False)
    return found


def gathered(config: Config, shards: Sequence[int], of_manifest: Sequence[SuiteResult]) -> dict[str, Any]:
    """What the report shows: suites over all shards in the order of the tables, and which files are not there.

    Raises
    ------
    MupdError
        If a file of results is damaged.
    """
    found: list[SuiteResult] = []
    lacking = []
    for shard in shards:
        for stage in ("intake", "check"):
            path = results_path(config.out, stage, shard_name(shard))
            if path.is_file():
                found += read_results(path)
            else:
                lacking.append(path.name)
    suites = sorted(merged([*found, *of_manifest]), key=lambda suite: TABLES.index(suite.table))
    return view(suites, lacking)


def view(suites: Sequence[SuiteResult], lacking: Sequence[str] = ()) -> dict[str, Any]:
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
    return {"suites": shown, "counts": counts, "lacking": list(lacking)}
