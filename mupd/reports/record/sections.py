"""The sections of a pathology report as it comes from optical character recognition: one line, stops in mid-sentence.

A section runs from its heading to the next heading. Boilerplate (attestations, laboratory disclaimers, confidentiality
notes, signatures) may stand in any section. It stays in the text, but no value is read from it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

SectionName = Literal[
    "head", "addendum", "specimens", "history", "intraoperative", "diagnosis", "synoptic", "comment", "microscopic",
    "gross", "blocks", "ancillary", "boilerplate",
]  # fmt: skip

_CAPITAL = r"(?<![\w-])"
_ANY_CHECKLIST = r"[a-z]+(?:\s[a-z]+)?\s+(?:tissue\s+|carcinoma\s+|cancer\s+)?(?:checklist|template)\s*[:.]|"
# Tried in this order at each place. A heading ends in a colon or, after OCR, in a full stop. Headings whose words also
# occur in sentences need the colon. Examples: "Intraoperative consultation:", "Clinical history:", "Synoptic report",
# "Gross description:", "Microscopic description:", "Final diagnosis:", "Comment:", "Block summary:", "Specimens
# submitted:", "Special stains:".
_HEADINGS: tuple[tuple[SectionName, str], ...] = (
    (
        "intraoperative",
        r"intra-?\s?operative\s+(?:consult\w*|frozen\s+consult\w*|diagnos[ie]s|evaluation|examination)"
        r"(?:\s+diagnos[ie]s)?\s*[:.]|frozen\s+section\s+(?:diagnos[ie]s|consultation|report)\s*[:.]|"
        r"operative\s+consult(?:ation)?(?:\s+\(gross\))?\s*:|(?:intra|rat)\w*ive\s+consultation\s*:",
    ),
    (
        "history",
        r"(?:brief\s+)?clinical\s+(?:history|information|data|notes?|details|diagnos[ie]s(?:\s*(?:&"
        r"|and)\s*history)?)\s*[:.]|"
        r"(?:patient\s+)?history\s*:|(?:pre|post)[\s/-]*(?:post)?-?\s?op(?:erative)?\s+(?:diagnos[ie]s|dx)\s*[:.]",
    ),
    (
        "synoptic",
        r"synoptic\s+(?:report|data)[^:.]{0,40}|case\s+synopsis\s*[:.]"
        r"|cancer\s+case\s+summary(?:\s+checklist)?\s*[:.]?|"
        rf"cap\s+cancer\s+template|{_ANY_CHECKLIST}"
        r"(?:urothelial|breast|colorectal|endometrial)\s+carcinoma\s*[:.]\s+1\.|tumou?r\s+characteristics\s*:",
    ),
    (
        "gross",
        r"(?:gross|macroscopic)(?:\s+anatomic(?:al)?)?\s+(?:description|examination|findings)\s*(?:\([^)]*\)\s*)?[:.]|"
        r"(?:gross|macroscopy|macroscopic|tissue\s+description)\s*:|summary\s+of\s+gross\s*:",
    ),
    (
        "microscopic",
        r"micr[o0]?[sc]\w*\s+(?:description|examination|findings)(?:/\s*diagnos\w+)?\s*[:.]|(?:microscopic"
        r"|microscopy|histology)\s*:",
    ),
    (
        "diagnosis",
        r"(?:final\s+|surgical\s+)?(?:patholog\w+|histopatholog\w+|histolog\w+|anatomic\w*|microscopic|final)?[\s-]*"
        r"(?:diagnos[ie]s(?:\s*/\s*diagnos[ie]s)?(?:\s*\(es\))?|interpretation|impression)(?:\s+details)?\s*:|"
        r"(?:final|pathologic(?:al)?|histologic(?:al)?|histopathological"
        r"|final\s+pathologic(?:al)?)\s+diagnos[ie]s\s*\.|"
        r"diagnosis\s+based\s+on\s+gross\s+and\s+microscopic\s+examination\s*:|im?o?pr\w*ssion\s*:|"
        r"(?:diagnosis|summary)\s*[:.]|conclusions?\s*:|primary\s+site\s*:",
    ),
    (
        "addendum",
        r"(?:addend(?:um|a)|amend(?:ment|ed)|corrected|revised|supplement(?:al|ary))(?:\s+(?:surgical\s+)?"
        r"(?:patholog\w+\s+)?(?:report|diagnos[ie]s|comment|findings?))?(?:\s*#?\s?\d{1,2})?\s*:|addendum\s*\.",
    ),
    ("comment", r"(?:diagnosis\s+)?comments?\s*:|note\s*:"),
    (
        "blocks",
        r"(?:block|section|slide|cassette)\s*(?:summary|key|code|list|legend)\s*[:.]|summary\s+of\s+sections\s*[:.]|"
        r"(?:representative\s+)?sections(?:\s+are\s+submitted\s+as\s+follows)?\s*:|histo\s+tissue\s+summary",
    ),
    (
        "specimens",
        r"specimens?\s*(?:\(s\)\s*)?(?:submitted|received|source)\s*[:.]|specimens?(?:\s*\(s\))?\s*:"
        r"|tissue\s+submitted\s*:",
    ),
    (
        "ancillary",
        r"special\s+(?:stains?|studies)\s*(?:/\s*slides\s*)?[:.]|immunohistochemi\w+\s*(?:studies"
        r"|results?)?\s*:",
    ),
)
_PATTERN = _CAPITAL + "(?:" + "|".join(f"(?P<{name}>{pattern})" for name, pattern in _HEADINGS) + ")"
_HEADING = re.compile(_PATTERN)
# "Colon carcinoma checklist:" may begin with any word, which is slow to search: used only if the text has such a word.
_HEADING_NO_CHECKLIST = re.compile(_PATTERN.replace(_ANY_CHECKLIST, ""))
# "See comment:" is no heading, and "Specimen:" inside a checklist is one of its items.
_POINTER = re.compile(r"\bsee\s+(?:the\s+)?$", re.IGNORECASE)
_ITEM = re.compile(r"specimen\s*:|comments?\s*:|note\s*:", re.IGNORECASE)
# "This is the final diagnosis." ends a sentence and is no heading.
_ENDS_SENTENCE = re.compile(r"\b(?:the|a|an|this|with|of|for|to|and|in|see|final|above|previous)\s+$", re.IGNORECASE)

# Words that mark a sentence as boilerplate, such as "I attest that" and "Electronically signed".
_BOILERPLATE = re.compile(
    r"i\s+attest\s+that|attest\w*\s+(?:that\s+)?i?\s?have\s+personally|that\s+i\s+have\s+personally\s+reviewed|"
    r"i\s+have\s+personally\s+reviewed|the\s+following\s+statement\s+applies|"
    r"if\s+immunohistochemistry\s+or\s+in\s+situ\s+hybridization\s+was\s+used"
    r"|food\s+and\s+drug\s+administration|\bfda\b|"
    r"\bclia\b|clinical\s+laboratory\s+improvement|performance\s+characteristics?\s+(?:were|was|of|determined)|"
    r"investigational\s+or\s+for\s+research|confidential\s+and\s+privileged|disclosure,\s+dissemination|"
    r"electronic(?:ally)?\s+sign(?:ed|ature)|pathology\s+stage\s*\.?\s+is\s+(?:based|only)"
    r"|information\s+on\s+pathology\s+stage|"
    r"incorporates\s+data\s+elements|informed\s+consent|consent\s+(?:was\s+obtained|form)"
)
_LONGEST_SENTENCE = 250
_USUAL_HISTORY, _LONGEST_HISTORY = 80, 500


@dataclass(frozen=True)
class Section:
    """A section, from its heading to the next: ``text[start:end]``."""

    name: SectionName
    start: int
    end: int


def small_letters(text: str) -> str:
    """Lower case, with as many characters as the text. Patterns of small letters are much faster than IGNORECASE."""
    lower = text.lower()
    if len(lower) != len(text):  # some letters become two, as "İ" does
        lower = "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)
    return lower


@lru_cache(maxsize=8)
def sections_of(text: str) -> tuple[Section, ...]:
    """The sections of a report, in order and without gaps; text before the first heading is ``head``.

    Neighbours of the same name are joined.
    """
    starts: list[tuple[int, SectionName]] = [(0, "head")]
    lower = small_letters(text)
    pattern = _HEADING if "checklist" in lower or "template" in lower else _HEADING_NO_CHECKLIST
    for match in pattern.finditer(lower):
        name: SectionName = match.lastgroup  # type: ignore[assignment]
        before, inside = text[max(0, match.start() - 12) : match.start()], starts[-1][1]
        if _POINTER.search(before) or (match[0].rstrip().endswith(".") and _ENDS_SENTENCE.search(before)):
            continue
        # A checklist has an item "Specimen" of its own.
        if inside == name or (inside == "synoptic" and _ITEM.match(match[0])):
            continue
        starts.append((match.end() - len(match[0].lstrip(" -")), name))
    if len(starts) > 1 and starts[1][0] == 0:
        del starts[0]
    ends = [start for start, _ in starts[1:]] + [len(text)]
    sections = (Section(name, start, end) for (start, name), end in zip(starts, ends, strict=True) if start < end)
    return tuple(part for section in sections for part in _ended_history(section, text))


def _ended_history(section: Section, text: str) -> list[Section]:
    """A section as it is; a history without a heading behind it ends with its sentence after some lines."""
    endless = section.end == len(text) or section.end - section.start > _LONGEST_HISTORY
    stop = text.find(". ", section.start + _USUAL_HISTORY) + 1
    if section.name != "history" or not endless or not section.start < stop < section.end:
        return [section]
    return [Section("history", section.start, stop), Section("head", stop, section.end)]


@lru_cache(maxsize=8)
def boilerplate_of(text: str) -> tuple[tuple[int, int], ...]:
    """Boilerplate in a report as (start, end) of ``text[start:end]``, in order and without overlaps."""
    places: list[tuple[int, int]] = []
    for match in _BOILERPLATE.finditer(small_letters(text)):
        # A sentence starts after a full stop, a colon or a bracket.
        start = max(text.rfind(mark, max(0, match.start() - _LONGEST_SENTENCE), match.start()) for mark in ".:(") + 1
        end = text.find(".", match.end(), match.end() + _LONGEST_SENTENCE)
        start, end = max(start, match.start() - _LONGEST_SENTENCE), end + 1 if end >= 0 else match.end()
        # A signature without a full stop ends where the next heading begins.
        end = min([end, *(section.start for section in sections_of(text) if section.start >= match.end())])
        if places and start <= places[-1][1]:
            places[-1] = (places[-1][0], max(end, places[-1][1]))
        else:
            places.append((start, end))
    return tuple(places)


def section_at(text: str, place: int) -> SectionName:
    """The section of a report that holds the character at a place."""
    if any(start <= place < end for start, end in boilerplate_of(text)):
        return "boilerplate"
    sections = sections_of(text)
    if not sections:
        return "head"
    return sections[max(0, bisect_right([section.start for section in sections], place) - 1)].name


def section_characters(text: str) -> dict[str, int]:
    """The number of characters in each section of a report; boilerplate counts as a section of its own."""
    counts: dict[str, int] = {}
    for section in sections_of(text):
        counts[section.name] = counts.get(section.name, 0) + section.end - section.start
    for start, end in boilerplate_of(text):
        counts["boilerplate"] = counts.get("boilerplate", 0) + end - start
        for section in sections_of(text):
            counts[section.name] -= max(0, min(end, section.end) - max(start, section.start))
    return {name: count for name, count in counts.items() if count}
