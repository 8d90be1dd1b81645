"""For the report: what `mupd forecast` estimated beside what the stages took."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mupd.base.ids import MODALITIES
from mupd.config import Config
from mupd.contracts.forecast import StageFigures, config_digest, read_forecast, size, time
from mupd.contracts.layout import Layout
from mupd.contracts.stage_record import StageRecord, read_record
from mupd.sheet import cases_by_shard, read_sheet
from mupd.stages.cohort.join_shards import CohortCase

_STAGES = ("intake", "generate", "check", "export")


def _row(stage: str, quantity: str, forecast: float, actual: float, in_words: Callable[[float], str]) -> dict[str, Any]:
    """A row of the table; `ratio` is actual over forecast, None if the forecast is 0."""
    ratio = actual / forecast if forecast > 0 else None
    return {
        "stage": stage,
        "quantity": quantity,
        "forecast": in_words(forecast),
        "actual": in_words(actual),
        "ratio": ratio,
    }


def _stage_rows(stage: str, figures: StageFigures, records: Sequence[StageRecord]) -> list[dict[str, Any]]:
    wall = sum(record.seconds for record in records)
    cpu = sum(record.cpu_seconds for record in records)
    peak = max(record.peak_mb for record in records)
    return [
        _row(stage, "wall time of all jobs", figures.wall_s, wall, time),
        _row(stage, "CPU time", figures.cpu_s, cpu, time),
        _row(stage, "peak memory of a job", figures.peak_mb * 1e6, peak * 1e6, size),
    ]


def _bytes(paths: Iterable[Path]) -> int:
    files = (file for path in paths for file in (path.rglob("*") if path.is_dir() else (path,)))
    return sum(file.stat().st_size for file in files if file.is_file())


def _kept_before(cases: Sequence[CohortCase], began: str) -> int:
    """Draws from before the stage's last run, which took no time in it."""
    metas = (draw.meta for case in cases for m in MODALITIES for draw in case.parts[m].draws)
    return sum(meta is not None and meta.created < began for meta in metas)


def view(cases: Sequence[CohortCase], config: Config) -> dict[str, Any] | None:
    """Values for the report's template; None if no forecast was made.

    Raises
    ------
    MupdError
        If ``forecast.json`` or the record of a stage cannot be read.
    """
    forecast = read_forecast(config.out)
    if forecast is None:
        return None
    shards = list(cases_by_shard(read_sheet(config, check_files=False), config.shards))
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    if forecast.config != config_digest(config):
        notes.append("The forecast was made for another configuration: its figures are not those of this run.")
    if forecast.cases != len(cases):
        notes.append(f"The forecast was made for {forecast.cases:,} cases, the run has {len(cases):,}.")
    for stage in _STAGES:
        if stage not in forecast.stages:
            continue
        shard_records = (read_record(config.out, stage, shard) for shard in shards)
        records = [record for record in shard_records if record is not None]
        if not records:
            notes.append(f"{stage}: no figures, since its jobs left no records.")
            continue
        rows += _stage_rows(stage, forecast.stages[stage], records)
        if len(records) < len(shards):
            notes.append(f"{stage}: {len(records):,} of {len(shards):,} jobs left records; the others are not counted.")
        if stage == "generate" and (kept := _kept_before(cases, min(record.started for record in records))):
            notes.append(f"generate: {kept:,} draws are from an earlier run and took no time in this one.")
    draws = (draw for case in cases for m in MODALITIES for draw in case.parts[m].draws if draw.meta is not None)
    store = _bytes({config.out / draw.folder for draw in draws if draw.folder})
    rows.append(_row("disk", "store", forecast.store_bytes, store, size))
    rows.append(_row("disk", "artifacts", forecast.artifact_bytes, _bytes([Layout(config.out).artifacts]), size))
    return {"rows": rows, "notes": notes, "made": forecast.made, "calibrated": forecast.calibrated}
