"""Calibration: run every stage on specimens, each in its own process, and fit costs to what that took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mupd
from mupd.base.package_files import PACKAGE_PARENT
from mupd.config import Config
from mupd.contracts.layout import STAGES, Stage
from mupd.contracts.stage_record import now
from mupd.errors import MupdError
from mupd.run.forecast.calibration import FORM, Calibration, Setting, setup_of, this_machine
from mupd.run.forecast.fit import Cost, Measurement, amounts_per_unit, fit
from mupd.run.forecast.specimens import SPECIMENS, specimen_units, write_specimens

EXPECTED_MEASUREMENTS = 58
"""Total of the progress bar."""

_FOLDERS = {"store": "generated/store", "artifacts": "artifacts"}


def _environment(stage: Stage) -> dict[str, str]:
    environment = dict(os.environ)
    if stage == "generate":  # as the workflow's rule sets them
        environment |= {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    paths = [str(PACKAGE_PARENT), environment.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _measure(
    stage: Stage, folder: Path, on_measurement: Callable[[str], object]
) -> tuple[list[Measurement], dict[str, Setting]]:
    """Run the probe of a stage; returns its measurements and facts.

    Raises
    ------
    MupdError
        If it fails. The message has the last lines of its standard error.
    """
    command = [sys.executable, "-m", "mupd.run.forecast.probe", stage, str(folder)]
    measurements: list[Measurement] = []
    facts: dict[str, Setting] = {}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=_environment(stage), cwd=folder
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if not line.startswith("{"):
                    continue
                message = json.loads(line)
                if "facts" in message:
                    facts = message["facts"]
                    continue
                measurements.append(Measurement(**(message | {"cost": Cost(**message["cost"])})))
                on_measurement(f"{stage}: {message['label']}")
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code:
            errors.seek(0)
            last = [line for line in errors.read().splitlines() if line.strip()][-3:]
            raise MupdError(f"calibration: {stage} ended with exit code {code}:\n" + "\n".join(last))
    return measurements, facts


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _kept_bytes(folder: Path, place: str) -> float:
    """Bytes that one run keeps. The store of a calibration has several draws per task: their mean counts."""
    if place != "store":
        return float(_bytes_below(folder))
    draws = [path.parent for path in folder.rglob("meta.json")] if folder.is_dir() else []
    cases = {json.loads((draw / "meta.json").read_text(encoding="utf-8"))["case_id"] for draw in draws}
    return sum(map(_bytes_below, draws)) / max(len(draws), 1) * len(cases)


def _bytes_per_unit(folder: Path, place: str) -> dict[str, float]:
    """Bytes of a draw by kind; of slides, a part per megapixel and a part per draw."""
    rows, kept = [], []
    for specimen in SPECIMENS:
        size = _kept_bytes(folder / specimen.name / "results" / _FOLDERS[place], place) if specimen.target else 0.0
        if size:
            rows.append(specimen_units(specimen))
            kept.append(size)
    if sum("he_draw" in row for row in rows) == 1:  # one size of slides: all their bytes count by megapixel
        rows = [{unit: count for unit, count in row.items() if unit != "he_draw"} for row in rows]
    return amounts_per_unit(rows, kept)


def calibrate(config: Config, on_measurement: Callable[[str], object] = lambda _: None) -> Calibration:
    """Measure this machine with the configured model.

    Parameters
    ----------
    on_measurement
        Called with a label after each of about :data:`EXPECTED_MEASUREMENTS` measurements.

    Raises
    ------
    MupdError
        If a stage cannot run, e.g. without the requested GPU or with a model that does not load.
    """
    began = time.monotonic()
    facts: dict[str, Setting] = {}
    costs: dict[str, dict[str, Cost]] = {}
    peaks: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="mupd-calibration-") as temporary:
        folder = Path(temporary)
        write_specimens(folder, config)
        for stage in STAGES:
            measurements, stage_facts = _measure(stage, folder, on_measurement)
            facts |= stage_facts
            costs[stage] = fit(measurements)
            peaks[stage] = max(measurement.peak_mb for measurement in measurements)
        sizes = {place: _bytes_per_unit(folder, place) for place in _FOLDERS}
    load = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0
    return Calibration(
        form=FORM,
        made=now(),
        mupd_version=mupd.__version__,
        seconds=round(time.monotonic() - began, 1),
        load=round(load, 2),
        machine=this_machine(),
        facts=facts,
        setup=setup_of(config),
        costs=costs,
        peak_mb=peaks,
        bytes=sizes,
    )
