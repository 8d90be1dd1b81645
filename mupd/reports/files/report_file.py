"""A file with one case's report, in any of the forms that reports come in, as plain text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mupd.base.messages import reason_of
from mupd.errors import UnusableError
from mupd.reports.deidentify.mask import Known
from mupd.reports.files.decode import decode, read_bounded
from mupd.reports.files.markup import plain_words

SUFFIXES = (".txt", ".md", ".pdf", ".docx", ".json", ".ndjson", ".dcm")
MOST_TEXT_BYTES = 16 << 20
"""A long report has 20,000 characters."""
_MAGIC = ((b"%PDF", ".pdf"), (b"PK\x03\x04", ".docx"), (b"\xd0\xcf\x11\xe0", ".doc"), (b"{\\rtf", ".rtf"))
_PLAIN = (".txt", ".md")
_ELSE = {
    ".doc": "the old Word form: save it as .docx",
    ".rtf": "RTF: save it as .docx or .txt",
    ".odt": "OpenDocument: save it as .docx",
    ".html": "HTML: save it as text",
    ".htm": "HTML: save it as text",
    ".xml": "XML: of FHIR give the JSON form, of other documents text",
    ".hl7": "an HL7 v2 message: export the report's text (OBX-5) as .txt",
    ".cda": "a CDA document: export the report's text as .txt, or give the FHIR JSON",
    ".zip": "an archive: unpack it and name the report",
    ".gz": "an archive: unpack it; only tables of reports may be gzipped",
    ".csv": "a table: give the row as PATH::CASE_ID, or the table as tables.text",
    ".tsv": "a table: give the row as PATH::CASE_ID, or the table as tables.text",
}


@dataclass(frozen=True)
class PlainText:
    """A report's text as it stands in its file (not masked).

    Attributes
    ----------
    facts
        `format`; of characters `encoding` where it is not plain UTF-8; of a PDF its pages.
    known
        What the file states of persons in fields of its own.
    """

    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    known: Known = field(default_factory=Known)


def _kind(path: Path) -> str:
    """The form by suffix, held against the first bytes."""
    suffix = path.suffix.lower()
    with path.open("rb") as stream:
        head = stream.read(132)
    by_content = (
        ".dcm" if head[128:] == b"DICM" else next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")
    )
    if not head:
        raise UnusableError("the text is empty: a file of 0 bytes")
    if suffix in _ELSE:
        raise UnusableError(f"{suffix}, {_ELSE[suffix]}; expected {', '.join(SUFFIXES)}")
    if by_content == ".dcm" and suffix not in SUFFIXES:
        return by_content
    if suffix not in SUFFIXES:
        raise UnusableError(f"another suffix: expected {', '.join(SUFFIXES)}")
    if by_content and by_content != suffix:
        raise UnusableError(f"named {suffix}, but its first bytes are those of {by_content}: give it its right suffix")
    if not by_content and suffix in (".pdf", ".docx", ".dcm"):
        raise UnusableError(f"named {suffix}, but its first bytes are not those of {suffix}: damaged or another form")
    return suffix


def _read(path: Path) -> PlainText:
    kind = _kind(path)
    if kind in _PLAIN:
        text, encoding = decode(read_bounded(path, MOST_TEXT_BYTES))
        evident = {} if encoding == "UTF-8" else {"encoding": encoding}
        return PlainText(plain_words(text), {"format": kind[1:]} | evident)
    if kind == ".pdf":
        from mupd.reports.files.pdf import MOST_PDF_BYTES, pdf_text

        text, facts = pdf_text(read_bounded(path, MOST_PDF_BYTES), path)
        return PlainText(text, {"format": "pdf"} | facts)
    if kind == ".docx":
        from mupd.reports.files.docx import MOST_DOCX_BYTES, docx_text

        text, facts = docx_text(read_bounded(path, MOST_DOCX_BYTES), path)
        return PlainText(text, {"format": "docx"} | facts)
    if kind in (".json", ".ndjson"):
        from mupd.reports.files.fhir import MOST_FHIR_BYTES, fhir_text
        from mupd.reports.files.tables import parse_resources

        text, facts, known = fhir_text(parse_resources(decode(read_bounded(path, MOST_FHIR_BYTES))[0]), path)
        return PlainText(text, {"format": "fhir"} | facts, known)
    from mupd.reports.files.dicom_sr import sr_text

    text, facts, known = sr_text(path)
    return PlainText(text, {"format": "dicom-sr"} | facts, known)


def plain_text(path: Path) -> PlainText:
    """The text of a report file.

    Raises
    ------
    UnusableError
        For another form, a damaged or encrypted file, one that is too large, or an encoding that is not evident.
    """
    if path.is_dir():
        raise UnusableError("a folder: expected the file of one report")
    try:
        return _read(path)
    except OSError as error:
        raise UnusableError(f"cannot be read: {reason_of(error, path)}") from error
