"""Measured costs: a linear model of each stage's time, and the file that keeps it with the machine and the model."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

import mupd
from mupd.base.files import write_json
from mupd.config import Config
from mupd.contracts.layout import STAGES
from mupd.errors import Fault, InputFaults, MupdError

FORM = 3
"""Version of the file. Raise it if its keys change, or what is measured."""

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Cost:
    """Seconds: wall time, and CPU time (user and system, over all cores)."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def times(self, count: float) -> Cost:
        """The cost of `count` of these."""
        return Cost(self.wall_s * count, self.cpu_s * count)


@dataclass(frozen=True)
class Measurement:
    """Cost of a known number of units; `peak_mb` is the peak memory of the process up to its end."""

    units: dict[str, float]
    cost: Cost
    peak_mb: float = 0.0


def cost_of(units: Mapping[str, float], costs: Mapping[str, Cost]) -> Cost:
    """Sum of the costs of units. A unit that `costs` lacks costs nothing."""
    return sum((costs[unit].times(count) for unit, count in units.items() if unit in costs), Cost())


def amounts_per_unit(rows: Sequence[Mapping[str, float]], amounts: Sequence[float]) -> dict[str, float]:
    """Amount per unit by non-negative least squares of the relative errors.

    Parameters
    ----------
    rows
        {unit: count} of each measurement.
    amounts
        What each measurement took in all, e.g. seconds or bytes.

    Raises
    ------
    MupdError
        If there are fewer measurements than units.
    """
    import numpy as np
    from scipy.optimize import nnls

    units = sorted({unit for row in rows for unit, count in row.items() if count})
    if len(rows) < len(units):
        raise MupdError(f"calibration: found {len(rows)} measurements; expected one for each of {units}")
    # Each equation is divided by its result: short measurements then count as much as long ones.
    scale = np.array([1.0 / max(amount, 1e-3) for amount in amounts])
    matrix = np.array([[row.get(unit, 0.0) for unit in units] for row in rows]) * scale[:, None]
    # nnls stops at an absolute tolerance: bring all columns to the same norm.
    norms = np.linalg.norm(matrix, axis=0)
    solution, _ = nnls(matrix / norms, np.array(amounts) * scale)
    return dict(zip(units, map(float, solution / norms), strict=True))


def fit(measurements: Sequence[Measurement]) -> dict[str, Cost]:
    """Cost of each unit (:func:`amounts_per_unit`)."""
    rows = [measurement.units for measurement in measurements]
    wall = amounts_per_unit(rows, [measurement.cost.wall_s for measurement in measurements])
    cpu = amounts_per_unit(rows, [measurement.cost.cpu_s for measurement in measurements])
    return {unit: Cost(wall[unit], cpu[unit]) for unit in wall}


def this_machine() -> str:
    """Host name, number of cores and processor."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux, or no such line: platform's name of the processor stays
    return f"{platform.node()}, {os.cpu_count() or 1} cores of {processor or 'unknown processor'}"


def settings_of(config: Config, model: tuple[str, str]) -> dict[str, Setting]:
    """The model (id and SHA-256) and the settings that costs depend on."""
    sampler, slide = config.sampler, config.slide
    return {
        "model_id": model[0],
        "model_sha256": model[1],
        "sampler.solver": sampler.solver,
        "sampler.batch_size": sampler.batch_size,
        "sampler.device": sampler.device,
        "sampler.compile": sampler.compile,
        "slide.mpp": slide.mpp,
        "slide.codec": slide.codec,
        "slide.watermark": slide.watermark,
    }


@dataclass(frozen=True)
class Calibration:
    """Measured costs of one model on one machine.

    Attributes
    ----------
    made
        Date and time, ISO 8601, UTC.
    settings
        :func:`settings_of` the configuration.
    gpu
        Name of the GPU, "" = the model ran on the CPU; `gpu_peak_mb` is its peak memory.
    costs
        {stage: {unit: cost}}.
    peak_mb
        {stage: peak memory of its process}, with generated slides of :data:`mupd.run.forecast.specimens.LARGE_PX`.
    bytes
        {``store`` or ``artifacts``: {unit of a draw, or ``he_mpix``: bytes}}.
    """

    form: int
    made: str
    mupd_version: str
    machine: str
    settings: dict[str, Setting]
    gpu: str
    gpu_peak_mb: float
    costs: dict[str, dict[str, Cost]]
    peak_mb: dict[str, float]
    bytes: dict[str, dict[str, float]]

    @property
    def place(self) -> str:
        """The machine, and the GPU if the model ran on one."""
        return f"{self.machine}, {self.gpu}" if self.gpu else self.machine


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write it as JSON, atomically."""
    write_json(path, asdict(calibration))


def read_calibration(path: Path) -> Calibration:
    """Read what :func:`write_calibration` wrote.

    Raises
    ------
    InputFaults
        If the file is missing, is not a calibration, or is of another version.
    """
    expected = "a file written by `mupd forecast --measure FILE` of this version"

    def fault(problem: str) -> InputFaults:
        return InputFaults("calibration", [Fault(str(path), problem, expected)])

    try:
        calibration = TypeAdapter(Calibration).validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise fault("no such file") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise fault(f"{key}: {first['msg']}" if key else first["msg"]) from error
    except OSError as error:
        raise fault(str(error)) from error
    if calibration.form != FORM:
        raise fault(f"form {calibration.form}, not {FORM}")
    costs, peaks = calibration.costs, calibration.peak_mb
    if missing := [stage for stage in STAGES if "job" not in costs.get(stage, {}) or stage not in peaks]:
        raise fault(f"no figures of {', '.join(missing)}")
    return calibration


def differences(calibration: Calibration, settings: Mapping[str, Setting], machine: str) -> dict[str, str]:
    """How a calibration differs from a run with these settings (:func:`settings_of`) on a machine: {name: sentence}."""
    different = {
        name: f"calibrated with {_short(calibration.settings.get(name))}, the run has {_short(value)}"
        for name, value in settings.items()
        if calibration.settings.get(name) != value
    }
    if calibration.mupd_version != mupd.__version__:
        different["version"] = f"calibrated with mupd {calibration.mupd_version}, this is {mupd.__version__}"
    if calibration.machine != machine:
        different["machine"] = f"calibrated on {calibration.machine}; this is {machine}"
    return different


def _short(value: Setting) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else repr(value)


def refuse_other_model(different: Mapping[str, str], path: Path) -> None:
    """Refuse a calibration of another model.

    Raises
    ------
    MupdError
        If `different` (:func:`differences`) names the model's id or weights.
    """
    if sentences := [f"{name}: {different[name]}" for name in ("model_id", "model_sha256") if name in different]:
        listed = "; ".join(sentences)
        raise MupdError(f"calibration {path}: made for another model ({listed}); calibrate again with this one")
