"""What rules find in a report, with the place that says so, and how several findings become one value or none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from mupd.reports.record.sections import SectionName, section_at, small_letters

ReportField = Literal["organ", "histologic_type", "grade", "pt", "pn"]
REPORT_FIELDS: tuple[ReportField, ...] = ("organ", "histologic_type", "grade", "pt", "pn")
MAX_CHARACTERS = 60_000
"""Longer texts are read up to here; public reports have up to 20,000 characters."""
Abstention = Literal["", "not stated", "contradictory"]

# What a section's word weighs where sections differ: the checklist is filled in last and on purpose.
_RANK: dict[SectionName, int] = {
    "synoptic": 5, "diagnosis": 4, "comment": 3, "head": 3, "specimens": 2, "ancillary": 2, "microscopic": 2,
    "gross": 1, "history": 0, "intraoperative": 0, "blocks": 1, "boilerplate": -1,
}  # fmt: skip
UNREAD: frozenset[SectionName] = frozenset({"boilerplate"})


@dataclass(frozen=True)
class Finding:
    """One place of a report that states a value: ``text[start:end]``.

    `strength` tells findings of one section apart: 1 for an item of a checklist or a code, 0 for prose.
    """

    value: str
    start: int
    end: int
    section: SectionName
    strength: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """Order of trust: the section, then the strength."""
        return _RANK[self.section], self.strength


@dataclass(frozen=True)
class Stated:
    """A field of a report: its value with the evidence, or "" with the reason why there is none.

    `findings` are all places that were found for the field, in the order of the text; the first of `evidence` is
    the one that the value was taken from.
    """

    value: str
    abstained: Abstention
    evidence: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()


# The stop stands first: what a pattern begins with is looked for much faster than what has to stand before it.
_LINE_END = re.compile(r"\.(?<=[A-Za-z,\-]\.)(?=\s+[a-z])")
_GOES_ON = re.compile(
    r"\.(?=\s)(?:(?<=\b(?:or|of|to|by|in|is|at|as)\.)|(?<=\b(?:and|the|for|are|was|non)\.)|(?<=\b(?:with|from|into)\.))",
    re.IGNORECASE,
)


def lowered(text: str) -> str:
    """Lower case on one line, character for character, so that places stay those of the text.

    The stops that optical character recognition puts at the end of each line become spaces where a sentence evidently
    goes on: before a small letter and behind words such as "of".
    """
    text = _GOES_ON.sub(" ", _LINE_END.sub(" ", text))
    return re.sub(r"\s", " ", small_letters(text))


def finding(text: str, value: str, start: int, end: int, strength: int = 0) -> Finding:
    """A finding with the section that its place stands in."""
    return Finding(value, start, end, section_at(text, start), strength)


def resolved(findings: Iterable[Finding], choose: Callable[[tuple[Finding, ...]], str]) -> Stated:
    """One value of several findings.

    Parameters
    ----------
    choose
        The value of the most trusted findings (at least one, all of one rank); "" where they contradict each other.
    """
    found = tuple(sorted((f for f in findings if f.section not in UNREAD), key=lambda f: (f.start, f.end)))
    if not found:
        return Stated("", "not stated")
    top = max(f.rank for f in found)
    best = tuple(f for f in found if f.rank == top)
    value = choose(best)
    if not value:
        return Stated("", "contradictory", best, found)
    said = tuple(f for f in best if f.value == value)
    return Stated(value, "", said or best, found)
