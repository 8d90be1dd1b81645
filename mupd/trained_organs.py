"""Whether a model was trained on a case's organ, told from what its folder says and what is known of the case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mupd.ids import Modality, Target
from mupd.inventory import CaseInventory
from mupd.modalities.organs import in_vocabulary, organ_of_report, organ_term
from mupd.model.trained_on import TrainedOn

_GIVEN = {"he": "H&E", "bulk": "bulk RNA", "spot": "spatial RNA", "text": "text"}
_TARGETS: dict[Target, str] = {"he": "H&E", "rna": "RNA", "text": "text"}


def organ_of(case: CaseInventory) -> str | None:
    """A case's organ: the sheet's, else the one that its measured report states; None where neither says."""
    organ = organ_term(case.organ)
    return organ or (organ_of_report(case.entries["text"].facts) if "text" in case.given else None)


@dataclass(frozen=True)
class OrganFound:
    """A case's organ and those that the given streams were trained on, all of them together.

    Attributes
    ----------
    organ
        As :func:`mupd.modalities.organs.organ_term` names it; "" for a word outside the vocabulary, which may be
        anything and is not repeated.
    sentence
        "" where the organ is among them.
    """

    organ: str
    trained: tuple[str, ...]
    sentence: str


def _kind_of(stream: Modality, case: CaseInventory) -> Literal["he", "bulk", "spot", "text"] | None:
    if stream != "rna":
        return stream
    kind = case.entries["rna"].facts.get("kind")
    return kind if kind in ("bulk", "spot") else None


def organ_found(
    case: CaseInventory, target: Target, given: tuple[Modality, ...], trained_on: TrainedOn, model_id: str
) -> OrganFound | None:
    """Whether any of the given streams was trained on the case's organ for this target.

    None where that is not known: no organ is stated, the model does not say of one of the streams, or the target is a
    stain.
    """
    organ = organ_of(case)
    if organ is None or target not in _TARGETS or not given:
        return None
    # Spots are made where there is H&E to place them on.
    made = target if target != "rna" else "spot" if "he" in given else "bulk"
    streams = [_kind_of(stream, case) for stream in given]
    said = [trained_on.get(f"{stream}->{made}") for stream in streams if stream is not None]
    known = [organs for organs in said if organs is not None]
    if len(known) < len(streams):
        return None
    trained = tuple(sorted(frozenset[str]().union(*known)))
    shown = organ if in_vocabulary(organ) else ""
    if organ in trained:
        return OrganFound(shown, trained, "")
    names = " and ".join(_GIVEN[stream] for stream in streams if stream is not None)
    verb = "were" if len(streams) > 1 else "was"
    sentence = (
        f"{names[0].upper()}{names[1:]} of {shown or 'this organ'} {verb} not among what {model_id} was trained on "
        f"for {_TARGETS[target]}: this draw is a guess"
    )
    return OrganFound(shown, trained, sentence)
