"""The one vocabulary of organs: their names, the words of reports that tell them, and which a record can state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType


@dataclass(frozen=True)
class Organ:
    """One organ.

    Attributes
    ----------
    name
        As sheets, records and models name it.
    names
        Pattern of what else a sheet may call it: ``Colon, sigmoid`` and ``COAD`` are colorectum.
    words
        Patterns of a report's words with their weights. Operations name the organ that was removed; other words may
        only touch it.
    in_record
        Whether a record states it. The others are known so that no report of theirs is taken for one of these.
    """

    name: str
    names: str
    words: tuple[tuple[str, float], ...]
    in_record: bool = False


ORGANS = (
    Organ(
        "breast",
        r"breast|mamma(?:ry)?|brca|her2",
        (
            (r"breast", 2),
            (r"mastectomy|lumpectomy", 4),
            (r"mammary|nipple|areola", 1),
            (r"ductal carcinoma|lobular carcinoma", 2),
        ),
        in_record=True,
    ),
    Organ(
        "bladder",
        r"(?:urinary )?bladder|blca|urotheli\w*",
        (
            (r"(?<!gall)(?<!gall )(?<!gall-)bladder", 2),
            (r"(?<!chole)cysto?(prostat)?ectomy|turbt?", 4),
            (r"urothelial carcinoma|bladder (?:cancer|carcinoma|tumou?r)", 3),
            (r"urotheli\w+|transitional cell", 1.5),
            (r"trigone|detrusor|perivesical", 1),
        ),
        in_record=True,
    ),
    Organ(
        "colorectum",
        r"colo-?rect(?:um|al)|colon(?:ic)?|rect(?:um|al)|large bowel|coad(?:read)?|read|crc",
        (
            (r"colons?|colonic|colorectal|(recto)?sigmoid|ca?ecum|ca?ecal|rectum|rectal|splenic flexure", 2),
            (r"large (intestine|bowel)", 2),
            (r"(hemi)?colectomy|sigmoidectomy|sigmoid resection|anterior resection|abdominoperineal", 4),
            (r"pericolic|perirectal|mesorect\w+|ileocecal", 2),
        ),
        in_record=True,
    ),
    Organ(
        "stomach",
        r"stomach|gastric|stad",
        (
            (r"stomach|gastric|gastroesophageal|esophagogastric|ge junction", 2),
            (r"\w*gastrectomy|gastric resection", 4),
            (r"antrum|antral|pylor\w+|cardia|perigastric|(lesser|greater) curvature", 1.5),
        ),
        in_record=True,
    ),
    Organ(
        "lung",
        r"lungs?|pulmonary|luad|lusc|nsclc",
        (
            (r"lungs?|pulmonary|bronchopulmonary", 2),
            (r"pneumonectomy|bronchial margin|(upper|lower|middle) lobe(ctomy)?", 3),
            (r"bronch\w+|pleura\w*|hilar", 1),
        ),
        in_record=True,
    ),
    Organ(
        "bone",
        r"bone(?! marrow)|osteosarcoma",
        (
            (r"osteosarcoma", 4),
            (r"femur|tibia|humerus|fibula", 2),
            (r"bone(?! marrow| scan)", 1),
        ),
        in_record=True,
    ),
    Organ(
        "brain",
        r"brain|gbm|lgg|cns|glioma|glioblastoma",
        (
            (r"brain|cerebr\w+|cerebell\w+|intracranial", 2),
            (r"craniotomy|glioblastoma|glioma|astrocytoma|oligodendroglioma", 4),
            (r"(frontal|temporal|parietal|occipital) lobe", 2),
        ),
        in_record=True,
    ),
    Organ(
        "uterus",
        r"uter(?:us|ine)|endometri(?:um|al)|corpus uteri|ucec|cervix",
        (
            (r"uterus|uterine|endometri\w+|myometri\w+", 2),
            (r"hysterectomy", 3),
            (r"cervix|cervical os|ovar\w+|adnexa\w*", 1),
        ),
    ),
    Organ(
        "head and neck",
        r"head (?:and|&) neck|hnsc|larynx|oral cavity|tongue|oropharynx",
        (
            (r"tongue|laryn\w+|\w*pharyn\w+|glotti[cs]|supraglott\w+|epiglott\w+|tonsil\w*", 2),
            (r"vocal cord|oral cavity|floor of mouth", 2),
            (r"neck dissection|laryngectomy|glossectomy|mandib\w+|maxill\w+|gingiva\w*|thyroid cartilage", 2),
        ),
    ),
    Organ(
        "kidney",
        r"kidney|renal|kirc|kirp|kich",
        (
            (r"nephrectomy", 4),
            (r"kidney|renal (cell|cortex|pelvis|vein)", 2),
        ),
    ),
    Organ(
        "pancreas",
        r"pancreas|pancreatic|paad",
        (
            (r"pancrea\w+", 2),
            (r"whipple|pancreatectomy|pancreaticoduodenectomy", 4),
        ),
    ),
    Organ(
        "liver",
        r"liver|hepatic|lihc",
        (
            (r"hepatectomy|hepatocellular", 4),
            (r"gallbladder|cholecystectomy", 1),
        ),
    ),
    Organ(
        "prostate",
        r"prostate|prostatic|prad",
        ((r"(?<!cysto)prostatectomy|gleason", 3),),
    ),
    Organ(
        "thyroid",
        r"thyroid|thca",
        ((r"thyroidectomy|papillary thyroid", 4),),
    ),
    Organ(
        "oesophagus",
        r"o?esophagus|o?esophageal|esca",
        (
            (r"barrett\w*", 2),
            (r"(?<!gastro)o?esophagectomy", 3),
        ),
    ),
    Organ(
        "skin",
        r"skin|skcm|cutaneous",
        ((r"melanoma", 4),),
    ),
)

RECORD_ORGANS = tuple(organ.name for organ in ORGANS if organ.in_record)
"""Organs that a record can state, in the order of its field."""

_NO_ORGAN = frozenset(
    (
        "unknown", "not known", "none", "other", "others", "not stated", "not available", "not applicable",
        "unspecified", "missing", "various", "mixed", "tissue", "tumour", "tumor", "cancer",
    )
)  # fmt: skip
_WORD = re.compile(r"[a-z]{3,}")
_MOST_MENTIONS = 4
_PRIMARY_SITE = re.compile(r"(?:primary site|tumou?r site|site of tumou?r|organ)\W{1,3}([^.;]{3,60})")
"""Matches ``tumor site: sigmoid colon``."""
_PRIMARY_WEIGHT = 8.0
_LEAST_SCORE, _LEAST_LEAD = 2.0, 1.15


def flatten(text: str) -> str:
    """Lower case on one line, so that patterns need not care for either."""
    return re.sub(r"\s+", " ", text.lower())


def _stems(words: str) -> tuple[str, ...]:
    """Of each alternative of a pattern the longest piece that stands in whatever it matches."""
    # Groups, classes, and letters that are optional may be absent; a bar inside a group parts no alternatives.
    flat = re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)\??|\[[^\]]*\]|\\w[+*]|.\?", "#", words)
    return tuple(max(re.findall(r"[a-z ]+", alternative), key=len) for alternative in flat.split("|"))


_NAMES = {organ.name: re.compile(rf"(?<![a-z])(?:{organ.names})(?![a-z])") for organ in ORGANS}
_WORDS = {
    organ.name: tuple((re.compile(rf"\b(?:{words})\b"), _stems(words), weight) for words, weight in organ.words)
    for organ in ORGANS
}


@lru_cache(maxsize=4)
def organ_scores(text: str) -> Mapping[str, float]:
    """Weighted mentions of each organ in a flattened report."""
    scores = {organ: 0.0 for organ in _WORDS}
    primary = " ".join(match[1] for match in _PRIMARY_SITE.finditer(text))
    for organ, entries in _WORDS.items():
        for pattern, stems, weight in entries:
            # A plain search is far cheaper than a pattern, and most reports mention few organs.
            if not any(stem in text for stem in stems):
                continue
            scores[organ] += weight * min(len(pattern.findall(text)), _MOST_MENTIONS)
            if pattern.search(primary):
                scores[organ] += _PRIMARY_WEIGHT
    return MappingProxyType(scores)


def leading_organ(text: str) -> str | None:
    """The organ that a flattened report is about, by weighted mentions; None where two are alike."""
    (best, score), (_, second) = sorted(organ_scores(text).items(), key=lambda item: -item[1])[:2]
    return best if score >= _LEAST_SCORE and score >= _LEAST_LEAD * second else None


def record_organ(text: str) -> str | None:
    """:func:`leading_organ` where a record can state it, else None."""
    organ = leading_organ(text)
    return organ if organ in RECORD_ORGANS else None


def organs_named(words: str) -> frozenset[str]:
    """The organs that a sheet's words mean."""
    flat = flatten(words).replace("_", " ").strip()
    return frozenset(organ for organ, pattern in _NAMES.items() if pattern.search(flat))


