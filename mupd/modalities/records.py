"""The record: the few facts of a pathology report that are imputed, with the values they can have.

A record is read from text by rules, and only from what is stated: absent fields are left out. Rules
are in :mod:`mupd.modalities.record_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mupd.modalities import record_rules as rules

FIELDS: dict[str, tuple[str, ...]] = {
    "organ": ("breast", "bladder", "colorectum", "stomach", "lung", "bone", "brain"),
    "diagnosis": (
        "invasive breast carcinoma",
        "urothelial carcinoma",
        "colorectal adenocarcinoma",
        "mucinous adenocarcinoma",
        "gastric adenocarcinoma",
        "diffuse-type gastric carcinoma",
        "signet ring cell carcinoma",
        "tubular adenocarcinoma",
        "lung adenocarcinoma",
        "lung squamous cell carcinoma",
        "osteosarcoma",
        "glioma",
        "benign tissue",
    ),
    "grade": ("G1", "G2", "G3"),
    "t_category": ("T0", "T1", "T2", "T3", "T4"),
}
"""Field -> its values. `grade` is histological (UICC G), `t_category` the T of TNM without suffix."""

_SENTENCES = {
    "organ": "The organ is {}.",
    "diagnosis": "The diagnosis is {}.",
    "grade": "The histological grade is {}.",
    "t_category": "The primary tumour category is {}.",
}


def _stated(text: str) -> dict[str, str]:
    """What the sentences of :func:`render_record` state, which go before anything inferred."""
    found = {}
    for field, sentence in _SENTENCES.items():
        values = "|".join(re.escape(value) for value in FIELDS[field])
        if match := re.search(re.escape(sentence).replace(r"\{\}", f"({values})"), text):
            found[field] = match[1]
    return found


def extract_record(text: str) -> dict[str, str]:
    """The fields that a text states, {field: value of :data:`FIELDS`}.

    Negated findings (no evidence of carcinoma) are no diagnosis; "high grade" alone is no G (urothelial
    carcinoma is graded high or low); suffixes of T are dropped (pT3a is T3); Ta, Tis and TX are left out.
    """
    record = _stated(text)
    flat = rules.flatten(text)
    organ = record.get("organ") or rules.find_organ(flat)
    inferred = {
        "organ": organ,
        "diagnosis": rules.find_diagnosis(flat, organ),
        "grade": rules.find_grade(flat),
        "t_category": rules.find_t_category(flat),
    }
    for field, value in inferred.items():
        if value is not None and value in FIELDS[field]:
            record.setdefault(field, value)
    return {field: record[field] for field in FIELDS if field in record}


def render_record(record: Mapping[str, str]) -> str:
    """Plain sentences that state a record; :func:`extract_record` reads the same record from them."""
    return " ".join(_SENTENCES[field].format(record[field]) for field in FIELDS if field in record)
