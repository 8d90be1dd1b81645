"""Makes single draws and keeps each in the content-addressed store as soon as it is whole."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mupd
from mupd.config import Config, Slide
from mupd.files import atomic_path, write_json
from mupd.generate.conditions import CaseConditions
from mupd.inventory import Task
from mupd.modalities.records import undetermined
from mupd.model.pipeline import MuPDPipeline
from mupd.model.regions import NATIVE_MPP
from mupd.model.solvers import evaluations
from mupd.model.vae import DOWNSAMPLE
from mupd.progress import track
from mupd.store import Draw, DrawMeta, content_sha256, draw_key, read_draw_meta, store_folder

log = logging.getLogger(__name__)

GENERATOR_VERSION = 3
"""Raised when the same inputs would give other values: older draws are then not reused."""

_STRIP_PX = 256
_FILE_SETTINGS = ("codec", "jpeg_quality", "watermark")
"""Settings of a slide that are chosen when its files are written: the draw does not depend on them."""


def settings_of(task: Task, config: Config) -> dict[str, Any]:
    """The settings that a draw of this target depends on."""
    settings: dict[str, Any] = {"steps": config.sampler.steps, "solver": config.sampler.solver}
    if task.target == "text":
        settings["abstain_below"] = config.check.abstain_below
    if task.target == "he":
        slide = {name: value for name, value in asdict(config.slide).items() if name not in _FILE_SETTINGS}
        guidance = asdict(config.sampler.guidance)
        settings |= {"guidance": guidance, "batch_size": config.sampler.batch_size, "slide": slide}
    return settings


def identity_of(task: Task, draw: int, conditions: CaseConditions, config: Config) -> dict[str, Any]:
    """Everything that the values of a draw depend on."""
    entries = conditions.case.entries
    return {
        "generator": GENERATOR_VERSION,
        "model": conditions.pipeline.sha256,
        "device": conditions.pipeline.device,
        "compiled": conditions.pipeline.compile_trunk,
        "case_id": task.case_id,
        "target": task.target,
        "given": {m: entries[m].source_sha256 for m in task.given},
        "he_mpp": entries["rna"].facts.get("he_mpp"),
        "slide_mpp": entries["he"].facts.get("mpp"),
        "rna_values": config.intake.rna_values,
        "seed": task.seeds[draw],
        "settings": settings_of(task, config),
    }


def stored_meta(folder: Path, task: Task) -> DrawMeta | None:
    """Meta of a draw that stands whole in the store; None if there is none, or its values are not what it says."""
    if not folder.is_dir():
        return None
    try:
        meta = read_draw_meta(folder)
        return meta if content_sha256(folder, task.target) == meta.content_sha256 else None
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s %s: a damaged draw is made again (%s)", task.case_id, task.name, type(error).__name__)
        return None


def make_draw(task: Task, draw: int, conditions: CaseConditions, config: Config) -> Draw:
    """The draw from the store, or made now and stored."""
    key = draw_key(identity_of(task, draw, conditions, config))
    final = store_folder(config.out, key)
    relative = final.relative_to(config.out).as_posix()
    if meta := stored_meta(final, task):
        return Draw(relative, meta)
    for leftover in (*final.parent.glob(f".tmp-*-{key}"), *final.parent.glob(f".old-*-{key}")):
        shutil.rmtree(leftover)  # of a run that was killed at this draw
    started = time.monotonic()
    with atomic_path(final) as folder:
        folder.mkdir()
        if task.target == "he":
            notes = _he(folder, task, draw, conditions, config)
        elif task.target == "rna":
            notes = _rna(folder, task, draw, conditions, config)
        else:
            notes = _text(folder, task, draw, conditions, config)
        pipeline = conditions.pipeline
        meta = DrawMeta(
            case_id=task.case_id,
            target=task.target,
            draw=draw,
            seed=task.seeds[draw],
            given=task.given,
            given_sha256={m: conditions.case.entries[m].source_sha256 for m in task.given},
            model_id=pipeline.model_id,
            model_sha256=pipeline.sha256,
            mupd_version=mupd.__version__,
            settings=settings_of(task, config),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - started, 2),
            content_sha256=content_sha256(folder, task.target),
            notes=tuple(notes),
            mpp=config.slide.mpp if task.target == "he" else None,
        )
        write_json(folder / "meta.json", asdict(meta))
    return Draw(relative, meta)


def native_size_px(slide: Slide) -> tuple[int, int]:
    """Width and height at the model's own 0.78 um/px that cover the slide, multiples of 8."""
    scale = slide.mpp / NATIVE_MPP
    width, height = (-(-round(side * scale) // DOWNSAMPLE) * DOWNSAMPLE for side in (slide.width_px, slide.height_px))
    return max(width, DOWNSAMPLE), max(height, DOWNSAMPLE)


def _he(folder: Path, task: Task, draw: int, conditions: CaseConditions, config: Config) -> list[str]:
    given, notes = conditions.for_he()
    width, height = native_size_px(config.slide)
    shape = (height, width, 3)
    native_path = folder / "native.npy"
    native = np.lib.format.open_memmap(native_path, mode="w+", dtype=np.uint8, shape=shape)

    def write(y: int, x: int, pixels: NDArray[np.uint8]) -> None:
        native[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels

    total = evaluations(config.sampler.solver, config.sampler.steps)
    bar = iter(track(range(total), f"{task.case_id} {task.name} draw {draw}"))
    conditions.pipeline.generate_he(
        given,
        (width, height),
        write,
        seed=task.seeds[draw],
        steps=config.sampler.steps,
        guidance=asdict(config.sampler.guidance),
        batch_size=config.sampler.batch_size,
        solver=config.sampler.solver,
        on_step=lambda: next(bar, None),
    )
    for _ in bar:  # lets the bar close
        pass
    native.flush()
    wanted = (config.slide.height_px, config.slide.width_px, 3)
    if shape == wanted:
        native_path.rename(folder / "pixels.npy")
    else:
        _resample(native, folder / "pixels.npy", wanted, config.slide.mpp / NATIVE_MPP)
        native_path.unlink()
    return notes


def _resample(source: NDArray[np.uint8], target_path: Path, shape: tuple[int, int, int], scale: float) -> None:
    """Lanczos-resample `source` to `shape`, a strip at a time; `scale` is source pixels per target pixel."""
    from PIL import Image

    target = np.lib.format.open_memmap(target_path, mode="w+", dtype=np.uint8, shape=shape)
    margin = int(np.ceil(3 * max(1.0, scale))) + 1
    right = min(shape[1] * scale, source.shape[1])
    for y in range(0, shape[0], _STRIP_PX):
        rows = min(_STRIP_PX, shape[0] - y)
        top, bottom = y * scale, min((y + rows) * scale, source.shape[0])
        first = max(0, int(top) - margin)
        last = min(source.shape[0], int(np.ceil(bottom)) + margin)
        strip = Image.fromarray(np.ascontiguousarray(source[first:last]))
        box = (0.0, top - first, right, bottom - first)
        target[y : y + rows] = np.asarray(strip.resize((shape[1], rows), Image.Resampling.LANCZOS, box=box))
    target.flush()


def _rna(folder: Path, task: Task, draw: int, conditions: CaseConditions, config: Config) -> list[str]:
    given, centres = conditions.for_rna()
    pipeline: MuPDPipeline = conditions.pipeline
    drawn = pipeline.generate_rna(
        given, seed=task.seeds[draw], steps=config.sampler.steps, solver=config.sampler.solver
    )
    np.save(folder / "values.npy", drawn.values, allow_pickle=False)
    np.save(folder / "expected.npy", drawn.expected, allow_pickle=False)
    write_json(folder / "genes.json", list(pipeline.rna_codec.panels[pipeline.rna_kind(given)].genes))
    if centres is not None:
        np.save(folder / "xy_px.npy", centres, allow_pickle=False)
    return []


def _text(folder: Path, task: Task, draw: int, conditions: CaseConditions, config: Config) -> list[str]:
    values, probabilities = conditions.pipeline.generate_record(
        conditions.for_text(), seed=task.seeds[draw], steps=config.sampler.steps
    )
    record = {}
    for field, value in values.items():
        abstained = undetermined(probabilities[field], config.check.abstain_below)
        stated = None if abstained else value
        record[field] = {"value": stated, "abstained": abstained, "probabilities": probabilities[field]}
    write_json(folder / "record.json", record)
    return conditions.rna_notes() if "rna" in task.given else []
