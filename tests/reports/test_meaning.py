"""What a report denies, tells of the past, corrects or says of two tumours is no value of the case."""

from __future__ import annotations

import pytest

from mupd.errors import UnusableError
from mupd.reports.checks import check_content
from mupd.reports.record.fields import extract_record
from mupd.reports.record.sections import sections_of
from mupd.reports.record.specimens import tumour_organs, without_history


@pytest.mark.parametrize(
    "text",
    [
        "Breast, right, core biopsy: fibrocystic change. Invasive ductal carcinoma is not identified.",
        "Breast, core biopsy: Invasive ductal carcinoma: absent. Fibrocystic change.",
        "Colon, biopsy: adenocarcinoma has been ruled out. Tubular adenoma.",
        "Bladder, TURBT. Urothelial carcinoma: not identified. Chronic cystitis.",
        "Bladder, biopsy: urothelial carcinoma (invasive) was not seen; cystitis.",
        "Stomach, biopsy: adenocarcinoma - none. Chronic gastritis.",
        "Breast, excision: invasive ductal carcinoma excluded by immunohistochemistry. Sclerosing adenosis.",
    ],
)
def test_a_tumour_denied_behind_its_name_is_none(text: str) -> None:
    record = extract_record(text)
    assert not {"diagnosis", "subtype"} & set(record) or record["diagnosis"] == "benign tissue"


@pytest.mark.parametrize(
    "more",
    ["Lymph node metastasis is not identified.", "In situ carcinoma is not seen.", "Vascular invasion: absent."],
)
def test_what_else_is_denied_leaves_the_tumour(more: str) -> None:
    record = extract_record(f"Breast, mastectomy: invasive ductal carcinoma, grade 2, pT2. {more}")
    assert (record["diagnosis"], record["grade"], record["t_category"]) == ("invasive breast carcinoma", "G2", "T2")


def test_clinical_history_gives_no_value() -> None:
    text = "Clinical history: invasive ductal carcinoma of the breast, grade 3, pT2. Final diagnosis: {}"
    benign = extract_record(text.format("Fibrocystic change, benign breast tissue."))
    assert benign == {"organ": "breast", "diagnosis": "benign tissue"}
    other = extract_record(text.format("Invasive ductal carcinoma, grade 1, pT1b."))
    assert (other["grade"], other["t_category"]) == ("G1", "T1")
    assert "grade 3" not in without_history(text)


def test_a_history_without_a_heading_behind_it_ends() -> None:
    report = "Clinical details. Papillary tumour, resected. Three pieces of tan tissue. " + "Urothelial carcinoma. " * 9
    assert [section.name for section in sections_of(report)] == ["history", "head"]
    assert extract_record(f"Bladder. {report}")["diagnosis"] == "urothelial carcinoma"


@pytest.mark.parametrize(
    "heading", ["ADDENDUM:", "Addendum report:", "AMENDED DIAGNOSIS:", "Corrected report:", "Supplementary report 2:"]
)
def test_an_addendum_goes_before_what_it_corrects(heading: str) -> None:
    text = f"Diagnosis: invasive ductal carcinoma of the breast, grade 1, pT1c. {heading} The tumor is grade 3, pT2."
    record = extract_record(text)
    assert (record["grade"], record["t_category"]) == ("G3", "T2")


@pytest.mark.parametrize(
    "text",
    [
        "A. Sigmoid colon, resection: adenocarcinoma, moderately differentiated, pT3. "
        "B. Urinary bladder, TURBT: urothelial carcinoma, high grade, pT1.",
        "1. Stomach, gastrectomy: adenocarcinoma, poorly differentiated, pT3. "
        "2. Colon, hemicolectomy: adenocarcinoma, well differentiated, pT1.",
        "Part A: Left breast, mastectomy: invasive ductal carcinoma, grade 2. "
        "Part B: Lung, upper lobe, wedge: squamous cell carcinoma, pT1.",
    ],
)
def test_tumours_of_two_organs_make_no_chimera(text: str) -> None:
    assert extract_record(text) == {}


def test_a_metastasis_or_a_healthy_organ_is_no_second_tumour() -> None:
    text = (
        "a. colon, resection: adenocarcinoma, pt3. b. liver, biopsy: metastatic adenocarcinoma. "
        "c. stomach, biopsy: no carcinoma."
    )
    assert tumour_organs(text) == {"colorectum"}


@pytest.mark.parametrize(
    "text",
    [
        "See scanned report in media tab for details of this case.",
        "Specimen lost in transit, no diagnosis rendered.",
        "Patient declined biopsy of the breast lesion.",
        "Procedure cancelled by the surgeon.",
        "Refer to the attached PDF for pathology results of the colon.",
        "Breast biopsy: specimen insufficient for diagnosis.",
        "Results pending, will be sent separately by the laboratory.",
    ],
)
def test_a_note_in_place_of_a_report_is_refused(text: str) -> None:
    with pytest.raises(UnusableError, match=r"a note in place of a report|only headings"):
        check_content(text)


def test_a_report_that_mentions_a_scan_is_one() -> None:
    check_content("Breast, mastectomy: invasive ductal carcinoma, grade 2, pT2. See scanned images in the chart.")
