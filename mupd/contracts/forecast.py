"""``forecast.json`` under the output folder: what a run was forecast to take, for the report to set beside it."""

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
    """One stage over all its jobs, one a shard.

    Attributes
    ----------
    wall_s
        Of all jobs, one after the other; `longest_s` of the longest.
    cpu_s
        User and system time over all cores.
    peak_mb
        Most memory of a job.
    """

    jobs: int
    wall_s: float
    longest_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class ForecastFile:
    """The figures that a run can be held against; `calibrated` says on what and when."""

    made: str
    calibrated: str
    config: str
    cases: int
    stages: dict[str, StageFigures]
    store_bytes: int
    artifact_bytes: int
    artifacts: int


def config_digest(config: Config) -> str:
    """Short hash of what a forecast depends on in a configuration."""
    return config.digest(*_SECTIONS)


def write_forecast(out: Path, forecast: ForecastFile) -> Path:
    """Write it, atomically; returns the path."""
    path = Layout(out).forecast
    write_json(path, asdict(forecast))
    return path


def read_forecast(out: Path) -> ForecastFile | None:
    """The forecast that was made for an output folder, None if there was none.

    Raises
    ------
    MupdError
        If the file is there and is no forecast.
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
