"""The record: the facts of a pathology report that the model imputes, and their values.

A record holds only what the text states; other fields are left out. Grade and T are those of the synoptic record
(:mod:`mupd.reports.record.synoptic`), in the values that the model imputes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mupd.base.organs import RECORD_ORGANS, flatten, record_organ
from mupd.reports.record.diagnosis import find_diagnosis
from mupd.reports.record.findings import MAX_CHARACTERS, lowered
from mupd.reports.record.grade import histologic_grade
from mupd.reports.record.specimens import tumour_organs, without_history
from mupd.reports.record.subtypes import find_subtype, find_tissue
from mupd.reports.record.tnm import t_category

FIELDS: dict[str, tuple[str, ...]] = {
    "organ": RECORD_ORGANS,
    "diagnosis": (
        "invasive breast carcinoma",
        "urothelial carcinoma",
        "colorectal adenocarcinoma",
        "gastric adenocarcinoma",
        "lung adenocarcinoma",
        "lung squamous cell carcinoma",
        "osteosarcoma",
        "glioma",
        "benign tissue",
    ),
    "subtype": (
        "not otherwise specified",
        "ductal",
        "lobular",
        "mucinous",
        "papillary",
        "tubular",
        "diffuse",
        "signet ring cell",
        "glioblastoma",
        "lower-grade glioma",
    ),
    "grade": ("G1", "G2", "G3"),
    "t_category": ("T0", "T1", "T2", "T3", "T4"),
    "tissue": (
        "tumour",
        "normal parenchyma",
        "connective tissue",
        "adipose tissue",
        "smooth muscle",
        "immune infiltrate",
        "mucus",
        "necrosis",
    ),
}
"""Field -> its values.

`diagnosis` is the entity and `subtype` its histological variant. `grade` is histological (UICC G). `t_category` is the
T of TNM without suffix. `tissue` makes up most of the sample: normal parenchyma is an organ's own tissue (mucosa,
glands, alveoli), tumour is neoplastic tissue, invasive or in situ.
"""

_EQUAL = 1e-3
"""Difference up to which probabilities count as equal."""
_SENTENCES = {
    "organ": "The organ is {}.",
    "diagnosis": "The diagnosis is {}.",
    "subtype": "The histological subtype is {}.",
    "grade": "The histological grade is {}.",
    "t_category": "The primary tumour category is {}.",
    "tissue": "The predominant tissue is {}.",
}
_STATED = {
    field: re.compile(
        re.escape(sentence).replace(r"\{\}", f"({'|'.join(re.escape(value) for value in FIELDS[field])})")
    )
    for field, sentence in _SENTENCES.items()
}


def undetermined(probabilities: Mapping[str, float], abstain_below: float) -> bool:
    """Whether a generated field has no value: the highest probability is under a limit, or all are equal."""
    return max(probabilities.values()) < abstain_below or nothing_told(probabilities)


def nothing_told(probabilities: Mapping[str, float]) -> bool:
    """Whether all values of a generated field are equally probable: the model cannot predict the field."""
    return len(probabilities) > 1 and max(probabilities.values()) - min(probabilities.values()) < _EQUAL


def extract_record(text: str) -> dict[str, str]:
    """The fields that a text states, {field: value of :data:`FIELDS`}.

    Sentences of :func:`render_record` state their own field and nothing else. Rules read the rest of the text:
    negated findings (no evidence of carcinoma) give no diagnosis, "high grade" alone gives no G (urothelial
    carcinoma is graded high or low), and T loses its suffix (pT3a is T3). G4, Ta, Tis and TX are left out, as are
    contradictory statements, the clinical history, and reports of tumours of two organs.
    """
    record, rest = {}, text
    for field, pattern in _STATED.items():
        if match := pattern.search(rest):
            record[field] = match[1]
            rest = pattern.sub(" ", rest)
    flat = flatten(rest)
    if len(tumour_organs(flat)) > 1:
        # Type, grade and T of one tumour beside the organ of another would be a patient that does not exist.
        return record
    organ = record.get("organ") or record_organ(flat)
    read = rest[:MAX_CHARACTERS]
    low = lowered(read)
    flat = flatten(without_history(rest)) or flat
    inferred = {
        "organ": organ,
        "diagnosis": find_diagnosis(flat, organ),
        "subtype": find_subtype(flat, organ),
        "grade": histologic_grade(read, low).value,
        "t_category": t_category(read, low).value[:2],
        "tissue": find_tissue(flat),
    }
    for field, value in inferred.items():
        if value is not None and value in FIELDS[field]:
            record.setdefault(field, value)
    return {field: record[field] for field in FIELDS if field in record}


def render_record(record: Mapping[str, str]) -> str:
    """Plain sentences that state a record; :func:`extract_record` reads the same record from them."""
    return " ".join(_SENTENCES[field].format(record[field]) for field in FIELDS if field in record)
