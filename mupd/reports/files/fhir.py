"""The text of an HL7 FHIR DiagnosticReport or DocumentReference (JSON, R4 and R5), alone or in a Bundle."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mupd.errors import UnusableError
from mupd.reports.deidentify.mask import Known
from mupd.reports.files.decode import decode
from mupd.reports.files.markup import html_text
from mupd.reports.files.pdf import pdf_text

MOST_FHIR_BYTES = 64 << 20
_MOST_OBSERVATIONS, _MOST_ATTACHMENTS = 500, 20
_REPORTS = ("DiagnosticReport", "DocumentReference")
_NOT_A_RESULT = ("entered-in-error", "cancelled", "registered", "unknown", "superseded")
_NOT_FINAL = ("preliminary", "partial")
_REPLACING = ("amended", "corrected", "modified")
_PERSONS = ("Patient", "Practitioner", "RelatedPerson", "Person")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _string(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _concept(value: Any) -> str:
    """Words of a CodeableConcept: its own text, or the display of its codings."""
    for concept in _dicts(value):
        words = _string(concept.get("text")) or ", ".join(
            filter(None, (_string(c.get("display")) for c in _dicts(concept.get("coding"))))
        )
        if words:
            return words
    return ""


def _resources(root: dict[str, Any]) -> list[dict[str, Any]]:
    """The resource, those of its bundle, and those they contain."""
    tops = [root]
    if root.get("resourceType") == "Bundle":
        tops = [item for entry in _dicts(root.get("entry")) for item in _dicts(entry.get("resource"))]
    return [item for top in tops for item in (top, *_dicts(top.get("contained")))]


def _human(name: dict[str, Any]) -> Iterator[str]:
    yield _string(name.get("text"))
    yield _string(name.get("family"))
    yield from map(_string, _list(name.get("given")))


def _known(resources: list[dict[str, Any]]) -> Known:
    names: list[str] = []
    ids: list[str] = []
    dates: list[str] = []
    for resource in resources:
        ids += [_string(item.get("value")) for item in _dicts(resource.get("identifier"))]
        if resource.get("resourceType") in _PERSONS:
            for name in _dicts(resource.get("name")):
                names += _human(name)
            ids += [_string(item.get("value")) for item in _dicts(resource.get("telecom"))]
            for address in _dicts(resource.get("address")):
                ids += map(_string, [address.get("text"), *_list(address.get("line")), address.get("postalCode")])
            dates.append(_string(resource.get("birthDate")))
        for field in ("subject", "performer", "resultsInterpreter", "author"):
            # An organisation's name identifies no person.
            for item in _dicts(resource.get(field)):
                if "Organization" not in _string(item.get("reference")) + _string(item.get("type")):
                    names.append(_string(item.get("display")))
    return Known(tuple(filter(None, names)), tuple(filter(None, ids)), tuple(filter(None, dates)))


def _attachment(form: dict[str, Any], path: Path) -> tuple[str, dict[str, Any]]:
    kind = _string(form.get("contentType")).split(";")[0].lower()
    data = form.get("data")
    if not isinstance(data, str):
        return "", {"attachment_not_fetched": 1} if form.get("url") else {}
    if len(data) > MOST_FHIR_BYTES:
        raise UnusableError(f"an attachment of {len(data)} characters, over {MOST_FHIR_BYTES}: refused")
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnusableError("presentedForm.data is not base64") from error
    if content.startswith(b"%PDF") or kind == "application/pdf":
        return pdf_text(content, path)
    if kind in ("text/html", "application/xhtml+xml"):
        return html_text(decode(content)[0]), {}
    if kind.startswith("text/") or not kind:
        return decode(content)[0], {}
    return "", {}


def _value(resource: dict[str, Any]) -> str:
    quantity = resource.get("valueQuantity")
    if isinstance(quantity, dict):
        return f"{quantity.get('value', '')} {_string(quantity.get('unit')) or _string(quantity.get('code'))}".strip()
    for name in ("valueInteger", "valueBoolean"):
        if isinstance(resource.get(name), int):
            return str(resource[name])
    return _string(resource.get("valueString")) or _concept(resource.get("valueCodeableConcept"))


def _observation(resource: dict[str, Any]) -> str:
    lines = [f"{_concept(resource.get('code'))}: {_value(resource)}" if _value(resource) else ""]
    lines += [
        f"{_concept(part.get('code'))}: {_value(part)}" for part in _dicts(resource.get("component")) if _value(part)
    ]
    lines += [_string(note.get("text")) for note in _dicts(resource.get("note"))]
    return "\n".join(filter(None, lines))


def _reference(resource: dict[str, Any], field: str) -> str:
    """The reference of a field, without the server's address: ``Patient/1``."""
    value = resource.get(field)
    words = _string(value.get("reference")) if isinstance(value, dict) else ""
    return "/".join(words.split("/")[-2:]) if words.startswith(("http:", "https:")) else words


def _one_patient(reports: list[dict[str, Any]], resources: list[dict[str, Any]]) -> str:
    """The reference of the reports' patient; "" if they name none."""
    references = {_reference(report, "subject") for report in reports} - {""}
    patients = sum(resource.get("resourceType") == "Patient" for resource in resources)
    if len(references) > 1 or (patients > 1 and len(references) != 1):
        raise UnusableError("the bundle holds reports of several patients: give each case a file of its own")
    return next(iter(references), "")


def _identifiers(resource: dict[str, Any]) -> set[str]:
    own = {_string(item.get("value")) for item in _dicts(resource.get("identifier"))}
    return (own | {_reference({"based": item}, "based") for item in _dicts(resource.get("basedOn"))}) - {""}


