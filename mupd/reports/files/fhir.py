"""The text of an HL7 FHIR DiagnosticReport (JSON, R4 and R5), alone or in a Bundle."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mupd.errors import UnusableError
from mupd.reports.deidentify.mask import Known
from mupd.reports.files.decode import decode
from mupd.reports.files.pdf import pdf_text

MOST_FHIR_BYTES = 64 << 20
_MOST_OBSERVATIONS, _MOST_ATTACHMENTS = 500, 20
_NOT_A_RESULT = ("entered-in-error", "cancelled", "registered", "unknown")
_PERSONS = ("Patient", "Practitioner", "RelatedPerson", "Person")
_BLOCKS = frozenset({"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "pre"})


class _Html(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.hidden += tag in ("script", "style", "head")
        self.out.append("\n" if tag in _BLOCKS else " " if tag in ("td", "th") else "")

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in ("script", "style", "head")))
        self.out.append("\n" if tag in _BLOCKS else "")

    def handle_data(self, data: str) -> None:
        self.out.append("" if self.hidden else data)


def html_text(html: str) -> str:
    """The words of HTML, one line a block."""
    parser = _Html()
    parser.feed(html)
    parser.close()
    return "\n".join(filter(None, (" ".join(line.split()) for line in "".join(parser.out).splitlines())))


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


def _one_patient(reports: list[dict[str, Any]], resources: list[dict[str, Any]]) -> None:
    references = {_string(r.get("subject", {}).get("reference")) for r in reports if isinstance(r.get("subject"), dict)}
    patients = sum(resource.get("resourceType") == "Patient" for resource in resources)
    if len(references - {""}) > 1 or (patients > 1 and len(references - {""}) != 1):
        raise UnusableError("the bundle holds reports of several patients: give each case a file of its own")


def fhir_text(root: Any, path: Path) -> tuple[str, dict[str, Any], Known]:
    """Text, facts (those of an attached PDF) and what the resources state of persons.

    Taken are, of each report: title, attached forms (text, HTML, PDF; what is only linked is not fetched), the
    conclusion with its codes, and observations; the narrative (`text.div`) where none of these has words.

    Raises
    ------
    UnusableError
        If there is no DiagnosticReport, it was cancelled or entered in error, several patients are in it, or it has
        no words.
    """
    if not isinstance(root, dict) or not isinstance(root.get("resourceType"), str):
        raise UnusableError("JSON without resourceType: expected a FHIR DiagnosticReport; of a table give PATH::ROW")
    resources = _resources(root)
    reports = [resource for resource in resources if resource.get("resourceType") == "DiagnosticReport"]
    if not reports:
        raise UnusableError("a FHIR resource without a DiagnosticReport")
    if statuses := {_string(report.get("status")) for report in reports} & set(_NOT_A_RESULT):
        raise UnusableError(f"the DiagnosticReport has status {', '.join(sorted(statuses))}")
    _one_patient(reports, resources)
    observations = [_observation(r) for r in resources if r.get("resourceType") == "Observation"][:_MOST_OBSERVATIONS]
    texts: list[str] = []
    facts: dict[str, Any] = {}
    for report in reports:
        parts = []
        for form in _dicts(report.get("presentedForm"))[:_MOST_ATTACHMENTS]:
            words, more = _attachment(form, path)
            parts.append(words)
            facts |= more
        parts += [_string(report.get("conclusion"))]
        parts += [_concept(code) for code in _dicts(report.get("conclusionCode"))]
        # The rendered report usually contains the observations; only those with other words are added.
        so_far = " ".join(parts).lower()
        parts += [
            line for item in observations for line in item.splitlines() if line.split(": ")[-1].lower() not in so_far
        ]
        narrative = report.get("text")
        if not any(parts) and isinstance(narrative, dict):
            parts.append(html_text(_string(narrative.get("div"))))
        if any(parts):
            texts += [_concept(report.get("code")), *parts]
    text = "\n".join(filter(None, texts))
    if not text:
        linked = "; its form is only linked, and links are not fetched" if "attachment_not_fetched" in facts else ""
        raise UnusableError(f"a FHIR DiagnosticReport without words{linked}")
    return text, facts, _known(resources)
