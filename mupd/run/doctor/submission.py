"""Before the first job of a run on SLURM: whether its partitions have what the jobs will ask for.

SLURM itself refuses an unknown partition at the first job that names it: for GPUs, that is after all of intake.
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
    """Resources as they were written: Snakemake wraps them, and evaluates what may be an expression only for a job."""
    found = {}
    for name, resource in (resources or {}).items():
        raw = getattr(resource, "raw", resource)
        if isinstance(raw, (str, int)):
            found[name] = raw
    return found


def settings_of(resource_settings: Any) -> dict[str, Any]:
    """What ``default-resources`` and ``set-resources`` come to, from profile and command line together.

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

    Where SLURM does not answer nothing is refused here: the first submission will say so. A partition that is down is
    none of this: jobs wait for it.

    Raises
    ------
    InputFaults
        With every rule's fault, what was found, and what to set.
    """
    if shutil.which("sinfo") is None:
        return
    partitions, _ = read_partitions()
    if partitions is None:
        return
    faults = [
        Fault(f"resources of {asked.rule}", found, fix)
        for asked in asked_by(settings_of(resource_settings), sheet, config, tables)
        for found, fix in asked_faults(asked, partitions)
        if not found.endswith("is down")
    ]
    if faults:
        raise InputFaults("what the jobs ask SLURM for", faults)