def _status(resource: dict[str, Any]) -> str:
    """The status of the document: of a DocumentReference also that of its content."""
    if resource.get("resourceType") == "DocumentReference":
        if (status := _string(resource.get("status"))) != "current":
            return status or "unknown"
        return _string(resource.get("docStatus")) or "final"
    return _string(resource.get("status"))


def _replaces(newer: dict[str, Any], older: dict[str, Any]) -> bool:
    """Whether an amended or corrected report stands for an older one: by identifier or order, else by its code."""
    if _status(newer) not in _REPLACING or (_status(older) in _REPLACING and _date(newer) <= _date(older)):
        return False
    mine, other = _identifiers(newer), _identifiers(older)
    return bool(mine & other) if mine and other else _concept(newer.get("code")) == _concept(older.get("code"))


def _date(resource: dict[str, Any]) -> str:
    meta = resource.get("meta")
    updated = _string(meta.get("lastUpdated")) if isinstance(meta, dict) else ""
    return _string(resource.get("issued")) or _string(resource.get("date")) or updated


def _valid_reports(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The reports that hold: no drafts, withdrawn ones, or ones that an amended report replaces."""
    reports = [resource for resource in resources if resource.get("resourceType") in _REPORTS]
    if not reports:
        raise UnusableError("a FHIR resource without a DiagnosticReport or DocumentReference")
    held = [report for report in reports if _status(report) not in (*_NOT_A_RESULT, *_NOT_FINAL)]
    if not held:
        statuses = ", ".join(sorted({_status(report) or "none" for report in reports}))
        raise UnusableError(f"the report has status {statuses}: expected final, amended, corrected or appended")
    return [report for report in held if not any(_replaces(newer, report) for newer in held if newer is not report)]


def _observations(
    report: dict[str, Any], resources: list[dict[str, Any]], patient: str, names: dict[int, set[str]]
) -> list[str]:
    """Lines of the observations that are results of a report.

    They have a valid status, are of the same patient, and are among the report's ``result`` if it lists any.
    """
    listed = {_reference({"result": item}, "result") for item in _dicts(report.get("result"))} - {""}
    lines = []
    for resource in resources:
        if resource.get("resourceType") != "Observation" or _status(resource) in (*_NOT_A_RESULT, *_NOT_FINAL):
            continue
        subject = _reference(resource, "subject")
        if (subject and patient and subject != patient) or (listed and not listed & names[id(resource)]):
            continue
        lines += _observation(resource).splitlines()
    return lines[:_MOST_OBSERVATIONS]


def _names(root: dict[str, Any], resources: list[dict[str, Any]]) -> dict[int, set[str]]:
    """What references may call each resource: ``Observation/1``, ``#1``, its full URL."""
    names = {
        id(item): {f"{item.get('resourceType')}/{item.get('id')}", f"#{item.get('id')}"} if item.get("id") else set()
        for item in resources
    }
    for entry in _dicts(root.get("entry")):
        if isinstance(entry.get("resource"), dict) and (url := _string(entry.get("fullUrl"))):
            names[id(entry["resource"])] |= {url, "/".join(url.split("/")[-2:])}
    return names


def _forms(report: dict[str, Any]) -> list[dict[str, Any]]:
    contents = [form for item in _dicts(report.get("content")) for form in _dicts(item.get("attachment"))]
    return [*_dicts(report.get("presentedForm")), *contents][:_MOST_ATTACHMENTS]


def _report_words(report: dict[str, Any], observations: list[str], path: Path) -> tuple[list[str], dict[str, Any]]:
    parts: list[str] = []
    facts: dict[str, Any] = {}
    for form in _forms(report):
        words, more = _attachment(form, path)
        parts.append(words)
        facts |= more
    parts += [_string(report.get("conclusion"))]
    parts += [_concept(code) for code in _dicts(report.get("conclusionCode"))]
    # The rendered report usually contains the observations; only those with other words are added.
    so_far = " ".join(parts).lower()
    parts += [line for line in observations if line.split(": ")[-1].lower() not in so_far]
    narrative = report.get("text")
    if not any(parts) and isinstance(narrative, dict):
        parts.append(html_text(_string(narrative.get("div"))))
    title = _concept(report.get("code")) or _concept(report.get("type"))
    return ([title, *parts] if any(parts) else []), facts


def fhir_text(root: Any, path: Path) -> tuple[str, dict[str, Any], Known]:
    """Text, facts (those of an attached PDF) and what the resources state of persons.

    Taken are, of each valid DiagnosticReport or DocumentReference: title, attached forms (text, HTML, PDF; what is only
    linked is not fetched), the conclusion with its codes, and its observations; the narrative (`text.div`) where none
    of these has words. A report that an amended or corrected one replaces is left out.

    Raises
    ------
    UnusableError
        If there is no valid report, several patients are in it, or it has no words.
    """
    if not isinstance(root, dict) or not isinstance(root.get("resourceType"), str):
        raise UnusableError("JSON without resourceType: expected a FHIR DiagnosticReport; of a table give PATH::ROW")
    resources = _resources(root)
    reports = _valid_reports(resources)
    patient = _one_patient(reports, resources)
    names = _names(root, resources)
    texts: list[str] = []
    facts: dict[str, Any] = {}
    for report in reports:
        words, more = _report_words(report, _observations(report, resources, patient, names), path)
        texts += words
        facts |= more
    text = "\n".join(filter(None, texts))
    if not text:
        linked = "; its form is only linked, and links are not fetched" if "attachment_not_fetched" in facts else ""
        raise UnusableError(f"a FHIR DiagnosticReport without words{linked}")
    return text, facts, _known(resources)
