"""The synoptic record of a report: sections, every field's rules, and that nothing is stated that is not there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mupd.reports.record.findings import REPORT_FIELDS, lowered
from mupd.reports.record.sections import boilerplate_of, section_at, section_characters, sections_of
from mupd.reports.record.synoptic import extract_report
from mupd.reports.record.types import HISTOLOGIC_TYPES

REPORT = (
    "Clinical History: Colon cancer; prior breast carcinoma, pT1 N0, in another house. Final Diagnosis: Right colon, "
    "hemicolectomy: Moderately differentiated adenocarcinoma of the cecum, 4.5 cm. I attest that the above diagnosis "
    "is based upon my personal examination. Synoptic Report. Specimen: Right colon. Tumor size: Greatest dimension: "
    "4.2 cm. Histologic type: Adenocarcinoma. Margins: Uninvolved by invasive carcinoma. Lymph-Vascular Invasion: Not "
    "identified. pT3 pNO (0/14). Gross Description: The colon measures 22 x 5 cm. There is a "
    "4.5 x 3 cm mass, 6 cm from the margin."
)


def test_sections_are_the_whole_text_and_boilerplate_is_told() -> None:
    sections = sections_of(REPORT)
    assert [section.name for section in sections] == ["history", "diagnosis", "synoptic", "gross"]
    assert "".join(REPORT[section.start : section.end] for section in sections) == REPORT
    (start, end) = boilerplate_of(REPORT)[0]
    assert REPORT[start:end].strip().startswith("I attest")
    assert section_at(REPORT, REPORT.index("personal examination")) == "boilerplate"
    assert sum(section_characters(REPORT).values()) == len(REPORT)


def test_pointers_and_ends_of_sentences_head_no_section() -> None:
    text = "Diagnosis: Adenocarcinoma. See comment: the tumor. This is the final diagnosis. See synoptic report. End."
    assert {section.name for section in sections_of(text)} == {"diagnosis"}


def test_a_report_with_its_evidence() -> None:
    record = extract_report(REPORT)
    assert record.values() == {
        "organ": "colorectum",
        "histologic_type": "adenocarcinoma",
        "grade": "G2",
        "pt": "T3",
        "pn": "N0",
    }
    facts = record.facts()
    place = facts["stated"]["pt"]
    assert (REPORT[place["start"] : place["end"]], place["section"]) == ("pT3", "synoptic")
    assert all(REPORT[f.start : f.end] for stated in record.fields.values() for f in stated.findings)


@pytest.mark.parametrize(
    ("words", "t", "n"),
    [
        ("pT3 pN1a", "T3", "N1a"),
        ("pT 3, pN 0", "T3", "N0"),
        ("p T3", "T3", ""),
        ("Stage: T3 NO MX.", "T3", "N0"),
        ("pT2bNO", "T2b", "N0"),
        ("pT2CNOMX", "T2c", "N0"),
        ("T3aG3 NO M0.", "T3a", "N0"),
        ("pTlaNO", "T1a", "N0"),
        ("G III, pT4bpNOLOVORO.", "T4b", "N0"),
        ("pT3c/d N2 M1", "T3", "N2"),
        ("pT2 (sn)NO(i-)", "T2", "N0"),
        ("T Stage: 3. N Stage: 0.", "T3", "N0"),
        ("pT4a NX L1 V1 Pn1", "T4a", "NX"),
        ("pTis, Ta, T3bN2MX", "T3b", "N2"),
        ("mpT3N1G2", "T3", "N1"),
        # Neither a category nor this one's.
        ("pT3. No lymph nodes were found", "T3", ""),
        ("T3 no involvement", "", ""),
        ("tumor to normal mucosa", "", ""),
        ("clinical stage cT2 N0", "", ""),
        ("Tumor thickness (pT1 and pT2 tumors): 9 mm", "", ""),
        ("T-28000 M-81403", "", ""),
        ("nodes 0/14 negative", "", ""),
    ],
)
def test_categories_with_slips(words: str, t: str, n: str) -> None:
    values = extract_report(f"Final Diagnosis: Carcinoma of the bladder. {words}").values()
    assert (values.get("pt", ""), values.get("pn", "")) == (t, n)


def test_the_prostates_category_is_not_the_bladders() -> None:
    text = "Diagnosis: Urothelial carcinoma of the bladder. Prostate: pT2c N0. Bladder: pT3b N1. Prostate: pT2c."
    assert extract_report(text).values()["pt"] == "T3b"


def test_two_tumours_with_categories_of_their_own_state_none() -> None:
    filler = "The tumour of the second segment was described by its own and is another one than that above. " * 2
    record = extract_report(f"Diagnosis: Adenocarcinoma of the colon (pT3). {filler} Adenocarcinoma (pT1).")
    assert (record.fields["pt"].value, record.fields["pt"].abstained) == ("", "contradictory")
    assert [found.value for found in record.fields["pt"].findings] == ["T3", "T1"]


@pytest.mark.parametrize(
    ("words", "grade"),
    [
        ("Moderately to poorly differentiated adenocarcinoma", "G3"),
        ("High grade urothelial carcinoma", "high"),
        ("Low-grade (moderately differentiated) adenocarcinoma", "G2"),
        ("Histologic grade: III", "G3"),
        ("weakly differentiated adenocarcinoma", "G3"),
        ("Adenocarcinoma tubulare (G2, Dukes B)", "G2"),
        ("Carcinoma. Nuclear grade: 3", ""),
        ("Gleason's grade: 3", ""),
        ("adenoma with high-grade dysplasia", ""),
        ("no high grade atypia", ""),
        ("block G2: tumour", ""),
    ],
)
def test_grades(words: str, grade: str) -> None:
    assert extract_report(f"Diagnosis: {words}. End").values().get("grade", "") == grade


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Urothelial carcinoma of the bladder with squamous differentiation", "urothelial carcinoma"),
        ("Bladder: transitional cell carcinoma; carcinoma in situ", "urothelial carcinoma"),
        ("Stomach: adenocarcinoma, intestinal type", "intestinal adenocarcinoma"),
        ("Adenocarcinoma of the stomach, diffuse type", "diffuse adenocarcinoma"),
        ("Colon: mucinous adenocarcinoma", "mucinous adenocarcinoma"),
        ("Colon: adenocarcinoma with focal mucinous features", "adenocarcinoma"),
        ("Breast: invasive lobular carcinoma; ductal carcinoma in situ", "invasive lobular carcinoma"),
        ("Uterus: endometrial adenocarcinoma, endometrioid type", "endometrioid adenocarcinoma"),
        ("Larynx: no squamous cell carcinoma identified", ""),
    ],
)
def test_types(words: str, name: str) -> None:
    assert extract_report(f"Diagnosis: {words}.").values().get("histologic_type", "") == name
    assert not name or name in HISTOLOGIC_TYPES


@given(st.text(max_size=300) | st.lists(st.sampled_from(REPORT.split()), max_size=80).map(" ".join))
def test_any_text_is_read_and_places_stay_its_own(text: str) -> None:
    assert len(lowered(text)) == len(text)
    record = extract_report(text)
    assert set(record.fields) == set(REPORT_FIELDS)
    for stated in record.fields.values():
        assert bool(stated.value) != bool(stated.abstained)
        assert all(0 <= found.start < found.end <= len(text) for found in stated.findings)
    assert sum(record.sections.values()) == len(text)


def test_a_signature_without_a_full_stop_ends_at_the_next_heading() -> None:
    text = "Electronically signed by Dr. Doe\nDiagnosis: moderately differentiated adenocarcinoma of the stomach. End."
    assert extract_report(text).values()["grade"] == "G2"
