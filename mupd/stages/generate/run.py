"""One shard: the model loaded once, every task of every case, failures kept to their case."""

from __future__ import annotations

import errno
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mupd.base.ids import MODALITIES, shard_name
from mupd.base.messages import reason_of, without_path
from mupd.base.progress import track
from mupd.config import Config
from mupd.contracts.draws import TaskResult, write_index
from mupd.contracts.inventory import NOTHING_GIVEN, CaseInventory, Task, read_inventory, tasks_of
from mupd.contracts.layout import Layout
from mupd.engines.disk_space import FULL, disk_full
from mupd.engines.draw_maker import make_draw
from mupd.engines.engine import Engine
from mupd.engines.registry import open_engines
from mupd.errors import CaseError, ModelError, MupdError
from mupd.model.devices import DeviceError, choose_device

log = logging.getLogger(__name__)


_NO_FAULT_OF_THE_CASE = {*FULL, errno.EROFS, errno.EMFILE, errno.ENFILE}
_STOPPED = 128 + signal.SIGTERM


def reason_for(error: Exception, case: CaseInventory, config: Config) -> str:
    """Why a task failed, fit to publish: without paths of inputs or of the output folder."""
    kind = "" if isinstance(error, MupdError) else f"{type(error).__name__}: "
    words = reason_of(error, config.out)
    for entry in case.entries.values():
        words = without_path(words, entry.origin.path) if entry.source else words
    return kind + words


def run_task(task: Task, case: CaseInventory, config: Config, engine: Engine) -> TaskResult:
    """All draws of a task; an error becomes the task's reason instead of the shard's end.

    Raises
    ------
    ModelError, DeviceError, OSError
        What is no fault of the case: a damaged model, a GPU whose memory is full, a full or read-only disk.
    """
    try:
        opened = engine.open(task, case)
        draws = tuple(make_draw(opened, draw, config.out) for draw in range(len(task.seeds)))
    except (ModelError, DeviceError):
        raise
    except Exception as error:  # whatever one task does, the others go on
        if isinstance(error, OSError) and error.errno in _NO_FAULT_OF_THE_CASE:
            raise
        log.warning("%s %s failed: %s", task.case_id, task.name, type(error).__name__)
        log.debug("%s %s", task.case_id, task.name, exc_info=True)
        return TaskResult(task.case_id, task.target, task.given, "failed", reason_for(error, case, config))
    return TaskResult(task.case_id, task.target, task.given, "done", draws=draws)


def run_case(case: CaseInventory, config: Config, engines: Sequence[Engine]) -> list[TaskResult]:
    """All tasks of a case, each by the engine that makes its target."""
    if not case.given:
        return [TaskResult(case.case_id, modality, (), "failed", NOTHING_GIVEN) for modality in MODALITIES]
    return [
        run_task(task, case, config, next(engine for engine in engines if engine.makes(task.target)))
        for task in tasks_of(case, config)
    ]


@contextmanager
def ends_at_sigterm() -> Iterator[None]:
    """End the process with exit code 143 at SIGTERM, which a scheduler sends before it kills.

    What is done stands on the disk at every moment, so that there is nothing to save first: the block is left by
    SystemExit at the next line, files that were being written are removed.
    """

    def end(_signal: int, _frame: FrameType | None) -> None:
        log.warning("SIGTERM: stopped; what is finished is kept, and the next start goes on from there")
        raise SystemExit(_STOPPED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_shard(config: Config, shard: int) -> Path:
    """Generate what a shard's inventory asks for.

    Returns
    -------
    Path
        The index, ``generated/SHARD.json`` under the output folder.

    Raises
    ------
    CaseError
        After the index is written, if a case failed and ``on_case_error`` is ``stop``.
    MupdError
        If the shard's inventory is not there.
    DeviceError
        If CUDA is asked for and is not there, before the model is read; or its memory is full.
    DiskFullError
        If the disk of the output folder is full.
    ModelError
        If the model cannot be loaded.
    """
    with ends_at_sigterm():
        cases = read_inventory(Layout(config.out).inventory(shard_name(shard)))
        device = choose_device(config.sampler.device)
        engines = open_engines(config, device)
        results: list[TaskResult] = []
        index = Layout(config.out).generated(shard_name(shard))
        done = 0
        try:
            for case in track(cases, f"generate {shard_name(shard)}"):
                results.extend(run_case(case, config, engines))
                done += 1
            write_index(index, results)
        except OSError as error:
            if error.errno not in FULL:
                raise
            left = [task for case in cases[done:] if case.given for task in tasks_of(case, config)]
            raise disk_full(config, left) from error
    failed = [f"{r.case_id} {r.target}: {r.reason}" for r in results if r.state == "failed"]
    if failed and config.on_case_error == "stop":
        raise CaseError("cases failed (on_case_error: stop):\n" + "\n".join(failed))
    return index
