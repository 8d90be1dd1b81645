"""The histological subtype and the predominant tissue that a text states."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mupd.reports.record.diagnosis import GAP, stated_here

_CARCINOMA = r"(?:adeno-?)?carcinomas?\b"
# Words between a variant and the carcinoma that it is of: "tubular moderately differentiated adenocarcinoma".
_BETWEEN = (
    rf"(?:(?:types?|variants?|cells?|invasive|infiltrating|gastric|colonic|urothelial|transitional|mammary|breast|"
    rf"well|moderately|poorly|low|high|grade|differentiated|to|and){GAP}){{0,5}}"
)
# "Histologic type: mucinous", "histological pattern(s) observed: tubular".
_LISTED = rf"histolog\w+{GAP}(?:sub)?(?:types?|patterns?){GAP}(?:s{GAP})?(?:observed{GAP})?"
# "focal mucinous areas": a component is not the variant of the whole tumour.
_PARTLY_BEFORE = re.compile(
    r"\b(partial(ly)?|partly|partim|in part|focal(ly)?|minor|minimal|areas? of|component of|some|prominent)"
    r"\W+(\w+\W+((et|and)\W+)?)?$"
)
_PARTLY_AFTER = (
    r"(components?|features?|differentiation|areas?|foci|focus|patterns?|architecture|growth|formation|morphology)\b"
)
_PARTLY_AT_ONCE, _PARTLY_SOON = re.compile(rf"\W*{_PARTLY_AFTER}"), re.compile(rf"\W*(\w+\W+){{0,3}}{_PARTLY_AFTER}")

# Variant, organs whose tumours have it, and its word. The first match counts: rarer variants stand before common ones.
_WORDS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("signet ring cell", ("stomach", "colorectum"), r"signet[\s.\-]*ring"),
    ("mucinous", ("stomach", "colorectum", "breast"), r"mucinous|colloid|mucoid|mucinosum"),
    ("diffuse", ("stomach",), r"diffuse"),
    ("papillary", ("stomach", "breast", "bladder"), r"(?<!non-)(?<!micro)(?<!micro-)papill(?:ary?|are)"),
    ("tubular", ("stomach", "breast"), r"tubul(?:ar|are|ary)"),
    ("lobular", ("breast",), r"lobular"),
    ("ductal", ("breast",), r"duct(?:al)?"),
)
# After the carcinoma: "adenocarcinoma, mucinous", "adenocarcinoma of diffuse type", "adenocarcinoma tubulare".
_AFTER = r"[^.;]{0,25}?[\s.,:;()\-]"
_VARIANTS = tuple(
    (
        name,
        organs,
        tuple(
            re.compile(pattern)
            for pattern in (
                rf"(?<![a-z])(?P<word>{word}){GAP}{_BETWEEN}{_CARCINOMA}",
                rf"{_CARCINOMA}{_AFTER}(?P<word>{word})\b(?!{GAP}(?:adenoma|in{GAP}situ))",
                rf"{_LISTED}(?:invasive |infiltrating )?(?P<word>{word})\b",
            )
        ),
    )
    for name, organs, word in _WORDS
)
# "Diffuse" alone is also said of how a tumour spreads or stains.
_DIFFUSE = re.compile(
    rf"(?P<word>diffuse){GAP}{_BETWEEN}{_CARCINOMA}"
    rf"|{_CARCINOMA}[^.;]{{0,60}}?[\s.,:;()\-](?P<after>diffuse){GAP}(?:infiltrative{GAP})?(?:type|variant|subtype|pattern)"
    rf"|lauren[^.;]{{0,30}}\b(?P<lauren>diffuse)|{_LISTED}(?P<listed>diffuse)\b"
)
_OTHERS: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = (
    ("glioblastoma", ("brain",), re.compile(r"glioblastoma")),
    (
        "lower-grade glioma",
        ("brain",),
        re.compile(
            rf"low(?:er)?{GAP}grade{GAP}glioma|oligodendroglioma|oligoastrocytoma|(?:diffuse|anaplastic){GAP}astrocytoma"
        ),
    ),
    (
        "not otherwise specified",
        ("stomach", "colorectum", "bladder", "lung"),
        re.compile(rf"{_CARCINOMA}{GAP}(?:not{GAP}otherwise{GAP}specified|nos\b)"),
    ),
)


def _findings(name: str, patterns: tuple[re.Pattern[str], ...], text: str) -> Iterator[tuple[re.Match[str], int, int]]:
    """Matches of a variant with the place of its own word."""
    for pattern in (_DIFFUSE,) if name == "diffuse" else patterns:
        for match in pattern.finditer(text):
            word = next(name for name, value in match.groupdict().items() if value)
            yield match, match.start(word), match.end(word)


def subtype_findings(text: str, organ: str | None) -> Iterator[tuple[str, int, int]]:
    """Each place of a lower-case report that states a variant of the whole tumour: its name, ``text[start:end]``."""
    for name, organs, patterns in _VARIANTS:
        if organ not in organs:
            continue
        for match, start, end in _findings(name, patterns, text):
            # Behind the carcinoma: "ductal carcinoma with tubular and cribriform features".
            after = _PARTLY_SOON if end == match.end() and name != "diffuse" else _PARTLY_AT_ONCE
            partly = _PARTLY_BEFORE.search(text[max(0, start - 40) : start]) or after.match(text, match.end())
            if not partly and stated_here(text, match.start(), match.end()):
                yield name, match.start(), match.end()


def find_subtype(text: str, organ: str | None) -> str | None:
    """The variant that a flattened report states of the whole tumour, given its organ (None if unknown).

    A component, a feature or an area of another variant does not count, nor does what is denied or said of
    another tumour.
    """
    for name, _, _ in subtype_findings(text, organ):
        return name
    for name, organs, pattern in _OTHERS:
        if organ in organs and any(stated_here(text, m.start(), m.end()) for m in pattern.finditer(text)):
            return name
    return None


_TISSUE_WORDS = {
    "necrosis": r"necrosis|necrotic|non-viable|debris",
    "normal parenchyma": r"(?:normal|benign|unremarkable) (?:\w+ )?(?:tissue|mucosa|glands?|parenchyma|epithelium)"
    r"|breast glands",
    "connective tissue": r"connective tissue|fibrous tissue|stroma",
    "adipose tissue": r"adipose tissue|fatty tissue|fat\b",
    "smooth muscle": r"smooth muscle",
    "immune infiltrate": r"immune infiltrate|lymphocytes|lymphoid tissue",
    "mucus": r"mucus|mucin\b",
    "tumour": r"(?<!non-)(?<!non )tumou?r|(?:carcinoma|sarcoma|glioma|glioblastoma|cancer)\b(?!-| specimen)",
}
# Matches "predominant tissue: stroma" and "H&E section of adipose tissue".
_OF_SAMPLE = re.compile(
    r"\bpredominant tissue(?: is| was)?[\s:]{1,3}(?P<stated>[^.;,]{3,60})"
    r"|\b(?:h&e|h & e|ha?ematoxylin and eosin)(?: stained)? (?:histology|section|picture|image|tile|slide)s? "
    r"(?:of|showing|shows) (?P<named>[^.;,]{3,60})"
)
# Matches "80% tumor nuclei".
_TUMOUR_NUCLEI = re.compile(r"\b(\d{1,3})\s?% tumou?r nuclei")
_MOST_PERCENT = 50


def find_tissue(text: str) -> str | None:
    """The tissue that makes up most of the sample, as a flattened text states it; None if it states none.

    Three forms are read: "predominant tissue: ...", "H&E section of ...", and a share of tumour nuclei of 50 % or
    more (the lowest, where several samples have one).
    """
    for match in _OF_SAMPLE.finditer(text):
        words = match["stated"] or match["named"]
        # "Lung, benign fibroadenoma" is a lesion, not a tissue: only named tissues count.
        for tissue, pattern in _TISSUE_WORDS.items():
            if re.search(rf"(?<![a-z]){pattern}" if tissue != "tumour" else pattern, words):
                return tissue
    shares = [int(match[1]) for match in _TUMOUR_NUCLEI.finditer(text)]
    return "tumour" if shares and _MOST_PERCENT <= min(shares) <= 100 else None
