"""Which FHIR resources hold: status, patient, results and replacements."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mupd.errors import UnusableError
from mupd.reports.files.fhir import fhir_text
from mupd.reports.read import read_text

GRADE_1, GRADE_3 = (
    "Breast: invasive ductal carcinoma, grade 1, pT1.",
    "Breast: invasive ductal carcinoma, grade 3, pT2.",
)


def report(conclusion: str, status: str = "final", patient: str = "Patient/1", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "DiagnosticReport",
        "status": status,
        "code": {"text": "Surgical pathology"},
        "subject": {"reference": patient},
        "conclusion": conclusion,
        **more,
    }


def observation(value: str, status: str = "final", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": status,
        "code": {"text": "Histologic grade"},
        "valueString": value,
        **more,
    }


def words(*resources: dict[str, Any]) -> str:
    bundle = {"resourceType": "Bundle", "entry": [{"resource": resource} for resource in resources]}
    return fhir_text(bundle, Path("r.json"))[0]


@pytest.mark.parametrize("status", ["amended", "corrected"])
@pytest.mark.parametrize("identifier", [{}, {"identifier": [{"value": "S26-1"}]}, {"basedOn": [{"reference": "O/1"}]}])
@pytest.mark.parametrize("turned", [False, True])
def test_an_amended_report_replaces_the_final_one(status: str, identifier: dict[str, Any], turned: bool) -> None:
    resources = [report(GRADE_1, **identifier), report(GRADE_3, status, **identifier)]
    text = words(*(reversed(resources) if turned else resources))
    assert "grade 3" in text
    assert "grade 1" not in text


def test_of_two_amendments_the_later_holds() -> None:
    first = report(GRADE_1, "amended", issued="2026-01-01T10:00:00Z")
    assert "grade 1" not in words(first, report(GRADE_3, "corrected", issued="2026-02-01T10:00:00Z"))


def test_an_amendment_of_another_report_replaces_nothing() -> None:
    text = words(
        report(GRADE_1, identifier=[{"value": "S26-1"}]), report(GRADE_3, "amended", identifier=[{"value": "S26-2"}])
    )
    assert "grade 1" in text
    assert "grade 3" in text


def test_an_appended_report_keeps_the_first() -> None:
    assert words(report(GRADE_1), report("ER positive.", "appended")).count("\n") >= 2


@pytest.mark.parametrize("status", ["preliminary", "partial", "registered", "cancelled", "entered-in-error", "unknown"])
def test_what_is_not_final_is_no_report(status: str) -> None:
    with pytest.raises(UnusableError, match=f"has status {status}"):
        words(report(GRADE_1, status))
    assert "grade 1" not in words(report(GRADE_1, status), report(GRADE_3))


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled", "preliminary"])
def test_withdrawn_observations_are_left_out(status: str) -> None:
    text = words(report("Breast: carcinoma."), observation("grade 1", status), observation("grade 3"))
    assert "grade 3" in text
    assert "grade 1" not in text


def test_observations_of_another_patient_are_left_out() -> None:
    mine, other = ({"subject": {"reference": f"Patient/{n}"}} for n in (1, 2))
    text = words(report("Breast: carcinoma."), observation("grade 3", **mine), observation("grade 1", **other))
    assert "grade 3" in text
    assert "grade 1" not in text


@pytest.mark.parametrize("reference", ["Observation/a", "https://host.example/fhir/Observation/a"])
def test_only_listed_results_are_taken(reference: str) -> None:
    text = words(
        report("Breast: carcinoma.", result=[{"reference": reference}]),
        observation("grade 3", id="a"),
        observation("grade 1", id="b"),
    )
    assert "grade 3" in text
    assert "grade 1" not in text


def document(text: str, status: str = "current", **more: Any) -> dict[str, Any]:
    attachment = {"contentType": "text/plain", "data": base64.b64encode(text.encode()).decode()}
    return {"resourceType": "DocumentReference", "status": status, "content": [{"attachment": attachment}], **more}


def test_a_document_reference_is_a_report() -> None:
    assert words(document(GRADE_3)) == GRADE_3
    assert "grade 1" not in words(document(GRADE_1, "superseded"), document(GRADE_3))
    with pytest.raises(UnusableError, match="has status preliminary"):
        words(document(GRADE_1, docStatus="preliminary"))


@pytest.mark.parametrize("name", ["r.json", "r.ndjson"])
def test_json_lines_are_a_bundle(tmp_path: Path, name: str) -> None:
    lines = [report(GRADE_1), report(GRADE_3, "amended")]
    (tmp_path / name).write_text("\n".join(map(json.dumps, lines)))
    text = read_text(tmp_path / name)
    assert "grade 3" in text
    assert "grade 1" not in text
