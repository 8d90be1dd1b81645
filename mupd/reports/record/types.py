"""The histologic type that a report states, in words of the WHO, given the organ."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mupd.reports.record.diagnosis import GAP, stated_here
from mupd.reports.record.findings import Finding, Stated, finding, resolved
from mupd.reports.record.subtypes import subtype_findings

_CA = r"(?:adeno-?\s?)?(?:carcinomas?|ca\b|cancer)"
_WORDS = rf"(?:\w+{GAP}){{0,3}}?"

# Types of each organ, most specific first: if findings of one section differ, the first is taken.
_SQUAMOUS = (
    "squamous cell carcinoma",
    rf"squamous{GAP}(?:cell{GAP})?(?:carcinoma|ca\b)|\bscca?\b|epidermoid{GAP}carcinoma",
)
_NEUROENDOCRINE = ("neuroendocrine carcinoma", r"(?:small[\s\-]+cell|neuroendocrine)[\s\-]+carcinoma")
_ADENO = ("adenocarcinoma", r"adeno-?\s?carcinom\w*|\badenoca\b")
_TYPES: dict[str, tuple[tuple[str, str], ...]] = {
    "bladder": (
        (
            "urothelial carcinoma",
            rf"(?:urothell?ial|transitional{GAP}cell"
            rf"|urothelial{GAP}cell){GAP}(?:\(\s?transitional{GAP}cell\s?\){GAP})?(?:\(?tcc\)?{GAP})?{_WORDS}(?:carcinoma"
            rf"|ca\b|cancer)|\b(?:hg)?tcc\b|histolog\w+{GAP}type{GAP}(?:transitional{GAP}cell|urothelial)",
        ),
        _SQUAMOUS,
        _NEUROENDOCRINE,
        _ADENO,
    ),
    "breast": (
        (
            "mixed ductal and lobular carcinoma",
            rf"(?:duct(?:al)?{GAP}(?:carcinoma{GAP})?(?:and|/|&){GAP}?(?:invasive{GAP}|infiltrating{GAP})?lobular"
            rf"|lobular{GAP}(?:and|/|&){GAP}?ductal|mixed{GAP}(?:ductal|lobular)|ductal{GAP}(?:and"
            rf"|with){GAP}lobular{GAP}features){GAP}?{_WORDS}(?:carcinoma|features|type)?|ductolobular",
        ),
        ("mucinous carcinoma", rf"(?:mucinous|colloid){GAP}(?:\(colloid\){GAP})?(?:adeno)?carcinoma"),
        ("metaplastic carcinoma", rf"metaplastic{GAP}(?:breast{GAP})?carcinoma"),
        ("medullary carcinoma", rf"(?<!atypical )medullary{GAP}carcinoma"),
        (
            "invasive lobular carcinoma",
            rf"(?:invasive|infiltrating){GAP}{_WORDS}lobular{GAP}(?:\w+{GAP})?carcinoma|lobular{GAP}carcinoma"
            rf"|carcinoma{GAP}lobulare",
        ),
        (
            "invasive ductal carcinoma",
            rf"(?:invasive|infiltrating|invading){GAP}{_WORDS}duct(?:al)?{GAP}(?:\w+{GAP})?(?:adeno)?carcinoma"
            rf"|(?<!intra)duct(?:al)?{GAP}(?:adeno)?carcinoma|carcinoma{GAP}ductale"
            rf"|carcinoma{GAP}of{GAP}no{GAP}special{GAP}type",
        ),
    ),
    "uterus": (
        ("carcinosarcoma", r"carcinosarcoma|malignant[\s\-]+mixed[\s\-]+m\w+llerian|\bmmmt\b"),
        (
            "mixed carcinoma",
            rf"mixed{GAP}(?:serous|endometrioid|clear|high|\w+{GAP}and)|(?:serous|endometrioid"
            rf"|clear{GAP}cell){GAP}(?:\(\d+\s?%\){GAP})?and{GAP}(?:high{GAP}grade{GAP})?(?:serous|endometrioid"
            rf"|clear{GAP}cell){GAP}{_WORDS}{_CA}",
        ),
        ("serous carcinoma", rf"serous{GAP}{_WORDS}{_CA}|{_CA}{GAP}(?:of{GAP})?(?:papillary{GAP})?serous"),
        ("clear cell carcinoma", rf"clear{GAP}cell{GAP}{_WORDS}{_CA}"),
        (
            "endometrioid adenocarcinoma",
            rf"endometrioid{GAP}{_WORDS}(?:{_CA}|type)"
            rf"|{_CA}[^.;]{{0,60}}?\bendometrioid|{_CA}[\s.,\-]+endometrioid",
        ),
        _ADENO,
    ),
    "lung": (
        (
            "bronchioloalveolar carcinoma",
            r"(?<!with )(?<!component )(?:broncho|bronchio)lo-?\s?alveolar[\s\-]+"
            r"(?:cell[\s\-]+)?carcinoma",
        ),
        ("adenosquamous carcinoma", r"adenosquamous[\s\-]+carcinoma"),
        _ADENO,
        _SQUAMOUS,
        _NEUROENDOCRINE,
    ),
    "head and neck": (_SQUAMOUS, _NEUROENDOCRINE, _ADENO),
    "oesophagus": (_ADENO, _SQUAMOUS),
}
_GUT = (
    ("neuroendocrine carcinoma", _NEUROENDOCRINE[1]),
    ("tubulopapillary adenocarcinoma", rf"adenocarcinoma{GAP}tubulo-?\s?papillare|tubulo-?\s?papill\w*{GAP}{_CA}"),
    (
        "mixed adenocarcinoma",
        rf"adenocarcinoma{GAP}(?:tubulare{GAP}et{GAP}mucinosum|mixtum)|mixed{GAP}(?:type{GAP})?adenocarcinoma"
        rf"|adenocarcinoma[^.;]{{0,30}}mixed{GAP}type",
    ),
    (
        "intestinal adenocarcinoma",
        rf"adenocarcinoma[^.;]{{0,40}}?\bintestinal{GAP}(?:type|pattern)"
        rf"|intestinal{GAP}(?:type{GAP})?(?:adeno)?carcinoma|lauren\w*[^.;]{{0,40}}\bintestinal"
        rf"|typus{GAP}intestinalis",
    ),
    ("tubular adenocarcinoma", rf"adenocarcinom\w*{GAP}tubulare(?!{GAP}et{GAP}muc)"),
    _ADENO,
    ("adenocarcinoma", rf"(?:colon(?:ic)?|rectal|colorectal|gastric|ca?ecal|signet{GAP}ring{GAP}cell){GAP}carcinoma"),
)
_GUT_VARIANTS = {
    "signet ring cell": "signet ring cell carcinoma",
    "mucinous": "mucinous adenocarcinoma",
    "diffuse": "diffuse adenocarcinoma",
    "papillary": "papillary adenocarcinoma",
    "tubular": "tubular adenocarcinoma",
}
_ANY = (_SQUAMOUS, _ADENO)
_COMPILED = {organ: tuple((name, re.compile(words)) for name, words in types) for organ, types in _TYPES.items()}
_COMPILED_GUT = tuple((name, re.compile(words)) for name, words in _GUT)
_COMPILED_ANY = tuple((name, re.compile(words)) for name, words in _ANY)
_GUT_ORDER = (
    "neuroendocrine carcinoma",
    "mixed adenocarcinoma",
    "tubulopapillary adenocarcinoma",
    "signet ring cell carcinoma",
    "mucinous adenocarcinoma",
    "papillary adenocarcinoma",
    "tubular adenocarcinoma",
    "diffuse adenocarcinoma",
    "intestinal adenocarcinoma",
    "adenocarcinoma",
)

HISTOLOGIC_TYPES: tuple[str, ...] = tuple(
    dict.fromkeys([*(name for types in _TYPES.values() for name, _ in types), *_GUT_ORDER])
)
"""All values of the field."""

# Matches "Histologic type: " before a type.
_ITEM = re.compile(
    r"(?:histolog\w*"
    r"|tumou?r)\W+(?:sub)?type(?:\s*\([^)]*\))?(?:\s+of\s+invasive\s+carcinoma)?\W+(?:\w+\W+){0,4}?$"
    r"|histologic\w*\W+pattern\w*\W+(?:observed\W+)?$"
)
# "squamous differentiation" and "with a ... component" are not the type; a prostate's tumour is another one.
_PART_AFTER = re.compile(
    r"[\s.,\-]*(?:(?!with)\w+\s){0,1}?(?:component|features?|differentiation|foci|of\s+(?:the\s+)?prostat)"
    r"|[\s.,\-]*(?:in[\s\-]*situ|partim(?!\s+(?:ma[lt]e|diff|muc|pap|sol)))|\s*\(?(?:dcis|lcis)\b"
)
_PART_BEFORE = re.compile(
    r"(?:\bwith|component\s+of|foci\s+of|features\s+of|prostat\w*|partim|lymphovascular"
    r"|arising\s+in)\W+(?:\w+\W+){0,2}$|\bintra$|\b(?:versus|vs|versus\s+a)\W+$"
)


def _particular(organ: str | None, low: str) -> Iterator[tuple[str, int, int]]:
    if organ in ("stomach", "colorectum", "oesophagus"):
        for name, start, end in subtype_findings(low, "stomach" if organ == "oesophagus" else organ):
            if name in _GUT_VARIANTS:
                yield _GUT_VARIANTS[name], start, end
    types = (
        _COMPILED_GUT if organ in ("stomach", "colorectum", "oesophagus") else _COMPILED.get(organ or "", _COMPILED_ANY)
    )
    if organ == "oesophagus":
        types = (*types, *_COMPILED["oesophagus"])
    for name, pattern in types:
        for match in pattern.finditer(low):
            if stated_here(low, match.start(), match.end()):
                yield name, match.start(), match.end()


def _order(organ: str | None) -> tuple[str, ...]:
    if organ in ("stomach", "colorectum", "oesophagus"):
        return (*_GUT_ORDER, "squamous cell carcinoma")
    return tuple(name for name, _ in _TYPES.get(organ or "", _ANY))


def histologic_type(text: str, low: str, organ: str | None) -> Stated:
    """The type of the organ's tumour: the most specific one in the most trusted section.

    Metastases name the type of their origin and count as prose. In-situ components, features and differentiations
    (urothelial carcinoma with squamous differentiation) do not count.
    """
    findings = []
    for name, start, end in _particular(organ, low):
        if _PART_AFTER.match(low, end) or _PART_BEFORE.search(low[max(0, start - 40) : start]):
            continue
        item = bool(_ITEM.search(low[max(0, start - 70) : start]) or "type" in low[start : start + 18])
        findings.append(finding(text, name, start, end, int(item)))
    order = _order(organ)

    def most_particular(best: tuple[Finding, ...]) -> str:
        values = {f.value for f in best}
        if organ not in ("stomach", "colorectum", "oesophagus", "uterus", "breast") and len(values) > 1:
            # Carcinomas of two kinds: the one that is named at least twice as often.
            counts = sorted(((sum(f.value == v for f in best), v) for v in values), reverse=True)
            return counts[0][1] if counts[0][0] >= 2 * counts[1][0] else ""
        return min(values, key=order.index)

    return _refined(resolved(findings, most_particular), findings, order)


def _refined(stated: Stated, findings: list[Finding], order: tuple[str, ...]) -> Stated:
    """Replace a checklist's plain adenocarcinoma by the variant that another section states."""
    if stated.value != "adenocarcinoma" or not order:
        return stated
    finer = [
        f
        for f in findings
        if f.value != "adenocarcinoma" and f.section in ("diagnosis", "synoptic", "head", "microscopic", "comment")
    ]
    if not finer:
        return stated
    top = max(f.rank for f in finer)
    best = [f for f in finer if f.rank == top]
    value = min({f.value for f in best}, key=order.index)
    return Stated(value, "", tuple(f for f in best if f.value == value), stated.findings)
