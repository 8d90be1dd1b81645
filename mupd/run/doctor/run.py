"""All checks in order, and the table of their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mupd.config import Config, load_config
from mupd.errors import InputFaults, MupdError
from mupd.model_folder.geometry import has_geometry
from mupd.run.doctor.cluster import Asked, check_slurm
from mupd.run.doctor.finding import Finding, exit_code
from mupd.run.doctor.model import check_model
from mupd.run.doctor.places import check_places
from mupd.run.doctor.profile import (
    LOCAL_EXECUTORS,
    asked_by,
    check_keys,
    check_plugin,
    executor_of,
    profile_file,
    read_profile,
)
from mupd.run.doctor.software import check_software
from mupd.run.forecast.plan import plan_of
from mupd.run.table_ids import QUICK_BYTES, in_tables
from mupd.sheet import Sheet, read_sheet

_LOOK = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red", "SKIP": "dim"}


def _inputs(configfile: Path) -> tuple[Config | None, Sheet | None, list[Finding]]:
    findings = []
    try:
        config = load_config(configfile)
    except InputFaults as error:
        faults = [Finding("inputs", fault.where, "FAIL", fault.found, fault.expected) for fault in error.faults]
        return None, None, faults
    findings.append(Finding("inputs", "configuration", "PASS", str(configfile)))
    try:
        sheet = read_sheet(config)
    except InputFaults as error:
        faults = [Finding("inputs", fault.where, "FAIL", fault.found, fault.expected) for fault in error.faults]
        return config, None, [*findings, *faults]
    shards = f"{len(sheet.cases):,} cases in {config.shards:,} shards"
    if len(sheet.cases) > 200 * config.shards:
        fix = f"shards: {-(-len(sheet.cases) // 64)} (64 cases per shard): a killed job then loses less"
        return config, sheet, [*findings, Finding("inputs", "sample sheet", "WARN", shards, fix)]
    return config, sheet, [*findings, Finding("inputs", "sample sheet", "PASS", shards)]


def examine(configfile: Path, profile: str | None = None) -> list[Finding]:
    """Run every check that applies.

    Parameters
    ----------
    profile
        Snakemake profile of the run. If given, its plugin, its keys and, on SLURM, its partitions are checked too.
    """
    config, sheet, findings = _inputs(configfile)
    values: dict[str, Any] = {}
    if profile is not None:
        try:
            values = read_profile(profile_file(profile))
        except MupdError as error:
            faults = error.faults if isinstance(error, InputFaults) else ()
            findings += [Finding("profile", fault.where, "FAIL", fault.found, fault.expected) for fault in faults]
        else:
            findings += [check_plugin(executor_of(values)), *check_keys(values)]
    executor = executor_of(values)
    on_cluster = executor not in LOCAL_EXECUTORS
    if config is None:
        return [*findings, Finding("inputs", "all else", "SKIP", "not checked: the configuration cannot be read")]
    findings += check_software(config, on_cluster)
    tables = in_tables(config, QUICK_BYTES)  # larger tables are not read: their rows count as missing
    # What jobs need depends on the model's windows. If its folder cannot be read, `check_model` says why.
    counted = sheet if has_geometry(Path(config.model)) else None
    needed = plan_of(counted, config, tables).disk_bytes if counted else None
    findings += check_places(config.outdir, config.model, needed, on_cluster)
    findings += check_model(config.model)
    asked: list[Asked] = asked_by(values, counted, config, tables) if counted else []
    return findings + check_slurm(asked, executor == "slurm")


def summary(findings: Sequence[Finding]) -> str:
    """One line: number of findings by state, and the conclusion."""
    counts: Counter[str] = Counter(finding.state for finding in findings)
    words = ", ".join(f"{counts[state]} {state}" for state in _LOOK if counts[state])
    if counts["FAIL"]:
        return f"{words}: fix every FAIL before a run"
    return f"{words}: ready" + (", see the WARN lines" if counts["WARN"] else "")


def render(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print the findings as a table, on standard output unless another console is given."""
    table = Table(title="mupd doctor", show_lines=False)
    table.add_column("state", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("found, and how to fix it", overflow="fold")
    for finding in findings:
        words = Text(finding.found)
        if finding.fix:
            words.append(f"\nfix: {finding.fix}", style=_LOOK[finding.state])
        table.add_row(Text(finding.state, style=_LOOK[finding.state]), f"{finding.area}: {finding.name}", words)
    console = console or Console()
    console.print(table)
    console.print(summary(findings), markup=False)


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Plain values: ``ok``, ``exit_code``, ``findings``."""
    code = exit_code(findings)
    return {"ok": not code, "exit_code": code, "findings": [asdict(finding) for finding in findings]}
