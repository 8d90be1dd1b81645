"""Whether a model was trained on a case's organ, from the model's folder and the case's sheet row and report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mupd.base.ids import Modality, Target
from mupd.base.organs import in_vocabulary, organ_term
from mupd.contracts.inventory import CaseInventory
from mupd.model_folder.trained_on import TrainedOn
from mupd.reports.record.organs import organ_of_report

_GIVEN = {"he": "H&E", "bulk": "bulk RNA", "spot": "spatial RNA", "text": "text"}
_TARGETS: dict[Target, str] = {"he": "H&E", "rna": "RNA", "text": "text"}


def organ_of(case: CaseInventory) -> str | None:
    """A case's organ: the sheet's, else that of its measured report; None if neither states one."""
    organ = organ_term(case.organ)
    return organ or (organ_of_report(case.entries["text"].facts) if "text" in case.given else None)


@dataclass(frozen=True)
class OrganFound:
    """A case's organ compared with the organs that the given streams were trained on.

    All given streams take part in every step of a draw, also those that were trained on other organs only.

    Attributes
    ----------
    organ
        A name of the vocabulary (:mod:`mupd.base.organs`). "" for any other word: it may be anything, so it is not
        repeated.
    trained
        Organs that every one of the given streams was trained on.
    guess
        Whether none of them was trained on this organ.
    sentence
        Names the streams that were not trained on it and what follows for the draw; "" if all were.
    """

    organ: str
    trained: tuple[str, ...]
    guess: bool
    sentence: str


def _kind_of(stream: Modality, case: CaseInventory) -> Literal["he", "bulk", "spot", "text"] | None:
    if stream != "rna":
        return stream
    kind = case.entries["rna"].facts.get("kind")
    return kind if kind in ("bulk", "spot") else None


def organ_found(
    case: CaseInventory, target: Target, given: tuple[Modality, ...], trained_on: TrainedOn, model_id: str
) -> OrganFound | None:
    """Which of the given streams were trained on the case's organ for this target.

    None if unknown: the case states no organ, the model's folder lacks a stream, or the target is a stain.
    """
    organ = organ_of(case)
    if organ is None or target not in _TARGETS or not given:
        return None
    # Spots are made where there is H&E to place them on.
    made = target if target != "rna" else "spot" if "he" in given else "bulk"
    organs: dict[str, frozenset[str]] = {}
    for stream in given:
        kind = _kind_of(stream, case)
        organs_trained_on = None if kind is None else trained_on.get(f"{kind}->{made}")
        if kind is None or organs_trained_on is None:
            return None
        organs[_GIVEN[kind]] = organs_trained_on
    shown = organ if in_vocabulary(organ) else ""
    trained = tuple(sorted(frozenset.intersection(*organs.values())))
    without = [name for name, known in organs.items() if organ not in known]
    if not without:
        return OrganFound(shown, trained, False, "")
    others = " and ".join(name for name in organs if name not in without)
    names = " and ".join(without)
    verb = "were" if len(without) > 1 else "was"
    start = (
        f"{names[0].upper()}{names[1:]} of {shown or 'this organ'} {verb} not among what {model_id} was trained on "
        f"for {_TARGETS[target]}"
    )
    if others:
        sentence = f"{start}, {others} was: the draw rests on both, and what {names} adds to it is a guess"
    else:
        sentence = f"{start}: this draw is a guess"
    return OrganFound(shown, trained, not others, sentence)
