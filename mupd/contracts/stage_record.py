"""When a stage ran on a shard, by which engine, and what it used. The stage itself writes it, also without Snakemake.

``stages/STAGE/SHARD.json`` under the output folder. A record holds the hash of the output that it describes. If
somebody has written the output again by other means, the record no longer applies.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from mupd import __version__
from mupd.base.files import sha256_file, write_json
from mupd.base.ids import shard_name
from mupd.base.usage import usage_now
from mupd.config import Config
from mupd.contracts.layout import Layout
from mupd.errors import MupdError

ENGINE_VARIABLE = "MUPD_ENGINE"
"""Set by the workflow to its name and version. Commands run by hand have no engine."""


def now() -> str:
    """The present time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class StageRecord:
    """One run of one stage on one shard. Times are in UTC, ISO 8601; `output` is relative to the output folder.

    `seconds`, `cpu_seconds` and `peak_mb` are those of :class:`mupd.base.usage.Usage`, from the start of the process.
    """

    stage: str
    shard: int
    started: str
    ended: str
    mupd_version: str
    engine: str
    output: str
    output_sha256: str
    seconds: float
    cpu_seconds: float
    peak_mb: float


def record_path(out: Path, stage: str, shard: int) -> Path:
    """Path of the record of a stage on a shard."""
    return Layout(out).stage_record(stage, shard_name(shard))


def recorded(stage: str, run_shard: Callable[[Config, int], Path], config: Config, shard: int) -> Path:
    """Run a stage on a shard and write its record; returns the path of the stage's output."""
    started = now()
    output = run_shard(config, shard)
    used = usage_now()
    record = StageRecord(
        stage=stage,
        shard=shard,
        started=started,
        ended=now(),
        mupd_version=__version__,
        engine=os.environ.get(ENGINE_VARIABLE, ""),
        output=output.relative_to(config.out).as_posix(),
        output_sha256=sha256_file(output),
        seconds=used.seconds,
        cpu_seconds=used.cpu_seconds,
        peak_mb=used.peak_mb,
    )
    write_json(record_path(config.out, stage, shard), asdict(record))
    return output


def read_record(out: Path, stage: str, shard: int) -> StageRecord | None:
    """The record of the run that wrote the present output; None if there is none.

    Raises
    ------
    MupdError
        If the file is not a stage record.
    """
    path = record_path(out, stage, shard)
    try:
        record = StageRecord(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise MupdError(f"{path}: found {error}; expected the record of a stage") from error
    output = out / record.output
    return record if output.is_file() and sha256_file(output) == record.output_sha256 else None
