"""The T and N category of a report: pT3, pT 3, p T3, "T3 NO MX", "pT2bNO", "T Stage: 3".

Optical character recognition confuses O, o and 0, and I, l and 1. Clinical categories (cT, uT) and the T of a second
tumour (a prostate cancer in a cystoprostatectomy) are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mupd.reports.record.findings import Finding, Stated, finding, resolved

# What may follow a code without a space: pT4bpN0, pT2L0V0R0, T3aG3, pT1cN0.
_NEXT = r"(?=$|[^a-z]|p?n\s?[0-3xoil]|p?m|g\s?[1-4]|l\s?[01o]|p\s?n)"
_LETTER = rf"[a-d]{_NEXT}"
_T_VALUE = (
    rf"(?P<t>is|x|a(?![a-z])|[0-4o](?:\s?{_LETTER}(?:\s?/\s?[a-d](?![a-z]))?|mi(?![a-z]))?"
    rf"|[il1](?:\s?{_LETTER}|mi\b)?{_NEXT})"
)
_T_DIGIT = _T_VALUE.replace("[0-4o]", "[0-4]").replace("[il1]", "[1]")
_N_VALUE = r"(?P<n>x|[0-3o](?:mi|[a-c](?![a-ln-z]))?|[il1](?:mi|[abc](?![a-ln-z]))?)"
_PREFIX = r"(?:(?<![a-z0-9])|(?<=ajcc))(?:y|r|a|m|\(m\)){0,2}"
_P = rf"{_PREFIX}p[\s.\-]{{0,2}}"
_BEHIND_T = rf"(?![0-9]){_NEXT}"
# Matches pT3, p T 3 and ypT2b.
_PT = re.compile(rf"{_P}t[\s.\-]{{0,2}}{_T_VALUE}{_BEHIND_T}")
# Without a p: T3 N0, or after a word for the stage.
_BETWEEN = r"(?:\s?\(m\)|[\s,./;()\-]{0,4}|[\s,]{0,2}g\s?[1-4][\s,]{0,2})"
# Matches "T3aG3 N0".
_TN = re.compile(rf"{_PREFIX}(?:[po][\s.\-]?)?t\s?{_T_DIGIT}{_BETWEEN}(?:p|\(?sn\)?)?n\s?(?P<n2>[0-3xo]|[il](?![a-z]))")
# Matches "pathologic stage: T3" and "TNM: T2".
_T_STAGED = re.compile(
    r"\b(?:(?:p?tnm|ajcc|uicc|pathologic\w*|tumou?r)(?:[\s,]+\w+){0,3}?[\s\-]{1,2}(?:stage|staging|class\w*|category)"
    r"|stage|staging|p?tnm)(?:\s?\([^)]{0,30}\))?\W{1,4}(?:(?:is|of|the|summary|pathologic|primary|tumou?r"
    r"|category)\W{1,2}){0,3}"
    rf"t\s?{_T_DIGIT}{_BEHIND_T}"
)
# Matches "T stage: 3".
_T_ITEM = re.compile(rf"(?<![a-z0-9])p?t[\s\-](?:stage|category)\s*[:.]?\s*p?t?\s?{_T_DIGIT}{_BEHIND_T}")
# Matches pN0, p N 1 and pN1mi.
_PN = re.compile(rf"{_P}(?:\(sn\)\s?)?n[\s.\-]{{0,2}}{_N_VALUE}(?=$|[^a-z0-9]|p?m\s?[0-9xon]|p?m\b|g[1-4]|l[01o]v?)")
_PN_HINT = re.compile(r"p[\s.\-]{0,2}(?:\(sn\)\s?)?n[\s.\-]{0,2}[x0-3oil]")
# Matches "T3 N1a".
_TN_N = re.compile(
    rf"{_PREFIX}p?[\s.\-]{{0,2}}t\s?(?:is|x|a|[0-4oil](?:\s?[a-d])?(?:/[a-d])?){_BETWEEN}(?:p\s?"
    rf"|\(sn\)\s?)?n\s?{_N_VALUE}"
    r"(?=$|[^a-z0-9]|p?m\s?[0-9xon]|p?m\b|g[1-4]|l[01o]v?)"
)
# Matches "N stage: 0".
_N_ITEM = re.compile(
    r"(?<![a-z0-9])(?:p?n[\s\-](?:stage|category)|(?:lymph\s+)?nodes?\s+stage(?:\s?\([^)]{0,30}\))?)\s*[:.]?\s*p?n?\s?"
    rf"{_N_VALUE}(?=$|[^a-z0-9])"
)
# "T3. No lymph nodes" has the word "no", not N0.
_NO_WORD = re.compile(r"n\s?o$")
_NO_GOES_ON = re.compile(r"\s+(?!p?m\s?[0-9xo]|l[0-9o]|v[0-9o]|r[0-9o]|g[1-4]|stage)[a-z]{2,}")

_OTHER_TUMOUR = re.compile(r"prostat\w*|gleason\w*")
_THIS_TUMOUR = re.compile(r"bladder|urotheli\w*|transitional|cystoprostatectomy")
_BESIDE = re.compile(r"prostat\w*\W{1,3}$")
_FAR = 900
# "(pT1 and pT2 tumors)" is printed on a form.
_OF_FORM = re.compile(r"\s*(?:and|or|/|to)\s*p\s?t\s?[0-4]|\s+tumou?rs?\s*\)|\s+and\s+above")
_CLINICAL = re.compile(r"(?:\bclinical(?:ly)?\W+(?:\w+\W+){0,2}|\bc\s?)$")


def _of_another(low: str, place: int) -> bool:
    """Whether the tumour named last before a place is a prostate's."""
    before = low[max(0, place - _FAR) : place]
    other = [match.end() for match in _OTHER_TUMOUR.finditer(before)]
    if not other:
        return False
    own = [match.end() for match in _THIS_TUMOUR.finditer(before)]
    if own and own[-1] >= other[-1]:
        return False
    # A prostate in passing ("prostate with hyperplasia") does not count; one with a colon or a Gleason score does.
    return (
        bool(_BESIDE.search(before))
        or "gleason" in before[max(0, other[-1] - 60) :]
        or "prostatectomy pathologic" in before
    )


