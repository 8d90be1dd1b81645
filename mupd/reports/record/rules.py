"""Rules that find organ, diagnosis, grade and T category in a pathology report's words.

Reports come by optical character recognition: lines end in a full stop in mid-sentence, 0 and O are
mixed up. Patterns therefore allow a stop between words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

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

# Words of each organ with their weight: operations name the organ that was removed, other words may only touch it.
_ORGAN_WORDS: dict[str, tuple[tuple[str, float], ...]] = {
    "breast": (
        (r"breast", 2),
        (r"mastectomy|lumpectomy", 4),
        (r"mammary|nipple|areola", 1),
        (r"ductal carcinoma|lobular carcinoma", 2),
    ),
    "bladder": (
        (r"(?<!gall)(?<!gall )(?<!gall-)bladder", 2),
        (r"(?<!chole)cysto?(prostat)?ectomy|turbt?", 4),
        (r"urothelial carcinoma|bladder (?:cancer|carcinoma|tumou?r)", 3),
        (r"urotheli\w+|transitional cell", 1.5),
        (r"trigone|detrusor|perivesical", 1),
    ),
    "colorectum": (
        (r"colons?|colonic|colorectal|(recto)?sigmoid|ca?ecum|ca?ecal|rectum|rectal|splenic flexure", 2),
        (r"large (intestine|bowel)", 2),
        (r"(hemi)?colectomy|sigmoidectomy|sigmoid resection|anterior resection|abdominoperineal", 4),
        (r"pericolic|perirectal|mesorect\w+|ileocecal", 2),
    ),
    "stomach": (
        (r"stomach|gastric|gastroesophageal|esophagogastric|ge junction", 2),
        (r"\w*gastrectomy|gastric resection", 4),
        (r"antrum|antral|pylor\w+|cardia|perigastric|(lesser|greater) curvature", 1.5),
    ),
    "lung": (
        (r"lungs?|pulmonary|bronchopulmonary", 2),
        (r"pneumonectomy|bronchial margin|(upper|lower|middle) lobe(ctomy)?", 3),
        (r"bronch\w+|pleura\w*|hilar", 1),
    ),
    "bone": ((r"osteosarcoma", 4), (r"femur|tibia|humerus|fibula", 2), (r"bone(?! marrow| scan)", 1)),
    "brain": (
        (r"brain|cerebr\w+|cerebell\w+|intracranial", 2),
        (r"craniotomy|glioblastoma|glioma|astrocytoma|oligodendroglioma", 4),
        (r"(frontal|temporal|parietal|occipital) lobe", 2),
    ),
    "other: uterus": (
        (r"uterus|uterine|endometri\w+|myometri\w+", 2),
        (r"hysterectomy", 3),
        (r"cervix|cervical os|ovar\w+|adnexa\w*", 1),
    ),
    "other: head and neck": (
        (r"tongue|laryn\w+|\w*pharyn\w+|glotti[cs]|supraglott\w+|epiglott\w+|tonsil\w*", 2),
        (r"vocal cord|oral cavity|floor of mouth", 2),
        (r"neck dissection|laryngectomy|glossectomy|mandib\w+|maxill\w+|gingiva\w*|thyroid cartilage", 2),
    ),
    "other: kidney": ((r"nephrectomy", 4), (r"kidney|renal (cell|cortex|pelvis|vein)", 2)),
    "other: pancreas": ((r"pancrea\w+", 2), (r"whipple|pancreatectomy|pancreaticoduodenectomy", 4)),
    "other: liver": ((r"hepatectomy|hepatocellular", 4), (r"gallbladder|cholecystectomy", 1)),
    "other: prostate": ((r"(?<!cysto)prostatectomy|gleason", 3),),
    "other: thyroid": ((r"thyroidectomy|papillary thyroid", 4),),
    "other: oesophagus": ((r"barrett\w*", 2), (r"(?<!gastro)o?esophagectomy", 3)),
    "other: skin": ((r"melanoma", 4),),
}


def _stems(words: str) -> tuple[str, ...]:
    """Of each alternative of a pattern the longest piece that stands in whatever it matches."""
    # Groups, classes, and letters that are optional may be absent; a bar inside a group parts no alternatives.
    flat = re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)\??|\[[^\]]*\]|\\w[+*]|.\?", "#", words)
    return tuple(max(re.findall(r"[a-z ]+", alternative), key=len) for alternative in flat.split("|"))


_ORGANS = {
    organ: tuple((re.compile(rf"\b(?:{words})\b"), _stems(words), weight) for words, weight in entries)
    for organ, entries in _ORGAN_WORDS.items()
}
_MOST_MENTIONS = 4
_PRIMARY_SITE = re.compile(r"(?:primary site|tumou?r site|site of tumou?r|organ)\W{1,3}([^.;]{3,60})")
_PRIMARY_WEIGHT = 8.0
_LEAST_SCORE, _LEAST_LEAD = 2.0, 1.15

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


def flatten(text: str) -> str:
    """Lower case on one line, so that patterns need not care for either."""
    return re.sub(r"\s+", " ", text.lower())


def _affirmed(text: str, start: int) -> bool:
    before = text[max(0, start - 70) : start]
    return not _NEGATION.search(before)


@lru_cache(maxsize=4)
def organ_scores(text: str) -> Mapping[str, float]:
    """Weighted mentions of each organ in a flattened report; those outside the vocabulary begin with ``other: ``."""
    scores = {organ: 0.0 for organ in _ORGANS}
    primary = " ".join(match[1] for match in _PRIMARY_SITE.finditer(text))
    for organ, entries in _ORGANS.items():
        for pattern, stems, weight in entries:
            # A plain search is far cheaper than a pattern, and most reports mention few organs.
            if not any(stem in text for stem in stems):
                continue
            mentions = len(pattern.findall(text))
            scores[organ] += weight * min(mentions, _MOST_MENTIONS)
            if pattern.search(primary):
                scores[organ] += _PRIMARY_WEIGHT
    return MappingProxyType(scores)


def find_organ(text: str) -> str | None:
    """The organ that a flattened report is about, by weighted mentions; None where two are alike or it is another."""
    (best, score), (_, second) = sorted(organ_scores(text).items(), key=lambda item: -item[1])[:2]
    if score < _LEAST_SCORE or score < _LEAST_LEAD * second or best.startswith("other"):
        return None
    return best


def leading_organ(text: str) -> str | None:
    """The organ of a flattened report, also of one outside the vocabulary; None where two are alike."""
    (best, score), (_, second) = sorted(organ_scores(text).items(), key=lambda item: -item[1])[:2]
    return best.removeprefix("other: ") if score >= _LEAST_SCORE and score >= _LEAST_LEAD * second else None


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
