from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import highdicom.sr
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from mupd.errors import CaseError, UnusableError
from mupd.reports.record.fields import FIELDS
from mupd.synthetic.dicom import sr as dicom_sr
from mupd.synthetic.dicom.derived import CONTENT, MARKS, REPORT_CLASS, look_at_derived, provenance_of_draws
from mupd.synthetic.dicom.record_codes import (
    FIELD_CODES,
    PRIVATE_SCHEME,
    UNDETERMINED,
    VALUE_CODES,
    field_code,
    private_code,
    value_code,
    value_meant,
)
from mupd.synthetic.dicom.sr import write_sr
from mupd.synthetic.text.marks import consensus
from mupd.synthetic.verify.recognise import synthetic_marks
from mupd.synthetic.verify.verify import verify_path
from tests.fixtures.synthetic import meta_of

NAME = "report.synthetic.dcm"
SETTINGS: dict[str, Any] = {"run_seed": 7, "artifact_key": "k" * 64}
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")


def fields() -> dict[str, Any]:
    """Organ sure, grade abstained, subtype partly without a standard code."""
    drawn = {
        draw: {
            "organ": {"value": "breast", "probabilities": {"breast": 0.75 + draw / 8, "lung": 0.25 - draw / 8}},
            "diagnosis": {
                "value": "invasive breast carcinoma",
                "probabilities": {"invasive breast carcinoma": 1.0, "lung adenocarcinoma": 0.0},
            },
            "subtype": {
                "value": ("ductal", "papillary")[draw],
                "probabilities": {"ductal": 0.875 - draw / 2, "papillary": 0.125 + draw / 2},
            },
            "grade": {"value": None, "probabilities": {"G1": 0.25, "G2": 0.375, "G3": 0.375}},
        }
        for draw in (0, 1)
    }
    return consensus(drawn, 0.4)


