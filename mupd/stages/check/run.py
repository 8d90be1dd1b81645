"""The check stage: inventory and generated draws of a shard in, a verdict a draw out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd.base.files import atomic_path
from mupd.base.ids import Target, shard_name, stain_name
from mupd.base.progress import track
from mupd.config import Config
from mupd.contracts.draws import Draw, DrawMeta, TaskResult, content_sha256, read_index
from mupd.contracts.inventory import CaseInventory, read_inventory, tasks_of
from mupd.engines.organ_support import organ_found
from mupd.errors import MupdError, UnusableError
from mupd.model_folder.trained_on import TrainedOn, read_trained_on

if TYPE_CHECKING:
    from mupd.contracts.verdicts import Check

COLUMNS = ("case_id", "target", "draw", "verdict", "reasons", "checks", "content_sha256", "folder", "facts")
_FAILED_DRAW = -1


@dataclass(frozen=True)
class _Read:
    """A draw's own content hash, or why it cannot be read."""

    sha256: str = ""
    problem: str = ""
    record: dict[str, Any] | None = None


def _read(out: Path, draw: Draw) -> _Read:
    from mupd.stages.check.text import read_record

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


def _row(
    case_id: str,
    target: Target,
    draw: int,
    verdict: str,
    reasons: list[str],
    checks: dict[str, Any] | None = None,
    sha256: str = "",
    folder: str = "",
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    encoded, of_draw = json.dumps(checks or {}, sort_keys=True), json.dumps(facts or {}, sort_keys=True)
    values = (case_id, target, draw, verdict, "; ".join(reasons), encoded, sha256, folder, of_draw)
    return dict(zip(COLUMNS, values, strict=True))


def _stain_checks(folder: Path, meta: DrawMeta, config: Config, case: CaseInventory | None) -> list[Check]:
    """Checks of a stain's draw; ValueError if it is of none that is configured, or of a case that is not there."""
    from mupd.stages.check.stain import check_stain

    stain = next((stain for stain in config.stains if stain.name == stain_name(meta.target)), None)
    if stain is None or case is None:
        raise ValueError(f"it is of {meta.target} of {meta.case_id}, which the configuration or the inventory lacks")
    return check_stain(folder, meta, case.entries["he"], stain)


def _organ_checks(meta: DrawMeta, config: Config, case: CaseInventory, trained_on: TrainedOn) -> list[Check]:
    """Whether the model was trained on the case's organ; nothing where that is not known.

    A draw that rests on one stream that was and one that was not is noted, and never rejected for it.
    """
    from mupd.contracts.verdicts import Check

    found = organ_found(case, meta.target, meta.given, trained_on, meta.model_id)
    if found is None:
        return []
    rejected = found.guess and config.check.untrained_organ == "reject"
    ok = True if not found.sentence else False if rejected else None
    limit = ", ".join(found.trained) or "none"
    return [Check("trained_organ", found.organ or "another", limit, ok, found.sentence)]


def check_task(
    result: TaskResult,
    config: Config,
    reference: Any,
    case: CaseInventory | None = None,
    trained_on: TrainedOn | None = None,
) -> list[dict[str, Any]]:
    """Rows of one task: one a draw, or one with draw -1 and verdict ``failed``.

    Parameters
    ----------
    reference
        :class:`mupd.stages.check.reference.Reference` of the model.
    case
        What the case has; a stain is held against its slide.
    trained_on
        Organs that the model was trained on.
    """
    from mupd.contracts.verdicts import Check, as_json, sentences
    from mupd.stages.check.he import check_he
    from mupd.stages.check.rna import check_rna
    from mupd.stages.check.rna_facts import rna_facts
    from mupd.stages.check.text import agreement, check_text

    if result.state == "failed":
        reason = result.reason or "generation failed without saying why"
        return [_row(result.case_id, result.target, _FAILED_DRAW, "failed", [reason])]
    if not result.draws:
        return [_row(result.case_id, result.target, _FAILED_DRAW, "failed", ["generation left no draw"])]
    reads = [_read(config.out, draw) for draw in result.draws]
    agreed = agreement([read.record for read in reads if read.record])
    rows: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for draw, read in zip(result.draws, reads, strict=True):
        meta, folder = draw.meta, config.out / draw.folder
        if read.problem:
            rows.append(_row(meta.case_id, meta.target, meta.draw, "rejected", [read.problem], folder=draw.folder))
            continue
        same = read.sha256 == meta.content_sha256
        altered = "the values were altered since they were generated: their content hash is another"
        checks = [Check("content_sha256", read.sha256, meta.content_sha256, same, "" if same else altered)]
        try:
            if meta.target == "he":
                checks += check_he(folder, config, reference, meta.settings)
            elif meta.target == "rna":
                checks += check_rna(folder, reference)
            elif stain_name(meta.target):
                checks += _stain_checks(folder, meta, config, case)
            elif read.record is not None:
                checks += check_text(read.record, config.check, agreed, reference.record_fields)
        except UnusableError as error:
            checks.append(Check("slide", False, True, False, str(error)))
        except (OSError, ValueError, EOFError) as error:
            what = error.strerror if isinstance(error, OSError) else str(error)
            checks.append(Check("readable", False, True, False, f"the draw cannot be read: {what}"))
        if meta.target != "text":
            # Two records may well agree; two pictures or profiles that do carry no uncertainty.
            twin = seen.setdefault(read.sha256, meta.draw)
            alone = twin == meta.draw
            words = "" if alone else f"identical to draw {twin}"
            checks.append(Check("distinct", "yes" if alone else f"same as draw {twin}", "yes", alone, words))
        if case is not None:
            checks += _organ_checks(meta, config, case, trained_on or {})
        failed = sentences(checks, failed=True)
        warnings = [*sentences(checks, failed=False), *meta.notes]
        verdict = "rejected" if failed else "accepted"
        reasons = failed + warnings
        facts = rna_facts(folder) if meta.target == "rna" else None
        checked = as_json(checks)
        rows.append(
            _row(meta.case_id, meta.target, meta.draw, verdict, reasons, checked, read.sha256, draw.folder, facts)
        )
    return rows


def _left_out(cases: list[CaseInventory], results: list[TaskResult], config: Config) -> list[dict[str, Any]]:
    """Failed rows for tasks of the inventory that generation says nothing of: they never vanish."""
    known = {(result.case_id, result.target) for result in results}
    return [
        _row(task.case_id, task.target, _FAILED_DRAW, "failed", ["generation left no result for this task"])
        for case in cases
        for task in tasks_of(case, config)
        if (task.case_id, task.target) not in known
    ]


def run_shard(config: Config, shard: int) -> Path:
    """Check every draw of a shard and write ``checked/SHARD.parquet``.

    Columns: case_id, target, draw (int64; -1 for a failed task), verdict (``accepted``, ``rejected``,
    ``failed``), reasons (plain sentences joined by "; "), checks (JSON: {name: {"value", "limit", "ok"}}, ok
    null where nothing was decided), content_sha256 (recomputed), folder (relative to the output folder), facts (JSON of
    :func:`mupd.stages.check.rna_facts.rna_facts`, of RNA alone).

    Raises
    ------
    MupdError
        If the shard's inventory or index is not there.
    """
    import pandas as pd

    from mupd.stages.check.reference import read_reference

    name = shard_name(shard)
    inventory, index = config.out / "intake" / f"{name}.parquet", config.out / "generated" / f"{name}.json"
    for path, stage in ((inventory, "intake"), (index, "generate")):
        if not path.exists():
            raise MupdError(f"{path}: not there; run `mupd {stage} --shard {shard}` first")
    results = read_index(index)
    reference, trained_on = read_reference(Path(config.model)), read_trained_on(Path(config.model))
    cases = {case.case_id: case for case in read_inventory(inventory)}
    rows = [
        row
        for result in track(results, f"check {name}")
        for row in check_task(result, config, reference, cases.get(result.case_id), trained_on)
    ]
    rows += _left_out(list(cases.values()), results, config)
    final = config.out / "checked" / f"{name}.parquet"
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    kinds = {column: "int64" if column == "draw" else str for column in COLUMNS}
    with atomic_path(final) as temporary:
        table.astype(kinds).to_parquet(temporary, index=False)
    return final
