"""One shard: the model loaded once, every task of every case, failures kept to their case."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from mupd.config import Config
from mupd.errors import CaseError, ModelError, MupdError
from mupd.generate.conditions import CaseConditions
from mupd.generate.draws import make_draw
from mupd.ids import shard_name
from mupd.inventory import NOTHING_GIVEN, CaseInventory, Task, read_inventory, tasks_of
from mupd.modalities.reasons import reason_of, without_path
from mupd.model.pipeline import MuPDPipeline
from mupd.progress import track
from mupd.store import TaskResult, write_index

log = logging.getLogger(__name__)


def choose_device(wanted: str) -> str:
    """``cpu`` or ``cuda`` for a configured device.

    Raises
    ------
    MupdError
        If CUDA is asked for by name and is not there.
    """
    import torch

    if wanted == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        partition = os.environ.get("SLURM_JOB_PARTITION", "none")
        raise MupdError(
            "sampler.device: found no CUDA device, expected one "
            f"(SLURM partition: {partition}); ask for a GPU in the profile, or set sampler.device to auto or cpu"
        )
    return "cpu"


_NO_FAULT_OF_THE_CASE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}


def reason_for(error: Exception, case: CaseInventory, config: Config) -> str:
    """Why a task failed, fit to publish: without paths of inputs or of the output folder."""
    kind = "" if isinstance(error, MupdError) else f"{type(error).__name__}: "
    words = reason_of(error, config.out)
    for entry in case.entries.values():
        words = without_path(words, Path(entry.source.partition("::")[0])) if entry.source else words
    return kind + words


def run_task(task: Task, conditions: CaseConditions, config: Config) -> TaskResult:
    """All draws of a task; an error becomes the task's reason instead of the shard's end.

    Raises
    ------
    ModelError, OSError
        What is no fault of the case: a damaged model, a full or read-only disk.
    """
    try:
        draws = tuple(make_draw(task, draw, conditions, config) for draw in range(len(task.seeds)))
    except ModelError:
        raise
    except Exception as error:  # whatever one task does, the others go on
        if isinstance(error, OSError) and error.errno in _NO_FAULT_OF_THE_CASE:
            raise
        log.warning("%s %s failed: %s", task.case_id, task.name, type(error).__name__)
        log.debug("%s %s", task.case_id, task.name, exc_info=True)
        reason = reason_for(error, conditions.case, config)
        return TaskResult(task.case_id, task.target, task.given, "failed", reason)
    return TaskResult(task.case_id, task.target, task.given, "done", draws=draws)


def run_case(case: CaseInventory, config: Config, pipeline: MuPDPipeline) -> list[TaskResult]:
    """All tasks of a case."""
    if not case.given:
        return [TaskResult(case.case_id, m, (), "failed", NOTHING_GIVEN) for m in ("he", "rna", "text")]
    conditions = CaseConditions(case, config, pipeline)
    return [run_task(task, conditions, config) for task in tasks_of(case, config)]


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
        If the shard's inventory is not there, or CUDA is asked for and is not there.
    ModelError
        If the model cannot be loaded.
    """
    cases = read_inventory(config.out / "intake" / f"{shard_name(shard)}.parquet")
    device = choose_device(config.sampler.device)
    pipeline = MuPDPipeline.from_pretrained(config.model, device, compile_trunk=config.sampler.compile)
    results: list[TaskResult] = []
    for case in track(cases, f"generate {shard_name(shard)}"):
        results.extend(run_case(case, config, pipeline))
    index = config.out / "generated" / f"{shard_name(shard)}.json"
    write_index(index, results)
    failed = [f"{r.case_id} {r.target}: {r.reason}" for r in results if r.state == "failed"]
    if failed and config.on_case_error == "stop":
        raise CaseError("cases failed (on_case_error: stop):\n" + "\n".join(failed))
    return index
