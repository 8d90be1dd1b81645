"""Inventory entries from the outcomes of a case's inputs: also which of several slides is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mupd.base.ids import MODALITIES, Modality
from mupd.config import Config
from mupd.contracts.inventory import CaseInventory, Entry
from mupd.contracts.shared_inputs import note_duplicates
from mupd.inputs.examine import Outcome
from mupd.inputs.readers import slide_rank
from mupd.inputs.runners import Runner
from mupd.sheet import SheetCase
from mupd.sheet.sources import Source
from mupd.stages.intake.answers import Answer, CacheOf, answers_of

NOT_IN_SHEET = "no file in the sample sheet"
_MOST_REASONS = 5
_SAME_SCALE = 0.1


def _entry(case: SheetCase, modality: Modality, answers: list[Answer]) -> Entry:
    if not answers:
        return Entry(case.case_id, modality, "missing", NOT_IN_SHEET)
    if len(answers) > 1:
        return _entry_of_slides(case, answers)
    source, outcome = answers[0].source, answers[0].outcome
    if outcome.status == "missing":
        return Entry(case.case_id, modality, "missing", outcome.reason)
    digest = outcome.sha256 if outcome.status == "measured" else ""
    # Copy the facts: two cases may share an input, and what is added to one belongs to that one.
    return _entry_of(case, modality, outcome, source, digest, dict(outcome.facts))


def _entry_of(
    case: SheetCase, modality: Modality, outcome: Outcome, source: Source, sha256: str, facts: dict[str, Any]
) -> Entry:
    path, row = str(source.path), source.row
    return Entry(case.case_id, modality, outcome.status, outcome.reason, path, sha256, facts, row)


def _entry_of_slides(case: SheetCase, answers: list[Answer]) -> Entry:
    """The entry of the usable slide with most tissue (the first of equals); its facts list all slides."""
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
        return Entry(case.case_id, "he", "unusable", reason, str(answers[0].source.path), "", {"slides": slides})
    best = max(usable, key=lambda answer: slide_rank(answer.outcome.facts))
    facts = best.outcome.facts | {"slides": slides}
    return _entry_of(case, "he", best.outcome, best.source, best.outcome.sha256, facts)


def _with_slide_scale(entries: dict[Modality, Entry], case: SheetCase) -> None:
    """Add `he_mpp` to the facts of spots: their positions are pixels of the slide, so their scale is the slide's.

    Space Ranger states the scale of the picture that it was given. That scale is used if the case has no slide, or if
    it differs so much from the slide's that the slide must be another picture.
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
    cases: Sequence[SheetCase],
    config: Config,
    run: Runner,
    cache_of: CacheOf | None = None,
    description: str = "intake",
    between: Callable[[], None] = lambda: None,
) -> list[CaseInventory]:
    """The inventory of each case, in the order of `cases`.

    Parameters
    ----------
    run
        Who examines the inputs (:mod:`mupd.inputs.runners`).
    cache_of
        The cache of a case's shard; None remembers nothing.
    description
        Of the progress bar.
    between
        Called after every outcome.
    """
    answers = answers_of(cases, config, run, cache_of, description, between)
    inventories = []
    for case, of_case in zip(cases, answers, strict=True):
        entries = {modality: _entry(case, modality, of_case[modality]) for modality in MODALITIES}
        _with_slide_scale(entries, case)
        inventories.append(CaseInventory(case.case_id, entries, case.organ, case.diagnosis, case.extra, case.sheet_id))
    note_duplicates(inventories)
    return inventories
