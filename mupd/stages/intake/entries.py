"""The entries of a case from what was found in its inputs: which slide stands for several, what is worth a warning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mupd.base.ids import MODALITIES, Modality
from mupd.config import Config
from mupd.contracts.inventory import CaseInventory, Entry
from mupd.contracts.shared_inputs import note_duplicates
from mupd.inputs.examine import NOT_IN_TABLE, Outcome
from mupd.inputs.runners import Runner, in_place
from mupd.sheet import SheetCase
from mupd.stages.intake.answers import Answer, CacheOf, answers_of
from mupd.stages.intake.cache import Cache

__all__ = ["NOT_IN_SHEET", "NOT_IN_TABLE", "examine", "inventories_of", "inventory_of"]

NOT_IN_SHEET = "no file in the sample sheet"
_MOST_REASONS = 5


def _no_cache(_case: SheetCase) -> Cache:
    return Cache(None, "")


def _entry(case: SheetCase, modality: Modality, answers: list[Answer]) -> Entry:
    if not answers:
        return Entry(case.case_id, modality, "missing", NOT_IN_SHEET)
    if len(answers) > 1:
        return _entry_of_slides(case, answers)
    source, outcome = answers[0].source, answers[0].outcome
    if outcome.status == "missing":
        return Entry(case.case_id, modality, "missing", outcome.reason)
    digest = outcome.sha256 if outcome.status == "measured" else ""
    # A copy: two cases may share an input, and what is added to one belongs to that one.
    return Entry(case.case_id, modality, outcome.status, outcome.reason, source.name, digest, dict(outcome.facts))


def _tissue(outcome: Outcome) -> float:
    return float(outcome.facts.get("tissue_mm2") or 0.0)


def _entry_of_slides(case: SheetCase, answers: list[Answer]) -> Entry:
    """The entry of the usable slide with most tissue, the first of equals; with an account of all."""
    slides = [
        {
            "name": answer.source.path.name,
            "status": answer.outcome.status,
            "reason": answer.outcome.reason,
            "sha256": answer.outcome.sha256,
            "tissue_mm2": answer.outcome.facts.get("tissue_mm2"),
        }
        for answer in answers
    ]
    usable = [answer for answer in answers if answer.outcome.status == "measured"]
    if not usable:
        reasons = [f"slide {number}: {answer.outcome.reason}" for number, answer in enumerate(answers, start=1)]
        more = f"; and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
        reason = f"none of {len(answers)} slides is usable: {'; '.join(reasons[:_MOST_REASONS])}{more}"
        return Entry(case.case_id, "he", "unusable", reason, answers[0].source.name, "", {"slides": slides})
    best = max(usable, key=lambda answer: _tissue(answer.outcome))
    facts = best.outcome.facts | {"slides": slides}
    outcome = best.outcome
    return Entry(case.case_id, "he", "measured", outcome.reason, best.source.name, outcome.sha256, facts)


_SAME_SCALE = 0.1


def _with_slide_scale(entries: dict[Modality, Entry], case: SheetCase) -> None:
    """Spot positions are pixels of the slide: their scale is the slide's, or what the sheet states of it.

    Space Ranger states the scale of the picture that it was given: it counts where there is no slide, and where the
    slide clearly is another picture.
    """
    scale = entries["he"].facts.get("mpp", case.he_mpp)
    facts = entries["rna"].facts
    if not facts.get("has_positions"):
        return
    of_spots = facts.get("mpp_of_spots")
    if of_spots is not None and scale is not None and abs(of_spots / scale - 1) > _SAME_SCALE:
        facts["other_picture"] = (
            f"the spots' picture has {of_spots:g} um/px by Space Ranger, the case's slide {scale:g}: positions are in "
            "pixels of the former"
        )
        scale = of_spots
    scale = of_spots if scale is None else scale
    if scale is not None:
        facts["he_mpp"] = scale


def inventories_of(
    cases: Sequence[SheetCase], config: Config, run: Runner, cache_of: CacheOf | None = None, **options: Any
) -> list[CaseInventory]:
    """All three entries of each case, in their order, and what the sheet says beside them.

    Parameters
    ----------
    run
        Who examines (:func:`mupd.inputs.runners.in_place`, :meth:`mupd.inputs.pool.Pool.run`).
    cache_of
        The cache of a case's shard; None remembers nothing.
    options
        See :func:`mupd.stages.intake.answers.answers_of`.
    """
    answers = answers_of(cases, config, run, cache_of or _no_cache, caching=cache_of is not None, **options)
    found = []
    for case, of_case in zip(cases, answers, strict=True):
        entries = {modality: _entry(case, modality, of_case[modality]) for modality in MODALITIES}
        _with_slide_scale(entries, case)
        found.append(CaseInventory(case.case_id, entries, case.organ, case.diagnosis, case.extra, case.sheet_id))
    note_duplicates(found)
    return found


def inventory_of(case: SheetCase, config: Config, genes: tuple[str, ...]) -> CaseInventory:
    """All three entries of one case, read in this process; never raises for what is wrong with an input."""
    return inventories_of([case], config, in_place(config, genes))[0]


def examine(case: SheetCase, modality: Modality, config: Config, genes: tuple[str, ...]) -> Entry:
    """The entry of one modality, read in this process; never raises for what is wrong with the input."""
    return inventory_of(case, config, genes).entries[modality]