def organ_named(words: str) -> str | None:
    """The one organ that a sheet's words mean; None where they mean none or several."""
    named = organs_named(words)
    return next(iter(named)) if len(named) == 1 else None


def mentions_name(organ: str, text: str) -> bool:
    """Whether a flattened text holds a name of the organ as a word."""
    return bool(re.search(rf"\b(?:{next(entry.names for entry in ORGANS if entry.name == organ)})\b", text))


def organ_term(words: str) -> str | None:
    """One name for all words of an organ (colon, rectal and COAD are colorectum).

    Words outside the vocabulary stand for themselves, in lower case; None where they name no organ or several.

    >>> organ_term("Colon, sigmoid"), organ_term("lung or bone"), organ_term("Spleen"), organ_term("n/a")
    ('colorectum', None, 'spleen', None)
    """
    flat = flatten(words).replace("_", " ").strip()
    named = organs_named(flat) or {organ for organ, score in organ_scores(flat).items() if score}
    if len(named) > 1 or flat in _NO_ORGAN or not _WORD.search(flat):
        return None
    # Words that only touch an organ, as ovary does the uterus, are not its name.
    return organ_named(flat) or leading_organ(flat) or flat


def in_vocabulary(organ: str) -> bool:
    """Whether a term is a name of the vocabulary, and so no word that somebody typed."""
    return organ in _NAMES
