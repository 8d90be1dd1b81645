"""Whether a model was trained on a case's organ, told from what its folder says and what is known of the case."""

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
    """A case's organ: the sheet's, else the one that its measured report states; None where neither says."""
    organ = organ_term(case.organ)
    return organ or (organ_of_report(case.entries["text"].facts) if "text" in case.given else None)


@dataclass(frozen=True)
class OrganFound:
    """A case's organ held against those that the given streams were trained on.

    A draw rests on all of its given streams: each has its own part in every step, and none is left out because it was
    trained on other organs.

    Attributes
    ----------
    organ
        As :func:`mupd.base.organs.organ_term` names it; "" for a word outside the vocabulary, which may be
        anything and is not repeated.
    trained
        Organs that every one of the given streams was trained on.
    guess
        Whether none of them was trained on this organ.
    sentence
        Which of them were not, and what that means for the draw; "" where all were.
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

    None where that is not known: no organ is stated, the model does not say of one of the streams, or the target is a
    stain.
    """
    organ = organ_of(case)
    if organ is None or target not in _TARGETS or not given:
        return None
    # Spots are made where there is H&E to place them on.
    made = target if target != "rna" else "spot" if "he" in given else "bulk"
    organs: dict[str, frozenset[str]] = {}
    for stream in given:
        kind = _kind_of(stream, case)
        said = None if kind is None else trained_on.get(f"{kind}->{made}")
        if kind is None or said is None:
            return None
        organs[_GIVEN[kind]] = said
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
