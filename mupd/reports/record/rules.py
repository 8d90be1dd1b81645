"""Rules that find diagnosis, grade and T category in a pathology report's words.

Reports come by optical character recognition: lines end in a full stop in mid-sentence, 0 and O are
mixed up. Patterns therefore allow a stop between words.
"""

from __future__ import annotations

import re

GAP = r"[\s.,:;()\-]+"
"""What may stand between two words of one term."""

_NEGATION = re.compile(
    r"\b(no|not|non|without|negative for|free of|free from|absence of|absent|exclude[sd]?|rule out|r/o|"
    r"uninvolved by|never|denies|suspicious for|neither|nor)\b[^.;:]{0,60}$"
)
_NOT_HERE = re.compile(
    r"\b(history of|h/o|prior|previous(ly)?|family|metasta(tic|sis|ses)( of| from)?|secondary)\b[^.;:]{0,40}$"
)
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
_ADENO = re.compile(
    rf"adenocarcinoma|adeno-carcinoma|adenoca\b|(signet{GAP}ring|mucinous|colloid|mucoid|tubular|papillary|diffuse)"
    rf"{GAP}((cell|type|gastric){GAP}){{0,2}}carcinoma|carcinoma[^.;]{{0,60}}\bdiffuse{GAP}type|lauren[^.;]{{0,30}}\bdiffuse"
)
_SQUAMOUS = re.compile(rf"squamous{GAP}(cell{GAP})?carcinoma")
_MALIGNANT = re.compile(r"carcinoma|sarcoma|malignan|cancer|neoplas|tumou?r|lymphoma|melanoma|glioma|blastoma|metasta")
_BENIGN = re.compile(
    r"\b(benign|no (evidence of )?(malignancy|tumou?r|carcinoma)|negative for (malignancy|carcinoma)|"
    r"normal tissue|unremarkable)\b"
)

_ROMAN = {"i": "1", "ii": "2", "iii": "3"}
_DIFFERENTIATED = re.compile(
    rf"\b(well|moderate(?:ly)?|poor(?:ly)?)((?:{GAP}|/|{GAP}to{GAP}|{GAP}and{GAP})(?:moderate(?:ly)?|poor(?:ly)?))?{GAP}differentiat"
)
_DIFFERENTIATION = {"well": "1", "moderate": "2", "moderately": "2", "poor": "3", "poorly": "3"}
# A bare G2 may be the label of a block: it counts beside a T, after a word for grade or carcinoma, or in brackets.
_G_CODE = re.compile(
    r"(?:\(|p?t[0-4][a-d]?[\s,.]{0,2}|grad\w*[^.]{0,40}?|differentiated[^.;]{0,25}?|carcinoma[^.;]{0,40}?|,\s?)\bg\s?([1-3])(?:\s?[-/]\s?g?([1-3]))?\b(?!\s?:|-[a-z])"
)
_G_BEFORE_T = re.compile(r"\bg\s?([1-3])(?:\s?[-/]\s?g?([1-3]))?[\s,.;)(]{1,3}y?p?t[0-4]")
# Not "high grade. 3. Depth of invasion", which is a list; not three of four grades.
_GRADE_WORD = re.compile(
    r"grade(?<!high.grade)(?<!low.grade)(?<!\wgrade)\W{1,4}(?:is\W{1,2}|g\s?)?(iii|ii|i|[1-3])\b(?!\s?(?:of\s?4|/\s?(?:4|iv)))"
)
# Grades of something else: a nucleus, a dysplasia, a prostate's cancer found beside, a side effect.
_NOT_HISTOLOGIC = re.compile(
    r"(toxicity|nuclear|gleason|dysplasia|intraepithelial|regression|fuhrman|isup|dcis|in situ|mitotic|prostat\w*|pin)"
    r"\W{0,3}(\w+\W{1,2}){0,2}$"
)

_PT = re.compile(
    r"(?<![a-z0-9])(?:(?:y|r|a|m){0,2}p[\s.]{0,2}t\s?|pathologic\w*[^.;]{0,40}?\bt)([0-4]|is|x|a)(?![0-9])"
)
_TNM = re.compile(r"(?<![a-z0-9])t\s?([0-4]|is|x|a)[a-d]?[\s,./;()m]{0,4}(?:g[1-4][\s,]{0,2})?p?n\s?[0-3ox]")
_T_STAGED = re.compile(
    r"\b(?:stage|staging|tnm|primary tumou?r|tumou?r category|category)\W{1,4}(?:\w+\W{1,2}){0,3}?"
    r"t\s?([0-4]|is|x|a)[a-d]?\b"
)
# A prostate cancer found in a cystoprostatectomy has a T of its own.
_BESIDE = re.compile(r"prostat\w*\W{1,3}$")


def _affirmed(text: str, start: int) -> bool:
    before = text[max(0, start - 70) : start]
    return not _NEGATION.search(before)


def stated_here(text: str, start: int, end: int) -> bool:
    """Whether what stands at a place is said of this tumour: not negated, not in situ, not another's or metastasis'."""
    return (
        _affirmed(text, start)
        and not _IN_SITU.search(text[end : end + 20])
        and not _NOT_HERE.search(text[max(0, start - 50) : start])
    )


def _mentioned(pattern: re.Pattern[str], text: str) -> bool:
    return any(stated_here(text, match.start(), match.end()) for match in pattern.finditer(text))


def find_diagnosis(text: str, organ: str | None) -> str | None:
    """The diagnosis that a flattened report states, given the organ it is about (None = not known)."""
    for name, pattern, organs in _SPECIAL_PATTERNS:
        if ((organ is None and len(organs) == 1) or organ in organs) and _mentioned(pattern, text):
            return name
    if organ is not None:
        for kind, pattern in (("adeno", _ADENO), ("squamous", _SQUAMOUS)):
            if (organ, kind) in _PLAIN and _mentioned(pattern, text):
                return _PLAIN[organ, kind]
    if _BENIGN.search(text) and not any(_affirmed(text, match.start()) for match in _MALIGNANT.finditer(text)):
        return "benign tissue"
    return None


def _higher(*codes: str | None) -> str:
    return f"G{max(code for code in codes if code)}"


def find_grade(text: str) -> str | None:
    """Histological grade G1 to G3 where it is stated as G, as grade 1 to 3, or by differentiation.

    Of a range (G2-3, moderately to poorly differentiated) the higher is taken, as UICC says.
    """
    for pattern in (_G_BEFORE_T, _G_CODE):
        if match := pattern.search(text):
            return _higher(match[1], match[2])
    for match in _GRADE_WORD.finditer(text):
        if not _NOT_HISTOLOGIC.search(text[max(0, match.start() - 40) : match.start()]):
            return f"G{_ROMAN.get(match[1], match[1])}"
    for match in _DIFFERENTIATED.finditer(text):
        if _affirmed(text, match.start()):
            second = re.search(r"moderately|moderate|poorly|poor", match[2] or "")
            return _higher(_DIFFERENTIATION[match[1]], _DIFFERENTIATION[second[0]] if second else None)
    return None


def find_t_category(text: str) -> str | None:
    """T0 to T4 where a pathological T, a TNM formula or a stage states it; Ta, Tis and TX give None."""
    for pattern in (_PT, _TNM, _T_STAGED):
        found = pattern.finditer(text)
        stated = [match[1] for match in found if not _BESIDE.search(text[max(0, match.start() - 15) : match.start()])]
        numbers = [code for code in stated if code.isdigit()]
        if numbers:
            return f"T{numbers[0]}"
        if stated:
            return None
    return None
