"""The diagnosis that a pathology report states.

Optical character recognition puts full stops at line ends, so patterns allow a stop between words.
"""

from __future__ import annotations

import re

GAP = r"[\s.,:;()\-]+"
"""What may stand between two words of one term."""

# Matches "no evidence of " before a word.
_NEGATION = re.compile(
    r"\b(no|not|non|without|negative for|free of|free from|absence of|absent|exclude[sd]?|rule out|r/o|"
    r"uninvolved by|never|denies|suspicious for|neither|nor)\b[^.;:]{0,60}$"
)
# Matches " is not identified", " not seen", ": absent", " was ruled out" and " has been excluded" behind a finding.
_NEGATED_AFTER = re.compile(
    r"^[\w\s,()/-]{0,40}?\b(?:not|never)\s+(?:\w+\s+){0,2}?(?:identified|seen|present|found|detected|demonstrated|"
    r"observed|evident|noted|confirmed|appreciated|visualized|represented|established)\b"
    r"|^\s*(?:\([^)]{0,30}\)\s*)?[:=-]\s*(?:absent|none|no\b|not\b|negative|nil|0\b)"
    r"|^[\w\s,()/-]{0,25}?\b(?:is|was|are|were|has been|have been|been)\s+(?:\w+\s+)?"
    r"(?:absent|excluded|ruled out|negative|lacking|unlikely)\b"
    r"|^\s*(?:absent|excluded|ruled out)\b"
)
# Matches "history of " and "metastatic " before a word.
_NOT_HERE = re.compile(
    r"\b(history of|h/o|prior|previous(ly)?|family|metasta(tic|sis|ses)( of| from)?|secondary)\b[^.;:]{0,40}$"
)
# Matches " in situ" and " (DCIS" after a word.
_IN_SITU = re.compile(rf"^{GAP}in{GAP}?situ|^{GAP}\(?(dcis|cis|lcis)\b")

_SPECIAL: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "urothelial carcinoma",
        rf"(urothelial|transitional{GAP}cell|tcc){GAP}?(cell{GAP})?(carcinoma|ca\b|cancer)",
        ("bladder",),
    ),
    (
        "invasive breast carcinoma",
        rf"(invasive|infiltrating|infiltrative){GAP}(\w+{GAP}){{0,3}}(duct(al)?|lobular|mammary|breast)({GAP}and{GAP}(lobular|ductal))?{GAP}(\w+{GAP})?(adeno)?carcinoma|(ductal|lobular|breast){GAP}(carcinoma|cancer)|carcinoma{GAP}of{GAP}(the{GAP})?breast",
        ("breast",),
    ),
    ("osteosarcoma", r"osteosarcoma|osteogenic sarcoma", ("bone",)),
    ("glioma", r"glioblastoma|astrocytoma|oligodendroglioma|oligoastrocytoma|\bglioma", ("brain",)),
)
_PLAIN = {
    ("stomach", "adeno"): "gastric adenocarcinoma",
    ("colorectum", "adeno"): "colorectal adenocarcinoma",
    ("lung", "adeno"): "lung adenocarcinoma",
    ("lung", "squamous"): "lung squamous cell carcinoma",
}
_SPECIAL_PATTERNS = tuple((name, re.compile(pattern), organs) for name, pattern, organs in _SPECIAL)
# Matches "adenocarcinoma", "signet ring cell carcinoma" and "carcinoma of the diffuse type".
_ADENO = re.compile(
    rf"adenocarcinoma|adeno-carcinoma|adenoca\b|(signet{GAP}ring|mucinous|colloid|mucoid|tubular|papillary|diffuse)"
    rf"{GAP}((cell|type|gastric){GAP}){{0,2}}carcinoma|carcinoma[^.;]{{0,60}}\bdiffuse{GAP}type|lauren[^.;]{{0,30}}\bdiffuse"
)
_SQUAMOUS = re.compile(rf"squamous{GAP}(cell{GAP})?carcinoma")
_MALIGNANT = re.compile(r"carcinoma|sarcoma|malignan|cancer|neoplas|tumou?r|lymphoma|melanoma|glioma|blastoma|metasta")
_PRIMARY = re.compile(r"carcinoma|sarcoma|glioma|blastoma|astrocytoma|melanoma|lymphoma")
_BENIGN = re.compile(
    r"\b(benign|no (evidence of )?(malignancy|tumou?r|carcinoma)|negative for (malignancy|carcinoma)|"
    r"normal tissue|unremarkable)\b"
)


def _affirmed(text: str, start: int, end: int) -> bool:
    denied = _NEGATION.search(text[max(0, start - 70) : start]) or _NEGATED_AFTER.search(text[end : end + 70])
    return denied is None


def stated_here(text: str, start: int, end: int) -> bool:
    """Whether ``text[start:end]`` is said of this tumour: not negated, in situ, an earlier tumour or a metastasis."""
    return (
        _affirmed(text, start, end)
        and not _IN_SITU.search(text[end : end + 20])
        and not _NOT_HERE.search(text[max(0, start - 50) : start])
    )


def is_malignant(text: str) -> bool:
    """Whether a flattened text states a malignant tumour of the organ itself: none denied, earlier or metastatic."""
    return any(stated_here(text, match.start(), match.end()) for match in _PRIMARY.finditer(text))


def _mentioned(pattern: re.Pattern[str], text: str) -> bool:
    return any(stated_here(text, match.start(), match.end()) for match in pattern.finditer(text))


def find_diagnosis(text: str, organ: str | None) -> str | None:
    """The diagnosis that a flattened report states, given the organ it is about (None if unknown)."""
    for name, pattern, organs in _SPECIAL_PATTERNS:
        if ((organ is None and len(organs) == 1) or organ in organs) and _mentioned(pattern, text):
            return name
    if organ is not None:
        for kind, pattern in (("adeno", _ADENO), ("squamous", _SQUAMOUS)):
            if (organ, kind) in _PLAIN and _mentioned(pattern, text):
                return _PLAIN[organ, kind]
    if _BENIGN.search(text) and not any(
        _affirmed(text, match.start(), match.end()) for match in _MALIGNANT.finditer(text)
    ):
        return "benign tissue"
    return None
