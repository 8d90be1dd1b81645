"""The text of a Word document (.docx): paragraphs, tables, headers, footers, notes; no deleted or struck-out words."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

from mupd.base.messages import reason_of
from mupd.errors import UnusableError

MOST_DOCX_BYTES = 100 << 20
MOST_PARTS = 5_000
MOST_XML_BYTES = 64 << 20
"""Of one part of the document, decompressed; a report has some 100,000."""
MOST_RATIO = 300
"""Decompressed to compressed bytes of a part over a megabyte; text in XML reaches 30."""
_PARTS = (
    r"word/header\d*\.xml",
    r"word/document\d*\.xml",
    r"word/footnotes\.xml",
    r"word/endnotes\.xml",
    r"word/footer\d*\.xml",
)
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_STRIKES = ("strike", "dstrike")
_OFF = ("0", "false", "off")
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "p": "\n", "tc": "\t", "tr": "\n"}


def _part(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    ratio = info.file_size / max(1, info.compress_size)
    if info.file_size > MOST_XML_BYTES or (info.file_size > 1 << 20 and ratio > MOST_RATIO):
        raise UnusableError(
            f"a part of {info.file_size} bytes from {info.compress_size}: refused as a decompression bomb"
        )
    with archive.open(info) as stream:
        data = stream.read(MOST_XML_BYTES + 1)
    if len(data) > MOST_XML_BYTES:
        raise UnusableError(f"a part of over {MOST_XML_BYTES} bytes, more than it declares: refused as a bomb")
    return data


def _is_struck(run: Any) -> bool:
    """Whether a run of text is struck out: withdrawn by its author."""
    marks = [mark for space in (_W, _STRICT) for kind in _STRIKES for mark in run.iter(f"{space}{kind}")]
    return any(value.lower() not in _OFF for mark in marks for value in [*_values_of(mark), "on"][:1])


def _values_of(mark: Any) -> list[str]:
    return [str(value) for name, value in mark.attrib.items() if name.endswith("}val")]


def _xml_text(data: bytes) -> str:
    from defusedxml.ElementTree import iterparse

    out: list[str] = []
    skipping = run_starts = 0
    for event, element in iterparse(io.BytesIO(data), events=("start", "end"), forbid_dtd=True):
        # Word stores a text box twice, once as a fallback for older programs.
        if element.tag == _FALLBACK:
            skipping += 1 if event == "start" else -1
        name = element.tag.removeprefix(_W).removeprefix(_STRICT)
        if name == "r" and event == "start":
            run_starts = len(out)
        if event == "start" or skipping:
            continue
        if name == "r" and _is_struck(element):
            del out[run_starts:]
        if name == "t":
            out.append(element.text or "")
        elif name in _BREAKS:
            if name == "tc" and out and out[-1] == "\n":
                out.pop()
            out.append(_BREAKS[name])
        if name in ("p", "tr"):
            element.clear()
    return "".join(out).strip()


def docx_text(data: bytes, path: Path) -> tuple[str, dict[str, Any]]:
    """Text of a document; headers first, then the body, notes and footers.

    Raises
    ------
    UnusableError
        If it is no Word document, is damaged, declares or holds too much, or has XML entities.
    """
    from defusedxml.common import DefusedXmlException

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            if len(parts) > MOST_PARTS:
                raise UnusableError(f"{len(parts)} parts, over {MOST_PARTS}: refused")
            if not any(re.fullmatch(_PARTS[1], part.filename) for part in parts):
                raise UnusableError("a zip file without word/document.xml: expected a Word document")
            names = [part for pattern in _PARTS for part in parts if re.fullmatch(pattern, part.filename)]
            if sum(part.file_size for part in names) > MOST_XML_BYTES:
                raise UnusableError(f"parts of over {MOST_XML_BYTES} bytes: refused as a decompression bomb")
            texts = [_xml_text(_part(archive, part)) for part in names]
    except DefusedXmlException as error:
        raise UnusableError("XML with entities or a document type: refused") from error
    except (
        zipfile.BadZipFile,
        SyntaxError,
        RuntimeError,
        NotImplementedError,
        OSError,
        EOFError,
        ValueError,
        zlib.error,
    ) as error:
        raise UnusableError(f"a damaged Word document: {reason_of(error, path)}") from error
    text = "\n".join(filter(None, texts))
    if not text.strip():
        raise UnusableError("a Word document without text: pictures only? run OCR on them first")
    return text, {}
