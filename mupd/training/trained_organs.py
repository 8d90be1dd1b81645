"""Which organs a training's data have in each direction: what ``trained_on.json`` says, told without torch.

A direction counts an organ where some sample of the training has that target, that condition and that organ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from mupd.model_folder.trained_on import DIRECTIONS, TrainedOn
from mupd.reports.record.organs import in_vocabulary
from mupd.training.labels import HER2ST_RECORD

if TYPE_CHECKING:
    from mupd.training.cohort.cases import TrainingCase

Organs = dict[str, frozenset[str | None]]
"""{direction: organs}. None stands for samples whose organ is not known, or is no word of the vocabulary."""

_TARGETS = {"he": "he", "bulk": "rna", "spot": "rna", "text": "text"}


def _learned(found: Mapping[str, Iterable[str | None]], targets: Collection[str]) -> Organs:
    """Of the directions those whose target is trained."""
    return {
        direction: frozenset(organs)
        for direction, organs in found.items()
        if _TARGETS[direction.partition("->")[2]] in targets
    }


def organs_of_public(
    tiles: Collection[str], patients: Collection[str], targets: Collection[str], tile_share: float
) -> Organs:
    """What the public data teach: HER2ST's spots under their H&E, tiles with texts, patients' bulk RNA with texts.

    Parameters
    ----------
    tiles
        Organs of the tiles.
    patients
        Organs of the patients.
    targets
        Of ``he``, ``rna`` and ``text`` those that are trained.
    tile_share
        Share of the windows of H&E that are tiles.
    """
    sections = {HER2ST_RECORD["organ"]}
    found = {
        "spot->he": sections,
        "text->he": sections | (set(tiles) if tile_share > 0 else set()),
        "he->spot": sections,
        "text->spot": sections,
        "text->bulk": set(patients),
        "he->text": sections | set(tiles),
        "spot->text": sections,
        "bulk->text": set(patients),
    }
    return _learned(found, targets)


def _kind_of(case: TrainingCase) -> Literal["bulk", "spot"] | None:
    return None if case.profile is None else case.profile.kind


def _directions(case: TrainingCase, fields: Mapping[str, Sequence[str]]) -> set[str]:
    """What a case of a cohort teaches, as :mod:`mupd.training.cohort.batches` draws from it."""
    kind, found = _kind_of(case), set()
    if case.he is not None:
        found |= {"text->he"} if case.text is not None else set()
        found |= {f"{kind}->he"} if kind is not None else set()
    if kind is not None:
        found |= {"he->spot"} if kind == "spot" and case.he is not None else set()
        found |= {f"text->{kind}"} if case.text is not None else set()
    if any(value in fields.get(field, ()) for field, value in case.record.items()):
        found |= {"he->text"} if case.he is not None else set()
        found |= {f"{kind}->text"} if kind is not None else set()
    return found


def organs_of_cases(
    cases: Iterable[TrainingCase], fields: Mapping[str, Sequence[str]], targets: Collection[str]
) -> Organs:
    """What a user's own cases teach.

    Parameters
    ----------
    fields
        {field: values} of the model's records: a case whose text states none of them teaches no record.
    """
    found: dict[str, set[str | None]] = {}
    for case in cases:
        organ = case.organ if case.organ is not None and in_vocabulary(case.organ) else None
        for direction in _directions(case, fields):
            found.setdefault(direction, set()).add(organ)
    return _learned(found, targets)


def trained_on(parts: Iterable[Organs], start: TrainedOn | None = None) -> TrainedOn:
    """Organs by direction over all parts of the data; a direction with an organ that is not known is left out.

    Parameters
    ----------
    start
        What the weights that the trunk began with had been trained on: it stays in them. A direction that it leaves
        out is left out.
    """
    known = dict.fromkeys(DIRECTIONS, frozenset[str]()) if start is None else start
    found: dict[str, frozenset[str | None]] = {direction: frozenset(organs) for direction, organs in known.items()}
    for part in parts:
        for direction, organs in part.items():
            if direction in found:
                found[direction] |= organs
    return {
        direction: frozenset(organ for organ in organs if organ is not None)
        for direction, organs in found.items()
        if None not in organs
    }
