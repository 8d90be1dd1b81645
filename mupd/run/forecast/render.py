"""A forecast as tables for people and as plain values for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from mupd.config import Config
from mupd.contracts.layout import STAGES, Stage
from mupd.run.forecast.estimate import Forecast
from mupd.run.forecast.plan import Plan
from mupd.run.job_resources import mem_mb, runtime_min
from mupd.run.table_ids import TableIds
from mupd.sheet import Sheet, cases_by_shard

Requests = dict[Stage, dict[str, int]]
"""{stage: ``mem_mb`` and ``runtime_min`` that its jobs request from a cluster at the first attempt}."""


def duration(seconds: float) -> str:
    """E.g. ``12 s``, ``3.4 min``, ``7.2 h``, ``41.0 d``."""
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


def requests_of(sheet: Sheet, config: Config, tables: TableIds) -> Requests:
    """What the workflow requests for the largest job of each stage."""
    shards = list(cases_by_shard(sheet, config.shards).values())
    requests: Requests = {}
    for stage in STAGES:
        groups = [list(sheet.cases)] if stage == "cohort" else shards
        minutes = max(runtime_min(stage, cases, config, 1, tables) for cases in groups)
        requests[stage] = {"mem_mb": mem_mb(stage, config, 1), "runtime_min": minutes}
    return requests


def counted_from(plan: Plan) -> str:
    """Where the tasks are counted from, in words."""
    if plan.known_shards == len(plan.shards):
        return "the inventories of a finished intake"
    if not plan.known_shards:
        return "the sheet alone: intake has not run"
    return f"the inventories of {plan.known_shards:,} of {len(plan.shards):,} shards, the sheet for the others"


def as_json(forecast: Forecast, different: dict[str, str], requests: Requests) -> dict[str, Any]:
    """Plain values. Names of keys state the units."""
    plan, calibration = forecast.plan, forecast.calibration
    return {
        "cases": plan.cases,
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
        "stages": {stage: asdict(figures) | {"asked": requests[stage]} for stage, figures in forecast.stages.items()},
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


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    """A table with all columns but the first aligned right."""
    table = Table(title=title)
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _stage_row(stage: Stage, forecast: Forecast, requests: Requests) -> tuple[str, ...]:
    figures, request = forecast.stages[stage], requests[stage]
    return (
        stage,
        f"{figures.jobs:,}",
        duration(figures.longest_s),
        duration(figures.wall_s),
        duration(figures.cpu_s),
        size(figures.peak_mb * 1e6),
        f"{size(request['mem_mb'] * 1e6)}, {request['runtime_min']:,} min",
    )


def render(forecast: Forecast, different: dict[str, str], requests: Requests, console: Console | None = None) -> None:
    """Print it as tables and sentences, to standard output unless `console` is given."""
    console = console or Console()
    plan, calibration = forecast.plan, forecast.calibration

    def say(words: str) -> None:
        console.print(words, markup=False, highlight=False)

    say(f"{plan.cases:,} cases in {len(plan.shards):,} shards, counted from {counted_from(plan)}.")
    tasks = [
        (task.replace("->", " -> ").replace("+", " + "), f"{cases:,}") for task, cases in sorted(plan.tasks.items())
    ]
    console.print(_table("tasks", ("task", "cases"), tasks))
    draws = ", ".join(f"{count:,} {target}" for target, count in plan.draws.items() if count) or "none"
    say(f"draws       {draws}")
    if forecast.window_evaluations:
        say(
            f"slides      {forecast.window_evaluations:,} windows through the network: {plan.draws['he']:,} draws of "
            f"about {plan.tiles:,} tiles x {plan.evaluations:,} evaluations"
        )
    columns = ("stage", "jobs", "longest job", "all jobs", "CPU time", "memory per job", "requests")
    console.print(_table("jobs", columns, [_stage_row(stage, forecast, requests) for stage in forecast.stages]))
    if forecast.gpu_s is not None:
        say(f"GPU-hours   {forecast.gpu_s / 3600:,.2f} (jobs that hold a GPU)")
    say(f"CPU-hours   {forecast.cpu_s / 3600:,.2f}")
    say(f"wall time   {duration(forecast.wall_s)} with {forecast.jobs:,} jobs at a time")
    say(f"disk        {size(forecast.store_bytes)} in the store, {size(forecast.artifact_bytes)} of artifacts")
    say(f"artifacts   {forecast.artifacts:,}, if every draw is accepted")
    if gpu_peak_mb := calibration.facts.get("gpu_peak_mb"):
        say(f"GPU memory  {size(float(gpu_peak_mb) * 1e6)}, measured with slides of one megapixel")
    say(f"calibrated  on {calibration.where}, {calibration.made}, {calibration.facts['model_id']}")
    for name, words in different.items():
        say(f"differs     {name}: {words}")
    for note in forecast.notes:
        say(f"note        {note}")
