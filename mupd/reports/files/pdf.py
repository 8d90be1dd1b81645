"""The text layer of a PDF."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd.base.messages import reason_of
from mupd.errors import UnusableError

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

MOST_PDF_BYTES = 200 << 20
MOST_PAGES = 300
MOST_PAGE_BYTES = 8 << 20
"""Decoded drawing commands of one page; a page of text has some 10,000 bytes. pypdf bounds the page tree itself."""
_LEAST_LETTERS = 10
_LIGATURES = str.maketrans({"ﬁ": "fi", "ﬂ": "fl", "ﬀ": "ff", "ﬃ": "ffi", "ﬄ": "ffl", "\xad": ""})
# What damaged files make pypdf raise beside its own errors.
_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


def _opened(data: bytes) -> PdfReader:
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    reader = PdfReader(io.BytesIO(data), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnusableError("an encrypted PDF: save it without a password")
    pages = len(reader.pages)
    if pages == 0:
        raise UnusableError("a PDF without pages")
    if pages > MOST_PAGES:
        raise UnusableError(f"a PDF of {pages} pages, over {MOST_PAGES}: not one case's report")
    return reader


def _page_text(page: PageObject) -> str:
    contents = page.get_contents()
    if contents is None:
        return ""
    if (size := len(contents.get_data())) > MOST_PAGE_BYTES:
        raise UnusableError(f"a PDF page of {size} bytes of drawing commands, over {MOST_PAGE_BYTES}: refused")
    return page.extract_text().translate(_LIGATURES)


def pdf_text(data: bytes, path: Path) -> tuple[str, dict[str, Any]]:
    """Text of all pages, and facts: `pages`, `pages_without_text` (numbers from 1, scans mostly).

    Raises
    ------
    UnusableError
        If it is encrypted, damaged, too large, or has no text on any page.
    """
    from pypdf.errors import PyPdfError

    try:
        reader = _opened(data)
        texts = [_page_text(page) for page in reader.pages]
        fields = [str(value) for value in (reader.get_form_text_fields() or {}).values() if value]
    except (PyPdfError, *_ERRORS) as error:
        raise UnusableError(f"a damaged PDF: {reason_of(error, path)}") from error
    empty = [n for n, text in enumerate(texts, 1) if sum(letter.isalpha() for letter in text) < _LEAST_LETTERS]
    if len(empty) == len(texts) and not fields:
        pages = "its page" if len(texts) == 1 else f"any of its {len(texts)} pages"
        raise UnusableError(f"a PDF without text on {pages}: scanned; run OCR on it first (ocrmypdf, for one)")
    facts: dict[str, Any] = {"pages": len(texts)}
    if empty:
        facts["pages_without_text"] = empty
    return "\n".join([*texts, *fields]), facts
