"""``mupd forecast``: chooses the calibration, and prints and keeps the forecast."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
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
from mupd.run.forecast.plan import plan_of, window_evaluations
from mupd.run.forecast.render import as_json, render, requests_of
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
        File to use; None = that of the output folder.
    no_calibrate
        Fail instead of measuring.
    recalibrate
        Measure even if the output folder has a calibration.
    calibrate_only
        Measure, write the calibration to `write` (or the output folder), and make no forecast.
    """

    jobs: int = 1
    calibration: Path | None = None
    no_calibrate: bool = False
    recalibrate: bool = False
    calibrate_only: bool = False
    write: Path | None = None
    as_json: bool = False

    def check(self) -> None:
        """Refuse options that exclude each other.

        Raises
        ------
        InputFaults
            If there are any.
        """
        measures = self.recalibrate or self.calibrate_only
        contradiction = "it with --recalibrate or --calibrate-only"
        if self.calibration is not None and measures:
            raise InputFaults("command line", [Fault("--calibration", contradiction, "one of them")])
        if self.no_calibrate and measures:
            raise InputFaults("command line", [Fault("--no-calibrate", contradiction, "one of them")])
        if self.write is not None and not self.calibrate_only:
            raise InputFaults("command line", [Fault("--write", "it alone", "--calibrate-only with it")])


def _model(config: Config) -> tuple[str, str]:
    """Id and SHA-256 of the configured model."""
    from mupd.model.pipeline import MuPDPipeline

    pipeline = MuPDPipeline.from_pretrained(config.model)
    return pipeline.model_id, pipeline.sha256


def _calibrate(config: Config, path: Path) -> Calibration:
    """Measure this machine and write the result to `path`; shows a progress bar if standard error is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("calibrate"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("start", total=EXPECTED_MEASUREMENTS)
        calibration = calibrate(config, lambda label: bar.update(task, advance=1, description=label))
    write_calibration(path, calibration)
    return calibration


def _calibration_of(config: Config, model: tuple[str, str], options: Options) -> Calibration:
    """The named calibration, that of the output folder if it fits this run and machine, or a new one.

    Raises
    ------
    InputFaults
        If the file cannot be used and a new calibration is not allowed.
    MupdError
        If the calibration is of another model, or none exists and a new one is not allowed.
    """
    path = options.calibration or config.out / CALIBRATION_FILE
    may_calibrate = options.calibration is None and not options.no_calibrate
    if not may_calibrate:
        if options.calibration is None and not path.is_file():
            raise MupdError(
                f"--no-calibrate: {path} is not there; run `mupd forecast` without it, or name a file by --calibration"
            )
        calibration = read_calibration(path)
        refuse_other_model(differences(calibration, config, model, this_machine()), path)
        return calibration
    if path.is_file() and not options.recalibrate:
        try:
            calibration = read_calibration(path)
            if not differences(calibration, config, model, this_machine()):
                return calibration
        except InputFaults:
            pass  # of another version or damaged: it is replaced
    return _calibrate(config, path)


def run(configfile: Path, options: Options) -> None:
    """Print the forecast of a run and keep it as ``forecast.json`` under the output folder.

    Raises
    ------
    InputFaults
        If configuration, sheet, tables, options or a calibration file cannot be used; lists all problems of one.
    MupdError
        If the calibration is of another model, or cannot be made.
    """
    options.check()
    config = load_config(configfile)
    if options.calibrate_only:
        path = options.write or config.out / CALIBRATION_FILE
        _calibrate(config, path)
        print(path)
        return
    sheet = read_sheet(config)
    tables = in_tables(config)
    plan = plan_of(sheet, config, tables)
    model = _model(config)
    calibration = _calibration_of(config, model, options)
    different = differences(calibration, config, model, this_machine())
    forecast = forecast_of(plan, config, calibration, window_evaluations(config), options.jobs)
    kept = write_forecast(config.out, as_file(forecast, config))
    requests = requests_of(sheet, config, tables)
    if options.as_json:
        print(json.dumps(as_json(forecast, different, requests), indent=2, ensure_ascii=False))
    else:
        render(forecast, different, requests)
        print(f"kept as     {kept}")
