"""What a report states of a field that is scored: found, and taken out before anything is asked of the report.

Reports state the answers. A model that is given a report and asked for the T category reads it there; so its statements
go first, and what implies them: N and M, the stage group, the grade and the depth of invasion for T category and grade;
all words for the site, the operation and the histology for organ, diagnosis and subtype. Patterns take more than the
rules of :func:`~mupd.reports.record.fields.extract_record` read; what these still find afterwards goes too, clause by
clause, so that nothing is found when all is done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from mupd.reports.record.fields import FIELDS, extract_record

_OF_STAGING = ("grade", "t_category")
_OF_ENTITY = ("organ", "diagnosis", "subtype", "tissue")

# T, N and M with their prefixes, as one code or many: pT3a, ypT2, p T 3, T1N0MX, pNO (a letter), NX. Without the p a
# letter stands for a category in capitals alone: "to", "no" and "ma" are words.
_PREFIX = r"(?<![A-Za-z0-9])(?:[yYrRaAmMcC]{0,2}[pP][\s.]{0,2})"
_SUFFIX = r"(?:\s?[a-dA-D](?:is)?)?(?:\s?\((?:m|\d+|sn|i[+-])\))?(?![A-Za-z0-9])"
_TNM = (
    rf"{_PREFIX}[tTnNmM]\s?\.?\s?(?:[0-4oOxX]|[iI][sS]|[aA]){_SUFFIX}",
    rf"(?<![A-Za-z0-9])[yrac]?[tTnNmM]\s?[0-4]{_SUFFIX}",
    r"(?<![A-Za-z0-9])(?:[TNM]\s?[xX]|T[aA]|T[iI][sS])(?![A-Za-z0-9])",
    r"(?<![A-Za-z0-9])[yramcYRAMC]{0,2}(?:[pP]?[tT](?:[0-4xX]|[iI][sS])|[pP][tT][aA])[a-dA-D]?[\s,./;]{0,2}"
    r"(?:[gG]\s?[1-4][\s,./;]{0,2})?[pP]?[nN]\s?[0-3oOxX][a-cA-C]?"
    r"(?:[\s,./;]{0,2}[pP]?[mM]\s?[01oOxX][a-c]?)?(?![a-z])",
)
_STAGE = (
    r"\b(?:ajcc|uicc|figo|duke'?s?|astler[\s-]*coller|jewett|tnm|"
    r"(?:pathologic\w*\s+|p|clinical\s+|tumou?r\s+)?stag(?:e|es|ed|ing))\b[^.;\n]{0,80}"
)
_CATEGORY = r"\b(?:primary\s+tumou?r|tumou?r|t|n|m)\s+category\b[^.;\n]{0,60}"
_PRIMARY_TUMOUR = r"\bprimary\s+tumou?r\s*\(?\s*p?t?\s*\)?\s*:[^.;\n]{0,80}"
_GRADE = (
    r"\b(?:high|low|intermediate)(?:er)?[\s.\-]{1,3}(?:grade|grading)\b",
    r"\b(?:histolog\w+[\s.]{1,2}|nuclear[\s.]{1,2}|tumou?r[\s.]{1,2}|who[\s.]{1,2}|final[\s.]{1,2})?grad(?:e|ed|ing|es)\b"
    r"[^.;\n]{0,60}",
    r"(?<![a-z0-9])g\s?[1-4](?:\s?[-/]\s?g?\s?[1-4])?(?![a-z0-9])",
    r"\b(?:(?:well|moderate(?:ly)?|poor(?:ly)?|intermediate(?:ly)?|low|high)[\s.,:;()/\-]*(?:to|and|or|[-/])?[\s.,:;()/\-]*)*"
    r"(?:un|de|in)?[\s\-]?differentiat\w*",
    r"\b(?:anaplastic|undifferentiated)\b",
)
_DEPTH_VERB = (
    r"invad\w*|invasi\w*|infiltrat\w*|penetrat\w*|extend\w*|extension|extent|through|into|to the level|depth|reach\w*|"
    r"confined|limited|perforat\w*|transmural\w*|involv\w*|touch\w*|breach\w*|up to|until|beyond|permeat\w*|"
    r"compromis\w*"
)
_LAYER = (
    r"\w*mucos\w*|muscular\w*|muscle\w*|lamina|propria|detrusor|\w*serosa\w*|adventiti\w*|perivesical|"
    r"peri-?col\w*|peri-?rect\w*|perigastric|mesorect\w*|mesenter\w*|oment\w*|fat|fatty|adipose|peritone\w*|wall|"
    r"ch?ori(?:on|um)|soft tissues?|connective tissue|adjacent (?:organ|structure)\w*|prostat\w*|seminal|vagin\w*|"
    r"uter\w*|stroma|"
    r"subepithelial|third|half|intramucosal|muscularis"
)
# An operation, a place or a tissue that only one organ has, and every word for a kind of tumour.
_SITE = (
    r"\w*mastectomy|lumpectomy|breasts?|mammary|nipple|areola|axilla\w*|"
    r"\w*bladder|\w*vesical|cysto?\w*ectomy|turbt?|urotheli\w*|transitional|trigone|detrusor|ureter\w*|urethr\w*|urin\w*|"
    r"prostat\w*|seminal|vesicles?|vas|deferen\w*|hydronephro\w*|kidneys?|renal|"
    r"colon\w*|colorect\w*|\w*sigmoid\w*|c(?:a|ae)?ec(?:um|al)|\w*rect(?:um|al|o|osigmoid)\b|\w*colectomy|colic|\w*colic|\w*colonic|"
    r"flexure|appendix|appendic\w*|ile(?:um|al|o\w*)|bowels?|intestin\w*|hepatic|splenic|anal|anus|\w*col\w*tomy|polyps?|"
    r"stomach|gastr\w*|\w*gastric|\w*gastrectomy|\w*esophag\w*|antr(?:um|al)|pylor\w*|cardia\w*|fund(?:us|ic)|curvature|duoden\w*|"
    r"oment\w*|h(?:elicobacter)?\.? ?pylori|rugal?|"
    r"lungs?|pulmonary|\w*pneumonectomy|\w*lobectomy|lobes?|bronch\w*|pleura\w*|hilar|"
    r"bones?|femur|tibia|humerus|fibula|brain|cerebr\w*|cerebell\w*|intracranial|craniotomy|frontal|temporal|parietal|occipital"
)
_HISTOLOGY = (
    r"\w*carcinom\w*|adeno\w*|\w*sarcoma\w*|\w*gliom\w*|glioblastoma|astrocytoma|oligo\w*|squamous|mucin\w*|colloid|mucoid|signet\w*|"
    r"\w*papill\w*|tubul\w*|\w*villous|duct(?:al)?|lobular|diffuse\w*|lauren\w*|linitis|plastica|intestinal|cribriform|dysplas\w*|"
    r"metaplas\w*|icd\w*|c\d\d(?:\.\d)?|[86]\d{3}/\d|nos|benign|malignan\w*|melanoma|lymphoma|neoplas\w*"
)


@dataclass(frozen=True)
class Statement:
    """A place in a report, from `start` to `end`, that states or implies a field."""

    start: int
    end: int


@cache
def _patterns(field: str) -> tuple[re.Pattern[str], ...]:
    """What is taken out wherever it stands."""
    if field in _OF_STAGING:
        words: tuple[str, ...] = (_STAGE, _CATEGORY, _PRIMARY_TUMOUR, *_GRADE)
    elif field in _OF_ENTITY:
        words = (rf"\b(?:{_SITE})\b", rf"\b(?:{_HISTOLOGY})(?![a-z])")
    else:
        words = ()
    codes = _TNM if field in _OF_STAGING else ()
    return (*map(re.compile, codes), *(re.compile(pattern, re.IGNORECASE) for pattern in words))


# A stop before a small letter is a line's end in a scan.
_CLAUSE = re.compile(r"(?:[^.;\n]|\.(?!\s+[^a-z\s]|\s*$))*(?:[.;\n]+\s*|$)")
_VERB, _TO = re.compile(rf"\b(?:{_DEPTH_VERB})\b", re.IGNORECASE), re.compile(rf"\b(?:{_LAYER})\b", re.IGNORECASE)


def _clauses(text: str) -> list[Statement]:
    return [Statement(match.start(), match.end()) for match in _CLAUSE.finditer(text) if match.end() > match.start()]


def _depths(text: str) -> list[Statement]:
    """Clauses that say how deep a tumour grows."""
    return [
        place
        for place in _clauses(text)
        if _VERB.search(text, place.start, place.end) and _TO.search(text, place.start, place.end)
    ]


def masked_together(field: str) -> tuple[str, ...]:
    """The fields whose statements go together with a field's, since one implies the other."""
    for group in (_OF_STAGING, _OF_ENTITY):
        if field in group:
            return tuple(name for name in FIELDS if name in group)
    return (field,)


