"""One shard: accepted draws to artifacts, an index of them, nothing stale beside them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mupd.base.ids import MODALITIES, Target, shard_name, stain_name
from mupd.base.progress import track
from mupd.config import Config
from mupd.contracts.artifacts import Accepted, Artifact, ExportFailure, write_artifacts
from mupd.contracts.draws import TaskResult, read_index
from mupd.contracts.inventory import CaseInventory, read_inventory, why_not_stained
from mupd.contracts.layout import Layout
from mupd.contracts.verdicts import read_verdicts
from mupd.engines.organ_support import organ_found
from mupd.errors import CaseError, MupdError
from mupd.model_folder.trained_on import TrainedOn, read_trained_on
from mupd.stages.export.he import export_he
from mupd.stages.export.rna import export_rna, read_reliability
from mupd.stages.export.sr import export_sr
from mupd.stages.export.stain import export_stain
from mupd.stages.export.text import JSON_FILE, export_text
from mupd.stages.export.tidy import remove_leftovers, remove_stale
from mupd.stages.export.uncertainty import export_uncertainty

log = logging.getLogger(__name__)


def reason_of(error: Exception) -> str:
    """Why something failed, without the path that an operating-system error carries."""
    if isinstance(error, MupdError):
        return str(error)
    if isinstance(error, OSError):
        name = f"{Path(error.filename).name}: " if isinstance(error.filename, str) else ""
        return f"{name}{error.strerror or type(error).__name__}"
    return f"{type(error).__name__}: {error}"


def read_accepted(checked: Path) -> dict[tuple[str, Target, int], str]:
    """{(case, target, draw): content sha256} of the accepted draws of a shard."""
    return {
        (row.case_id, row.target, row.draw): row.content_sha256
        for row in read_verdicts(checked)
        if row.verdict == "accepted"
    }


def accepted_draws(
    results: Iterable[TaskResult], verdicts: dict[tuple[str, Target, int], str]
) -> dict[str, list[Accepted]]:
    """The accepted draws of each case, a list of tasks a case.

    A draw whose content hash is not the one that was checked is left out: it was made again since.
    """
    accepted: dict[str, list[Accepted]] = {}
    for result in results:
        draws = sorted(
            (
                draw
                for draw in result.draws
                if verdicts.get((result.case_id, result.target, draw.meta.draw)) == draw.meta.content_sha256
            ),
            key=lambda draw: draw.meta.draw,
        )
        if draws:
            began = min(draw.meta.created for draw in result.draws)
            accepted.setdefault(result.case_id, []).append(Accepted(result.case_id, result.target, tuple(draws), began))
    return accepted


def with_organ_note(accepted: Accepted, case: CaseInventory, trained_on: TrainedOn) -> Accepted:
    """The draws with a note where the model was not trained on the case's organ.

    It is made here and not where they were drawn: a sheet that comes to name the organ makes no draw anew.
    """
    first = accepted.metas[0]
    support = organ_found(case, accepted.modality, first.given, trained_on, first.model_id)
    if support is None or not support.sentence:
        return accepted
    draws = tuple(
        replace(draw, meta=replace(draw.meta, notes=(*draw.meta.notes, support.sentence))) for draw in accepted.draws
    )
    return replace(accepted, draws=draws)


def _export(accepted: Accepted, config: Config, reliability: dict[str, float]) -> list[Artifact]:
    folder = Layout(config.out).artifacts_of(accepted.case_id)
    if accepted.modality == "he":
        slides = export_he(accepted, config, folder)
        return [*slides, *export_uncertainty(accepted, config, folder, slides)]
    if stain_name(accepted.modality):
        return export_stain(accepted, config, folder)
    if accepted.modality == "rna":
        return export_rna(accepted, config, folder, reliability)
    report = export_text(accepted, config, folder)
    return [*report, export_sr(accepted, config, folder, folder / JSON_FILE)]


def run_shard(config: Config, shard: int) -> Path:
    """Export a shard: ``artifacts/CASE/...`` and ``exported/shard-NNNN.json``.

    Artifacts that already stand there with the same content are kept. A failure inside one task is
    recorded and the others go on.

    Returns
    -------
    Path
        The index that was written.

    Raises
    ------
    CaseError
        If a task failed and ``on_case_error`` is ``stop``; the index is written first.
    ModelError
        If the model's reliability.json or trained_on.json cannot be used.
    """
    name, layout = shard_name(shard), Layout(config.out)
    cases = read_inventory(layout.inventory(name))
    results = read_index(layout.generated(name))
    tasks = accepted_draws(results, read_accepted(layout.checked(name)))
    reliability, trained_on = read_reliability(Path(config.model)), read_trained_on(Path(config.model))
    artifacts: list[Artifact] = []
    failed: list[ExportFailure] = []
    for case in track(cases, f"export {name}"):
        folder = layout.artifacts_of(case.case_id)
        written: list[Artifact] = []
        try:
            remove_leftovers(folder)
            for accepted in tasks.get(case.case_id, []):
                if accepted.modality in case.given or (stain_name(accepted.modality) and why_not_stained(case)):
                    continue
                try:
                    written += _export(with_organ_note(accepted, case, trained_on), config, reliability)
                except Exception as error:  # whatever one task does, the others go on
                    log.debug("case %s, %s", case.case_id, accepted.modality, exc_info=True)
                    failed.append(ExportFailure(case.case_id, accepted.modality, reason_of(error)))
            for path in remove_stale(folder, [layout.out / artifact.path for artifact in written]):
                log.info("case %s: removed %s, it no longer belongs", case.case_id, path.relative_to(folder))
        except OSError as error:
            # A stale artifact that cannot be removed would be taken for one that belongs.
            reason = f"stale artifacts could not be removed: {reason_of(error)}"
            failed += [
                ExportFailure(case.case_id, modality, reason) for modality in MODALITIES if modality not in case.given
            ]
        artifacts += written
    index = layout.exported(name)
    write_artifacts(index, artifacts, failed)
    if failed and config.on_case_error == "stop":
        listed = "; ".join(f"{item.case_id} {item.modality}: {item.reason}" for item in failed)
        raise CaseError(f"export {name}: {len(failed)} failed: {listed}")
    return index
