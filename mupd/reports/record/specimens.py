"""Reports of several organs, whose values must not be mixed into one record."""

from __future__ import annotations

import re

from mupd.base.organs import RECORD_ORGANS, organ_scores
from mupd.reports.record.diagnosis import is_malignant
from mupd.reports.record.sections import sections_of

# "A. Sigmoid colon, resection:", "2) Urinary bladder, TURBT:", "Part B: left breast, mastectomy."
_PART = re.compile(r"(?:^|(?<=[.;:\n])|(?<=\s))\s*(?:part\s+|specimen\s+)?(?:[a-h]|[1-9])[.):]\s+(?=[a-z][^:]{2,90}:)")
_LEAST_SCORE = 1.0


def _organ(title: str) -> str:
    scores = organ_scores(title)
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= _LEAST_SCORE and best in RECORD_ORGANS else ""


def tumour_organs(flat: str) -> set[str]:
    """The organs of the parts of a flattened report in which a primary tumour is stated.

    Parts are numbered or lettered, with the organ in their title. A report without parts gives none.
    """
    starts = [match.end() for match in _PART.finditer(flat)]
    organs: set[str] = set()
    if len(starts) < 2:
        return organs
    for start, end in zip(starts, [*starts[1:], len(flat)], strict=True):
        title, _, words = flat[start:end].partition(":")
        if (organ := _organ(title)) and is_malignant(words):
            organs.add(organ)
    return organs


def without_history(text: str) -> str:
    """A report without its clinical history, which tells of earlier tumours, or of what was suspected."""
    return " ".join(text[part.start : part.end] for part in sections_of(text) if part.name != "history")
