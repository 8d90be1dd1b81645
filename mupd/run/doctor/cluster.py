"""SLURM: its commands, its partitions, and what the jobs request of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mupd.run.doctor.finding import Finding

COMMANDS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol")
SINFO_FORMAT = "%P|%a|%l|%c|%m|%G"
"""Partition, availability, time limit, CPUs, megabytes and gres; one line per kind of node."""

_SECONDS = 20.0


@dataclass(frozen=True)
class Partition:
    """Resources of a partition.

    Attributes
    ----------
    minutes
        Longest run time; None = unlimited.
    cpus, mem_mb, gpus
        Of the largest node.
    gpu_models
        Names of GPUs in gres; empty if gres has none.
    """

    name: str
    default: bool
    up: bool
    minutes: int | None
    cpus: int
    mem_mb: int
    gpus: int
    gpu_models: frozenset[str] = frozenset()


def minutes_of(limit: str) -> int | None:
    """Minutes of a time limit as SLURM writes it (``[days-]hours:minutes:seconds``); None for ``infinite``.

    Raises
    ------
    ValueError
        If it is not a time limit.
    """
    if limit in ("infinite", "UNLIMITED", "n/a", "NOT_SET"):
        return None
    days, dash, rest = limit.partition("-") if "-" in limit else ("0", "", limit)
    parts = [int(part) for part in rest.split(":")]
    if dash:
        parts += [0] * (3 - len(parts))  # days-hours, days-hours:minutes
    elif len(parts) == 1:
        parts = [0, parts[0], 0]
    elif len(parts) == 2:
        parts = [0, *parts]
    hours, minutes, seconds = parts
    return (int(days) * 24 + hours) * 60 + minutes + (seconds > 0)


def _gpus_of(gres: str) -> tuple[int, frozenset[str]]:
    count, models = 0, set()
    for part in re.split(r",(?![^()]*\))", gres):
        if match := re.match(r"gpu(?::([A-Za-z][\w.-]*))?(?::(\d+))?(?:\(|$)", part.strip()):
            count += int(match[2] or 1)
            if match[1]:
                models.add(match[1])
    return count, frozenset(models)


def _number(text: str) -> int:
    return int(re.match(r"\d+", text)[0]) if re.match(r"\d+", text) else 0  # type: ignore[index]


def parse_sinfo(text: str) -> dict[str, Partition]:
    """Partitions by name, from the output of ``sinfo -h -o SINFO_FORMAT``. Other lines are skipped."""
    partitions: dict[str, Partition] = {}
    for line in text.splitlines():
        parts = line.strip().split("|")
        if len(parts) != 6:
            continue
        name = parts[0].rstrip("*")
        try:
            minutes = minutes_of(parts[2])
        except ValueError:
            continue
        gpus, models = _gpus_of(parts[5])
        here = Partition(
            name, "*" in parts[0], parts[1] == "up", minutes, _number(parts[3]), _number(parts[4]), gpus, models
        )
        if other := partitions.get(name):
            here = Partition(
                name,
                here.default or other.default,
                here.up or other.up,
                here.minutes,
                max(here.cpus, other.cpus),
                max(here.mem_mb, other.mem_mb),
                max(here.gpus, other.gpus),
                here.gpu_models | other.gpu_models,
            )
        partitions[name] = here
    return partitions


def _call(*command: str) -> tuple[str | None, str]:
    """Output of a command and ""; None and the reason if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"{command[0]}: {error}"
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or [f"{command[0]} exits {done.returncode}"])[-1]
    return done.stdout, ""


def read_partitions() -> tuple[dict[str, Partition] | None, str]:
    """The cluster's partitions and ""; None and the reason if SLURM does not answer."""
    text, why = _call("sinfo", "-h", "-o", SINFO_FORMAT)
    return (None, why) if text is None else (parse_sinfo(text), "")


@dataclass(frozen=True)
class Asked:
    """What the largest job of a rule requests."""

    rule: str
    partition: str | None
    mem_mb: int
    minutes: int
    gpus: int
    cpus: int = 1
    gpu_model: str | None = None


