"""What of a cohort needs a look: the same words of many cases once, with the cases they are of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_NAMED = 12
"""Cases that are named for the same words; of others the number is told, and "Needs a look" shows them."""


@dataclass(frozen=True)
class Look:
    """Words about one modality of one case or more.

    Attributes
    ----------
    cases
        Their ids, in the sheet's order.
    name, state, word
        Of the modality and of its state, as the report shows them.
    said
        The words.
    """

    cases: tuple[str, ...]
    name: str
    state: str
    word: str
    said: str

    @property
    def named(self) -> tuple[str, ...]:
        """Those that are named."""
        return self.cases[:MOST_NAMED]

    @property
    def further(self) -> int:
        """How many are not."""
        return len(self.cases) - len(self.named)


def _said_of(part: Mapping[str, Any]) -> str:
    parts = []
    if part["status"] == "unusable":
        parts.append(f"Input unusable: {part['reason']}")
    elif part["state"] == "let_in":
        parts.append(part["reason"])
    parts.append(part["why"])
    if part["same"]:
        meant = "one of them is in the wrong place, or one patient stands in the sheet twice."
        parts.append(f"It has {part['same']}: {meant}")
    return ". ".join(text for text in parts if text)


def looks(overview: Iterable[Mapping[str, Any]]) -> list[Look]:
    """What parts of the overview's rows (id, parts) say that asks for a look, in the order of the first cases."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for row in overview:
        for part in row["parts"]:
            if part["look"]:
                key = part["name"], part["state"], part["word"], _said_of(part)
                found.setdefault(key, []).append(row["id"])
    return [Look(tuple(cases), *key) for key, cases in found.items()]
