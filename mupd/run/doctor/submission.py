"""Before the first job of a run on SLURM: check that its partitions have what the jobs will request.

SLURM refuses an unknown partition only at the first job that names it: for GPUs, that is after all of intake.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from mupd.config import Config
from mupd.errors import Fault, InputFaults
from mupd.run.doctor.cluster import asked_faults, read_partitions
from mupd.run.doctor.profile import asked_by
from mupd.run.table_ids import TableIds
from mupd.sheet import Sheet


def _plain(resources: Mapping[str, Any] | None) -> dict[str, Any]:
    """Resources as written. Snakemake wraps them, and evaluates expressions only for a job."""
    plain = {}
    for name, resource in (resources or {}).items():
        raw = getattr(resource, "raw", resource)
        if isinstance(raw, (str, int)):
            plain[name] = raw
    return plain


def settings_of(resource_settings: Any) -> dict[str, Any]:
    """``default-resources`` and ``set-resources``, merged from profile and command line.

    Parameters
    ----------
    resource_settings
        ``workflow.resource_settings`` of Snakemake.
    """
    return {
        "default-resources": _plain(resource_settings.default_resources),
        "set-resources": {rule: _plain(part) for rule, part in resource_settings.overwrite_resources.items()},
    }


def refuse_impossible(resource_settings: Any, sheet: Sheet, config: Config, tables: TableIds) -> None:
    """Refuse a run whose jobs SLURM would refuse or never start.

    If SLURM does not answer, nothing is refused: the first submission fails with its message. Partitions that are down
    are accepted: jobs wait for them.

    Raises
    ------
    InputFaults
        With the problems of all rules and their fixes.
    """
    if shutil.which("sinfo") is None:
        return
    partitions, _ = read_partitions()
    if partitions is None:
        return
    faults = [
        Fault(f"resources of {asked.rule}", problem, fix)
        for asked in asked_by(settings_of(resource_settings), sheet, config, tables)
        for problem, fix in asked_faults(asked, partitions)
        if not problem.endswith("is down")
    ]
    if faults:
        raise InputFaults("what the jobs request from SLURM", faults)
