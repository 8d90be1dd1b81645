"""Hostile texts."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fixtures.reports import REPORT, docx_bytes, fhir_report, pdf_bytes, write_sr
from tests.hostile.item import TENTHS, Hostile, bytes_of, data, flipped, part

_ANY = "."


def _raw_pdf(objects: list[bytes]) -> bytes:
    content, places = b"%PDF-1.7\n", []
    for number, words in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, words)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    table += b"".join(b"%010d 00000 n \n" % place for place in places)
    table += b"trailer\n<< /Root 1 0 R /Size %d >>\n" % (len(objects) + 1)
    return content + table + b"startxref\n%d\n%%%%EOF\n" % len(content)


def _pdf_bomb() -> bytes:
    import zlib

    stream = zlib.compress(b"BT (a) Tj ET\n" * 30_000_000, 9)
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>"
    content = b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream)
    return _raw_pdf([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page, content])


def _zip_of(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return buffer.getvalue()


_ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b']><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r>'
    + b"<w:t>&j;</w:t></w:r></w:p></w:body></w:document>"
)
_OUTSIDE = _ENTITIES.replace(b'<!ENTITY a "aaaaaaaaaa">', b'<!ENTITY j SYSTEM "file:///etc/passwd">')


def hostile_reports(folder: Path) -> list[Hostile]:
    """All items. `folder` is for the valid files from which they are made."""
    items: list[Hostile] = []

    def add(what: str, suffix: str, content: bytes | Callable[[Path], object], word: str = _ANY, **more: Any) -> None:
        write = data(content) if isinstance(content, bytes) else content
        items.append(Hostile(what, "text", suffix, write, word=word, **more))

    whole = {
        ".docx": docx_bytes(REPORT),
        ".json": json.dumps(fhir_report(conclusion=REPORT)).encode(),
        ".dcm": bytes_of(write_sr, ".dcm", folder),
    }
    for suffix, content in whole.items():
        for tenths in TENTHS:
            add(f"report {suffix} cut off after {tenths} tenths", suffix, part(content, tenths))
        add(f"report {suffix} of zero bytes", suffix, b"")
        add(f"report {suffix} of 4,096 NUL bytes", suffix, bytes(4096))
    pdf = pdf_bytes([REPORT])
    for tenths in (1, 2, 3):
        add(f"report .pdf cut off after {tenths} tenths", ".pdf", part(pdf, tenths))
    add("report .pdf of zero bytes", ".pdf", b"")
    add("a .pdf with every 9th byte inverted", ".pdf", flipped(pdf, 9))
    add("a scanned PDF", ".pdf", pdf_bytes([""]), "OCR")
    add("a PDF under a password", ".pdf", pdf_bytes([REPORT], "owner", "user"), "password|encrypt")
    kids = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>"]
    add("a PDF whose pages lead in a circle", ".pdf", _raw_pdf(kids))
    many = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 2000000000 >>"]
    add("a PDF that declares 2 x 10^9 pages", ".pdf", _raw_pdf(many))
    add("a PDF with a decompression bomb", ".pdf", _pdf_bomb())
    add("words named .pdf", ".pdf", REPORT.encode())
    add("an empty text", ".txt", b"")
    add("blanks", ".txt", b" \r\n\t " * 100, "empty|no words|blank")
    add("NUL bytes in a text", ".txt", REPORT.encode().replace(b" ", b"\0"))
    add("a PNG named .txt", ".txt", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    add("one word", ".txt", b"Carcinoma", "min_text_words")
    add("digits alone", ".txt", b"12 34 56 78 90 " * 30)
    add("a text of 3 MB", ".txt", REPORT.encode() * 30_000)
    add("control characters", ".txt", REPORT.encode() + b"\x01\x02\x03\x04" * 60)
    add("a text with a byte order mark", ".txt", b"\xef\xbb\xbf" + REPORT.encode(), status="measured", word="")
    add("a text with Windows line ends", ".txt", (REPORT + "\r\n").encode() * 2, status="measured", word="")
    add("a text that was generated", ".synthetic.txt", REPORT.encode(), "synthetic")
    add("a suffix that no reader knows", ".rtf", b"{\\rtf1 " + REPORT.encode() + b"}")
    add("a .docx that is another zip", ".docx", _zip_of({"a.txt": REPORT.encode()}))
    add("a zip inside a .docx", ".docx", _zip_of({"word/document.xml": _zip_of({"a": b"b"})}))
    add("a .docx with a decompression bomb", ".docx", docx_bytes("x" * 300_000_000))
    add("a .docx with a billion laughs", ".docx", _zip_of({"word/document.xml": _ENTITIES}))
    add("a .docx that asks for another file", ".docx", _zip_of({"word/document.xml": _OUTSIDE}))
    add("a .docx that leads out of its folder", ".docx", _zip_of({"../../word/document.xml": REPORT.encode()}))
    add("JSON nested 100,000 deep", ".json", b"[" * 100_000 + b"]" * 100_000)
    add("JSON that is no report", ".json", b'{"resourceType": "Observation"}')
    add("JSON with a number of a million digits", ".json", b'{"resourceType": ' + b"9" * 1_000_000 + b"}")
    add("a FHIR report without text", ".json", json.dumps(fhir_report()).encode())
    add("a DICOM slide as a report", ".dcm", lambda path: write_sr(path, modality="SM"))
    return items
