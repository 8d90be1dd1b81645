"""The report's list "What needs a look": each sentence once, with the cases and modalities it is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MOST_NAMED = 12
"""Cases named per sentence and modality; of further ones only the number is shown."""


@dataclass(frozen=True)
class ReviewNote:
    """One sentence about one or more cases.

    Attributes
    ----------
    state, word
        State of the modality, as a key and as the report shows it.
    sentence
        What to review.
    cases
        {modality as the report names it: case ids in the sheet's order}.
    """

    state: str
    word: str
    sentence: str
    cases: dict[str, list[str]]

    def named(self, modality: str) -> list[str]:
        """The first :data:`MOST_NAMED` case ids of a modality."""
        return self.cases[modality][:MOST_NAMED]

    def further(self, modality: str) -> int:
        """Number of cases of a modality that are not named."""
        return max(0, len(self.cases[modality]) - MOST_NAMED)


def _sentences(part: Mapping[str, Any]) -> Iterator[str]:
    if part["status"] == "unusable":
        yield f"Input unusable: {part['reason']}"
    elif part["state"] == "let_in":
        yield part["reason"]
    if part["why"]:
        yield part["why"]
    if part["same"]:
        yield f"It has {part['same']}: one of them is misplaced, or the sheet lists one patient twice."


def review_notes(overview: Iterable[Mapping[str, Any]]) -> list[ReviewNote]:
    """Notes on the parts of the overview's rows (id, parts) that need a look, in the order of the first cases."""
    notes: dict[tuple[str, str], ReviewNote] = {}
    for row in overview:
        for part in row["parts"]:
            for sentence in _sentences(part) if part["look"] else ():
                state, word = part["state"], part["word"]
                note = notes.setdefault((state, sentence), ReviewNote(state, word, sentence, {}))
                note.cases.setdefault(part["name"], []).append(row["id"])
    return list(notes.values())
