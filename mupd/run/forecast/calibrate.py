"""Calibration: every stage run on specimens, each in a process of its own, and costs fitted to what that took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mupd
from mupd.base.package_files import PACKAGE_PARENT
from mupd.config import Config
from mupd.contracts.layout import STAGES, Stage
from mupd.contracts.stage_record import now
from mupd.errors import MupdError
from mupd.run.forecast.calibration import FORM, Calibration, setup_of, this_machine
from mupd.run.forecast.fit import Cost, Measurement, fit
from mupd.run.forecast.specimens import CASES_OF_PROFILES, LARGE_PX, SMALL_PX, write_specimens

EXPECTED_MEASUREMENTS = 56
"""That the probes tell: how full the progress bar is."""

_THREADS = {"generate": "2"}
"""As the workflow's rules set them."""


@dataclass
class _Found:
    measurements: dict[str, list[Measurement]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def _environment(stage: Stage) -> dict[str, str]:
    own = dict(os.environ)
    if stage in _THREADS:
        own |= {"OMP_NUM_THREADS": _THREADS[stage], "OMP_WAIT_POLICY": "PASSIVE"}
    package = str(PACKAGE_PARENT)
    own["PYTHONPATH"] = os.pathsep.join(filter(None, [package, own.get("PYTHONPATH")]))
    return own


def _probe(stage: Stage, folder: Path, found: _Found, on_measurement: Callable[[str], object]) -> None:
    """Run a stage's probe and gather what it tells.

    Raises
    ------
    MupdError
        If it fails; its last lines say why.
    """
    command = [sys.executable, "-m", "mupd.run.forecast.probe", stage, str(folder)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=_environment(stage), cwd=folder
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if not line.startswith("{"):
                    continue
                values = json.loads(line)
                if "facts" in values:
                    found.facts = values["facts"]
                    continue
                one = Measurement(values["units"], Cost(**values["cost"]), values["peak_mb"], values["label"])
                found.measurements.setdefault(stage, []).append(one)
                on_measurement(f"{stage}: {one.label}")
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code:
            errors.seek(0)
            last = [line for line in errors.read().splitlines() if line.strip()][-3:]
            raise MupdError(f"calibration: {stage} ended with exit code {code}:\n" + "\n".join(last))


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _disk(folder: Path) -> dict[str, dict[str, float]]:
    """Bytes of a draw by kind, in the store and as artifacts; of a slide what grows with its pixels apart."""
    found: dict[str, dict[str, float]] = {"store": {}, "artifacts": {}}
    places = {"store": "generated/store", "artifacts": "artifacts"}
    counts = {
        "text_draw": ("records", 1),
        "rna_slide_draw": ("profiles", CASES_OF_PROFILES),
        "rna_text_draw": ("bulk", 1),
    }
    for place, below in places.items():
        for kind, (name, cases) in counts.items():
            found[place][kind] = _kept(folder / name / "results" / below, place) / cases
        small, large = (_kept(folder / name / "results" / below, place) for name in ("small", "large"))
        more = (LARGE_PX**2 - SMALL_PX**2) / 1e6
        of_mpix = max(large - small, 0.0) / more if large else small / (SMALL_PX**2 / 1e6)
        found[place]["he_mpix"] = of_mpix
        found[place]["he_draw"] = max(small - of_mpix * SMALL_PX**2 / 1e6, 0.0)
    return found


def _kept(folder: Path, place: str) -> float:
    """Bytes of what one run leaves: of the store, in which a calibration has several draws of a task, the mean draw."""
    if place != "store":
        return float(_bytes_of(folder))
    draws = [path.parent for path in folder.rglob("meta.json")] if folder.is_dir() else []
    if not draws:
        return 0.0
    cases = {json.loads((draw / "meta.json").read_text(encoding="utf-8"))["case_id"] for draw in draws}
    return sum(map(_bytes_of, draws)) / len(draws) * len(cases)


def calibrate(config: Config, on_measurement: Callable[[str], object] = lambda _: None) -> Calibration:
    """Measure this machine with the configured model.

    Parameters
    ----------
    on_measurement
        Called with words after each of about :data:`EXPECTED_MEASUREMENTS`.

    Raises
    ------
    MupdError
        If a stage cannot run: no GPU where one is asked for, a model that does not load.
    """
    began = time.monotonic()
    found = _Found()
    with tempfile.TemporaryDirectory(prefix="mupd-calibration-") as temporary:
        folder = Path(temporary)
        write_specimens(folder, config)
        for stage in STAGES:
            _probe(stage, folder, found, on_measurement)
        disk = _disk(folder)
    costs: dict[str, dict[str, Cost]] = {stage: fit(found.measurements[stage]) for stage in STAGES}
    peaks: dict[str, float] = {stage: max(one.peak_mb for one in found.measurements[stage]) for stage in STAGES}
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] / cores if hasattr(os, "getloadavg") else 0.0
    return Calibration(
        form=FORM,
        made=now(),
        mupd_version=mupd.__version__,
        seconds=round(time.monotonic() - began, 1),
        load=round(load, 2),
        machine=this_machine(),
        facts=found.facts,
        setup=setup_of(config),
        costs=costs,
        peak_mb=peaks,
        bytes=disk,
    )
