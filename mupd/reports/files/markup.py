"""Content under a plain text's name that is no plain text: messages, markup, encoded files and paths."""

from __future__ import annotations

import re

from mupd.errors import UnusableError

_HEAD_CHARACTERS = 2_000
_EXPORT = "export the report as plain text"
_FORMS = (
    # Matches "MSH|^~\&|", also after the framing bytes of MLLP or a batch header.
    (re.compile(r"(?:^|[\r\n\x0b])\s*(?:MSH|FHS|BHS)\|\^"), f"an HL7 v2 message: {_EXPORT}"),
    # Matches "PID|1||12345".
    (re.compile(r"(?:^|[\r\n])\s*(?:PID|OBX|OBR)\|\d*\|"), f"segments of an HL7 v2 message: {_EXPORT}"),
    (re.compile(r"<(?:\w+:)?ClinicalDocument\b"), f"an HL7 CDA document: {_EXPORT}"),
    (re.compile(r"^\s*\{\\rtf"), f"RTF: save it as plain text or .docx, or {_EXPORT}"),
    # Matches "<!DOCTYPE html>", "<html lang=en>", "<p>" and "<br/>".
    (
        re.compile(r"<!doctype\s+html|</?(?:html|head|body|div|p|br|span|table|td|font|pre)(?:\s[^<>]*)?/?>", re.I),
        f"HTML: {_EXPORT}",
    ),
    (re.compile(r"^\s*<\?xml\b"), f"XML: {_EXPORT}"),
    # Matches "/data/reports/P1.pdf", "C:\reports\P1.docx" and "reports/P1.txt".
    (
        re.compile(
            r"^\s*(?:\S{1,250}|(?:[A-Za-z]:\\|/|\\\\)[^\n]{0,250})\.(?:pdf|txt|docx?|rtf|html?|json|xml|tiff?|dcm)\s*$",
            re.I,
        ),
        "a file's path, not a report: give paths in the column text of the sample sheet",
    ),
    # Matches lines of 76 characters or more without a blank, as base64 has them.
    (re.compile(r"^\s*[A-Za-z0-9+/]{76,}={0,2}(?:\s|$)"), "base64, not text: decode it and give the file"),
)


def refuse_markup(text: str) -> None:
    """Raise UnusableError for a text of another form, whose names would not be masked."""
    head = text[:_HEAD_CHARACTERS]
    for pattern, form in _FORMS:
        if pattern.search(head):
            raise UnusableError(f"holds {form}")