def asked_faults(asked: Asked, partitions: Mapping[str, Partition]) -> list[tuple[str, str]]:
    """What a rule's partition lacks for its jobs: pairs of problem and fix."""
    known = ", ".join(sorted(partitions)) or "none"
    if asked.partition is None:
        there = next((partition for partition in partitions.values() if partition.default), None)
        if there is None:
            return [("no partition named, and SLURM has no default one", f"set slurm_partition to one of: {known}")]
    elif asked.partition not in partitions:
        return [(f"no partition {asked.partition!r}", f"set slurm_partition of {asked.rule} to one of: {known}")]
    else:
        there = partitions[asked.partition]
    faults = []
    if not there.up:
        faults.append((f"partition {there.name} is down", "use another one, or ask the cluster's support"))
    if asked.gpus and not there.gpus:
        able = ", ".join(sorted(name for name, part in partitions.items() if part.gpus)) or "no partition has one"
        faults.append((f"partition {there.name} has no GPU in its gres", f"a partition with GPUs: {able}"))
    elif asked.gpus > there.gpus:
        words = f"{asked.gpus} GPUs a job, nodes of {there.name} have {there.gpus}"
        faults.append((words, "ask for one: generation uses one GPU a job"))
    if asked.gpu_model and there.gpus and asked.gpu_model not in there.gpu_models:
        kinds = ", ".join(sorted(there.gpu_models)) or "not named in gres: leave gpu_model out"
        faults.append((f"no GPU {asked.gpu_model!r} in {there.name}", f"its GPUs are: {kinds}"))
    if asked.mem_mb > there.mem_mb:
        words = f"{asked.mem_mb:,} MB a job, nodes of {there.name} have {there.mem_mb:,}"
        faults.append((words, "another partition, or lower intake.file_mb (intake) or the slide's size (generate)"))
    if asked.cpus > there.cpus:
        faults.append((f"{asked.cpus} CPUs a job, nodes of {there.name} have {there.cpus}", "another partition"))
    if there.minutes is not None and asked.minutes > there.minutes:
        words = f"{asked.minutes} minutes a job, {there.name} allows {there.minutes}"
        faults.append((words, "more shards (fewer cases a job), a partition with a longer limit, or set-resources"))
    return faults


def check_commands(wanted: bool) -> list[Finding]:
    """Check that SLURM's commands are on the PATH. Missing ones matter only with a SLURM profile."""
    absent = [name for name in COMMANDS if shutil.which(name) is None]
    if not absent:
        return [Finding("slurm", "commands", "PASS", ", ".join(COMMANDS))]
    words = f"not on the PATH: {', '.join(absent)}"
    if not wanted:
        return [Finding("slurm", "commands", "SKIP", f"{words}; no SLURM profile is named")]
    return [Finding("slurm", "commands", "FAIL", words, "run this on a login node of the cluster (module load slurm)")]


def check_slurm(asked: Iterable[Asked], wanted: bool) -> list[Finding]:
    """Check commands and partitions, and that the partitions have what the jobs request."""
    findings = check_commands(wanted)
    if shutil.which("sinfo") is None:
        return findings
    partitions, why = read_partitions()
    if partitions is None:
        fix = "is slurmctld up, and is this a machine of the cluster? (scontrol ping)"
        return [*findings, Finding("slurm", "partitions", "FAIL" if wanted else "SKIP", why, fix if wanted else "")]
    words = "; ".join(
        f"{part.name}{' (default)' if part.default else ''}: {part.cpus} CPUs, {part.mem_mb:,} MB, {part.gpus} GPUs"
        for part in partitions.values()
    )
    findings.append(Finding("slurm", "partitions", "PASS" if partitions else "WARN", words or "none"))
    if not wanted:
        return findings
    for one in asked:
        faults = asked_faults(one, partitions)
        where = f"jobs of {one.rule}"
        findings += [Finding("slurm", where, "FAIL", *fault) for fault in faults]
        if not faults:
            gpu = f", {one.gpus} GPU" if one.gpus else ""
            words = f"{one.partition or 'default partition'}: {one.mem_mb:,} MB, {one.minutes} min{gpu}"
            findings.append(Finding("slurm", where, "PASS", words))
    text, _ = _call("scontrol", "show", "config")
    if text is not None:
        accounting = re.search(r"^AccountingStorageType\s*=\s*(\S+)", text, re.MULTILINE)
        if accounting and accounting[1].endswith(("none", "(null)")):
            fix = "set slurm-status-command: squeue in the profile"
            findings.append(Finding("slurm", "accounting", "WARN", "no accounting database: sacct knows no job", fix))
        elif accounting:
            findings.append(Finding("slurm", "accounting", "PASS", accounting[1]))
    return findings
