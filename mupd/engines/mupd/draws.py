"""Makes single draws and keeps each in the content-addressed store as soon as it is whole."""

from __future__ import annotations

import errno
import io
import logging
import os
import shutil
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mupd
from mupd.base.files import atomic_path, write_json
from mupd.base.progress import track
from mupd.config import Config
from mupd.contracts.draws import Draw, DrawMeta, content_sha256, draw_key, read_draw_meta, store_folder
from mupd.contracts.inventory import Task
from mupd.engines.disk_space import enough_space, slide_size_px
from mupd.engines.mupd.conditions import NOTE_SHARES, CaseConditions
from mupd.model.devices import DeviceError, batch_for, halves, is_out_of_memory, place_of_job
from mupd.model.journal import RegionJournal, allocated, alone_in
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import direction_of
from mupd.model_folder.contents import ORGAN_FIELD
from mupd.model_folder.geometry import evaluations
from mupd.reports.record.fields import undetermined

log = logging.getLogger(__name__)

GENERATOR_VERSION = 6
"""Raised when the same inputs would give other values: older draws are then not reused."""

_STRIP_PX = 256
_FILE_SETTINGS = ("codec", "jpeg_quality", "watermark")
"""Settings of a slide that are chosen when its files are written: the draw does not depend on them."""


def settings_of(task: Task, config: Config, batch_size: int | None = None) -> dict[str, Any]:
    """The settings that a draw of this target depends on.

    The last bits of a slide depend on how many windows are denoised together; `batch_size` says it where that is not
    what is configured.
    """
    settings: dict[str, Any] = {"steps": config.sampler.steps, "solver": config.sampler.solver}
    if task.target == "text":
        settings["abstain_below"] = config.check.abstain_below
    if task.target == "he":
        slide = {name: value for name, value in asdict(config.slide).items() if name not in _FILE_SETTINGS}
        guidance = asdict(config.sampler.guidance)
        settings |= {"guidance": guidance, "batch_size": batch_size or config.sampler.batch_size, "slide": slide}
    return settings


def identity_of(
    task: Task, draw: int, conditions: CaseConditions, config: Config, batch_size: int | None = None
) -> dict[str, Any]:
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
        "settings": settings_of(task, config, batch_size),
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
    """The draw from the store, or made now and stored.

    Where a GPU's memory is full, a slide is begun again with half as many windows at a time, and so are the shard's
    further slides. What a draw says of its settings is what it was made with.

    Raises
    ------
    DeviceError
        If the GPU's memory does not hold a single window, or not what RNA or a record takes.
    OSError
        ENOSPC before the draw is begun if its disk has no space for it.
    """
    pipeline = conditions.pipeline
    sizes = list(halves(config.sampler.batch_size)) if task.target == "he" else [config.sampler.batch_size]
    keys = {size: draw_key(identity_of(task, draw, conditions, config, size)) for size in sizes}
    for key in keys.values():
        final = store_folder(config.out, key)
        if meta := stored_meta(final, task):
            shutil.rmtree(partial_folder(final), ignore_errors=True)
            return Draw(final.relative_to(config.out).as_posix(), meta)
    if pipeline.largest_batch is None and task.target == "he":
        pipeline.largest_batch = batch_for(pipeline, config.sampler.batch_size, pipeline.geometry.window**2)
    for size in sizes:
        if task.target == "he" and size > (pipeline.largest_batch or size):
            continue
        try:
            final = store_folder(config.out, keys[size])
            with alone_in(partial_folder(final)):
                meta = stored_meta(final, task) or _made(task, draw, conditions, config, final, size)
                shutil.rmtree(partial_folder(final), ignore_errors=True)
            return Draw(final.relative_to(config.out).as_posix(), meta)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if size == sizes[-1]:
                raise DeviceError(
                    f"{task.case_id} {task.name}: the GPU's memory is full ({place_of_job()}), with one window of a "
                    "slide at a time too; ask for a GPU with more memory, or one that no other job uses"
                ) from error
            pipeline.largest_batch = size // 2
            shutil.rmtree(partial_folder(store_folder(config.out, keys[size])), ignore_errors=True)
            log.warning(
                "%s %s: GPU memory is full with %d windows; again with %d", task.case_id, task.name, size, size // 2
            )
    raise AssertionError("not reached: the smallest batch returns or raises")


