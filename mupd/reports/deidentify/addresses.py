"""Street addresses: American, British, German and French forms, and text after a label."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mupd.reports.deidentify.word_lists import no_name

Span = tuple[int, int, str]
"""Start, end and kind of what is masked."""

# Street suffixes of the US Postal Service (Publication 28, C1), without words of anatomy and of reports.
_STREET = "|".join(
    """
    street avenue road drive lane boulevard highway parkway terrace circle square crescent st ave av rd dr
    blvd hwy pkwy court place plaza alley bayou beach bluff bypass canyon cape causeway circles cliffs? courts
    coves? creek crossing dam drives estates? expressway falls flats fords? forest freeway gardens? gateway
    glens? greens? groves? harbors? haven heights hills? hollow inlet knolls? lakes? landing lodge loop mall
    manors? meadows? mews mills? mission motorway mountains oval overpass parks? parkways? pines? plains?
    prairie ramp ranch rapids ridges? river roads shores? skyway springs? squares? station streets summit
    throughway trail trailer turnpike underpass valleys? viaduct villages? villas? vista walks? ways? wells?
    """.split()  # noqa: SIM905
)
_IN_STREETS = frozenset(
    """
    street road avenue north south east west white green red upper lower high st valley village forest lake river well
    hill mission summit station walk way park square ridge spring
    """.split()  # noqa: SIM905
)
_NUMBER = r"(?<![\w.\-/])\d{1,5}[A-Za-z]?,?[ ]"
_CAPITAL = r"[A-Z\u00c0-\u00de][\w'\u2019\-]*"
_FLAT = r"(?:,?\s(?i:apt|suite|ste|unit|room|rm|floor|flat|#)\.?\s?#?\w{1,5})"
_BRITISH_CODE = r"[A-Z]{1,2}\d[A-Z\d]?\s\d[ABD-HJLNP-UW-Z]{2}"
# Matches "12 Elm Street, Apt 4, Springfield, IL 62701" and "221B Baker Street".
_STREETS = re.compile(
    rf"{_NUMBER}(?:(?:[NSEW]|North|South|East|West)\.?\s)?"
    rf"(?:(?:[A-Z][A-Za-z'\u2019\-]+|\d{{1,3}}(?:st|nd|rd|th|ST|ND|RD|TH))\s){{1,3}}(?:(?i:{_STREET})|Ln)\b\.?{_FLAT}?"
    rf"(?:,?\s(?:[A-Z][A-Za-z'\u2019\-]+\s?){{1,3}},?\s(?:[A-Z]{{2}}\s)?(?:\d{{5}}(?:-\d{{4}})?|{_BRITISH_CODE}))?"
)
_STATE = (
    r"(?:AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|IA|ID|IL|IN|KS|KY|LA|MA|MD|ME|MI|MN|MO|MS|MT|NC|ND|NE|NH|NJ|NM|NV|NY|OH|"
    r"OK|OR|PA|RI|SC|SD|TN|TX|UT|VA|VT|WA|WI|WV|WY|DC|AS|FM|GU|MH|MP|PR|PW|VI|AA|AE|AP)"
)
_ZIP = rf"{_STATE},?\s\d{{5}}(?:-\d{{4}})?(?!\d)"
# Matches ", IL 62701".
_STATE_AND_ZIP = re.compile(rf",?\s\b{_ZIP}")
_CITY = re.compile(r"(?:[A-Z][A-Za-z'\u2019\-]+\s){0,2}[A-Z][A-Za-z'\u2019\-]+$")
# A postal code shows an address, whatever the street is called: "12 The Larches, Leeds, LS1 4AB".
_WITH_CODE = re.compile(
    rf"(?:(?i:flat|studio|unit|apartment)[ ]\w{{1,5}},?[ ])?(?:{_NUMBER})?\b{_CAPITAL}(?:[ ]{_CAPITAL}){{0,3}}{_FLAT}?"
    r",[ ]"
    rf"{_CAPITAL}(?:[ ]{_CAPITAL}){{0,2}},[ ](?:{_ZIP}|{_BRITISH_CODE})(?!\w)"
)
# Matches "Flat 3, 12 Elm Court".
_FLATS = re.compile(
    rf"\b(?i:flat|studio|apartment|suite)[ ]\d{{1,4}}[A-Za-z]?,?[ ](?:\d{{1,4}}[ ])?{_CAPITAL}(?:[ ]{_CAPITAL}){{1,2}}"
)
# Matches "PSC 123, Box 45, APO AE 09012".
_MILITARY = re.compile(
    rf"\b(?:PSC|USNS|USS|USCGC|Unit|CMR)\b[^\n,]{{0,30}},?(?:[ ]Box[ ]\d+)?,[ ](?:APO|FPO|DPO)[ ]{_ZIP}"
)
# Matches "P.O. Box 123".
_POST_BOX = re.compile(r"\b(?:p\.?\s?o\.?\s?box|postfach)\s?#?\d{1,7}")
_HOUSE = r"\d{1,4}[ ]?[a-z]?(?:[ ]?[/\-\u2013][ ]?\d{1,4}[a-z]?)?\b"
_ABROAD = r"[A-Z\u00c0-\u00de][\w'\u2019\-]+"
_TOWN = rf"(?:,?[ ](?:D-|F-)?\d{{5}}[ ]{_ABROAD}(?:[ ](?:[a-z]{{1,5}}[ ]){{0,2}}{_ABROAD}){{0,3}})"
# Matches "Hauptstraße 12, 10115 Berlin".
_GERMAN = re.compile(
    rf"\b(?!Spring\b)[A-Z\u00c4\u00d6\u00dc][\w\-.]*(?i:stra(?:\u00df|ss)e|str\.|weg|platz|allee|gasse|ring|damm|ufer)"
    rf"[ ]{_HOUSE}{_TOWN}?"
)
_OF = r"(?:(?:de[ ]la|de[ ]l['\u2019]|des|du|de)[ ])?"
# Matches "12 rue de la Paix, 75002 Paris".
_FRENCH = re.compile(
    r"(?:(?<![\w.\-/])\d{1,4}(?:[ ]?(?:bis|ter))?,?[ ]"
    r"(?:rue|avenue|boulevard|chemin|place|impasse|all\u00e9e|quai|route|passage|cours|square)"
    rf"|\b(?:rue|boulevard|chemin|impasse))[ ]{_OF}{_ABROAD}(?:[ ](?:(?:de|du|des|la|le)[ ])?{_ABROAD}){{0,3}}{_TOWN}?"
    rf"|\bavenue[ ]{_OF}{_ABROAD}(?:[ ]{_ABROAD}){{0,2}}(?:{_TOWN}|$)",
    re.MULTILINE,
)
# Matches "Address: 12 Elm".
_LABELLED_ADDRESS = re.compile(
    r"\b(?:(?:home|street|mailing|patient|residential) )?(?:address|residence|lives at|resides at|adresse|anschrift)"
    r"(?:\s?:\s?|\s)(?P<x>(?=[^\n;]{0,60}\d)[^\n;:]{5,110}?)"
    r"(?=\s{2,}|[\n;]|(?<!apt)(?<!ste)(?<!str)(?<!st)\.\s|\.?$|,?\s(?:tel|phone|dob|mrn|ssn|fax|with|and)\b)",
    re.MULTILINE,
)


# Quick tests: a text without a match has no address of the form. All but _FRENCH_HINT search lower-case text.
_FIVE_DIGITS = re.compile(r"\d\d{4}")
_BRITISH_END = re.compile(r"\d[abd-hjlnp-uw-z]{2}(?!\w)")
_GERMAN_HINT = re.compile(r"(?:stra(?:\u00df|ss)e|str\.|weg|platz|allee|gasse|ring|damm|ufer) \d")
_FRENCH_HINT = re.compile(
    r"(?:rue|avenue|boulevard|chemin|place|impasse|all\u00e9e|quai|route|passage|cours|square)[ ]"
    rf"{_OF}[A-Z\u00c0-\u00de]"
)
_LABELS = ("address", "residence", "lives at", "resides at", "adresse", "anschrift")


def spans_of(pattern: re.Pattern[str], kind: str, text: str) -> Iterator[Span]:
    """All matches of a pattern, or of its named group if it has one."""
    for match in pattern.finditer(text):
        name = match.lastgroup or 0
        yield match.start(name), match.end(name), kind


def _in_report(word: str) -> bool:
    return no_name(word) and word.lower().rstrip(".,") not in _IN_STREETS


def address_spans(text: str, lower: str) -> Iterator[Span]:
    """Addresses in a text; `lower` is the same in lower case."""
    has_zip = _FIVE_DIGITS.search(text) is not None
    if has_zip or _BRITISH_END.search(lower):
        for match in (*_WITH_CODE.finditer(text), *_MILITARY.finditer(text)):
            yield match.start(), match.end(), "ADDRESS"
    for start, end, kind in spans_of(_STREETS, "ADDRESS", text):
        # "3 REPORTED TO DR." and "2 Chest Wall" look like streets.
        if not any(map(_in_report, text[start:end].split()[1:3])):
            yield start, end, kind
    for match in _STATE_AND_ZIP.finditer(text) if has_zip else ():
        if city := _CITY.search(text[max(0, match.start() - 50) : match.start()]):
            yield match.start() - len(city[0]), match.end(), "ADDRESS"
    if "box" in lower or "postfach" in lower:
        yield from spans_of(_POST_BOX, "ADDRESS", lower)
    hinted = ((_GERMAN, _GERMAN_HINT, lower), (_FRENCH, _FRENCH_HINT, text))
    for pattern in (_FLATS, *(pattern for pattern, hint, where in hinted if hint.search(where))):
        for start, end, kind in spans_of(pattern, "ADDRESS", text):
            if not any(_in_report(word) for word in re.findall(r"[^\W\d_]{3,}", text[start:end])[:3]):
                yield start, end, kind
    for start, end, kind in (
        spans_of(_LABELLED_ADDRESS, "ADDRESS", lower) if any(map(lower.__contains__, _LABELS)) else ()
    ):
        # Without punctuation, the address ends at the first word of the report.
        words = re.finditer(r"[^\W\d_]{3,}", lower[start:end])
        ends = (
            start + word.start() for word in words if _in_report(word[0]) and word[0] not in ("apt", "suite", "flat")
        )
        yield start, next(ends, end), kind