def _t_code(raw: str) -> str:
    code = raw.replace(" ", "")
    if code in ("is", "x", "a"):
        return {"is": "Tis", "x": "TX", "a": "Ta"}[code]
    first = {"o": "0", "i": "1", "l": "1"}.get(code[0], code[0])
    rest = "" if "/" in code else code[1:]  # T3c/d: either
    return f"T{first}{rest}"


def _n_code(raw: str) -> str:
    code = raw.replace(" ", "")
    first = {"o": "0", "i": "1", "l": "1", "x": "X"}.get(code[0], code[0])
    return f"N{first}{code[1:]}"


def _is_word(text: str, low: str, end: int) -> bool:
    """Whether "no" that ends at a place is a word, not N0: it is in small letters, or another word follows."""
    return not text[end - 2 : end].isupper() or bool(_NO_GOES_ON.match(low, end))


def _t_findings(text: str, low: str) -> Iterator[Finding]:
    for pattern, strength in ((_PT, 1), (_T_ITEM, 1), (_TN, 1), (_T_STAGED, 1)):
        for match in pattern.finditer(low):
            if _OF_FORM.match(low, match.end("t")) or _CLINICAL.search(low[max(0, match.start() - 30) : match.start()]):
                continue
            if _of_another(low, match.start()):
                continue
            if pattern is _TN and match["n2"] == "o" and _is_word(text, low, match.end("n2")):
                continue
            yield finding(text, _t_code(match["t"]), match.start(), match.end("t"), strength)


def _n_findings(text: str, low: str) -> Iterator[Finding]:
    for pattern in (_PN, _TN_N, _N_ITEM) if _PN_HINT.search(low) else (_TN_N, _N_ITEM):
        for match in pattern.finditer(low):
            if _of_another(low, match.start()) or _CLINICAL.search(low[max(0, match.start() - 30) : match.start()]):
                continue
            says_no = match["n"] == "o" and pattern is not _PN and _NO_WORD.search(match[0])
            if says_no and _is_word(text, low, match.end("n")):
                continue
            if match[0].startswith("pn") and text[match.start() : match.start() + 2] == "Pn":  # perineural
                continue
            yield finding(text, _n_code(match["n"]), match.start(), match.end(), 1)


def _one_category(findings: tuple[Finding, ...]) -> str:
    """The one category: T2b rather than T2, and the highest of several tumours named together (UICC's rule)."""
    values = {f.value for f in findings if f.value not in ("TX", "NX")} or {f.value for f in findings}
    finest = {v for v in values if not any(o != v and o.startswith(v) for o in values)}
    if len(finest) == 1:
        return finest.pop()
    numbered = {v for v in finest if v[1].isdigit()}
    if len(numbered) == 1:
        return numbered.pop()
    together = max(f.start for f in findings) - min(f.start for f in findings) < 60
    return max(numbered) if together and numbered else ""


def _whole(findings: list[Finding]) -> list[Finding]:
    """Findings in which a less trusted, finer code (T2b of the diagnosis) refines the checklist's T2."""
    if not findings:
        return findings
    top = max(f.rank for f in findings)
    values = {f.value for f in findings if f.rank == top}
    finer = [f for f in findings if f.rank < top and any(f.value != v and f.value.startswith(v) for v in values)]
    best = [f for f in findings if f.rank == top]
    if finer and len(values) == 1:
        return [Finding(f.value, f.start, f.end, best[0].section, best[0].strength) for f in finer] + findings
    return findings


def t_category(text: str, low: str) -> Stated:
    """The pathological T with its suffix (``T2b``, ``Tis``, ``TX``)."""
    return resolved(_whole(list(_t_findings(text, low))), _one_category)


def n_category(text: str, low: str) -> Stated:
    """The pathological N with its suffix (``N0``, ``N1a``, ``N1mi``, ``NX``); counts of nodes state none."""
    return resolved(_whole(list(_n_findings(text, low))), _one_category)
