"""Report files that the tests make: PDF, DOCX, FHIR, DICOM SR."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

REPORT = (
    "Sigmoid colon, resection: adenocarcinoma, moderately differentiated, pT3 pN1 (3/12), margins are free of tumor."
)


def pdf_bytes(pages: list[str], password: str = "", user_password: str | None = None) -> bytes:
    """A PDF of pages with these words; "" gives a page without text, as a scan is."""
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for words in pages:
        page = writer.add_blank_page(595, 842)
        lines = "".join(f"({line}) Tj T* " for line in words.replace("(", "[").replace(")", "]").splitlines())
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 11 Tf 14 TL 50 800 Td {lines}ET".encode("latin-1") if words else b"0 0 10 10 re f")
        page[NameObject("/Contents")] = writer._add_object(stream)
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    if password:
        writer.encrypt(password if user_password is None else user_password, owner_password=password)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def docx_bytes(body: str, header: str = "", **parts: bytes) -> bytes:
    """A Word document: `body` is WordprocessingML or plain words, one paragraph a line."""
    if "<w:" not in body:
        body = "".join(f"<w:p><w:r><w:t>{line}</w:t></w:r></w:p>" for line in body.splitlines())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", f"<w:document {_W}><w:body>{body}</w:body></w:document>")
        if header:
            words = f"<w:p><w:r><w:t>{header}</w:t></w:r></w:p>"
            archive.writestr("word/header1.xml", f"<w:hdr {_W}>{words}</w:hdr>")
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def attachment(content: bytes | str, kind: str) -> dict[str, str]:
    data = content.encode() if isinstance(content, str) else content
    return {"contentType": kind, "data": base64.b64encode(data).decode()}


def fhir_report(**fields: Any) -> dict[str, Any]:
    """A DiagnosticReport of a patient whose name, number and birthday the text repeats."""
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "name": [{"family": "Okonkwo", "given": ["Chidi", "B."]}],
        "identifier": [{"value": "ZZ81"}],
        "birthDate": "1950-02-03",
    }
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": "Surgical pathology report"},
        "subject": {"reference": "#p", "display": "Okonkwo, Chidi"},
        "contained": [patient],
    }
    return report | fields


def fhir_bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": item} for item in resources]}


def write_fhir(path: Path, root: dict[str, Any]) -> Path:
    path.write_text(json.dumps(root), encoding="utf-8")
    return path


def write_sr(path: Path, *, modality: str = "SR", synthetic: bool = False, items: int = 1) -> Path:
    """A Basic Text SR with a heading, texts, a code and a measurement."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian, generate_uid

    def code(meaning: str, value: str = "1", scheme: str = "99TEST") -> Sequence:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
        return Sequence([item])

    def content(kind: str, name: str, **values: Any) -> Dataset:
        item = Dataset()
        item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = "CONTAINS", kind, code(name)
        for keyword, value in values.items():
            setattr(item, keyword, value)
        return item

    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = "42", code("millimeter", "mm", "UCUM")
    section = content("CONTAINER", "Findings", ContinuityOfContent="SEPARATE")
    section.ContentSequence = Sequence(
        [content("TEXT", "Finding", TextValue=f"{REPORT} Patient Okonkwo was told.") for _ in range(items)]
        + [
            content("CODE", "Procedure", ConceptCodeSequence=code("Sigmoidectomy")),
            content("NUM", "Greatest dimension", MeasuredValueSequence=Sequence([measured])),
            content("PNAME", "Observer", PersonName="Kowalczyk^Ewa"),
        ]
    )
    sr = Dataset()
    sr.file_meta = FileMetaDataset()
    sr.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    sr.file_meta.MediaStorageSOPClassUID = sr.SOPClassUID = BasicTextSRStorage
    sr.file_meta.MediaStorageSOPInstanceUID = sr.SOPInstanceUID = generate_uid()
    sr.Modality, sr.PatientName, sr.PatientID, sr.PatientBirthDate = modality, "Okonkwo^Chidi", "ZZ81", "19500203"
    sr.ValueType, sr.ConceptNameCodeSequence = "CONTAINER", code("Pathology report")
    sr.ContentSequence = Sequence([section])
    if synthetic:
        sr.SyntheticData = "YES"
    sr.save_as(path, enforce_file_format=True)
    return path
