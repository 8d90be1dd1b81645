"""A profile of Snakemake: known keys, an installed executor, and what each rule's jobs request."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from mupd.base.messages import first_line
from mupd.base.package_files import PROFILES
from mupd.config import Config
from mupd.contracts.layout import STAGES
from mupd.errors import Fault, InputFaults
from mupd.run.doctor.cluster import Asked
from mupd.run.doctor.finding import Finding
from mupd.run.job_resources import INTAKE_THREADS, gpus, mem_mb, runtime_min
from mupd.run.table_ids import TableIds
from mupd.sheet import Sheet, cases_by_shard

RULES = (*STAGES, "expect_inputs", "expect_draws", "expect_run", "settings_of_stage", "all", "train", "train_model")
LOCAL_EXECUTORS = ("local", "dryrun", "touch")
_PER_RULE = ("set-resources", "set-threads", "set-scatter", "set-resource-scopes")
_THREADS = {"intake": INTAKE_THREADS, "generate": 2}


def profile_file(name: str) -> Path:
    """The file that ``snakemake --profile NAME`` reads. NAME is a folder or a profile of this project.

    Raises
    ------
    InputFaults
        If there is no such profile.
    """
    folders = [Path(name), Path("workflow/profiles") / name, PROFILES / name]
    for folder in folders:
        for path in (folder / "config.yaml", folder / "config.v8+.yaml", folder / "config.v9+.yaml"):
            if path.is_file():
                return path
    ours = ", ".join(sorted(path.parent.name for path in PROFILES.glob("*/config.yaml")))
    raise InputFaults("profile", [Fault("--profile", repr(name), f"a folder with a config.yaml; ours are {ours}")])


def read_profile(path: Path) -> dict[str, Any]:
    """Values of a profile.

    Raises
    ------
    InputFaults
        If it is not a YAML mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = first_line(error)
        raise InputFaults(f"profile {path}", [Fault(str(path), reason, "a YAML file")]) from error
    if not isinstance(values, dict):
        raise InputFaults(f"profile {path}", [Fault(str(path), type(values).__name__, "a mapping")])
    return values


def executor_of(values: dict[str, Any]) -> str:
    """The executor of a profile; ``local`` if it names none."""
    return str(values.get("executor", "local"))


def check_plugin(executor: str) -> Finding:
    """Check that the executor's plugin is installed."""
    if executor in LOCAL_EXECUTORS:
        return Finding("profile", "executor", "PASS", f"{executor}: part of Snakemake")
    module = f"snakemake_executor_plugin_{executor.replace('-', '_')}"
    if find_spec(module):
        return Finding("profile", "executor", "PASS", f"{executor}: {module} is installed")
    package = module.replace("_", "-")
    return Finding("profile", "executor", "FAIL", f"{executor}: {package} is not installed", f"pip install {package}")


def _like(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]}?" if close else "remove it"


def check_keys(values: dict[str, Any]) -> list[Finding]:
    """Check for keys that are not options of Snakemake or its plugins, and for unknown rules."""
    from snakemake.cli import get_argument_parser

    actions = get_argument_parser()._actions
    known = sorted({option.lstrip("-") for action in actions for option in action.option_strings})
    findings = [
        Finding(
            "profile", str(key), "FAIL", "not an option of Snakemake or an installed plugin", _like(str(key), known)
        )
        for key in values
        if str(key) not in known
    ]
    for key in _PER_RULE:
        rules = values.get(key) if isinstance(values.get(key), dict) else {}
        findings += [
            Finding("profile", f"{key}: {rule}", "FAIL", "not a rule of the workflow", _like(str(rule), RULES))
            for rule in rules or {}
            if str(rule) not in RULES
        ]
    return findings or [Finding("profile", "keys", "PASS", f"{len(values)} options, all known")]


def _pairs(value: Any) -> dict[str, Any]:
    """Resources as a mapping. Profiles have a mapping, or a list of ``name=value``, e.g. ``mem_mb=4000``."""
    if isinstance(value, dict):
        return value
    parts = value if isinstance(value, list) else []
    return {name: text for name, mark, text in (str(part).partition("=") for part in parts) if mark}


def _int(value: Any, default: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default  # an expression of Snakemake: its value is unknown here


def asked_by(values: dict[str, Any], sheet: Sheet, config: Config, tables: TableIds) -> list[Asked]:
    """What the largest job of each rule requests at its first attempt.

    Parameters
    ----------
    tables
        Case ids in the cohort tables; cases of an absent table count as lacking the modality.
    """
    shards = list(cases_by_shard(sheet, config.shards).values())
    defaults, per_rule = _pairs(values.get("default-resources")), values.get("set-resources") or {}
    asked = []
    for stage in STAGES:
        of_rule = defaults | _pairs(per_rule.get(stage) if isinstance(per_rule, dict) else None)
        groups = [sheet.cases] if stage == "cohort" else shards
        minutes = max(runtime_min(stage, cases, config, 1, tables) for cases in groups)
        gpu = gpus(config) if stage == "generate" else 0
        gres = re.search(r"gpu(?::([A-Za-z][\w.-]*))?(?::(\d+))?", str(of_rule.get("gres", "")))
        gpu = _int(gres[2], 1) if gres else _int(of_rule.get("gpu"), gpu)
        model = of_rule.get("gpu_model") or (gres[1] if gres else None)
        partition = of_rule.get("slurm_partition")
        asked.append(
            Asked(
                stage,
                None if partition is None else str(partition).strip("'\""),
                _int(of_rule.get("mem_mb"), mem_mb(stage, config, 1)),
                _int(of_rule.get("runtime"), minutes),
                gpu,
                _int(of_rule.get("cpus_per_task"), _THREADS.get(stage, 1)),
                None if model is None else str(model).strip("'\""),
            )
        )
    return asked
