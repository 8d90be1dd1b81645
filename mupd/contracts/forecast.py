"""``forecast.json`` under the output folder: what a run was forecast to take. The report compares it with the run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mupd.base.files import write_json
from mupd.config import Config
from mupd.contracts.layout import Layout
from mupd.errors import MupdError

_SECTIONS = ("cases", "tables", "model", "shards", "draws", "slide", "sampler", "stains")


@dataclass(frozen=True)
class StageFigures:
    """One stage over all its jobs, one per shard.

    Attributes
    ----------
    wall_s
        Wall time of all jobs together; `longest_s` that of the longest.
    cpu_s
        User and system time over all cores.
    peak_mb
        Peak memory of a job.
    """

    jobs: int
    wall_s: float
    longest_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class ForecastFile:
    """The figures that a run is compared with; `calibrated` names the hardware and date of the calibration."""

    made: str
    calibrated: str
    config: str
    cases: int
    stages: dict[str, StageFigures]
    store_bytes: int
    artifact_bytes: int


def time(seconds: float) -> str:
    """E.g. ``12.0 s``, ``3.4 min``, ``7.20 h``, ``41.0 d``."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.2f} h" if seconds < 4 * 86400 else f"{seconds / 86400:.1f} d"


def size(count: float) -> str:
    """E.g. ``12.3 MB``, ``4.50 GB``, ``1.20 TB``."""
    for unit, bytes_per_unit in (("TB", 1e12), ("GB", 1e9)):
        if count >= bytes_per_unit:
            return f"{count / bytes_per_unit:,.2f} {unit}"
    return f"{count / 1e6:,.1f} MB"


def config_digest(config: Config) -> str:
    """Short hash of the sections that a forecast depends on."""
    return config.digest(*_SECTIONS)


def write_forecast(out: Path, forecast: ForecastFile) -> Path:
    """Write it, atomically; returns the path."""
    path = Layout(out).forecast
    write_json(path, asdict(forecast))
    return path


def read_forecast(out: Path) -> ForecastFile | None:
    """The forecast of an output folder; None if there is none.

    Raises
    ------
    MupdError
        If the file is not a forecast.
    """
    path = Layout(out).forecast
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        stages = {name: StageFigures(**figures) for name, figures in values["stages"].items()}
        return ForecastFile(**(values | {"stages": stages}))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise MupdError(
            f"{path}: found {type(error).__name__}: {error}; expected what `mupd forecast` writes: make it again or "
            "remove it"
        ) from error
