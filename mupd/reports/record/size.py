"""The largest dimension of the tumour in a report, in millimetres."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mupd.reports.record.findings import Finding, Stated, finding, resolved

_NUMBER = r"(?:\d{1,3}(?:[.,]\d{1,2}|\.\s\d{1,2}(?=\.?\s*(?:x|cm)))?|[.,]\d{1,2}|[il][.,]\d)"
_UNIT = r"(?P<unit>cms?\b|crn\b|em\b|mm\b|centimet\w+|millimet\w+)"
_TIMES = r"\s*(?:cm\.?|mm\.?)?\s*(?:x\.?|[\u00d7*:]|\.\s?x\.?|by)\s*(?:approximately\s+)?"
_DIMENSIONS = rf"(?P<numbers>{_NUMBER}(?:{_TIMES}{_NUMBER}){{0,2}})\s*\.?\s*{_UNIT}"
_SIZE = re.compile(rf"(?<![\d.,a-z/-]){_DIMENSIONS}(?!\s*/|\s*2\b)")

_ITEM = re.compile(
    r"(?:tumou?r|lesion|carcinoma"
    r"|mass)\s+size\W+(?:\w+\W+){0,4}?(?:of\s+largest\s+invasive\s+carcinoma\W+)?(?:greatest\s+dimensions?(?:\s+of\s+[^:]{0,45})?\W+"
    r"|\(?maximum\W+\w+\)?\W+|additional\W+)?$"
    r"|(?:greatest|maximum|maximal|largest)\s+(?:tumou?r\s+)?(?:dimensions?|diameter|size"
    r"|extent)(?:\s+of\s+(?:the\s+)?(?:\w+\s+){0,5})?(?:\s*\(pt\))?\s*[:.]\s*(?:approximately\s+)?$"
    r"|(?:largest|total|invasive)\s+tumou?r\s+size\W+$|measure\s+of\s+the\s+longest\s+axis[^:]{0,20}\W+$"
    r"|size\s+of\s+(?:the\s+)?(?:\w+\s+)?(?:tumou?r|lesion|carcinoma|mass)s?\W+(?:\w+\W+){0,3}?$"
    r"|(?<![a-z])size\s*(?:\([^)]*\)\s*)?[:\-]\s*$"
    r"|tumou?r\s+size\W+length\s+is\s+$|(?:length|width)\s+is\s+$"
)
_TUMOUR = (
    r"(?:tumou?rs?|mass|masses|lesions?|carcinoma|adenocarcinoma|cancer|neoplasm|ulcerations?|ulcers?"
    r"|ulcus|nodules?|growth|polypoid\s+\w+)"
)
_NEAR_TUMOUR = re.compile(rf"\b{_TUMOUR}\b[^;]{{0,160}}$")
_BEHIND = re.compile(
    rf"[\s.,)]*(?:in\s+(?:its\s+|the\s+)?(?:\.\s*)?(?:largest|greatest|maxim\w+|diameter|size)"
    rf"|(?:\w+[\s,\-]+){{0,8}}?{_TUMOUR}\b)"
)
_NO_TUMOUR = re.compile(
    r"\b(?:lymph|nodes?|polyps?|cyst\w*|adenoma|specimen|segment|fragments?|aggregat\w*|portion|skin"
    r"|ellipse|nipple|ovar\w+|uterus|"
    r"leiomyom\w+|myom\w+|prostate|vesicles?|ureters?|bladder\s+measures|omentum|spleen|stump"
    r"|tissue\s+measur\w*|appendix|"
    r"cavity|scar|lobe|margin\s+is|thickness\s+of|wall\s+measures|received|metastatic\s+focus"
    r"|metastas\w+\s+(?:is|of|measur)|"
    r"hemorrhagic\s+area|biopsy\s+site|mandible|clot|liver|gland|fallopian|tube|cervix|femur|tooth|teeth"
    r"|stents?|catheter|stromal\s+tumou?r|gist|hamartoma|carcinoid)\b"
)
_NO_SIZE_BEFORE = re.compile(
    r"\b(?:depth|thick(?:ness)?|invad\w+|invasion|distance\w*|within|less\s+than|located|from|extend\w*"
    r"|weigh\w*|<|>|margin\w*|"
    r"closest|level|away|area|necrosis|additional\s+dimensions?\s*[:.]?\s*\S*|high|comes|placed"
    r"|deep)\W+(?:\w+\W+){0,4}?$"
)
_NO_SIZE_AFTER = re.compile(
    r"[\s.,)]*(?:from|away|to\s+the|deep|in\s+(?:depth|thickness|length\s+x)|thick|distal|proximal|above"
    r"|below|beyond|margin|"
    r"of\s+(?:the\s+)?(?:wall|margin)|into|depth|invasion|tumou?r\s+free|length\s+of)\b"
    r"|(?:\s*\w{1,3}\s*x[^;]{0,30}?)?[\s.,]*(?:[\w\-]+[\s,\-]+){0,4}?(?:aggregates?|portion|fragments?"
    r"|segments?|specimen|pieces?|excision|strip|ellipse)\b"
)
_SKIPPED = frozenset({"intraoperative", "history", "specimens"})


def _millimetres(numbers: str, unit: str) -> float:
    values = [
        float(number.replace(" ", "").replace(",", "."))
        for number in re.findall(_NUMBER, re.sub(r"(?<=\d)\.\s(?=\d)", ".", re.sub(r"[il](?=[.,]\d)", "1", numbers)))
    ]
    return max(values) * (1 if unit.startswith("m") else 10)


def _size_findings(text: str, low: str) -> Iterator[Finding]:
    for match in _SIZE.finditer(low):
        before = low[max(0, match.start() - 170) : match.start()]
        if not 0 < (size := _millimetres(match["numbers"], match["unit"])) <= 400:
            continue
        value = f"{size:g}"
        if _ITEM.search(before[-110:]) and not re.search(
            r"\b(?:node|nodal|metastatic|specimen|dcis|polyp)\b", before[-45:]
        ):
            found = finding(text, value, match.start(), match.end(), 1)
            if found.section not in _SKIPPED:
                yield found
            continue
        # What is said of this size begins at the last sentence's end that is one.
        clause = re.split(
            r"[.;]\s+(?=[a-z]{4,}|(?:on|the|at|in|it|an?|and|this)\s|[a-z0-9]{1,2}[.:)])|(?<!carcinoma);", before
        )[-1]
        tumours = [hit.end() for hit in re.finditer(rf"\b{_TUMOUR}\b", clause)]
        others = [hit.end() for hit in _NO_TUMOUR.finditer(clause)]
        named = bool(tumours) and (not others or tumours[-1] > others[-1])
        behind = _BEHIND.match(low, match.end())
        if not named and not (behind and not others and re.search(_TUMOUR, behind[0])):
            continue
        if re.search(r"\bnodes?\b", before[-45:]):
            continue
        at_once = re.search(r"(?:measur\w+|siz\w+)(?:\s+up)?(?:\s+to)?\W+$", before[-30:])
        if (_NO_SIZE_BEFORE.search(before[-60:]) and not at_once) or _NO_SIZE_AFTER.match(low, match.end()):
            continue
        measured = (
            re.search(
                r"measur\w*|siz\w+|diameter|dimension|\(\s*$|approximat\w+|nodule|mass|up\s+to|[-,;]\s*$", clause[-60:]
            )
            or "x" in match["numbers"]
        )
        if measured or behind:
            found = finding(text, value, match.start(), match.end(), 0)
            if found.section not in _SKIPPED:
                yield found


def _largest(best: tuple[Finding, ...]) -> str:
    return max((f.value for f in best), key=float)


def tumour_size(text: str, low: str) -> Stated:
    """The largest dimension of the largest tumour in mm, from the most trusted section that states one.

    Depths of invasion, distances to margins, nodes, polyps and the specimen's own size do not count.
    """
    return resolved(_size_findings(text, low), _largest)
