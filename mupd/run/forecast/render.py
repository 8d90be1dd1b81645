"""A forecast for people, as tables, and for programs, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from mupd.config import Config
from mupd.contracts.layout import STAGES, Stage
from mupd.run.forecast.calibration import Calibration
from mupd.run.forecast.estimate import Forecast
from mupd.run.forecast.plan import Plan
from mupd.run.job_resources import mem_mb, runtime_min
from mupd.run.table_ids import TableIds
from mupd.sheet import Sheet, cases_by_shard


def hours(seconds: float) -> str:
    """E.g. ``12 s``, ``3.4 min``, ``7.2 h``, ``41 d``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 4 * 86400 else f"{seconds / 86400:.1f} d"


def size(count: float) -> str:
    """E.g. ``12.3 MB``, ``4.5 GB``, ``1.2 TB``."""
    for unit, bytes_ in (("TB", 1e12), ("GB", 1e9)):
        if count >= bytes_:
            return f"{count / bytes_:,.1f} {unit}"
    return f"{count / 1e6:,.1f} MB"


def asked_for(sheet: Sheet, config: Config, tables: TableIds) -> dict[Stage, dict[str, int]]:
    """{stage: memory and longest run time that its jobs ask a cluster for, at the first attempt}."""
    shards = list(cases_by_shard(sheet, config.shards).values())
    found: dict[Stage, dict[str, int]] = {}
    for stage in STAGES:
        groups = [list(sheet.cases)] if stage == "cohort" else shards
        minutes = max(runtime_min(stage, cases, config, 1, tables) for cases in groups)
        found[stage] = {"mem_mb": mem_mb(stage, config, 1), "runtime_min": minutes}
    return found


def counted_from(plan: Plan) -> str:
    """Where the tasks are counted from, in words."""
    known = sum(shard.known for shard in plan.shards)
    if known == len(plan.shards):
        return "the inventories of a finished intake"
    if not known:
        return "the sheet alone: intake has not run"
    return f"the inventories of {known:,} of {len(plan.shards):,} shards, the sheet for the others"


def as_json(
    forecast: Forecast,
    plan: Plan,
    calibration: Calibration,
    different: dict[str, str],
    asked: dict[Stage, dict[str, int]],
) -> dict[str, Any]:
    """Plain values; seconds, bytes and megabytes in the names."""
    return {
        "cases": sum(shard.cases for shard in plan.shards),
        "shards": len(plan.shards),
        "counted_from": counted_from(plan),
        "tasks": plan.tasks,
        "draws": plan.draws,
        "slide_windows": forecast.window_evaluations,
        "tiles_per_slide": plan.tiles,
        "evaluations_per_draw": plan.evaluations,
        "gpu_hours": None if forecast.gpu_s is None else forecast.gpu_s / 3600,
        "cpu_hours": forecast.cpu_s / 3600,
        "jobs": forecast.jobs,
        "wall_hours": forecast.wall_s / 3600,
        "store_bytes": forecast.store_bytes,
        "artifact_bytes": forecast.artifact_bytes,
        "artifacts": forecast.artifacts,
        "stages": {stage: asdict(figures) | {"asked": asked[stage]} for stage, figures in forecast.stages.items()},
        "calibration": {
            "made": calibration.made,
            "where": calibration.where,
            "on_gpu": calibration.on_gpu,
            "gpu_peak_mb": calibration.facts.get("gpu_peak_mb"),
            "model_id": calibration.facts.get("model_id"),
            "model_sha256": calibration.facts.get("model_sha256"),
            "load": calibration.load,
            "differs": different,
        },
        "notes": list(forecast.notes),
    }


def _tasks(plan: Plan) -> Table:
    table = Table(title="tasks")
    table.add_column("task")
    table.add_column("cases", justify="right")
    for task, cases in sorted(plan.tasks.items()):
        table.add_row(task.replace("->", " -> ").replace("+", " + "), f"{cases:,}")
    return table


def _stages(forecast: Forecast, asked: dict[Stage, dict[str, int]]) -> Table:
    table = Table(title="jobs")
    table.add_column("stage")
    for name in ("jobs", "longest", "all in turn", "CPU time", "memory a job", "asks for"):
        table.add_column(name, justify="right")
    for stage, figures in forecast.stages.items():
        wanted = asked[stage]
        table.add_row(
            stage,
            f"{figures.jobs:,}",
            hours(figures.longest_s),
            hours(figures.wall_s),
            hours(figures.cpu_s),
            size(figures.peak_mb * 1e6),
            f"{size(wanted['mem_mb'] * 1e6)}, {wanted['runtime_min']:,} min",
        )
    return table


def render(
    forecast: Forecast,
    plan: Plan,
    calibration: Calibration,
    different: dict[str, str],
    asked: dict[Stage, dict[str, int]],
    console: Console | None = None,
) -> None:
    """Print it as tables and sentences, on standard output unless another console is given."""
    console = console or Console()

    def say(words: str) -> None:
        console.print(words, markup=False, highlight=False)

    cases = sum(shard.cases for shard in plan.shards)
    say(f"{cases:,} cases in {len(plan.shards):,} shards, counted from {counted_from(plan)}.")
    console.print(_tasks(plan))
    draws = ", ".join(f"{count:,} {target}" for target, count in plan.draws.items() if count) or "none"
    say(f"draws       {draws}")
    if forecast.window_evaluations:
        say(
            f"slides      {forecast.window_evaluations:,} windows through the network: {plan.draws['he']:,} draws of "
            f"about {plan.tiles:,} tiles x {plan.evaluations:,} evaluations"
        )
    console.print(_stages(forecast, asked))
    if forecast.gpu_s is not None:
        say(f"GPU-hours   {forecast.gpu_s / 3600:,.2f} (jobs that hold a GPU)")
    say(f"CPU-hours   {forecast.cpu_s / 3600:,.2f}")
    say(f"wall time   {hours(forecast.wall_s)} with {forecast.jobs:,} jobs at a time")
    say(f"disk        {size(forecast.store_bytes)} in the store, {size(forecast.artifact_bytes)} of artifacts")
    say(f"artifacts   {forecast.artifacts:,}, if every draw is accepted")
    if calibration.facts.get("gpu_peak_mb"):
        say(f"GPU memory  {size(calibration.facts['gpu_peak_mb'] * 1e6)}, measured with slides of one megapixel")
    say(f"calibrated  on {calibration.where}, {calibration.made}, {calibration.facts['model_id']}")
    for name, words in different.items():
        say(f"differs     {name}: {words}")
    for note in forecast.notes:
        say(f"note        {note}")
