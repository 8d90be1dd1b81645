"""Identifiers with a fixed form: dates, numbers, addresses, ages.

The kinds are those of the HIPAA Safe Harbor list (45 CFR 164.514(b)(2)) that occur in reports. Bare years stay
(the list allows them, and "WHO 2016" needs them). A date has three numbers: "3/12" counts nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mupd.reports.deidentify.addresses import Span, address_spans, spans_of
from mupd.reports.record.sections import small_letters

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?|januar|februar|märz|mai|juni|juli|oktober|dezember|"
    r"janvier|février|fevrier|mars|avril|juin|juillet|août|aout|septembre|octobre|novembre|décembre|decembre)"
)
_YEAR = r"(?:19|20)\d\d"
_DAY, _MON = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])"
_DAY2, _MON2 = r"(?:0[1-9]|[12]\d|3[01])", r"(?:0[1-9]|1[0-2])"
_TIME = r"(?:,?[ t](?:at )?\d{1,2}:\d\d(?::\d\d)?(?:\s?[ap]\.?m\b\.?)?(?:z|[+-]\d\d:?\d\d)?)?"
# Matches "2012-03-14", "03/14/2012" and "14.3.2012 10:15".
_DATES = re.compile(
    rf"(?<![\w/.\-])(?:"
    rf"{_YEAR}[-/.]{_MON}[-/.]{_DAY}"
    rf"|(?:{_MON}[-/]{_DAY}|{_DAY}[-/]{_MON})[-/](?:{_YEAR}|\d\d)"
    rf"|(?:{_DAY}\.\s?{_MON}\.\s?{_YEAR}|{_DAY2}\.{_MON2}\.\d\d|{_MON2}\.{_DAY2}\.{_YEAR})"
    rf"|{_DAY}\s{{0,2}}/\s{{0,2}}{_MON}\s{{0,2}}/\s{{0,2}}{_YEAR}"
    rf"){_TIME}(?![\w/\-]|\.\d)",
)
# Matches "March 14, 2012", "14 mars 2012" and "14th of March".
_MONTH_DATES = re.compile(
    rf"(?<![\w])(?:"
    rf"(?:{_DAY}(?:st|nd|rd|th)?\.?[\s\-/]?(?:of\s)?)?\b{_MONTH}\b[.,]?(?:[\s\-/]{_DAY}(?:st|nd|rd|th)?\b,?)?[\s,\-/']{{1,3}}(?:{_YEAR}|'\d\d)"
    rf"|{_DAY}[\s\-/]{_MONTH}[\s\-/]\d\d"
    rf"|{_DAY}{_MONTH}(?:{_YEAR}|\d\d)"
    rf"|{_MONTH}\.?\s{_DAY2}(?:st|nd|rd|th)?(?=[\s,.;)]|$)"
    rf"|{_DAY}(?:st|nd|rd|th)\sof\s{_MONTH}"
    rf"){_TIME}(?![\w/\-])",
)
# After a word for a date, two numbers or eight digits are one too: "collected 03/14", "DOB: 19520314".
_LABELLED_DATES = re.compile(
    r"\b(?:d\.?o\.?b\.?|date of birth|birth\s?date|born(?: on)?|(?:date|time)(?: of)?(?: \w+){0,2}|"
    r"(?:collected|received|reported|signed|admitted|discharged|accessioned|dated|taken)(?: on)?)"
    rf"(?:\s?[:=#]\s?|\s)(?P<x>{_YEAR}{_MON2}{_DAY2}|{_DAY2}{_MON2}{_YEAR}|"
    rf"{_MON2}{_DAY2}{_YEAR}|"
    rf"{_MON}[/\-](?:{_DAY}|{_YEAR})|{_DAY}[/\-]{_MON}|{_DAY}\.{_MON}\.\d\d)"
    r"(?![\w/])",
)
# Quick tests: a text without a match has no date with a month's name (first) or with three numbers (second).
_MONTH_WORD = re.compile(rf"{_MONTH}(?![a-su-z])")
_TWO_SEPARATORS = re.compile(r"[-/.]\s{0,2}\d{1,2}\s{0,2}[-/.]")
# Matches "jane.doe@example.org".
_EMAIL = re.compile(r"[\w.+\-]{1,64}@[\w\-]+(?:\.[\w\-]+)+")
# Matches "https://example.org/a".
_URL = re.compile(r"(?:https?://|\bwww\.)[^\s<>\")]+", re.IGNORECASE)
# Matches "123-45-6789".
_SSN = re.compile(r"(?<![\w\-])(?!000|666|9\d\d)\d{3}[- ](?!00)\d{2}[- ](?!0000)\d{4}(?![\w\-])")
# Matches "SSN: xxx-xx-6789".
_LABELLED_SSN = re.compile(
    r"\b(?:ssn|social security(?: (?:number|no\.?|#))?|soc\.? sec\.?(?: no\.?)?)\s?[:#=]?\s?"
    r"(?P<x>(?:\d{3}|[x*]{3})[- ]?(?:\d{2}|[x*]{2})[- ]?\d{4})\b",
)
_NUMBER_WORD = r"(?:number|num\.?|no\.?|nr\.?|id|identifier|#)"
_ID_LABEL = (
    rf"(?:mrn|m\.r\.n\.|med(?:ical)?\.? ?rec(?:ord)?\.?(?: ?{_NUMBER_WORD})?|mr ?(?:#|no\.?|number)|"
    rf"(?:accession|acc\.?|case|specimen|encounter|account|acct\.?|hospital|hosp\.?|patient|pt\.?|visit|order|"
    rf"requisition|billing|policy|insurance|member|health ?plan|beneficiary|lab(?:oratory)?|chart|admission|"
    rf"surg(?:ical)?\.? ?path(?:ology)?\.?|path(?:ology)?\.?|report|referral|licen[cs]e|certificate|device|serial|"
    rf"nhs|chi|fin|csn|unit|block|slide|file|protocol|histology|biopsy|reference|ref\.?) ?{_NUMBER_WORD}|"
    rf"(?:accession|acc\.?(?= ?[:#])|nhs|fin|csn|uuid|patientid|ssid|our ref|your ref|"
    r"fallnummer|patientennummer|eingangsnummer))"
)
_ID = r"[a-z]{0,5}[:.\-/ ]?\d[\w]*(?:[\-/:.][\w]+){0,5}(?: \d{3,4}){0,3}"
# Matches "MRN: 123456" and "Accession no. S-12-3456".
_LABELLED_IDS = re.compile(rf"(?<!\w){_ID_LABEL}(?: is)?(?:\s?[:=#(]{{1,2}}\s?|\s{{1,2}}|\.\s?)(?P<x>{_ID})")
# Matches "S12-34567" and "SP-2012-12345".
_ACCESSIONS = re.compile(
    r"(?<![\w\-/.])(?:[A-Z]{1,4}[-:]?(?:(?:19|20)\d\d|\d\d)[-/:]\d{4,7}|SP?[-:]?\d\d[-/:]\d{3}|\d\d:[A-Z]{1,3}-?\d{3,7}"
    r"|(?:19|20)\d\d[A-Z]{1,3}\d{3,7}|[A-Z]{1,3}\d\d[-/]\d{4,7}[A-Z]?|[A-Z]{2,3}\d{6,}|\d{2}-[A-Z]{1,3}-\d{3,7})(?![\w/])"
)
# Quick tests: digits that any accession number, SSN or long number has.
_THREE_DIGITS, _FOUR_DIGITS, _SEVEN_DIGITS = (re.compile(rf"\d\d{{{more}}}") for more in (2, 3, 6))
_UUID_MIDDLE = re.compile(r"-[0-9a-f]{4}-")
# Matches "123e4567-e89b-12d3-a456-426614174000".
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")
# Seven or more digits in a row identify somebody, unless a coding system is named before them ("SNOMED 1234567").
_LONG_NUMBER = re.compile(r"(?<![\w.,\-/])\d{7,15}(?![\w]|[.,]\d)")
_CODED = re.compile(r"(?:snomed|sct|loinc|icd|cpt|umls|code)[\w\s:#()|./\-]{0,15}$", re.IGNORECASE)

_PHONE_HINT = re.compile(r"(?<![\w.])\+?\(?\d[\d() .\-/]{6,18}\d(?!\w)")
_PHONE_DIGITS = re.compile(r"\d[\d() .\-/]{6,18}\d")
# Matches "Tel: 555-0123" and "ext. 1234".
_LABELLED_PHONES = re.compile(
    r"\b(?:tel(?:ephone)?|phone|ph|fax|pager|beeper|mobile|cell(?: phone)?|telefon)"
    r"(?:\.|\s?(?:no|number|#)\.?)?\s?[:#]?\s?(?P<x>\+?\(?\d[\d() .\-/]{2,18}\d)"
    r"|\bext(?:\.|ension)?\s?[:#]?\s?(?P<y>\d{3,6})\b",
)
# Forms of telephone numbers, assigned or not: "(212) 555-0123 x12", "+49 30 123456", "0123 456 7890".
_PHONE_FORMS = re.compile(
    r"(?<![\w.\-/])(?:(?:\+?1[ .\-]?)?(?:\(\d{3}\) ?|\d{3}[.\-])\d{3}[.\- ]\d{4}(?: ?x ?\d{1,6})?"
    r"|\+[1-9]\d{0,3}(?:[ .\-/]?\(?\d{1,5}\)?){2,6}|\(0\d{1,5}\) ?\d[\d ]{3,9}\d|0\d{2,4} \d{3} \d{3,4})(?![\w\-/])"
)
# After a word that asks to call, a number that begins with zero counts: "call 030-1234567".
_CALLED_PHONES = re.compile(
    r"\b(?:call|contact|at|on|reached at|number) (?P<x>\+?\(?0\d{2,5}\)?[ /\-]\d[\d \-/]{3,12}\d)(?![\w.,]\d)"
)
_ABROAD = ("US", "GB", "DE")

_NINETY = r"inety(?:[\s\-](?:one|two|three|four|five|six|seven|eight|nine))?"
_AGE_NUMBER = rf"(?:9\d|1[0-2]\d|n{_NINETY})"
_BARE = r"(?<![\w.\-/].)"
# Matches "92-year-old" and "ninety-two years".
_AGED = re.compile(
    rf"(?P<x>9{_BARE}\d|1{_BARE}[0-2]\d|n{_BARE}{_NINETY})(?=[\s\-]{{0,2}}(?:years?|yrs?|y\.?\s?/?\s?o\.?|ye?ar)"
    rf"(?:[\s\-]{{0,2}}(?:old|of age)|\b)|[\s\-]?[mf]\b(?!\w))"
)
# Matches "Age: 92".
_LABELLED_AGES = re.compile(
    rf"(?:a(?<!\wa)(?:ge[ds]?|ge at \w+|lter)|p(?<!\wp)atient'?s age)(?:\s?[:=]\s?|\s(?:of\s|is\s)?)"
    rf"(?P<y>{_AGE_NUMBER})\b(?!\s?(?:%|mm|cm|/))",
)
_DIGIT = re.compile(r"\d")


def _phones(text: str, lower: str) -> Iterator[Span]:
    yield from spans_of(_LABELLED_PHONES, "PHONE", lower)
    yield from spans_of(_PHONE_FORMS, "PHONE", lower)
    yield from spans_of(_CALLED_PHONES, "PHONE", lower)
    hints = [match.span() for match in _PHONE_HINT.finditer(text)] if _PHONE_DIGITS.search(text) else []
    if not any(sum(letter.isdigit() for letter in text[start:end]) >= 9 for start, end in hints):
        return
    from phonenumbers import PhoneNumberMatcher

    for start, end in hints:
        # Without a leading plus or zero only full American numbers count: the rules of other countries are too wide.
        for region in (
            _ABROAD if (text[start] in "+0(" and "0" in text[start : start + 2]) or text[start] == "+" else ("US",)
        ):
            for match in PhoneNumberMatcher(text[start:end], region):
                yield start + match.start, start + match.end, "PHONE"


def _numbers(text: str, lower: str) -> Iterator[Span]:
    yield from spans_of(_LABELLED_SSN, "SSN", lower)
    if _FOUR_DIGITS.search(text):
        yield from spans_of(_SSN, "SSN", text)
    if _TWO_SEPARATORS.search(text):
        yield from spans_of(_DATES, "DATE", lower)
    yield from spans_of(_LABELLED_DATES, "DATE", lower)
    for start, end, kind in spans_of(_LABELLED_IDS, "ID", lower):
        # "Case 2" and "block A1" are labels in the report, "Report no 123" is not.
        if sum(letter.isdigit() for letter in text[start:end]) >= 3:
            yield start, end, kind
    yield from _phones(text, lower)
    if _THREE_DIGITS.search(text):
        yield from spans_of(_ACCESSIONS, "ID", text)
    if _UUID_MIDDLE.search(lower):
        yield from spans_of(_UUID, "ID", lower)
    for match in _LONG_NUMBER.finditer(text) if _SEVEN_DIGITS.search(text) else ():
        if not _CODED.search(text[max(0, match.start() - 30) : match.start()]):
            yield match.start(), match.end(), "ID"
    yield from address_spans(text, lower)


def pattern_spans(text: str) -> Iterator[Span]:
    """Everything in a text that has the form of an identifier. Spans may overlap; surer ones come first."""
    # Lower-case patterns on lower-case text take half the time of a search that ignores case.
    lower = small_letters(text)
    if "@" in text:
        yield from spans_of(_EMAIL, "EMAIL", text)
    if "http" in text or "www." in lower:
        yield from spans_of(_URL, "URL", text)
    if _DIGIT.search(text):
        yield from _numbers(text, lower)
    if any(_DIGIT.search(lower, max(0, m.start() - 8), m.end() + 8) for m in _MONTH_WORD.finditer(lower)):
        yield from spans_of(_MONTH_DATES, "DATE", lower)
    yield from spans_of(_AGED, "AGE", lower)
    yield from spans_of(_LABELLED_AGES, "AGE", lower)