def metas() -> list[Any]:
    return [meta_of("text", draw, notes=("Ø 3 mm", "a note")) for draw in (0, 1)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sr") / NAME
    write_sr(fields(), metas(), path, study_created=meta_of("text").created, **SETTINGS)
    return path


def groups(path: Path) -> dict[str, Any]:
    document = highdicom.sr.srread(path)
    assert isinstance(document, highdicom.sr.ComprehensiveSR)
    return {group.tracking_identifier: group for group in document.content.get_image_measurement_groups()}


def test_highdicom_reads_a_measurement_report(written: Path) -> None:
    dataset = pydicom.dcmread(written)
    assert dataset.SOPClassUID == REPORT_CLASS
    assert dataset.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    found = groups(written)
    assert sorted(found) == ["diagnosis", "grade", "organ", "subtype"]
    for group in found.values():
        assert group[0].ContentTemplateSequence[0].TemplateIdentifier == "1501"


def test_values_are_coded_and_probabilities_in_percent(written: Path) -> None:
    found = groups(written)
    (organ,) = found["organ"].finding_sites
    assert organ.value == codes.SCT.Breast
    assert found["diagnosis"].finding_type == Code("111389", "DCM", "Invasive breast carcinoma")
    numbers = found["organ"].get_measurements(CERTAINTY)
    assert [(number.value, number.unit) for number in numbers] == [
        (81.25, codes.UCUM.Percent),
        (18.75, codes.UCUM.Percent),
    ]
    modifiers = [number[0].ContentSequence[0] for number in numbers]
    assert [item.value for item in modifiers] == [codes.SCT.Breast, codes.SCT.Lung]
    assert {item.name for item in modifiers} == {organ.name}
    (agreement,) = (item for item in found["subtype"].get_measurements() if item.name != CERTAINTY)
    assert (agreement.value, agreement.name.scheme_designator) == (50.0, PRIVATE_SCHEME)


def test_what_has_no_standard_code_has_a_private_one_that_is_declared(written: Path) -> None:
    (subtype,) = groups(written)["subtype"].get_qualitative_evaluations()
    assert (subtype.name.value, subtype.name.scheme_designator) == ("field.subtype", PRIVATE_SCHEME)
    values = [item[0].ContentSequence[0].value for item in groups(written)["subtype"].get_measurements(CERTAINTY)]
    assert [(value.value, value.scheme_designator) for value in values] == [
        ("82711006", "SCT"),
        ("subtype.papillary", PRIVATE_SCHEME),
    ]
    (scheme,) = pydicom.dcmread(written).CodingSchemeIdentificationSequence
    assert (scheme.CodingSchemeDesignator, scheme.CodingSchemeResponsibleOrganization) == (PRIVATE_SCHEME, "mupd")


def test_an_abstained_field_says_so_and_keeps_its_probabilities(written: Path) -> None:
    grade = groups(written)["grade"]
    (value,) = grade.get_qualitative_evaluations(Code(*field_code("grade")))
    assert value.value == Code(*UNDETERMINED)
    assert [number.value for number in grade.get_measurements()] == [25.0, 37.5, 37.5]
    (comment,) = (item for item in grade[0].ContentSequence if item.name == codes.DCM.Comment)
    assert comment.value.startswith("Abstained")


def test_every_mark_stands_and_nobody_is_named(written: Path) -> None:
    dataset = pydicom.dcmread(written)
    assert dataset[0x0008, 0x001C].value == "YES"
    assert dataset.ContentQualification == "RESEARCH"
    assert dataset.SeriesDescription.startswith("SYNTHETIC")
    assert (dataset.VerificationFlag, dataset.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    (equipment,) = dataset.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    texts = [item.TextValue for item in dataset.ContentSequence if item.ValueType == "TEXT" and "TextValue" in item]
    comments = [text for text in texts if text.startswith(("SYNTHETIC", "Note"))]
    assert comments[0].startswith("SYNTHETIC - NOT FOR DIAGNOSIS. This pathology record was not measured.")
    assert comments[1:] == ["Note: Ø 3 mm", "Note: a note"]
    assert (str(dataset.PatientName), dataset.PatientID) == ("CASE-01^", "CASE-01")
    for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName"):
        assert not dataset[keyword].value
    assert "CurrentRequestedProcedureEvidenceSequence" not in dataset
    assert "PertinentOtherEvidenceSequence" not in dataset


def test_the_statement_stands_before_the_measurements(written: Path) -> None:
    names = [item.ConceptNameCodeSequence[0].CodeMeaning for item in pydicom.dcmread(written).ContentSequence]
    assert names.index("Comment") < names.index("Imaging Measurements")


def test_the_same_draws_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    write_sr(fields(), metas(), tmp_path / NAME, study_created=meta_of("text").created, **SETTINGS)
    assert hashlib.sha256((tmp_path / NAME).read_bytes()).digest() == hashlib.sha256(written.read_bytes()).digest()


def test_uids_are_derived_and_follow_the_key(written: Path, tmp_path: Path) -> None:
    write_sr(fields(), metas(), tmp_path / NAME, run_seed=7, artifact_key="x" * 64)
    ours, other = pydicom.dcmread(written), pydicom.dcmread(tmp_path / NAME)
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert ours[keyword].value.startswith("2.25.")
    assert ours.StudyInstanceUID == other.StudyInstanceUID
    assert ours.SeriesInstanceUID != other.SeriesInstanceUID
    assert ours.SOPInstanceUID != other.SOPInstanceUID


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian dicom3tools) IS NOT INSTALLED")
def test_dciodvfy_finds_nothing_but_the_tag_and_the_scheme_it_does_not_know(written: Path) -> None:
    done = subprocess.run(["dciodvfy", "-new", written], capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Warning"))]
    assert done.returncode == 0
    assert len([line for line in lines if "(0008,001c)" in line]) == 3
    scheme = "Unrecognized defined term = <99MUPD>"
    assert [line for line in lines if "(0008,001c)" not in line and scheme not in line] == []
    assert any("ComprehensiveSR" in line for line in (done.stdout + done.stderr).splitlines())


def test_verify_says_what_it_is(written: Path) -> None:
    found = verify_path(written)
    assert (found.kind, found.synthetic, found.marks_missing) == ("dicom-sr", True, ())
    assert (found.case, found.draw, found.given, found.model_id) == ("CASE-01", (0, 1), ("he",), "mupd-test")
    assert CONTENT in synthetic_marks(written)


def _strip(dataset: pydicom.Dataset, what: str) -> None:
    if what == "banner":
        for item in dataset.ContentSequence:
            if str(item.get("TextValue", "")).startswith("SYNTHETIC"):
                item.TextValue = "Report"
    elif what == "SeriesDescription":
        dataset.SeriesDescription = "Pathology report"
    elif what == "VerificationFlag":
        dataset.VerificationFlag = "VERIFIED"
    else:
        del dataset[what]


@pytest.mark.parametrize(
    "what",
    [
        "SyntheticData",
        "ContributingEquipmentSequence",
        "ContentQualification",
        "SeriesDescription",
        "VerificationFlag",
        "banner",
    ],
)
def test_a_stripped_mark_is_missed(written: Path, tmp_path: Path, what: str) -> None:
    dataset = pydicom.dcmread(written)
    _strip(dataset, what)
    dataset.save_as(tmp_path / NAME)
    look = look_at_derived(tmp_path / NAME)
    assert len(look.missing) == 1
    assert verify_path(tmp_path / NAME).exit_code == 4


def test_all_marks_stripped_but_the_banner_is_still_seen(written: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(written)
    for what in ("SyntheticData", "ContributingEquipmentSequence", "ContentQualification", "SeriesDescription"):
        _strip(dataset, what)
    dataset.save_as(tmp_path / "plain.dcm")
    assert synthetic_marks(tmp_path / "plain.dcm") == [CONTENT]


@pytest.mark.parametrize("what", ["value", "probability", "text"])
def test_an_edit_of_the_content_is_noticed(written: Path, tmp_path: Path, what: str) -> None:
    dataset = pydicom.dcmread(written)
    measurements = next(item for item in dataset.ContentSequence if item.ValueType == "CONTAINER")
    items = measurements.ContentSequence[0].ContentSequence
    if what == "value":
        coded = next(item for item in items if item.ValueType == "CODE")
        coded.ConceptCodeSequence[0].CodeValue = "39607008"
    elif what == "probability":
        number = next(item for item in items if item.ValueType == "NUM")
        number.MeasuredValueSequence[0].NumericValue = "99.0"
    else:
        next(item for item in items if item.ValueType == "TEXT").TextValue = "lung"
    dataset.save_as(tmp_path / NAME)
    assert not look_at_derived(written).altered
    assert look_at_derived(tmp_path / NAME).altered
    assert verify_path(tmp_path / NAME).hash_state == "altered"


def test_an_unmarked_report_never_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked = dicom_sr.mark_derived

    def forgetful(dataset: Any, *rest: Any) -> None:
        marked(dataset, *rest)
        dataset.SyntheticData = "NO"

    monkeypatch.setattr(dicom_sr, "mark_derived", forgetful)
    with pytest.raises(CaseError, match=r"0008,001C"):
        write_sr(fields(), metas(), tmp_path / NAME, **SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 fields"):
        write_sr({}, metas(), tmp_path / NAME, **SETTINGS)
    with pytest.raises(ValueError, match="0 draws"):
        write_sr(fields(), [], tmp_path / NAME, **SETTINGS)


def test_other_files_are_no_reports(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 7)
    with pytest.raises(UnusableError, match=r"x\.dcm"):
        look_at_derived(tmp_path / "x.dcm")


def test_marks_of_a_report_are_those_it_can_have(written: Path) -> None:
    look = look_at_derived(written)
    assert set(look.found) < set(MARKS[REPORT_CLASS])
    assert look.provenance["draws"] == [0, 1]


def test_standard_codes_are_in_the_dicom_dictionary_and_mean_that() -> None:
    table = [UNDETERMINED, *FIELD_CODES.values(), *(code for part in VALUE_CODES.values() for code in part.values())]
    for code in table:
        meanings = {
            meaning
            for entries in concepts[code.scheme].values()
            for value, (meaning, _) in entries.items()
            if value == code.value
        }
        assert any(meaning.startswith(code.meaning) for meaning in meanings), code


def test_every_code_stands_for_a_value_of_the_record_and_for_one_only() -> None:
    for field, values in VALUE_CODES.items():
        assert set(values) <= set(FIELDS[field])
    for field, values in FIELDS.items():
        coded = [value_code(field, value) for value in values]
        assert len({code[:2] for code in coded}) == len(values)
        assert UNDETERMINED not in coded
        for value, code in zip(values, coded, strict=True):
            assert value_meant(field, code[:2], values) == value
            assert len(code.meaning) <= 64


@given(st.lists(st.text(min_size=1, max_size=80), min_size=2, max_size=2, unique_by=str.lower))
def test_private_codes_are_well_formed_and_tell_values_apart(words: list[str]) -> None:
    one, other = (private_code("diagnosis", word) for word in words)
    assert re.fullmatch(r"diagnosis\.[a-z0-9-]*", one.value)
    plain = [re.sub(r"[ _-]+", "-", word.lower()).strip("-") for word in words]
    if plain[0] != plain[1]:
        assert one.value != other.value


def test_provenance_fits_its_element() -> None:
    many = [meta_of("text", draw, model_id="m" * 100, case_id="c" * 48) for draw in range(40)]
    assert len(provenance_of_draws(many, "k" * 64, "v" * 64)) <= 1024
    with pytest.raises(ValueError, match="model id"):
        provenance_of_draws([meta_of("text", model_id="m" * 1000)], "k" * 64, "v" * 64)
