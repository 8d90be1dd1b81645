"""Makes single draws, whatever the engine, and keeps each in the content-addressed store as soon as it is whole."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import mupd
from mupd.base.files import atomic_path, write_json
from mupd.contracts.draws import Draw, DrawMeta, content_sha256, draw_key, read_draw_meta, store_folder
from mupd.contracts.inventory import Task
from mupd.engines.engine import OpenTask
from mupd.model.devices import DeviceError, is_out_of_memory, place_of_job
from mupd.model.journal import alone_in

log = logging.getLogger(__name__)


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


def partial_folder(final: Path) -> Path:
    """Folder of what is done of a draw that is not finished: beside its place in the store, kept when a run ends."""
    return final.with_name(f".part-{final.name}")


def make_draw(opened: OpenTask, draw: int, out: Path) -> Draw:
    """Take a draw from the store, or make it now and store it.

    Where a GPU's memory is full, a picture is begun again with half as many windows at a time, and so are the engine's
    further ones. What a draw says of its settings is what it was made with.

    Parameters
    ----------
    out
        The output folder.

    Raises
    ------
    DeviceError
        If the GPU's memory does not hold a single window, or not what RNA or a record takes.
    OSError
        ENOSPC before the draw is begun if its disk has no space for it.
    """
    task = opened.task
    folders = {size: store_folder(out, draw_key(opened.identity(draw, size))) for size in opened.batch_sizes}
    for final in folders.values():
        if meta := stored_meta(final, task):
            shutil.rmtree(partial_folder(final), ignore_errors=True)
            return Draw(final.relative_to(out).as_posix(), meta)
    for size, final in folders.items():
        if size > opened.largest_batch():
            continue
        try:
            with alone_in(partial_folder(final)):
                meta = stored_meta(final, task) or _made(opened, draw, size, final)
                shutil.rmtree(partial_folder(final), ignore_errors=True)
            return Draw(final.relative_to(out).as_posix(), meta)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if size == opened.batch_sizes[-1]:
                raise DeviceError(
                    f"{task.case_id} {task.name}: the GPU's memory is full ({place_of_job()}), with one window at a "
                    "time too; ask for a GPU with more memory, or one that no other job uses"
                ) from error
            opened.limit_batch(size // 2)
            shutil.rmtree(partial_folder(final), ignore_errors=True)
            log.warning(
                "%s %s: GPU memory is full with %d windows; again with %d", task.case_id, task.name, size, size // 2
            )
    raise AssertionError("not reached: the smallest batch returns or raises")


def _made(opened: OpenTask, draw: int, batch_size: int, final: Path) -> DrawMeta:
    """A draw made now, going on where an earlier run was stopped, and stored."""
    task = opened.task
    for leftover in (*final.parent.glob(f".tmp-*-{final.name}"), *final.parent.glob(f".old-*-{final.name}")):
        shutil.rmtree(leftover)  # of a run that was killed at this draw
    started = time.monotonic()
    with atomic_path(final) as folder:
        folder.mkdir()
        written = opened.write(folder, draw, batch_size, partial_folder(final))
        meta = DrawMeta(
            case_id=task.case_id,
            target=task.target,
            draw=draw,
            seed=task.seeds[draw],
            given=task.given,
            given_sha256=opened.given_sha256,
            model_id=opened.model_id,
            model_sha256=opened.model_sha256,
            mupd_version=mupd.__version__,
            settings=opened.settings(batch_size) | dict(written.settings),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - started, 2),
            content_sha256=content_sha256(folder, task.target),
            notes=written.notes,
            mpp=written.mpp,
        )
        write_json(folder / "meta.json", asdict(meta))
    return meta