def find_statements(text: str, field: str) -> list[Statement]:
    """The places where a report states a field or what implies it, in order, none overlapping.

    Raises
    ------
    ValueError
        If there is no such field.
    """
    if field not in FIELDS:
        raise ValueError(f"field: found {field!r}; expected one of {list(FIELDS)}")
    found = [Statement(match.start(), match.end()) for pattern in _patterns(field) for match in pattern.finditer(text)]
    if field in _OF_STAGING:
        found += _depths(text)
    merged: list[Statement] = []
    for place in sorted(found, key=lambda each: (each.start, each.end)):
        if place.end <= place.start:
            continue
        if merged and place.start <= merged[-1].end:
            merged[-1] = Statement(merged[-1].start, max(merged[-1].end, place.end))
        else:
            merged.append(place)
    return merged


def _without(text: str, places: list[Statement]) -> str:
    kept, at = [], 0
    for place in places:
        kept.append(text[at : place.start])
        at = place.end
    return " ".join([*kept, text[at:]])


def _states(text: str, fields: tuple[str, ...]) -> bool:
    record = extract_record(text)
    return any(field in record for field in fields)


def mask_report(text: str, field: str) -> str:
    """A report without what it states of a field; :func:`~mupd.reports.record.fields.extract_record` finds none of it.

    Nothing stands where a statement stood: a sign would say that there was one.

    Raises
    ------
    ValueError
        If there is no such field.
    """
    fields = masked_together(field)
    while places := find_statements(text, field):
        shorter = _without(text, places)
        if shorter == text:
            break
        text = shorter
    while _states(text, fields):
        clauses = _clauses(text)
        # The shortest beginning that states it, by halving: the last clause of it is what tells.
        lacks, has = 0, len(clauses)
        while has - lacks > 1:
            middle = (lacks + has) // 2
            if _states(text[: clauses[middle - 1].end], fields):
                has = middle
            else:
                lacks = middle
        text = _without(text, [clauses[has - 1]])
    return re.sub(r"[ \t]+", " ", text).strip()


def leaked_fields(text: str, field: str) -> dict[str, str]:
    """What the rules still read of a field and those that go with it: empty for what :func:`mask_report` gives."""
    record = extract_record(text)
    return {name: record[name] for name in masked_together(field) if name in record}
