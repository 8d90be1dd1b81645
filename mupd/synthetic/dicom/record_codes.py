"""Codes of a record's fields and values, for DICOM structured reports.

A standard code is used only where DICOM's own concept dictionary (PS3.16) has one that means the same;
everything else gets a code of the private scheme ``99MUPD``, made of the field's and the value's own words, so
that a value which is new here needs no table. Where a standard code names a narrower thing than the word in
the record (an organ's carcinoma for a bare "papillary"), the private one is used.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

PRIVATE_SCHEME = "99MUPD"
"""Coding Scheme Designator (PS3.16 section 8: private ones begin with 99)."""

PRIVATE_SCHEME_NAME = "mupd record fields and values"


class RecordCode(NamedTuple):
    """Code value, Coding Scheme Designator, code meaning (LO, at most 64 characters)."""

    value: str
    scheme: str
    meaning: str


UNDETERMINED = RecordCode("373068000", "SCT", "Undetermined")
"""What stands for the value of a field on which the model abstained."""

FIELD_CODES: dict[str, RecordCode] = {
    "organ": RecordCode("363698007", "SCT", "Finding Site"),
    "diagnosis": RecordCode("121071", "DCM", "Finding"),
    "grade": RecordCode("371469007", "SCT", "Histologic grade"),
    "t_category": RecordCode("385385001", "SCT", "pT category finding"),
}
"""Concept names of the fields that have a standard one; the others are private."""

VALUE_CODES: dict[str, dict[str, RecordCode]] = {
    "organ": {
        "breast": RecordCode("76752008", "SCT", "Breast"),
        "bladder": RecordCode("89837001", "SCT", "Bladder"),
        "colorectum": RecordCode("14742008", "SCT", "Large intestine"),
        "stomach": RecordCode("69695003", "SCT", "Stomach"),
        "lung": RecordCode("39607008", "SCT", "Lung"),
        "bone": RecordCode("272673000", "SCT", "Bone"),
        "brain": RecordCode("12738006", "SCT", "Brain"),
    },
    "diagnosis": {
        "invasive breast carcinoma": RecordCode("111389", "DCM", "Invasive breast carcinoma"),
        "urothelial carcinoma": RecordCode("27090000", "SCT", "Transitional cell carcinoma"),
        "colorectal adenocarcinoma": RecordCode("408645001", "SCT", "Adenocarcinoma of large intestine"),
        "lung adenocarcinoma": RecordCode("254626006", "SCT", "Adenocarcinoma of lung"),
        "lung squamous cell carcinoma": RecordCode("254634000", "SCT", "Squamous cell carcinoma of lung"),
        "osteosarcoma": RecordCode("1163405004", "SCT", "Osteosarcoma"),
    },
    "subtype": {
        "ductal": RecordCode("82711006", "SCT", "Infiltrating duct carcinoma"),
        "lobular": RecordCode("89740008", "SCT", "Invasive lobular carcinoma"),
        "mucinous": RecordCode("72495009", "SCT", "Mucinous adenocarcinoma (Colloid carcinoma)"),
        "tubular": RecordCode("4631006", "SCT", "Tubular adenocarcinoma"),
        "signet ring cell": RecordCode("87737001", "SCT", "Signet ring cell carcinoma"),
        "glioblastoma": RecordCode("1163375002", "SCT", "Glioblastoma"),
    },
    "grade": {
        "G1": RecordCode("54102005", "SCT", "Grade 1: well differentiated"),
        "G2": RecordCode("1663004", "SCT", "Grade 2: moderately differentiated"),
        "G3": RecordCode("61026006", "SCT", "Grade 3: poorly differentiated"),
    },
    "t_category": {
        "T0": RecordCode("1228951007", "SCT", "pT0"),
        "T1": RecordCode("1228957006", "SCT", "pT1"),
        "T2": RecordCode("1229852009", "SCT", "pT2"),
        "T3": RecordCode("1229859000", "SCT", "pT3"),
        "T4": RecordCode("1229864001", "SCT", "pT4"),
    },
    "tissue": {
        "tumour": RecordCode("108369006", "SCT", "Neoplasm"),
        "connective tissue": RecordCode("21793004", "SCT", "Connective tissue"),
        "necrosis": RecordCode("6574001", "SCT", "Necrosis"),
    },
}


def _slug(words: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    if re.fullmatch(r"[A-Za-z0-9 _-]+", words):
        return plain
    # What is lost on the way to a code must not make two values one.
    return f"{plain}-{hashlib.sha256(words.encode()).hexdigest()[:8]}".lstrip("-")


def private_code(*words: str) -> RecordCode:
    """A code of the private scheme; its meaning is the last of `words`."""
    return RecordCode(".".join(_slug(word) for word in words), PRIVATE_SCHEME, words[-1][:64])


def field_code(field: str) -> RecordCode:
    """Concept name of a field of the record."""
    return FIELD_CODES.get(field) or private_code("field", field.replace("_", " "))


def value_code(field: str, value: str | None) -> RecordCode:
    """Code of a field's value; :data:`UNDETERMINED` for None, which an abstaining field has."""
    if value is None:
        return UNDETERMINED
    return VALUE_CODES.get(field, {}).get(value) or private_code(field, value)


def value_meant(field: str, code: tuple[str, str], values: tuple[str, ...]) -> str | None:
    """The one of `values` whose code is `code` (value, scheme); None if there is none."""
    return next((value for value in values if value_code(field, value)[:2] == code), None)
