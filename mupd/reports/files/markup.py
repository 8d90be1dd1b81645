"""What a text that claims to be plain may be instead: markup, which is taken off, or another form, which is refused."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from mupd.errors import UnusableError

EXCEL_CELL = 32_767
"""Most characters of a spreadsheet's cell. A text of exactly this length was cut."""

_BLOCKS = frozenset({"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "pre"})
_HIDDEN = frozenset({"script", "style", "head", "s", "strike", "del"})
"""Elements whose words are no part of the report; struck-out words are withdrawn."""

# <p>, </div>, <br/>, <table border="1">
_TAG = re.compile(
    r"</?(html|head|body|p|div|span|br|b|i|u|s|del|strike|table|tr|td|th|ul|ol|li|font|h[1-6]|pre)\b[^<>]*>", re.I
)
_LEAST_TAGS = 2
_LEAST_BASE64_LINE = 40
_MOST_WORDS_OF_PATH = 12
# <!DOCTYPE html>, <html>, or any element at the very beginning
_HTML = re.compile(r"^\s*(<!doctype\s+html|<html\b|<head\b|<body\b|<div\b|<p\b|<table\b|<pre\b)", re.I)
# {\rtf1\ansi
_RTF = re.compile(r"^\s*\{\\rtf\d?")
# MSH|^~\&| as HL7 v2 messages begin, also after MLLP's start byte or a batch header; PID|1|| of a part of one
_HL7 = re.compile(r"(?:^|[\r\n\x0b])\s*(?:(?:FHS|BHS|MSH)\|\^~|(?:PID|OBR|OBX)\|\d*\|)")
_CDA = re.compile(r"<(\w+:)?ClinicalDocument\b")
_XML = re.compile(r"^\s*<\?xml\b|^\s*<\w+[^<>]*\bxmlns")
_JSON_RESOURCE = re.compile(r'^\s*[\[{].{0,200}"resourceType"', re.S)
# JVBERi0xLjQKJ..., in lines or as one
_BASE64 = re.compile(r"^\s*(data:[\w/+.-]+;base64,)?[A-Za-z0-9+/][A-Za-z0-9+/\s]{200,}={0,2}\s*$")
# /data/reports/P1.pdf, C:\reports\P1.docx, https://host/P1.pdf, reports/P1.txt
_PATH = re.compile(
    r"^\s*(file:|https?:|s3:|gs:|[A-Za-z]:[\\/]|\\\\|\.{0,2}/|~/)?[^\n<>|\"*?]{1,300}"
    r"\.(pdf|txt|docx?|rtf|html?|xml|json|md|dcm|tiff?|png|jpe?g|hl7|odt)\s*$",
    re.I,
)
_URL = re.compile(r"^\s*(https?|file|s3|gs)://\S+\s*$", re.I)
# ~~grade 1~~
_STRUCK = re.compile(r"~~[^~\n]{1,400}~~")


class _Html(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.hidden += tag in _HIDDEN
        self.out.append("\n" if tag in _BLOCKS else " " if tag in ("td", "th") else "")

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in _HIDDEN))
        self.out.append("\n" if tag in _BLOCKS else "")

    def handle_data(self, data: str) -> None:
        self.out.append("" if self.hidden else data)


def html_text(html: str) -> str:
    """The words of HTML, one line a block, without those that are struck out."""
    parser = _Html()
    parser.feed(html)
    parser.close()
    return "\n".join(filter(None, (" ".join(line.split()) for line in "".join(parser.out).splitlines())))


def _other_form(text: str) -> str:
    """What a text is instead of a report's words, and the fix; "" for words."""
    if _RTF.match(text):
        return "RTF, not plain text: save it as .docx or .txt"
    if _HL7.search(text):
        return "an HL7 v2 message, not plain text: export the report's text (OBX-5) as .txt"
    if _CDA.search(text[:5000]):
        return "a CDA document (XML), not plain text: export the report's text as .txt, or give the FHIR JSON"
    if _XML.match(text) and not _TAG.search(text[:2000]):
        return "XML, not plain text: export the report's text as .txt, or give the FHIR JSON"
    if _HTML.match(text):
        return "HTML, not plain text: save it as text"
    if _JSON_RESOURCE.match(text):
        return "a FHIR resource, not plain text: name the file .json"
    if _BASE64.match(text) and len(text.split()) * _LEAST_BASE64_LINE <= len(text.strip()):
        return "base64, not plain text: decode it and give the file"
    if _URL.match(text) or (_PATH.match(text) and len(text.split()) <= _MOST_WORDS_OF_PATH):
        return "a path, not a report: write the path in the sheet's column text"
    return ""


def plain_words(text: str) -> str:
    """A text without the HTML tags that some systems leave in it (``<br>``), and without struck-out words.

    Raises
    ------
    UnusableError
        For RTF, an HTML document, an HL7 v2 message, CDA or other XML, a FHIR resource, base64 and a path.
    """
    if other := _other_form(text):
        raise UnusableError(other)
    if len(_TAG.findall(text)) >= _LEAST_TAGS:
        text = html_text(text)
    return _STRUCK.sub(" ", text)


def refuse_cut_cell(text: str) -> None:
    """Raise UnusableError for a table's cell that a spreadsheet has cut."""
    if EXCEL_CELL - 1 <= len(text) <= EXCEL_CELL:
        raise UnusableError(
            f"{len(text):,} characters, the most that a spreadsheet's cell holds: the text was cut; give its file"
        )
