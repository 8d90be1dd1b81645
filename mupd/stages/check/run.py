"""The check stage: reads the inventory and the draws of a shard, and writes a verdict on each draw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mupd.base.ids import shard_name
from mupd.base.progress import track
from mupd.config import Config
from mupd.contracts.draws import Draw, DrawMeta, TaskResult, content_sha256, read_index
from mupd.contracts.inventory import CaseInventory, read_inventory, tasks_of
from mupd.contracts.layout import Layout
from mupd.contracts.verdicts import Check, Verdict, as_json, failed_task, sentences, write_verdicts
from mupd.engines.organ_support import organ_found
from mupd.errors import MupdError, UnusableError
from mupd.model_folder.trained_on import TrainedOn, read_trained_on
from mupd.stages.check.checkers import CheckInput, checker_of
from mupd.stages.check.reference import Reference


@dataclass(frozen=True)
class _Read:
    """A draw's own content hash, or why it cannot be read."""

    sha256: str = ""
    problem: str = ""
    record: dict[str, Any] | None = None


def _read(out: Path, draw: Draw) -> _Read:
    from mupd.stages.check.text_checks import read_record

    folder = out / draw.folder
    if not folder.is_dir():
        return _Read(problem="the draw's folder is missing")
    try:
        digest = content_sha256(folder, draw.meta.target)
        record = read_record(folder) if draw.meta.target == "text" else None
    except OSError as error:
        # Only the file's name: a message may be published, a path may not.
        name = Path(str(error.filename or "a file")).name
        return _Read(problem=f"the draw cannot be read: {name}: {error.strerror or type(error).__name__}")
    except (ValueError, EOFError) as error:
        return _Read(problem=f"the draw cannot be read: {error}")
    return _Read(digest, record=record)


def organ_checks(meta: DrawMeta, config: Config, case: CaseInventory, trained_on: TrainedOn) -> list[Check]:
    """Whether the model was trained on the case's organ; nothing where that is not known.

    A draw that rests on one stream that was and one that was not is noted, and never rejected for it.
    """
    support = organ_found(case, meta.target, meta.given, trained_on, meta.model_id)
    if support is None:
        return []
    rejected = support.guess and config.check.untrained_organ == "reject"
    ok = True if not support.sentence else False if rejected else None
    limit = ", ".join(support.trained) or "none"
    return [Check("trained_organ", support.organ or "another", limit, ok, support.sentence)]


def _distinct(meta: DrawMeta, sha256: str, seen: dict[str, int]) -> Check:
    """Whether no earlier draw of the task has the same values: two that do carry no uncertainty."""
    twin = seen.setdefault(sha256, meta.draw)
    alone = twin == meta.draw
    value, sentence = ("yes", "") if alone else (f"same as draw {twin}", f"identical to draw {twin}")
    return Check("distinct", value, "yes", alone, sentence)


def _checks_of_target(draw: CheckInput) -> list[Check]:
    try:
        return checker_of(draw.meta.target)(draw)
    except UnusableError as error:
        return [Check("slide", False, True, False, str(error))]
    except (OSError, ValueError, EOFError) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        return [Check("readable", False, True, False, f"the draw cannot be read: {what}")]


def check_task(
    result: TaskResult,
    config: Config,
    reference: Reference,
    case: CaseInventory | None = None,
    trained_on: TrainedOn | None = None,
) -> list[Verdict]:
    """Verdicts on one task: one a draw, or one of a failed task.

    Parameters
    ----------
    case
        What the case has; a stain is held against its slide.
    trained_on
        Organs that the model was trained on.
    """
    from mupd.stages.check.generated_rna_row import generated_rna_row
    from mupd.stages.check.text_checks import agreement

    if result.state == "failed":
        return [failed_task(result.case_id, result.target, result.reason or "generation failed without saying why")]
    if not result.draws:
        return [failed_task(result.case_id, result.target, "generation left no draw")]
    reads = [_read(config.out, draw) for draw in result.draws]
    agreed = agreement([read.record for read in reads if read.record])
    verdicts: list[Verdict] = []
    seen: dict[str, int] = {}
    for draw, read in zip(result.draws, reads, strict=True):
        meta, folder = draw.meta, config.out / draw.folder
        if read.problem:
            verdicts.append(Verdict(meta.case_id, meta.target, meta.draw, "rejected", read.problem, folder=draw.folder))
            continue
        same = read.sha256 == meta.content_sha256
        altered = "" if same else "the values were altered since they were generated: their content hash is another"
        checks = [Check("content_sha256", read.sha256, meta.content_sha256, same, altered)]
        checks += _checks_of_target(CheckInput(folder, meta, config, reference, case, read.record, agreed))
        if meta.target != "text":  # two records may well agree
            checks.append(_distinct(meta, read.sha256, seen))
        if case is not None:
            checks += organ_checks(meta, config, case, trained_on or {})
        failed = sentences(checks, failed=True)
        verdicts.append(
            Verdict(
                meta.case_id,
                meta.target,
                meta.draw,
                "rejected" if failed else "accepted",
                "; ".join([*failed, *sentences(checks, failed=False), *meta.notes]),
                as_json(checks),
                read.sha256,
                draw.folder,
                generated_rna_row(folder) if meta.target == "rna" else {},
            )
        )
    return verdicts


def _left_out(cases: list[CaseInventory], results: list[TaskResult], config: Config) -> list[Verdict]:
    """Failed rows for tasks of the inventory that generation says nothing of: they never vanish."""
    known = {(result.case_id, result.target) for result in results}
    return [
        failed_task(task.case_id, task.target, "generation left no result for this task")
        for case in cases
        for task in tasks_of(case, config)
        if (task.case_id, task.target) not in known
    ]


def run_shard(config: Config, shard: int) -> Path:
    """Check every draw of a shard and write ``checked/SHARD.parquet`` (:class:`mupd.contracts.verdicts.Verdict`).

    Raises
    ------
    MupdError
        If the shard's inventory or index is not there.
    """
    from mupd.stages.check.reference import read_reference

    name = shard_name(shard)
    layout = Layout(config.out)
    inventory, index = layout.inventory(name), layout.generated(name)
    for path, stage in ((inventory, "intake"), (index, "generate")):
        if not path.exists():
            raise MupdError(f"{path}: not there; run `mupd {stage} --shard {shard}` first")
    results = read_index(index)
    reference, trained_on = read_reference(Path(config.model)), read_trained_on(Path(config.model))
    cases = {case.case_id: case for case in read_inventory(inventory)}
    verdicts = [
        verdict
        for result in track(results, f"check {name}")
        for verdict in check_task(result, config, reference, cases.get(result.case_id), trained_on)
    ]
    verdicts += _left_out(list(cases.values()), results, config)
    write_verdicts(layout.checked(name), verdicts)
    return layout.checked(name)
