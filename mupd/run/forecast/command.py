"""``mupd forecast``: chooses the calibration, and prints and keeps the forecast."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mupd.config import Config, load_config
from mupd.contracts.forecast import size, time, write_forecast
from mupd.errors import Fault, InputFaults
from mupd.run.forecast.calibrate import calibrate
from mupd.run.forecast.costs import (
    Calibration,
    differences,
    read_calibration,
    refuse_other_model,
    settings_of,
    this_machine,
    write_calibration,
)
from mupd.run.forecast.estimate import RANGES, Forecast, as_file, forecast_of
from mupd.run.forecast.plan import plan_of
from mupd.run.table_ids import in_tables
from mupd.sheet import read_sheet

CALIBRATION_FILE = "calibration.json"
"""Under the output folder: the last calibration made for it."""


@dataclass(frozen=True)
class Options:
    """Options of the command line.

    Attributes
    ----------
    jobs
        Number of jobs that run at a time.
    calibration
        File to use; None = that of the output folder, made if it does not fit.
    recalibrate
        Measure even if the output folder has a calibration.
    measure
        Measure this machine, write the calibration to this file, and make no forecast.
    """

    jobs: int = 1
    calibration: Path | None = None
    recalibrate: bool = False
    measure: Path | None = None
    as_json: bool = False


def _model(config: Config) -> tuple[str, str]:
    """Id and SHA-256 of the configured model."""
    from mupd.model.pipeline import MuPDPipeline

    pipeline = MuPDPipeline.from_pretrained(config.model)
    return pipeline.model_id, pipeline.sha256


def _calibrate(config: Config, model: tuple[str, str], path: Path) -> Calibration:
    """Measure this machine and write the result to `path`; names each stage if standard error is a terminal."""
    console = Console(stderr=True)
    with console.status("calibrate") as status:
        calibration = calibrate(config, model, lambda stage: status.update(f"calibrate: {stage}"))
    write_calibration(path, calibration)
    return calibration


def _calibration_of(config: Config, model: tuple[str, str], options: Options) -> tuple[Calibration, dict[str, str]]:
    """The named calibration, that of the output folder if it fits this run and machine, or a new one.

    The second value says how it differs from this run and machine.
    """
    settings, machine = settings_of(config, model), this_machine()
    if options.calibration is not None:
        calibration = read_calibration(options.calibration)
        different = differences(calibration, settings, machine)
        refuse_other_model(different, options.calibration)
        return calibration, different
    path = config.out / CALIBRATION_FILE
    if path.is_file() and not options.recalibrate:
        try:
            calibration = read_calibration(path)
            if not differences(calibration, settings, machine):
                return calibration, {}
        except InputFaults:
            pass  # of another version or damaged: it is replaced
    return _calibrate(config, model, path), {}


def as_json(forecast: Forecast, calibration: Calibration, different: dict[str, str]) -> dict[str, Any]:
    """Plain values. Names of keys state the units."""
    return {
        "cases": forecast.plan.cases,
        "shards": len(forecast.plan.shards),
        "counted_from": forecast.plan.counted_from,
        "tasks": forecast.plan.tasks,
        "draws": forecast.plan.draws,
        **{name: value for name, value in asdict(forecast).items() if name != "plan"},
        "cpu_s": forecast.cpu_s,
        "actual_over_forecast": RANGES,
        "calibration": {
            **{name: getattr(calibration, name) for name in ("made", "machine", "gpu", "gpu_peak_mb", "settings")},
            "differs": different,
        },
    }


def _stage_table(forecast: Forecast) -> Table:
    table = Table(title="jobs")
    table.add_column("stage")
    for column in ("jobs", "longest job", "all jobs", "CPU time", "memory per job"):
        table.add_column(column, justify="right")
    for stage, figures in forecast.stages.items():
        table.add_row(
            stage,
            f"{figures.jobs:,}",
            time(figures.longest_s),
            time(figures.wall_s),
            time(figures.cpu_s),
            size(figures.peak_mb * 1e6),
        )
    return table


def lines_of(forecast: Forecast, calibration: Calibration, different: dict[str, str]) -> list[str]:
    """Totals with their range, the calibration, and notes, one line each."""
    low, high = RANGES["wall"]
    listed = ", ".join(f"{count:,} {target}" for target, count in forecast.plan.draws.items() if count) or "none"
    lines = [f"draws       {listed}"]
    if forecast.gpu_s is not None:
        lines.append(f"GPU-hours   {forecast.gpu_s / 3600:,.2f} (jobs that hold a GPU)")
        lines.append(f"GPU memory  {size(calibration.gpu_peak_mb * 1e6)}, measured with slides of one megapixel")
    lines += [
        f"CPU-hours   {forecast.cpu_s / 3600:,.2f}",
        f"wall time   {time(forecast.wall_s)} with {forecast.jobs:,} jobs at a time; "
        f"between {time(low * forecast.wall_s)} and {time(high * forecast.wall_s)}",
        f"disk        {size(forecast.store_bytes)} in the store, {size(forecast.artifact_bytes)} of artifacts",
        "range       actual / forecast in earlier runs: "
        + ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in RANGES.items()),
        f"calibrated  on {calibration.place}, {calibration.made}, {calibration.settings['model_id']}",
    ]
    lines += [f"differs     {name}: {sentence}" for name, sentence in different.items()]
    return lines + [f"note        {note}" for note in forecast.notes]


def run(configfile: Path, options: Options) -> None:
    """Print the forecast of a run and keep it as ``forecast.json`` under the output folder.

    Raises
    ------
    InputFaults
        If configuration, sheet, tables, options or a calibration file cannot be used; lists all problems of one.
    MupdError
        If the calibration is of another model, or cannot be made.
    """
    if options.calibration is not None and (options.recalibrate or options.measure):
        raise InputFaults("command line", [Fault("--calibration", "it with --recalibrate or --measure", "one of them")])
    config = load_config(configfile)
    if options.measure:
        _calibrate(config, _model(config), options.measure)
        print(options.measure)
        return
    plan = plan_of(read_sheet(config), config, in_tables(config))
    calibration, different = _calibration_of(config, _model(config), options)
    forecast = forecast_of(plan, config, calibration, options.jobs)
    path = write_forecast(config.out, as_file(forecast, config, calibration))
    if options.as_json:
        print(json.dumps(as_json(forecast, calibration, different), indent=2, ensure_ascii=False))
        return
    console = Console()
    print(f"{plan.cases:,} cases in {len(plan.shards):,} shards, counted from {plan.counted_from}.")
    tasks = Table("task", "cases", title="tasks")
    for task, cases in sorted(plan.tasks.items()):
        tasks.add_row(task.replace("->", " -> ").replace("+", " + "), f"{cases:,}")
    console.print(tasks)
    console.print(_stage_table(forecast))
    for line in lines_of(forecast, calibration, different):
        console.print(line, markup=False, highlight=False)
    print(f"kept as     {path}")
