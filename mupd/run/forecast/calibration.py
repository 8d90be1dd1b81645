"""The file of a calibration: cost per stage and unit, memory, bytes; and how it differs from a run's setup."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

import mupd
from mupd.base.files import write_json
from mupd.config import Config
from mupd.contracts.layout import STAGES
from mupd.errors import Fault, InputFaults, MupdError
from mupd.run.forecast.fit import Cost

FORM = 2
"""Version of the file. Raise it if its keys change, or what is measured."""

_MODEL_KEYS = ("model_id", "model_sha256")

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Machine:
    """Where a calibration ran."""

    host: str
    processor: str
    cores: int
    system: str


def this_machine() -> Machine:
    """The machine of this process."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # not Linux: platform's name of the processor stays
    return Machine(platform.node(), processor, os.cpu_count() or 1, platform.system())


def setup_of(config: Config) -> dict[str, Setting]:
    """Settings that costs depend on, beside the model and the machine."""
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
        Date and time, ISO 8601, UTC.
    load
        Load average of the last minute divided by cores. Above 1, measured wall times are too long.
    facts
        ``model_id``, ``model_sha256``, ``device``, ``gpu``, ``gpu_peak_mb``, ``torch``, ``one_slide_size``.
    setup
        :func:`setup_of` the configuration.
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
    seconds: float
    load: float
    machine: Machine
    facts: dict[str, Setting]
    setup: dict[str, Setting]
    costs: dict[str, dict[str, Cost]]
    peak_mb: dict[str, float]
    bytes: dict[str, dict[str, float]]

    @property
    def on_gpu(self) -> bool:
        """Whether the model ran on a GPU."""
        return bool(self.facts.get("gpu"))

    @property
    def hardware(self) -> str:
        """What the model ran on, e.g. ``NVIDIA H100`` or ``2 cores of Xeon``."""
        if self.on_gpu:
            return str(self.facts["gpu"])
        return f"{self.machine.cores} cores of {self.machine.processor or 'unknown processor'}"

    @property
    def where(self) -> str:
        """Host name and hardware."""
        return f"{self.machine.host}, {self.hardware}"


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
    expected = "a file written by `mupd forecast --calibrate-only --write FILE` of this version"

    def fault(problem: str) -> InputFaults:
        return InputFaults("calibration", [Fault(str(path), problem, expected)])

    try:
        calibration = TypeAdapter(Calibration).validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise fault("no such file") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise fault(f"{where}: {first['msg']}" if where else first["msg"]) from error
    except OSError as error:
        raise fault(str(error)) from error
    if calibration.form != FORM:
        raise fault(f"form {calibration.form}, not {FORM}")
    costs, peaks = calibration.costs, calibration.peak_mb
    if lacking := [stage for stage in STAGES if "job" not in costs.get(stage, {}) or stage not in peaks]:
        raise fault(f"no figures of {', '.join(lacking)}")
    return calibration


def differences(calibration: Calibration, config: Config, model: tuple[str, str], here: Machine) -> dict[str, str]:
    """How a calibration's setup differs from that of a run on this machine: {name: sentence}.

    Parameters
    ----------
    model
        Id and SHA-256 of the configured model.
    """
    pairs: dict[str, tuple[Setting, Setting]] = {
        name: (calibration.facts.get(name), own) for name, own in zip(_MODEL_KEYS, model, strict=True)
    }
    pairs |= {name: (calibration.setup.get(name), own) for name, own in setup_of(config).items()}
    different = {
        name: f"calibrated with {_short(theirs)}, the run has {_short(own)}"
        for name, (theirs, own) in pairs.items()
        if theirs != own
    }
    if calibration.mupd_version != mupd.__version__:
        different["version"] = f"calibrated with mupd {calibration.mupd_version}, this is {mupd.__version__}"
    if calibration.machine != here:
        different["machine"] = f"calibrated on {calibration.where}, this is {here.host}, {here.cores} cores"
    return different


def _short(value: Setting) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else repr(value)


def refuse_other_model(different: dict[str, str], path: Path) -> None:
    """Refuse a calibration of another model.

    Raises
    ------
    MupdError
        If `different` (:func:`differences`) names the model's id or weights.
    """
    if words := [f"{name}: {different[name]}" for name in _MODEL_KEYS if name in different]:
        listed = "; ".join(words)
        raise MupdError(f"calibration {path}: made for another model ({listed}); calibrate again with this one")
