"""Resection margins and lymphovascular invasion as a report states them, with negations and what cannot be told."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mupd.reports.record.findings import Finding, Stated, finding, resolved

_TUMOUR = (
    r"(?:tumou?rs?|carcinomas?|adenocarcinoma|neoplas\w+|malignan\w+|cancer|dysplasia|lesions?|disease"
    r"|infiltrat\w*|involvement)"
)
_OF_TUMOUR = (
    rf"(?:(?:invasive|in[\s\-]?situ|residual|urothelial|high[\s\-]grade|neoplastic|the|any|evidence\s+of"
    rf"|carcinoma|signs\s+of)\s+){{0,4}}{_TUMOUR}"
)
_FREE = (
    rf"(?:negative|free|uninvolved|un-involved|not\s+involved|clear|benign|non-?involved|disease-?free"
    rf"|tumou?r[\s\-]*free|without\s+(?:\w+\s+){{0,2}}{_OF_TUMOUR}|no\s+{_OF_TUMOUR}"
    rf"|absence\s+of\s+(?:neoplas|tumou?r|carcinoma|malig)\w*"
    rf"|no\s+evidence\s+of|uncompromised|not\s+(?:compromised|infiltrated|affected|extend\w*))\b"
)
_LINES = (
    r"(?:(?:incision|excision|resection|surgical|cut|section)\s+(?:incision\s+)?(?:lines?|ends?|edges?"
    r"|borders?|planes?)|intestine\s+ends|specimen\s+edges?)"
)
_MARGIN = rf"(?:margins?\b|{_LINES})"
_MARGIN_FREE = re.compile(
    rf"(?P<word>{_MARGIN})(?P<between>(?:(?!\bmargins?\b)[^;]){{0,90}}?)\b(?P<value>{_FREE})"
    rf"|\b(?P<value2>(?:free|clear|negative|uninvolved|tumou?r[\s\-]*free|benign"
    rf"|clean)(?:\s+of\s+tumou?r)?)[\s,]+(?P<between2>(?:[\w&/]+[\s,]+){{0,4}}?)(?P<word2>{_MARGIN})"
    rf"|\b(?P<value3>no\s+(?:involvement\s+of|{_OF_TUMOUR}(?:\s+(?:is|are|identified|seen"
    rf"|present))*\s+(?:at|in|on))\s+)(?P<between3>(?:[\w&/]+\s+){{0,5}}?)(?P<word3>{_MARGIN})"
)
_INVOLVED = (
    r"(?:positive|involved|affected|compromised|infiltrated|invaded|extends?\s+to|"
    rf"(?:with|show\w*|contains?)\s+(?:\w+\s+){{0,2}}(?:tumou?r|carcinoma)"
    rf"|{_OF_TUMOUR}\s+(?:is\s+)?(?:present|identified|seen))\b"
)
_MARGIN_INVOLVED = re.compile(
    rf"(?P<word>{_MARGIN})(?P<between>(?:(?!\bmargins?\b)[^;]){{0,60}}?)\b(?P<value>{_INVOLVED})"
    rf"|\b(?P<value2>{_TUMOUR}\s+(?:focally\s+|is\s+|are\s+|are\s+also\s+|directly\s+|cells\s+)*"
    rf"(?:present|identified|seen|extend(?:s|ed|ing)|involv(?:es|ed|ing)|invad(?:es|ing)|reach(?:es|ing)"
    rf"|transected)\s*(?:at|to|into|in|on)?\s+)"
    rf"(?P<between2>(?:[\w&/\-]+\s+){{0,5}}?)(?P<word2>{_MARGIN})"
    rf"|\b(?P<value3>(?:extending"
    rf"|extends)\s+(?:focally\s+)?to\s+)(?P<between3>(?:[\w&/\-]+\s+){{0,3}}?)(?P<word3>{_MARGIN})"
)
_MARGIN_ITEM = re.compile(
    r"margins?\s+(?:involved|involvement|status)(?:\s+by\s+(?:the\s+)?(?:invasive|tumou?r|carcinoma"
    r"|infiltrating)(?:\s+\w+)?)?\s*[:.]\s*"
    r"(?:(?P<no>no\b|none|free|negative|absent|uninvolved|clear)|(?P<yes>yes\b|positive|present|involved))"
)
_R_CODE = re.compile(r"r(?<![a-z0-9]r)(?:[\s\-]?(?:class\w*|status|stage)?\W{0,2}r)?\s?(?P<r>[01o])(?![a-z0-9\-]|\s?:)")
_R_BESIDE = re.compile(
    r"p?t\s?[0-4x][a-d]?\b.{0,24}\br\s?[0-2o]|\bl[01o]\W{0,2}v[01o]\b|extent\s+of\s+resection|r[\s\-](?:class|status)"
)
# Between a margin and what is said of it no other subject may begin.
_OTHER_SUBJECT = re.compile(
    r"\b(?:lymph\s*nodes?|nodes?|vascular|lympho\w*|perineural|adenoma|appendix|ureters?\b(?!\s+margin)"
    r"|measur\w+|cm\b|mm\b|"
    r"histolog\w*|grade|gross\w*|block|slide|vesicles?|omentum|distance|comment|treatment|pleura\w*"
    r"|prostate\b|submitted|"
    r"inked|tumou?r\s+size|specimen\b|uterus|ovar\w+)\b|[.:]\s+(?:[a-z0-9]{1,2}[.):]\s|.{0,40}(?:biopsy"
    r"|excision|margin))|"
    r"\d\s*[.:)]\s"
)
_GROSSLY = re.compile(r"\bgross(?:ly)?\b|\bappears?\b")
_UNCERTAIN = re.compile(
    r"\b(?:cannot|indeterminate|not\s+applicable|n/a|uncertain|suspicious|see\s+comment|equivocal)\b"
)
_NOT = re.compile(r"\b(?:not|no|non|un|neither|nor|without|negative\s+for|free\s+of)\b[^.;:]{0,40}$|\bun-?$")
# A margin of what was cut first counts no more where another was cut behind it, nor does a frozen section.
_SKIPPED = frozenset({"intraoperative", "blocks", "history", "specimens"})


def _margin_findings(text: str, low: str) -> Iterator[Finding]:
    for value, pattern in (("negative", _MARGIN_FREE), ("positive", _MARGIN_INVOLVED)):
        for match in pattern.finditer(low):
            number = "" if match["word"] else "2" if match["word2"] else "3"
            between = match[f"between{number}"]
            if _OTHER_SUBJECT.search(between) or _UNCERTAIN.search(between):
                continue
            if value == "positive":
                place = match.start(f"value{number}")
                if _NOT.search(low[max(0, place - 45) : place]) or re.search(rf"\b{_FREE}", match[0]):
                    continue
                if re.match(r"[^.;]{0,60}\bcomponent\b|\s*:", low[match.end() : match.end() + 80]):
                    continue
                if re.match(r"\s*(?:by|with)?\s*(?:dcis|adenoma|low)", low[match.end() : match.end() + 20]):
                    continue
            found = finding(text, value, match.start(), match.end(), int(":" in between))
            around = low[max(0, match.start() - 25) : match.end() + 12]
            if found.section in _SKIPPED or (found.section == "gross" and value == "positive"):
                continue
            if (
                found.section == "gross" and not _GROSSLY.search(around) and value == "negative"
            ) or found.section != "gross":
                yield found
    for match in _MARGIN_ITEM.finditer(low):
        yield finding(text, "negative" if match["no"] else "positive", match.start(), match.end(), 1)
    for match in _R_CODE.finditer(low):
        if _R_BESIDE.search(low[max(0, match.start() - 30) : match.end() + 12]):
            value = "negative" if match["r"] in "0o" else "positive"
            yield finding(text, value, match.start(), match.end(), 1)


def _any_positive(best: tuple[Finding, ...]) -> str:
    return "positive" if any(f.value == "positive" for f in best) else "negative"


def margins(text: str, low: str) -> Stated:
    """``positive`` where the final report states carcinoma at any margin of the resection, else ``negative``.

    Frozen sections and what is seen by eye alone do not count against the final word.
    """
    found = list(_margin_findings(text, low))
    # Whatever the checklist or the diagnosis says of one margin holds beside what the other says of the rest.
    said = [f for f in found if f.section in ("synoptic", "diagnosis", "comment", "head")]
    stated = resolved(found, _any_positive)
    if stated.value == "negative" and (positive := tuple(f for f in said if f.value == "positive")):
        return Stated("positive", "", positive, stated.findings)
    return stated


_VESSEL = (
    r"(?:lympho?[\s\-.]*vascular|lymph[\s\-.]*vascular|lymphvascular|angio[\s\-]*lymphatic"
    r"|lympho?[\s\-]*hematic|vascular(?:/lymphatic)?"
    r"|lymphatic(?:\s+vascular|/vascular)?|blood\s+vessel|venous(?:/\s?ly?mi?phatic)?"
    r"|venous\s?/\s?lymphatic|large\s+(?:vessel|venous)|(?:blood\s+)?vessel|small\s+vessel"
    r"|vascular[\s\-]space|capillary|angio|lymphangio|intravascular|intralymphatic"
    r"|lymph[\s\-]+and[\s\-]+blood\s+vessel|lymph\s+vessel)"
)
_INVASION = (
    r"(?:inva?s?[it]?io?ns?|invasion\w*|permeation|infiltration|emboli\w*|involvement|tumou?r\s+(?:emboli"
    r"|thromb\w+)|spread)"
)
_SUBJECT = (
    rf"\b{_VESSEL}(?:[\s,.]+(?:space|vessel|vascular|and|or|/|perineural|venous|lymphatic|blood|small|large"
    rf"|\(?large/small\s+vessel\)?)){{0,4}}[\s.]+{_INVASION}(?:\s*\((?:v/l|lvi|l/v|pl|pv)\))?|\blvi\b"
)
_NOT_FOUND = (
    r"(?:not\s+(?:identified|seen|detected|observed|present|noted|found|definitely|evident)|absent"
    r"|no(?:ne)?\b(?:\s+(?:identified|seen))?|negative|un(?:involved|identified)|not?\s+ident\w+)"
)
_UNTOLD = (
    r"(?:indeterminate|suspicious|not\s+specified|cannot|n/?a\b|not\s+applicable|equivocal|possible"
    r"|questionable|unknown|not\s+stated|not\s+assess\w*|unspecified|probable|see\b)"
)
_FOUND = (
    r"(?:present|identified|yes\b|positive|seen|extensive|focal(?:ly)?|prominent|multifocal|noted|found"
    r"|detected|observed|moderate|massive|is\s+evident)"
)
_LVI_ITEM = re.compile(
    rf"(?P<subject>{_SUBJECT})(?P<between>(?:[\s.:,\-]+(?:is|are|was|status|\([^)]{{0,40}}\)|extramural"
    rf"|intramural|tumou?r)){{0,3}}[\s.:,;\-=]{{1,4}})"
    rf"(?:(?P<no>{_NOT_FOUND})|(?P<untold>{_UNTOLD})|(?P<yes>{_FOUND}))"
)
_LVI_BEFORE = re.compile(
    rf"(?:(?P<no>\b(?:no(?!\w)|negative\s+for|without|absence\s+of|free\s+of|no\s+evidence\s+of"
    rf"|neither)\s[^.;:]{{0,60}}?)|(?P<untold>\b(?:suspicious\s+for|suspicion\s+of|possible|probable"
    rf"|questionable)\s[^.;:]{{0,30}}?)"
    rf"|(?P<yes>\b(?:with|extensive|focal|prominent|evidence\s+of|showing|shows?|foci\s+of|positive\s+for"
    rf"|marked|multifocal)\s+(?:\w+[\s,]+){{0,6}}?))(?P<subject>{_SUBJECT}|\binvasion\s+(?:of"
    rf"|into)\s+(?:the\s+)?(?:lymphatic|blood|vascular|vessels?|veins?)\b)"
)
_LVI_SAID = re.compile(
    r"tumou?r\s+(?:cell\s+)?(?:emboli|thromb\w+)|intravascular\s+tumou?r|invasio\s+carcinomatosa\s+vasorum|"
    r"(?:lymph|blood)[\s\-]+(?:and[\s\-]+blood[\s\-]+)?vessel\s+invasion\s*[(,]"
    r"|carcinomatous\s+lymphangitis|lymphangiosis\s+carcinomatosa"
)
_LV_CODE = re.compile(
    r"(?<![a-z0-9])(?P<kind>[lv])\s?(?P<code>[01o2])(?![a-z0-9]|\s?:|\s?[-\u2013]\s?[a-z0-9])"
    r"|(?<![a-z0-9])l(?P<both>[01o])v(?P<v>[01o])"
)
_LV_BESIDE = re.compile(r"\bl\s?[01o]\W{0,3}v\s?[01o]|p?t\s?[0-4x][a-d]?|p?n\s?[0-3ox]|\br[01o]\b|\bpn[01]\b")
_DERMAL = re.compile(r"\b(?:dermal|perineural|capsular|large\s+venous|neural)[\s\-]*$")


def _lvi_findings(text: str, low: str) -> Iterator[Finding]:
    for match in _LVI_ITEM.finditer(low):
        if _DERMAL.search(low[max(0, match.start() - 15) : match.start()]):
            continue
        if match["untold"]:
            yield finding(text, "", match.start(), match.end(), 1)
            continue
        before = low[max(0, match.start() - 30) : match.start()]
        negated = re.search(r"\b(?:no|without|negative\s+for|neither|nor)\s+(?:\w+[\s,]+){0,4}$", before)
        value = "absent" if match["no"] or negated else "present"
        yield finding(text, value, match.start(), match.end(), 1)
    for match in _LVI_BEFORE.finditer(low):
        if _DERMAL.search(low[max(0, match.start("subject") - 15) : match.start("subject")]):
            continue
        value = "absent" if match["no"] else "" if match["untold"] else "present"
        # "with lymphovascular invasion: absent"
        if value == "present" and re.match(rf"[\s.:,\-]+(?:is\s+)?(?:{_NOT_FOUND}|{_UNTOLD})", low[match.end() :][:40]):
            continue
        yield finding(text, value, match.start(), match.end(), 0)
    for match in _LVI_SAID.finditer(low):
        if not _NOT.search(low[max(0, match.start() - 45) : match.start()]):
            yield finding(text, "present", match.start(), match.end(), 0)
    for match in _LV_CODE.finditer(low):
        if _LV_BESIDE.search(low[max(0, match.start() - 25) : match.end() + 25]):
            codes = [match[name] for name in ("code", "both", "v") if match[name]]
            value = "present" if any(code in "12" for code in codes) else "absent"
            yield finding(text, value, match.start(), match.end(), 1)


def lymphovascular_invasion(text: str, low: str) -> Stated:
    """``present`` where invasion of lymphatic or blood vessels is stated, ``absent`` where all of it is denied.

    Perineural and dermal invasion are others. Where a checklist says that it cannot be told, there is no value.
    """
    found = [f for f in _lvi_findings(text, low) if f.section not in _SKIPPED]
    untold = [f for f in found if not f.value]
    said = [f for f in found if f.value]
    if not said or (untold and max(f.rank for f in untold) > max(f.rank for f in said)):
        return Stated("", "indeterminate" if untold else "not stated", (), tuple(said))

    def either(best: tuple[Finding, ...]) -> str:
        return "present" if any(f.value == "present" for f in best) else "absent"

    stated = resolved(said, either)
    if stated.value == "absent" and (yes := tuple(f for f in said if f.value == "present" and f.section != "gross")):
        return Stated("", "contradictory", (*stated.evidence, *yes), stated.findings)
    return stated
