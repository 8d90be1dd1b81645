"""Names of persons in a report, found by the words beside them.

A bare name looks like an eponym (Barrett, Paget, Hodgkin) or the start of a heading. So a name needs a label, a title,
a qualification or a first name beside it. Once found, it is masked in the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import resources

from mupd.reports.deidentify.patterns import Span
from mupd.reports.deidentify.word_lists import EPONYMS, FIRST_NAMES, SURNAMES_TOO, no_name

_UP, _LOW = "A-ZÀ-ÖØ-Þ", "a-zß-öø-ÿ"
_PARTICLES = frozenset(
    ["van", "von", "der", "den", "de", "la", "del", "della", "di", "da", "dos", "bin", "al", "el", "le", "du", "ter"]
)
_PARTICLE = rf"(?:(?:{'|'.join(sorted(_PARTICLES))}|st\.)\s){{1,2}}"
_WORD = rf"[{_UP}](?:['\u2019][{_UP}])?[{_UP}{_LOW}]+(?:['\u2019\-][{_UP}]?[{_UP}{_LOW}]+)*"
_PART = rf"(?:{_PARTICLE})?(?:{_WORD}|[{_UP}]\b\.?)"
_NAME = rf"{_PART}(?:,?[ \t]{{1,2}}{_PART}){{0,3}}"
_ANY_WORD = rf"[{_UP}{_LOW}][{_UP}{_LOW}'\u2019\-]+"
_ANY_NAME = rf"{_ANY_WORD}(?:,?[ \t]{{1,2}}(?:{_ANY_WORD}|[{_UP}{_LOW}]\b\.?)){{0,3}}"

_TITLE = r"(?:drs?|doctor|prof(?:essor)?|mrs?|ms|miss|herr|frau|mme|mlle|señora?|sra?|nurse)"
_ROLES = frozenset(
    """
    attending physician pathologist surgeon oncologist radiologist urologist resident fellow consultant clinician
    provider practitioner gp technologist technician histotechnologist cytotechnologist prosector assistant nurse
    transcriptionist dictator director doctor md investigator kin guardian spouse wife husband mother father son
    daughter contact pcp cc copies copy arzt pathologe pathologin employee patient pt subject signed signature patientin
    vorname nachname surname name names to by firstname lastname fullname
    """.split()  # noqa: SIM905
)
_DOERS = frozenset(
    """
    signed verified authenticated approved finalized finalised authorized authorised out electronically dictated
    transcribed reported grossed reviewed interpreted performed submitted requested ordered referred prepared collected
    diagnosed entered seen examined confirmed typed issued
    """.split()  # noqa: SIM905
)
_CUES = {
    "by": _DOERS,
    "with": frozenset(["discussed", "reviewed", "communicated", "consulted", "spoke", "shared", "concurred", "seen"]),
    "to": frozenset(["reported", "called", "faxed", "communicated", "spoke", "attn"]),
    "physician": frozenset(["attending", "referring", "requesting", "ordering"]),
    "pathologist": frozenset(["staff", "attending", "consulting", "reporting"]),
    "patient": frozenset(["the", "this"]),
}
_NAMED_AFTER = frozenset(
    ["patient", "patient's", "patients", "pt", "full", "first", "last", "maiden", "sur", "family", "given"]
)
# Matches "Pathologist: ".
_COLON = re.compile(rf"(?P<label>[{_UP}{_LOW}](?<![{_UP}{_LOW}].)[{_UP}{_LOW}]*+)(?:\(s\))?\s?[:=]\s?")
_WORD_BEFORE = re.compile(rf"([{_UP}{_LOW}'\u2019]+)[ ]$")
_LABELLED = re.compile(rf"(?:(?i:{_TITLE})\b\.?\s?)?(?P<x>{_NAME})")
_LABELLED_LOWER = re.compile(rf"(?P<x>{_ANY_NAME})")
# Matches "signed by Jane Doe".
_CUED = re.compile(
    rf"\b(?P<before>[{_UP}{_LOW}]+)[ ](?P<cue>by|with|to|physician|pathologist|patient,?|PATIENT|BY|WITH|TO)[ ]"
    rf"(?:(?i:{_TITLE})\b\.?\s?)?(?P<x>{_NAME})"
)
# Matches "notified Dr. Doe".
_CALLED = re.compile(rf"\b(?i:notified|informed|paged|attn|named)[ ](?:(?i:{_TITLE})\b\.?\s?)?(?P<x>{_NAME})")
# Matches "Dr. Doe" and "Mr. Smith and Jones".
_TITLED = re.compile(rf"(?<![\w.])(?i:{_TITLE})\b\.?[ \t]{{1,2}}(?P<x>{_NAME}(?:[ ](?:and|&)[ ]{_PART})?)")
# Matches "Dr.Doe".
_TITLED_CLOSE = re.compile(rf"(?<![\w.])(?:Dr|Prof|Mr|Mrs|Ms|DR|PROF)\.(?P<x>{_NAME})")
# Matches ", MD" and " FRCPath".
_QUALIFICATION = re.compile(
    r"(?:,[ ]?|[ ]|/)(?:M\.?D\.?|D\.O\.|Ph\.?D\.?|M\.?B\.?,? ?B\.?S\.?|MBChB|FRCPath|FCAP|FRCPC|P\.?A\.?-C|"
    r"(?:PA|HT|CT) ?\(ASCP\)|R\.N\.|Dr\. ?med\.)(?!\w)"
)
# Matches "Jane Q. Doe" before ", MD".
_BEFORE_QUALIFICATION = re.compile(rf"(?<![\w\-])(?P<x>{_PART}(?:[ \t]{_PART}){{0,3}})$")
# Matches ", a 54-year".
_AGED = re.compile(r",?[ ](?:is[ ])?(?:an?|aged?)[ ](?:\d{1,3}|\[AGE\])(?:[ \-]?y|\b)")
# Matches "Jane Doe" before ", a 54-year".
_BEFORE_AGE = re.compile(rf"(?<![\w\-])(?P<x>{_PART}[ ](?:{_PART}[ ])?{_PART})$")
# Matches "Jane Q. Doe". It starts with a letter because a look-behind at the start is much slower.
_PAIR = re.compile(
    rf"(?P<first>[{_UP}](?<![\w\-].){_WORD.removeprefix(f'[{_UP}]')})"
    rf"(?P<rest>(?:[ ][{_UP}]\.?)?(?:[ ](?:{_PARTICLE})?{_WORD}))(?![\w])"
)
# Matches "Doe, Jane Q.".
_LAST_FIRST = re.compile(rf"(?<![\w\-])(?P<last>(?:{_PARTICLE})?{_WORD}),[ ]?(?P<first>{_WORD})(?:[ ][{_UP}]\b\.?)?")
_TOKEN = re.compile(rf"[{_UP}{_LOW}]+(?:['\u2019\-][{_UP}{_LOW}]+)*\.?")
# Matches "'s disease" in "Paget's disease".
_NO_PERSON_AFTER = re.compile(
    r"(?:['\u2019]?s?[ \-](?:o?esophagus|disease|lymphoma|cells?|tumou?r|syndrome|classification|level|"
    r"score|grade|grading|system|stain|mucosa|procedure|pouch|type|body|bodies|sign|node|staging|criteria|method|gland))",
    re.IGNORECASE,
)
# What follows a name but not an adjective: " is" in "Dr. Brown is", but not " tissue" in "Brown tissue".
_ENDS_NAME = re.compile(
    r"\s*(?:$|[,;)\]\n]|\.\s+[A-Z]|\.?$)|\s(?:was|is|has|had|at|on|by|for|who|reviewed|agrees|concurs|and|notified|called|will|to|"
    r"M\.?D)\b",
)
_LEAST_LETTERS, _LONGEST_ACRONYM, _LONGEST_NAME = 3, 3, 60


def _person(text: str, start: int, end: int) -> int:
    """End of the words after `start` that can be a name; `start` if there are none."""
    last, long_words = start, 0
    for match in _TOKEN.finditer(text, start, end):
        word = match[0].rstrip(".")
        if len(word) == 1:
            last = match.end() if last > start or len(match[0]) == 2 else last
            continue
        if word.lower() in _PARTICLES | {"and"}:
            continue
        if no_name(word) and not (word.lower() in SURNAMES_TOO and (long_words or _ENDS_NAME.match(text, match.end()))):
            break
        long_words += 1
        last = match.end() - (match[0].endswith("."))
    return last if long_words else start


def _surname(word: str) -> bool:
    return not no_name(word) or word.lower() in SURNAMES_TOO


def _eponym(word: str) -> str:
    return re.sub(r"['\u2019]s?$", "", word.lower())


def _titled_eponym(text: str, start: int, end: int) -> bool:
    return bool(_NO_PERSON_AFTER.match(text, end)) and _eponym(text[start:end]) in EPONYMS


def _labelled(text: str) -> Iterator[re.Match[str]]:
    """Possible names after a label with a colon or after a phrase."""
    for colon in _COLON.finditer(text):
        label = colon["label"].lower()
        if label not in _ROLES and label.rstrip("s") not in _ROLES:
            continue
        word = _WORD_BEFORE.search(text, max(0, colon.start() - 20), colon.start())
        before = word[1].lower() if word else ""
        if label in ("by", "to") and before not in _DOERS | {"copy", "copies"}:
            continue
        # After "patient name:" a name in lower case counts too.
        lower = label.rstrip("s") == "name" and before in _NAMED_AFTER
        if match := (_LABELLED_LOWER if lower else _LABELLED).match(text, colon.end()):
            yield match
    for match in _CUED.finditer(text):
        if match["before"].lower() in _CUES[match["cue"].lower().rstrip(",")]:
            yield match


def _shown(text: str) -> Iterator[Span]:
    """Names beside a label, a title, a qualification or an age."""
    for match in (*_labelled(text), *(m for p in (_CALLED, _TITLED, _TITLED_CLOSE) for m in p.finditer(text))):
        start = match.start("x")
        end = _person(text, start, match.end("x"))
        word = text[start:end]
        # One to three capitals after a label are usually a stain or a block.
        if match.re is not _TITLED and word.isupper() and len(word) <= _LONGEST_ACRONYM:
            continue
        if end > start and not _titled_eponym(text, start, end):
            yield start, end, "NAME"
    for match in _QUALIFICATION.finditer(text):
        yield from _before(text, match.start(), _BEFORE_QUALIFICATION)
    for match in _AGED.finditer(text):
        yield from _before(text, match.start(), _BEFORE_AGE)


def _before(text: str, end: int, pattern: re.Pattern[str]) -> Iterator[Span]:
    """The name that ends at `end`; other words may precede it."""
    offset = max(0, end - _LONGEST_NAME)
    match = pattern.search(text[offset:end])
    if not match:
        return
    start, long_words = end, 0
    for token in reversed(list(_TOKEN.finditer(text, offset + match.start("x"), end))):
        is_word = len(token[0].rstrip(".")) > 1
        if is_word and no_name(token[0]) and (long_words or not _surname(token[0].rstrip("."))):
            break
        start, long_words = token.start(), long_words + is_word
    if long_words:
        yield start, end, "NAME"


@lru_cache(maxsize=1)
def _rarer_first_names() -> frozenset[str]:
    """First names of many languages, in lower case; the file names its sources."""
    lines = resources.files("mupd.reports.deidentify").joinpath("first_names.txt").read_text("utf-8").splitlines()
    return frozenset(line for line in lines if line[:1] not in ("#", ""))


def _rarer(text: str, match: re.Match[str]) -> bool:
    """Whether a pair begins with a rarer first name. Pairs in capitals do not count: any word may look like a name."""
    first, rest = match["first"], match["rest"].split()[-1]
    return (
        not first.isupper()
        and not rest.isupper()
        and len(rest) >= _LEAST_LETTERS
        and first.lower() in _rarer_first_names()
        and not _NO_PERSON_AFTER.match(text, match.end())
    )


def _by_first_name(text: str) -> Iterator[Span]:
    for match in _PAIR.finditer(text):
        if match["first"].lower() in FIRST_NAMES or _rarer(text, match):
            rest = match["rest"].split()[-1]
            if _surname(rest) and not _titled_eponym(text, match.end() - len(rest), match.end()):
                yield match.start(), match.end(), "NAME"
    for match in _LAST_FIRST.finditer(text):
        if match["first"].lower() in FIRST_NAMES and all(map(_surname, match["last"].split())):
            yield match.start(), match.end(), "NAME"


def _again(text: str, names: Iterable[str]) -> Iterator[Span]:
    """All further places of names that were found or are known."""
    words: set[str] = set()
    for name in names:
        for match in _TOKEN.finditer(name):
            word = re.sub(r"['\u2019]s$", "", match[0].rstrip("."))
            if len(word) >= _LEAST_LETTERS and not no_name(word) and word.lower() not in EPONYMS:
                words.add(word.lower())
    if not words:
        return
    # In lower case the word is a common noun ("brown", "stone").
    for match in re.finditer(rf"(?<![\w\-]){_WORD}", text):
        if any(part in words for part in re.sub(r"['\u2019]s$", "", match[0].lower()).split("-")):
            yield match.start(), match.end(), "NAME"


def name_spans(text: str, known: Iterable[str] = ()) -> list[Span]:
    """Names of persons in a text.

    Parameters
    ----------
    known
        Names from the file's own fields (the patient of a FHIR bundle or of a DICOM file).
    """
    names = [*_shown(text), *_by_first_name(text)]
    return [*names, *_again(text, [*known, *(text[start:end] for start, end, _ in names)])]
