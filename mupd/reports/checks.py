"""Checks that a text is a report of this case: language, content, organ and case id.

Each check refuses only what is evident: a usable report that is refused is lost, and a person has to look at it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from mupd.base.organs import RECORD_ORGANS, flatten, mentions_name, organ_named, organ_scores
from mupd.errors import UnusableError
from mupd.reports.record.fields import extract_record

_MASK = re.compile(r"\[[A-Z]+\]")
_WORD = re.compile(r"[^\W\d_]{2,}")

# Languages of reports. With Latin, Occitan or Pidgin allowed, the detector takes anatomical terms for them.
_LANGUAGES = (
    "en de fr es it nl pt pl sv da no fi cs hu ro tr ru uk el zh ja ko ar he hr bg sk sl vi id fa hi th".split()  # noqa: SIM905
)
_LANGUAGE_NAMES = {
    "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "nl": "Dutch", "pt": "Portuguese",
    "pl": "Polish", "sv": "Swedish", "da": "Danish", "no": "Norwegian", "fi": "Finnish", "cs": "Czech",
    "hu": "Hungarian", "ro": "Romanian", "tr": "Turkish", "ru": "Russian", "uk": "Ukrainian", "el": "Greek",
    "zh": "Chinese", "ja": "Japanese", "ko": "Korean", "ar": "Arabic", "he": "Hebrew", "hr": "Croatian",
}  # fmt: skip
_LEAST_CERTAIN, _MOST_ENGLISH = 0.7, 0.05
_LEAST_LETTERS = 30
_MOST_LOOKED_AT = 2_000
# Words of English reports that are rare in other languages. A text with more than this share of them is English.
_ENGLISH = re.compile(
    r"\b(?:the|of|and|with|is|are|was|were|no|not|this|from|which|right|left|breast|lung|tumou?r|lymph|nodes?|margins?|"
    r"specimen|received|shows?|grade|cells?|tissue|diagnosis|size|free|negative|positive|high|invasive|cancer)\b"
)
_ENGLISH_SHARE = 0.12

# Least score of the text's organ, and least ratio to the score of the sheet's organ (mupd.base.organs.organ_scores).
_LEAST_SCORE, _LEAST_TIMES = 6.0, 5.0

# Matches TCGA-AA-3697 and C3L-00001.
_CASE_ID = re.compile(r"\bTCGA-[A-Z0-9]{2}-[A-Z0-9]{4}|\bC3[LN]-\d{5}\b")

# Words of forms and headings. A text without any other word is a template.
_FORM_WORDS = frozenset(
    """
    a an the and or of in on at to for with by from as is are was were be been has have not no see this that it its if
    any
    all please patient name names surname first last date dates birth dob sex gender male female race ethnicity age
    address phone fax mrn record medical number no id case accession hospital department report reports reported result
    results page pages copy final preliminary surgical pathology pathologic pathological pathologist histopathology
    histology histological cytology diagnosis diagnoses diagnostic clinical history impression information details gross
    macroscopic macroscopy microscopic microscopy description comment comments note notes addendum synoptic summary
    checklist template specimen specimens sample submitted received collected collection procedure operation type site
    tumor tumour size grade stage staging tnm pt pn pm lymph nodes node margins margin invasion vascular perineural
    lymphovascular method physician surgeon attending requesting referring signed signature electronically verified
    approved reviewed dictated transcribed resident scanned scan attached attachment document file image images pdf
    available unavailable pending follow follows completed complete entered enter insert here text free none na nil tbd
    todo unknown specify specified stated applicable not yet dr md examination findings conclusion end other time status
    new old above below under separate external outside refer original paper form void intentionally left blank lorem
    ipsum dolor sit amet consectetur adipiscing elit test testing dummy example sample placeholder
    """.split()  # noqa: SIM905
)
_LEAST_CONTENT_WORDS = 2


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(_LANGUAGES))
    return identifier


def language_of(text: str) -> tuple[str, float]:
    """Language (ISO 639-1) of a text and how certain it is; ("en", 1.0) if the text is too short."""
    # The detector cannot tell the language of text in capitals.
    words = _MASK.sub(" ", text[:_MOST_LOOKED_AT]).lower()
    counted = _WORD.findall(words)
    if sum(map(len, counted)) < _LEAST_LETTERS and words.isascii():
        return "en", 1.0
    if len(_ENGLISH.findall(words)) > _ENGLISH_SHARE * max(1, len(counted)):
        return "en", 1.0
    ranked = {code: float(share) for code, share in _identifier().rank(words)}
    best = max(ranked, key=lambda code: ranked[code])
    if best != "en" and (ranked[best] < _LEAST_CERTAIN or ranked["en"] > _MOST_ENGLISH):
        return "en", ranked["en"]
    return best, ranked[best]


def check_language(text: str) -> None:
    """Raise UnusableError for a text in another language: the text encoder knows English only."""
    code, certainty = language_of(text)
    if code != "en":
        name = _LANGUAGE_NAMES.get(code, code)
        raise UnusableError(f"written in {name} ({certainty:.0%} certain): expected English, the encoder's language")


# A note in place of a report: "See scanned report in media tab", "Specimen lost in transit", "Patient declined biopsy".
_NO_REPORT = re.compile(
    r"\b(?:see|refer\s+to|scanned\s+(?:in(?:to)?|under|to)|located\s+in|available\s+in|filed\s+(?:in|under))\b[^.;]{0,60}"
    r"\b(?:scan\w*|media|attach\w*|pdf|image|chart|paper|outside|separate|original|external|document|tab|folder)\b"
    r"|\bspecimens?\s+(?:\w+\s+){0,3}?(?:lost|misplaced|discarded|rejected|insufficient|inadequate|unsatisfactory|"
    r"not\s+(?:received|labell?ed|found|processed|submitted))\b|\bno\s+specimens?\s+(?:was\s+|were\s+)?received\b"
    r"|\b(?:patient|family)\s+(?:\w+\s+){0,2}?(?:declined|refused|did\s+not\s+(?:attend|show|consent)|no\s?show)\b"
    r"|\b(?:biopsy|procedure|surgery|test|examination|order|case|request)\s+(?:\w+\s+){0,2}?"
    r"(?:declined|refused|cancel\w*|not\s+(?:performed|done|carried\s+out)|withdrawn|aborted|postponed|duplicate)\b"
    r"|\b(?:report|results?)\s+(?:\w+\s+){0,2}?(?:pending|to\s+follow|not\s+(?:yet\s+)?available|unavailable|awaited|"
    r"sent\s+separately|missing)\b|\b(?:entered|ordered|scanned)\s+in\s+error\b|\bquantity\s+not\s+sufficient\b"
)
_MOST_WORDS_OF_NOTE = 60
# What a report finds, and a note in its place does not.
_FINDINGS = ("diagnosis", "subtype", "grade", "t_category")


def check_content(text: str) -> None:
    """Raise UnusableError for an empty template, a pointer to another document, or a note that there is no report."""
    words = flatten(_MASK.sub(" ", text))
    if _NO_REPORT.search(words) and len(words.split()) <= _MOST_WORDS_OF_NOTE:
        record = extract_record(text)
        if not any(field in record for field in _FINDINGS):
            raise UnusableError("a note in place of a report, without findings: give the report itself")
    content: set[str] = set()
    for word in _WORD.finditer(_MASK.sub(" ", text).lower()):
        if word[0] not in _FORM_WORDS:
            content.add(word[0])
            if len(content) >= _LEAST_CONTENT_WORDS:
                return
    if not extract_record(text):
        raise UnusableError("only headings or a pointer to another document, no findings: give the report itself")


def check_organ(text: str, organ: str) -> None:
    """Raise UnusableError for a text that is clearly about another organ than the sheet's.

    It must mention one other organ often and the sheet's hardly ever: the report of a metastasis mentions both.
    """
    expected = organ_named(organ)
    if expected is None:
        return
    flat = flatten(text)
    scores = organ_scores(flat)
    best = max(scores, key=lambda name: scores[name])
    if best == expected or scores[best] < _LEAST_SCORE or scores[best] < _LEAST_TIMES * scores[expected]:
        return
    # The vocabulary has few words for these organs, so the text must not even contain the name.
    thin = expected not in RECORD_ORGANS or expected == "bone"
    if not thin or (scores[best] >= 2 * _LEAST_SCORE and not mentions_name(expected, flat)):
        raise UnusableError(f"about the {best}, but the sheet's organ is {expected}: another case's text?")


def check_case_id(text: str, case_id: str) -> None:
    """Raise UnusableError for a text that names other cases of TCGA or CPTAC, but not this one."""
    own = _CASE_ID.match(case_id.upper())
    if own is None:
        return
    named = {name.upper() for name in _CASE_ID.findall(text)}
    if named and own[0] not in named:
        raise UnusableError("names another case's id than this one's: another case's text?")
