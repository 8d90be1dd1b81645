"""The histological grade of a report: G1 to G4 by number or differentiation, else ``low`` or ``high``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mupd.reports.record.findings import Finding, Stated, finding, resolved

_GAP = r"[\s.,:;()\-\[\]\"']+"
_WORDS = {
    "well": 1, "highly": 1, "moderate": 2, "moderately": 2, "poor": 3, "poorly": 3, "weakly": 3, "male": 3, "mate": 3,
    "undifferentiated": 4,
}  # fmt: skip
_DEGREE = r"well|highly|moderate(?:ly)?|poor(?:ly)?|weakly"
# Matches "moderately to poorly differentiated", "male differentiatum" (Latin, poorly) and "undifferentiated carcinoma".
_DIFFERENTIATED = re.compile(
    rf"\b(?P<first>{_DEGREE})(?:(?:{_GAP}|\s?/\s?|{_GAP}(?:to|and){_GAP})(?P<second>{_DEGREE}))?{_GAP}differentiat\w*"
    r"|\b(?P<latin>male|mate)\s+differentiatum|(?<!poorly )(?<!well )\b(?P<un>undifferentiated)\s+(?:\w+\s+)?carcinoma"
)
_NUMBER = (
    r"(?:g\s?)?(?P<number>iii|iv|ii|i|[1-4])(?:\s?(?:-|/|to|&|and)\s?(?:g\s?)?(?P<upper>iii|iv|ii|[2-4])(?!\d))?\b"
)
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4}
# "Grade: G2", "Histologic grade II", "FIGO grade 3", "Tumor grade: 2-3 out of 3", "Nottingham grade 3 (3+3+3=9)".
_GRADE_NUMBER = re.compile(
    r"grade(?<!high.grade)(?<!low.grade)(?<!\wgrade)s?(?:\s+of\s+tumou?r|\s*\(if\s[^)]*\))?\s*[:.\-=]?\s*"
    rf"(?:is\s|figo\s(?:grade\s)?|who\s(?:grade\s)?|nottingham\s(?:grade\s)?|overall\s(?:grade\s)?)?{_NUMBER}"
    r"(?P<of>\s?(?:/|of|out\s+of|\(of)\s?(?:4|iv)\b)?"
)
# Matches "G2" in "(G2)", "pT3G2" and "NHG2".
_CODE = re.compile(
    r"g(?:(?<=[\s(,;.:\[]g)|(?<=t[0-4x]g)|(?<=t[0-4][a-d]g)|(?<=n[0-3xo]g)"
    r"|(?<=\bnhg))\s?(?P<number>[1-4])(?:\s?[-/]\s?g?(?P<upper>[2-4]))?(?![0-9a-z]|\s?:"
    r"|\s?[-\u2013]\s?[a-z0-9])"
)
# A bare G2 may name a block. It counts only near a category, a carcinoma or a word for grade.
_CODE_BESIDE = re.compile(
    r"\bnhg|\b[pyr]{0,2}t\s?[0-4x]|carcinoma|grad|differentiat|\bn\s?[0-3ox]\b|dukes|adenocarcinom"
)
# Matches "histologic grade" and "grade:".
_ITEM = re.compile(r"(?:histolog\w*|tumou?r|overall|figo|who|nottingham)\s+grade|\bgrade\s*[:.]")
# Matches "high-grade" and "Grade: high".
_LEVEL = re.compile(
    r"\b(?P<level>high|low|intermediate)[\s.\-]*grade\b"
    r"|\bgrade\s*[:.]\s*(?:\([^)]*\)\s*)?(?:\w+\s){0,2}?(?P<item>high|low)\b"
)

# Matches "no evidence of " before a grade.
_NEGATED = re.compile(r"\b(?:no|not|without|negative\s+for|free\s+of|or)\b[^.;:,]{0,50}$")
# Grades of something else: "nuclear grade", "Gleason grade".
_ELSE_BEFORE = re.compile(
    r"(?:toxicity|nuclear|gleason\W?s?|dysplasia|intraepithelial|regression|fuhrman|isup|dcis|in\s+situ"
    r"|mitotic|prostat\w*|"
    r"architectural|inflammation|adenoma|pin|cin|tubules?|formation|fibrosis)\W{1,3}(?:\w+\W{1,2}){0,3}$"
)
# "high-grade dysplasia", "high grade PIN".
_ELSE_AFTER = re.compile(
    r"[\s.,\-:]*(?:\w+[\s\-]+){0,2}?(?:dysplasia|atypia|prostat|p\.?i\.?n|intraepithelial|squamous\s+intra|adenoma|"
    r"ductal\s+carcinoma\s+in|non-?invasive|dcis|lymphoma|neuroendocrine\s+tumou?r|neoplasia|carcinoma\s+in\s+situ)"
)


def _number(word: str) -> int:
    return _ROMAN.get(word) or int(word)


def _elsewhere(low: str, start: int, end: int) -> bool:
    before = low[max(0, start - 60) : start]
    return bool(_NEGATED.search(before) or _ELSE_BEFORE.search(before) or _ELSE_AFTER.match(low, end))


def _numbered(text: str, low: str) -> Iterator[Finding]:
    for match in _DIFFERENTIATED.finditer(low):
        if _elsewhere(low, match.start(), match.end()):
            continue
        named = [match[name] for name in ("first", "second") if match[name]]
        grade = max((_WORDS[word] for word in named), default=4 if match["un"] else 3)
        item = bool(_ITEM.search(low[max(0, match.start() - 60) : match.start()]))
        yield finding(text, f"G{grade}", match.start(), match.end(), int(item))
    for match in _GRADE_NUMBER.finditer(low):
        if _elsewhere(low, match.start(), match.end()):
            continue
        # "Grade 3 of 4" is an older system, whose two highest grades are one today.
        if match["of"]:
            continue
        grade = max(_number(match[name]) for name in ("number", "upper") if match[name])
        yield finding(text, f"G{grade}", match.start(), match.end(), 1)
    for match in _CODE.finditer(low):
        around = low[max(0, match.start() - 45) : match.end() + 25]
        if _CODE_BESIDE.search(around) and not _elsewhere(low, match.start(), match.end()):
            grade = max(_number(match[name]) for name in ("number", "upper") if match[name])
            yield finding(text, f"G{grade}", match.start(), match.end(), 1)


def _levels(text: str, low: str) -> Iterator[Finding]:
    for match in _LEVEL.finditer(low):
        level = match["level"] or match["item"]
        if level != "intermediate" and not _elsewhere(low, match.start(), match.end()):
            yield finding(text, level, match.start(), match.end(), int(bool(match["item"])))


def _highest(findings: tuple[Finding, ...]) -> str:
    """The one grade, or the higher of two neighbours (UICC's rule for mixed tumours); else ""."""
    values = sorted({f.value for f in findings})
    if len(values) == 1:
        return values[0]
    if values == ["high", "low"]:
        return ""
    return values[-1] if len(values) == 2 and int(values[1][1]) - int(values[0][1]) == 1 else ""


def histologic_grade(text: str, low: str) -> Stated:
    """The grade. Numbers and differentiation go before ``high`` and ``low``; nuclear grades do not count."""
    numbered = resolved(_numbered(text, low), _highest)
    return numbered if numbered.findings else resolved(_levels(text, low), _highest)
