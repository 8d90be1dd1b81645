"""What a calibration found, as a file: costs by stage and unit, memory, bytes; and whether it speaks for a run."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mupd
from mupd.base.files import write_json
from mupd.config import Config
from mupd.contracts.layout import STAGES
from mupd.errors import Fault, InputFaults, MupdError
from mupd.run.forecast.fit import Cost

FORM = 1
"""Raised when the file changes its form, or what is measured changes."""

_OF_MODEL = ("model_id", "model_sha256")


@dataclass(frozen=True)
class Machine:
    """Where a calibration ran."""

    host: str
    processor: str
    cores: int
    system: str


def this_machine() -> Machine:
    """The machine that this process is on."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # another system than Linux: its own word for the processor stands
    return Machine(platform.node(), processor, os.cpu_count() or 1, platform.system())


def setup_of(config: Config) -> dict[str, Any]:
    """What costs depend on beside the model and the machine: a calibration is made for these."""
    sampler, slide = config.sampler, config.slide
    return {
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
        When, ISO 8601, UTC.
    load
        Processes that wanted a processor in its last minute, divided by cores: over 1 wall times are too long.
    facts
        ``model_id``, ``model_sha256``, ``device``, ``gpu``, ``gpu_peak_mb``, ``torch``.
    setup
        :func:`setup_of` the configuration.
    costs
        {stage: {unit: cost}}.
    peak_mb
        {stage: most memory of its process}, with generated slides of :data:`mupd.run.forecast.specimens.LARGE_PX`.
    bytes
        {``store`` or ``artifacts``: {kind of draw, or ``he_mpix``: bytes}}.
    """

    form: int
    made: str
    mupd_version: str
    seconds: float
    load: float
    machine: Machine
    facts: dict[str, Any]
    setup: dict[str, Any]
    costs: dict[str, dict[str, Cost]]
    peak_mb: dict[str, float]
    bytes: dict[str, dict[str, float]]

    @property
    def on_gpu(self) -> bool:
        """Whether the model ran on a GPU."""
        return bool(self.facts.get("gpu"))

    @property
    def hardware(self) -> str:
        """What the model ran on, in words: ``NVIDIA H100`` or ``2 cores of Xeon``."""
        if self.on_gpu:
            return str(self.facts["gpu"])
        return f"{self.machine.cores} cores of {self.machine.processor or 'unknown kind'}"

    @property
    def where(self) -> str:
        """The same with the machine's name."""
        return f"{self.machine.host}, {self.hardware}"


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write it as JSON, atomically."""
    write_json(path, asdict(calibration))


def _wrong(path: Path, found: str) -> InputFaults:
    expected = "a file written by `mupd forecast --calibrate-only --write FILE` of this version"
    return InputFaults("calibration", [Fault(str(path), found, expected)])


def read_calibration(path: Path) -> Calibration:
    """Read what :func:`write_calibration` wrote.

    Raises
    ------
    InputFaults
        If it is not there or is another file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _wrong(path, "no such file") from error
    except (OSError, ValueError) as error:
        raise _wrong(path, str(error).splitlines()[0]) from error
    if not isinstance(values, dict) or values.get("form") != FORM:
        found = values.get("form") if isinstance(values, dict) else type(values).__name__
        raise _wrong(path, f"form {found!r}, not {FORM}")
    try:
        costs = {
            stage: {unit: Cost(float(cost["wall_s"]), float(cost["cpu_s"])) for unit, cost in units.items()}
            for stage, units in values["costs"].items()
        }
        found = Calibration(**(values | {"machine": Machine(**values["machine"]), "costs": costs}))
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise _wrong(path, f"{type(error).__name__}: {error}") from error
    if absent := [stage for stage in STAGES if "job" not in found.costs.get(stage, {}) or stage not in found.peak_mb]:
        raise _wrong(path, f"no figures of {', '.join(absent)}")
    return found


def differences(calibration: Calibration, config: Config, model: tuple[str, str], here: Machine) -> dict[str, str]:
    """What a calibration was made with that a run on this machine would not have: {name: words}.

    Parameters
    ----------
    model
        Id and SHA-256 of the configured model.
    """
    found: dict[str, str] = {}
    for name, expected in zip(_OF_MODEL, model, strict=True):
        if (value := calibration.facts.get(name)) != expected:
            found[name] = f"calibrated with {_short(value)}, the run has {_short(expected)}"
    for name, expected in setup_of(config).items():
        if (value := calibration.setup.get(name)) != expected:
            found[name] = f"calibrated with {value!r}, the run has {expected!r}"
    if calibration.mupd_version != mupd.__version__:
        found["version"] = f"calibrated with mupd {calibration.mupd_version}, this is {mupd.__version__}"
    if calibration.machine != here:
        found["machine"] = f"calibrated on {calibration.where}, this is {here.host}, {here.cores} cores"
    return found


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else repr(value)


def refuse_other_model(different: dict[str, str], path: Path) -> None:
    """A calibration of another model says nothing of this one.

    Raises
    ------
    MupdError
        If its id or its weights are another's.
    """
    if words := [f"{name}: {different[name]}" for name in _OF_MODEL if name in different]:
        listed = "; ".join(words)
        raise MupdError(f"calibration {path}: of another model ({listed}); calibrate again with this one")
