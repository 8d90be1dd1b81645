"""``mupd status --json``: the inventory and what a run would do, in a form that programs may rely on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from mupd.base.ids import MODALITIES
from mupd.config import Config
from mupd.contracts.inventory import NOTHING_GIVEN, CaseInventory, Status, tasks_of

SCHEMA = "mupd-status/1"
"""Raised by one where a key goes or changes its meaning; new keys may come without."""


def counts_of(cases: Sequence[CaseInventory], config: Config) -> dict[str, Any]:
    """`cases`; `entries` of each status, in all and by modality; `tasks`, `draws`, `failing` cases."""
    tasks = [task for case in cases for task in tasks_of(case, config)]
    by_modality = {m: Counter(case.entries[m].status for case in cases) for m in MODALITIES}
    statuses: tuple[Status, ...] = get_args(Status)
    return {
        "cases": len(cases),
        "entries": {status: sum(by_modality[m][status] for m in MODALITIES) for status in statuses},
        "by_modality": {m: {status: by_modality[m][status] for status in statuses} for m in MODALITIES},
        "synthetic_inputs": sum("synthetic_input" in case.entries[m].facts for case in cases for m in MODALITIES),
        "tasks": len(tasks),
        "draws": sum(len(task.seeds) for task in tasks),
        "failing": sum(not case.given for case in cases),
    }


def _case(case: CaseInventory, config: Config) -> dict[str, Any]:
    return {
        "case_id": case.case_id,
        "sheet_id": case.sheet_id,
        "organ": case.organ,
        "diagnosis": case.diagnosis,
        "extra": case.extra,
        "entries": {
            modality: {
                "status": entry.status,
                "reason": entry.reason,
                "source": entry.source_name,
                "source_sha256": entry.source_sha256,
                "facts": entry.facts,
            }
            for modality, entry in ((m, case.entries[m]) for m in MODALITIES)
        },
        "tasks": [
            {"name": task.name, "target": task.target, "given": list(task.given), "draws": len(task.seeds)}
            for task in tasks_of(case, config)
        ],
        "fails": "" if case.given else NOTHING_GIVEN,
    }


def status_json(cases: Sequence[CaseInventory], config: Config) -> dict[str, Any]:
    """Plain values: `schema`, `summary` (:func:`counts_of`), and `cases` in the order of the sheet.

    Each case has `case_id`, `sheet_id` (where it differs), `organ`, `diagnosis`, `extra`, `entries` by modality
    (`status`, `reason`, `source`, `source_sha256`, `facts`), `tasks` (`name`, `target`, `given`, `draws`) and `fails`
    (why nothing can be generated, "" = it can). It holds paths and the sheet's own ids: it is for the cohort's owner.
    """
    return {
        "schema": SCHEMA,
        "summary": counts_of(cases, config),
        "cases": [_case(case, config) for case in cases],
    }
