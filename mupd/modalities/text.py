"""Clinical text of a case: a UTF-8 file, or a row of the cohort's reports table."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

from mupd.config import IntakeLimits
from mupd.errors import UnusableError
from mupd.modalities.reasons import reason_of
from mupd.modalities.records import FIELDS, extract_record, render_record

__all__ = ["FIELDS", "check_text", "extract_record", "has_text_row", "read_text", "read_text_row", "render_record"]

SUFFIXES = (".txt", ".md")
MOST_CHARACTERS = 2_000_000
"""A long report has 20,000 characters; a hundred times that is something else."""

_WORD = re.compile(r"[^\W\d_]{2,}")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufffd]")
_MOST_CONTROLS = 0.01


def _decoded(data: bytes) -> str:
    if b"\0" in data:
        raise UnusableError("holds NUL bytes: a binary file or UTF-16; expected UTF-8 text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableError(f"not UTF-8 (byte 0x{data[error.start]:02x} at {error.start}): save it as UTF-8") from error


def read_text(path: Path) -> str:
    """The text of a ``.txt`` or ``.md`` file, a leading byte order mark dropped.

    Raises
    ------
    UnusableError
        For another suffix, a file that cannot be read, NUL bytes, or what is not UTF-8.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UnusableError(f"another suffix: expected a UTF-8 text file, {' or '.join(SUFFIXES)}")
    try:
        return _decoded(path.read_bytes())
    except OSError as error:
        raise UnusableError(f"cannot be read: {reason_of(error, path)}") from error


@lru_cache(maxsize=2)
def _texts(path: Path, _modified_ns: int, _size: int) -> dict[str, list[str]]:
    """Texts by case id; parsed once a process."""
    delimiter = "," if ".csv" in [suffix.lower() for suffix in path.suffixes] else "\t"
    csv.field_size_limit(MOST_CHARACTERS * 4)
    texts: dict[str, list[str]] = {}
    try:
        with _opened(path) as stream:
            reader = csv.DictReader(stream, delimiter=delimiter)
            if missing := {"case_id", "text"} - set(reader.fieldnames or ()):
                raise UnusableError(f"the text table has no column {' and '.join(sorted(missing))}")
            for row in reader:
                texts.setdefault((row["case_id"] or "").strip(), []).append(row["text"] or "")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise UnusableError(f"the text table does not read: {reason_of(error, path)}") from error
    return texts


def _opened(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return cast(IO[str], gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _table(path: Path) -> dict[str, list[str]]:
    try:
        stat = path.stat()
    except OSError as error:
        raise UnusableError(f"the text table does not read: {reason_of(error, path)}") from error
    return _texts(path, stat.st_mtime_ns, stat.st_size)


def has_text_row(table: Path, case_id: str) -> bool:
    """Whether a reports table has a row (or several) of this case."""
    return case_id in _table(table)


def read_text_row(table: Path, case_id: str) -> str:
    """The text of one case from a table with columns ``case_id`` and ``text``; others are ignored.

    Raises
    ------
    UnusableError
        If the table does not read, or has no row or several of this id.
    """
    texts = _table(table).get(case_id, [])
    if len(texts) != 1:
        found = f"{len(texts)} rows" if texts else "no row"
        raise UnusableError(f"{found} of this case in the text table: expected exactly one")
    return texts[0]


def check_text(text: str, limits: IntakeLimits) -> dict[str, Any]:
    """Whether a text can condition the model, and what is known of it.

    Returns
    -------
    `words`, `characters` (int) and `record`, what :func:`extract_record` finds stated in it.

    Raises
    ------
    UnusableError
        If it is empty, binary, without letters, too short or too long.
    """
    if not text.strip():
        raise UnusableError("the text is empty")
    if len(text) > MOST_CHARACTERS:
        raise UnusableError(f"{len(text)} characters, over {MOST_CHARACTERS}: expected one case's clinical text")
    controls = len(_CONTROL.findall(text))
    if controls > _MOST_CONTROLS * len(text):
        raise UnusableError(f"{controls} control or replacement characters of {len(text)}: binary or wrongly decoded")
    words = len(_WORD.findall(text))
    if words == 0:
        raise UnusableError("the text holds no words")
    if words < limits.min_text_words:
        raise UnusableError(f"{words} words, under intake.min_text_words = {limits.min_text_words}")
    return {"words": words, "characters": len(text), "record": extract_record(text)}