def partial_folder(final: Path) -> Path:
    """Folder of what is done of a draw that is not finished: beside its place in the store, kept when a run ends."""
    return final.with_name(f".part-{final.name}")


def _made(task: Task, draw: int, conditions: CaseConditions, config: Config, final: Path, batch_size: int) -> DrawMeta:
    """A draw made now, going on where an earlier run was stopped, and stored."""
    for leftover in (*final.parent.glob(f".tmp-*-{final.name}"), *final.parent.glob(f".old-*-{final.name}")):
        shutil.rmtree(leftover)  # of a run that was killed at this draw
    if not enough_space(task, config, partial_folder(final) / "native.npy"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(config.out))
    started = time.monotonic()
    with atomic_path(final) as folder:
        folder.mkdir()
        if task.target == "he":
            notes = _he(folder, task, draw, conditions, config, partial_folder(final), batch_size)
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
            settings=settings_of(task, config, batch_size),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - started, 2),
            content_sha256=content_sha256(folder, task.target),
            notes=tuple(notes),
            mpp=config.slide.mpp if task.target == "he" else None,
        )
        write_json(folder / "meta.json", asdict(meta))
    return meta


def _he(
    folder: Path,
    task: Task,
    draw: int,
    conditions: CaseConditions,
    config: Config,
    partial: Path,
    batch_size: int,
) -> list[str]:
    given, notes = conditions.for_he()
    width, height = slide_size_px(config)
    shape = (height, width, 3)
    journal = RegionJournal(partial)
    native_path = partial / "native.npy"
    native = begun_pixels(native_path, shape, journal)

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
        batch_size=batch_size,
        solver=config.sampler.solver,
        on_step=lambda: next(bar, None),
        journal=journal,
    )
    for _ in bar:  # lets the bar close
        pass
    native.flush()
    wanted = (config.slide.height_px, config.slide.width_px, 3)
    if shape == wanted:
        native_path.rename(folder / "pixels.npy")
    else:
        resample(native, folder / "pixels.npy", wanted, config.slide.mpp / conditions.pipeline.geometry.mpp)
        native_path.unlink()
    return notes


def begun_pixels(path: Path, shape: tuple[int, int, int], journal: RegionJournal) -> np.memmap:
    """The picture at the model's own scale: the one that was begun, or a new one with its space on the disk."""
    try:
        native = np.lib.format.open_memmap(path, mode="r+")
        if native.shape == shape and native.dtype == np.uint8:
            return native
    except (OSError, ValueError):  # none yet, or cut short while it was made
        pass
    journal.forget_tiles()
    return allocated(path, shape)


def _save(path: Path, array: NDArray[Any]) -> None:
    """Write an array; unlike ``np.save``, a full disk is told by its error number."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    path.write_bytes(buffer.getbuffer())


def resample(source: NDArray[np.uint8], target_path: Path, shape: tuple[int, int, int], scale: float) -> None:
    """Lanczos-resample `source` to `shape`, a strip at a time; `scale` is source pixels per target pixel."""
    from PIL import Image

    target = allocated(target_path, shape)
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
    _save(folder / "values.npy", drawn.values)
    _save(folder / "expected.npy", drawn.expected)
    write_json(folder / "genes.json", list(pipeline.rna_codec.panels[pipeline.rna_kind(given)].genes))
    if centres is not None:
        _save(folder / "xy_px.npy", centres)
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
    notes = conditions.rna_notes() if "rna" in task.given else []
    organs = probabilities.get(ORGAN_FIELD, {})
    leaning = conditions.pipeline.record_codec.leaning(organs, direction_of(task.given))
    if leaning:
        fields = ", ".join(f"{field.replace('_', ' ')} {100 * weight:.0f} %" for field, weight in leaning.items())
        notes.append(f"{NOTE_SHARES}: {fields}")
    return notes
