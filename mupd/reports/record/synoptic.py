"""The synoptic record of a pathology report: what it states of the tumour, each value with its place in the text.

>>> extract_report("Diagnosis: Adenocarcinoma of the colon, G2. pT3 pN0.").values()
{'organ': 'colorectum', 'histologic_type': 'adenocarcinoma', 'grade': 'G2', 'pt': 'T3', 'pn': 'N0'}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mupd.base.organs import leading_organ
from mupd.reports.record.findings import MAX_CHARACTERS, REPORT_FIELDS, ReportField, Stated, lowered
from mupd.reports.record.grade import histologic_grade
from mupd.reports.record.sections import section_characters
from mupd.reports.record.tnm import n_category, t_category
from mupd.reports.record.types import histologic_type


@dataclass(frozen=True)
class ReportRecord:
    """Each field's value with its evidence, or the reason why there is none.

    `sections` counts the characters of each section (:mod:`mupd.reports.record.sections`).
    """

    fields: dict[ReportField, Stated]
    sections: dict[str, int]

    def values(self) -> dict[str, str]:
        """The stated values; fields without a value are left out."""
        return {name: stated.value for name, stated in self.fields.items() if stated.value}

    def facts(self) -> dict[str, Any]:
        """`stated`, `abstained` and `sections`, without words of the text.

        `stated` is {field: {value, section, start, end}}, `abstained` {field: why}, `sections` {name: characters}.
        """
        stated, abstained = {}, {}
        for name, field in self.fields.items():
            if field.value:
                fact: dict[str, Any] = {"value": field.value}
                if field.evidence:
                    first = field.evidence[0]
                    fact |= {"section": first.section, "start": first.start, "end": first.end}
                stated[name] = fact
            else:
                abstained[name] = field.abstained
        return {"stated": stated, "abstained": abstained, "sections": self.sections}


def extract_report(text: str) -> ReportRecord:
    """The synoptic record of a report.

    Parameters
    ----------
    text
        A report, masked or not; places in the record are places in this text.
    """
    text = text[:MAX_CHARACTERS]
    low = lowered(text)
    organ = leading_organ(low)
    fields: dict[ReportField, Stated] = {
        "organ": Stated(organ or "", "" if organ else "not stated"),
        "histologic_type": histologic_type(text, low, organ),
        "grade": histologic_grade(text, low),
        "pt": t_category(text, low),
        "pn": n_category(text, low),
    }
    return ReportRecord({name: fields[name] for name in REPORT_FIELDS}, section_characters(text))
