"""Findings of the rules in a report, each with its place, and how several findings become one value or none."""

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

# Trust in a section where sections differ. An addendum corrects what stands before it. Then comes the checklist: it is
# filled in last and on purpose.
_RANK: dict[SectionName, int] = {
    "addendum": 6, "synoptic": 5, "diagnosis": 4, "comment": 3, "head": 3, "specimens": 2, "ancillary": 2,
    "microscopic": 2, "gross": 1, "history": 0, "intraoperative": 0, "blocks": 1, "boilerplate": -1,
}  # fmt: skip
UNREAD: frozenset[SectionName] = frozenset({"boilerplate", "history"})
"""No value is read from these: a history tells of earlier tumours, or of what was suspected."""


@dataclass(frozen=True)
class Finding:
    """One place of a report that states a value: ``text[start:end]``.

    `strength` ranks findings of one section: 1 for a checklist item or a code, 0 for prose.
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
    """A field of a report: its value with the evidence, or "" and the reason.

    `findings` are all findings of the field in text order. The value comes from the first of `evidence`.
    """

    value: str
    abstained: Abstention
    evidence: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()


# The full stop comes first because a literal start is searched for much faster than a look-behind.
# Matches the first stop of "carcinoma of the. colon".
_LINE_END = re.compile(r"\.(?<=[A-Za-z,\-]\.)(?=\s+[a-z])")
# Matches the stop of "invasion of. THE WALL".
_GOES_ON = re.compile(
    r"\.(?=\s)(?:(?<=\b(?:or|of|to|by|in|is|at|as)\.)|(?<=\b(?:and|the|for|are|was|non)\.)|(?<=\b(?:with|from|into)\.))",
    re.IGNORECASE,
)


def lowered(text: str) -> str:
    """Lower case on one line, with as many characters as the text, so that places are the same in both.

    Optical character recognition puts a full stop at each line end. It becomes a space where the sentence clearly goes
    on: before a small letter and after words such as "of".
    """
    text = _GOES_ON.sub(" ", _LINE_END.sub(" ", text))
    return re.sub(r"\s", " ", small_letters(text))


def finding(text: str, value: str, start: int, end: int, strength: int = 0) -> Finding:
    """A finding, with the section of its place."""
    return Finding(value, start, end, section_at(text, start), strength)


def resolved(findings: Iterable[Finding], choose: Callable[[tuple[Finding, ...]], str]) -> Stated:
    """One value from several findings.

    Parameters
    ----------
    choose
        Gives the value of the most trusted findings (at least one, all of one rank), or "" if they contradict each
        other.
    """
    ordered = tuple(sorted((f for f in findings if f.section not in UNREAD), key=lambda f: (f.start, f.end)))
    if not ordered:
        return Stated("", "not stated")
    top = max(f.rank for f in ordered)
    best = tuple(f for f in ordered if f.rank == top)
    value = choose(best)
    if not value:
        return Stated("", "contradictory", best, ordered)
    evidence = tuple(f for f in best if f.value == value)
    return Stated(value, "", evidence or best, ordered)
