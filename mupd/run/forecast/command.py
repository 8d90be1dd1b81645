"""``mupd forecast``: which calibration is used, and what is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mupd.config import Config, load_config
from mupd.contracts.forecast import write_forecast
from mupd.errors import Fault, InputFaults, MupdError
from mupd.run.forecast.calibrate import EXPECTED_MEASUREMENTS, calibrate
from mupd.run.forecast.calibration import (
    Calibration,
    differences,
    read_calibration,
    refuse_other_model,
    this_machine,
    write_calibration,
)
from mupd.run.forecast.estimate import as_file, forecast_of
from mupd.run.forecast.plan import plan_of
from mupd.run.forecast.render import as_json, asked_for, render
from mupd.run.forecast.units import window_evaluations
from mupd.run.table_ids import in_tables
from mupd.sheet import read_sheet

CACHE = "calibration.json"
"""Under the output folder: the calibration of the machine that asked last."""


def _model(config: Config) -> tuple[str, str]:
    """Id and SHA-256 of the configured model."""
    from mupd.model.pipeline import MuPDPipeline

    pipeline = MuPDPipeline.from_pretrained(config.model)
    return pipeline.model_id, pipeline.sha256


def calibrated(config: Config) -> Calibration:
    """Calibrate, behind a progress bar where standard error is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("calibrate"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("start", total=EXPECTED_MEASUREMENTS)
        return calibrate(config, lambda words: bar.update(task, advance=1, description=words))


def _cached(config: Config, model: tuple[str, str], may_calibrate: bool, again: bool) -> Calibration:
    """The output folder's calibration; made now if there is none that speaks for this run on this machine.

    Raises
    ------
    MupdError
        If there is none, or it differs, and calibrating is not allowed.
    """
    path = config.out / CACHE
    if path.is_file() and not again:
        try:
            found = read_calibration(path)
        except InputFaults:
            if not may_calibrate:
                raise
        else:
            different = differences(found, config, model, this_machine())
            if not different:
                return found
            if not may_calibrate:
                refuse_other_model(different, path)
                return found
    if not may_calibrate:
        found_words = f"{path} is not there"
        raise MupdError(
            f"--no-calibrate: {found_words}; run `mupd forecast` without it, or name one with --calibration"
        )
    made = calibrated(config)
    write_calibration(path, made)
    return made


def _contradiction(calibration: Path | None, no_calibrate: bool, recalibrate: bool, only: bool) -> Fault | None:
    if calibration is not None and (recalibrate or only):
        return Fault("--calibration", "it with --recalibrate or --calibrate-only", "one of them")
    if no_calibrate and (recalibrate or only):
        return Fault("--no-calibrate", "it with --recalibrate or --calibrate-only", "one of them")
    return None


def run(
    configfile: Path,
    *,
    jobs: int,
    calibration: Path | None,
    no_calibrate: bool,
    recalibrate: bool,
    calibrate_only: bool,
    write: Path | None,
    json_wanted: bool,
) -> None:
    """Print the forecast of a run and keep it as ``forecast.json`` under the output folder.

    Raises
    ------
    InputFaults
        If configuration, sheet, tables, options or a calibration file cannot be used; all faults of one at once.
    MupdError
        If the calibration is of another model, or cannot be made.
    """
    if fault := _contradiction(calibration, no_calibrate, recalibrate, calibrate_only):
        raise InputFaults("command line", [fault])
    if write is not None and not calibrate_only:
        raise InputFaults("command line", [Fault("--write", "it alone", "--calibrate-only with it")])
    config = load_config(configfile)
    if calibrate_only:
        path = write or config.out / CACHE
        write_calibration(path, calibrated(config))
        print(path)
        return
    sheet = read_sheet(config)
    tables = in_tables(config)
    plan = plan_of(sheet, config, tables)
    model = _model(config)
    if calibration is not None:
        used = read_calibration(calibration)
        refuse_other_model(differences(used, config, model, this_machine()), calibration)
    else:
        used = _cached(config, model, not no_calibrate, recalibrate)
    different = differences(used, config, model, this_machine())
    forecast = forecast_of(plan, config, used, window_evaluations(config), jobs)
    kept = write_forecast(config.out, as_file(forecast, plan, config, used))
    asked = asked_for(sheet, config, tables)
    if json_wanted:
        print(json.dumps(as_json(forecast, plan, used, different, asked), indent=2, ensure_ascii=False))
    else:
        render(forecast, plan, used, different, asked)
        print(f"kept as     {kept}")
