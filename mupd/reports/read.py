"""The clinical text of a case, from a report file or a row of a reports table.

Reading masks the identifiers of persons (:mod:`mupd.reports.deidentify.mask`), so nothing downstream sees one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mupd.base.near_ids import IdIndex
from mupd.config import IntakeLimits
from mupd.errors import UnusableError
from mupd.reports.checks import check_case_id, check_content, check_language, check_organ
from mupd.reports.deidentify.mask import mask_identifiers, masked_counts
from mupd.reports.files.markup import plain_words, refuse_cut_cell
from mupd.reports.files.report_file import plain_text
from mupd.reports.files.tables import RowFault, texts_of
from mupd.reports.record.fields import extract_record
from mupd.reports.record.synoptic import extract_report

MOST_CHARACTERS = 2_000_000
"""A long report has 20,000 characters; a text with 100 times as many is no report."""

_WORD = re.compile(r"[^\W\d_]{2,}")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufffd]")
_MOST_CONTROLS = 0.01


@dataclass(frozen=True)
class ReadText:
    """A report with identifiers masked, and facts of its file: `format`, `encoding`, `pages`, ..."""

    text: str
    facts: dict[str, Any] = field(default_factory=dict)


def _bounded(text: str) -> str:
    if len(text) > MOST_CHARACTERS:
        raise UnusableError(f"{len(text)} characters, over {MOST_CHARACTERS}: expected one case's clinical text")
    return text


def read_report(path: Path) -> ReadText:
    """A report file with identifiers masked, and facts for :func:`check_text`.

    Raises
    ------
    UnusableError
        For another format, a damaged, encrypted or too large file, or an unclear encoding.
    """
    plain = plain_text(path)
    return ReadText(mask_identifiers(_bounded(plain.text), plain.known), plain.facts)


def read_text(path: Path) -> str:
    """The text of :func:`read_report`."""
    return read_report(path).text


def text_row_index(table: Path) -> IdIndex:
    """The ids of a table of reports.

    Raises
    ------
    UnusableError
        If the table cannot be read.
    """
    texts_of(table)
    stat = table.stat()
    return _index(table, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _index(table: Path, _modified_ns: int, _size: int) -> IdIndex:
    return IdIndex(texts_of(table))


def read_text_row(table: Path, case_id: str) -> str:
    """The text of one case from a table with the columns ``case_id`` and ``text``, identifiers masked.

    Other columns are ignored. Tables are CSV, TSV, JSON (a list of objects, or id to text) or JSON lines, also gzipped.

    Raises
    ------
    UnusableError
        If the table cannot be read, or does not have exactly one row of this case; for a row with another number of
        cells than the header, a text that a spreadsheet has cut, and what :func:`plain_words` refuses.
    """
    texts = texts_of(table).get(case_id, [])
    if len(texts) != 1:
        how_many = f"{len(texts)} rows" if texts else "no row"
        raise UnusableError(f"{how_many} of this case in the text table: expected exactly one")
    if isinstance(texts[0], RowFault):
        raise UnusableError(texts[0])
    refuse_cut_cell(texts[0])
    return mask_identifiers(_bounded(plain_words(texts[0])))


def check_text(
    text: str,
    limits: IntakeLimits,
    *,
    organ: str = "",
    case_id: str = "",
    read: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Check that a text can condition the model; return its facts.

    Parameters
    ----------
    organ, case_id
        The sheet's values; a text that clearly contradicts one is refused. "" is not compared.
    read
        Facts of :func:`read_report`, handed on.

    Returns
    -------
    `words`, `characters` (int), `record` (of :func:`extract_record`), `report` (the synoptic
    record of :func:`~mupd.reports.record.synoptic.extract_report`, each value with its place), `masked` ({kind: count}
    of :func:`~mupd.reports.deidentify.mask.masked_counts`), `text_sha256` (of the masked text with white space
    normalised, so that two cases with the same report have the same hash), and the facts in `read`.

    Raises
    ------
    UnusableError
        If it is empty, binary, without letters, too short or too long, not English, a template without findings, or
        contradicts the sheet.
    """
    if not text.strip():
        raise UnusableError("the text is empty")
    _bounded(text)
    controls = len(_CONTROL.findall(text))
    if controls > _MOST_CONTROLS * len(text):
        raise UnusableError(f"{controls} control or replacement characters of {len(text)}: binary or wrongly decoded")
    words = len(_WORD.findall(text))
    if words == 0 and text.isascii():
        raise UnusableError("the text holds no words")
    check_language(text)
    if words < limits.min_text_words:
        raise UnusableError(f"{words} words, under intake.min_text_words = {limits.min_text_words}")
    check_content(text)
    check_organ(text, organ)
    check_case_id(text, case_id)
    return {
        "words": words,
        "characters": len(text),
        "record": extract_record(text),
        "report": extract_report(text).facts(),
        "masked": masked_counts(text),
        "text_sha256": hashlib.sha256(" ".join(text.split()).encode("utf-8", "surrogatepass")).hexdigest(),
        **(read or {}),
    }
