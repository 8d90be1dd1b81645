"""Tables of reports: CSV, TSV, JSON and JSON lines, each also gzipped."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from mupd.base.messages import reason_of
from mupd.errors import UnusableError
from mupd.reports.files.decode import decode, read_bounded
from mupd.sheet.columns import TEXT_TABLE_SUFFIXES

MOST_TABLE_BYTES = 512 << 20
"""Decompressed; 10,000 reports of 3,000 characters are 30 MB."""
_MOST_CELL = 8_000_000
_COLUMNS = ("case_id", "text")


class _Object(dict[str, Any]):
    """A JSON object that remembers keys given twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.again = [(key, value) for key, value in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]


def parse_json(text: str) -> Any:
    """JSON whose objects know repeated keys.

    Raises
    ------
    UnusableError
        If it does not parse, or is nested deeper than Python's parser goes.
    """
    try:
        return json.loads(text, object_pairs_hook=_Object)
    except RecursionError as error:
        raise UnusableError("JSON nested too deeply: refused") from error
    except ValueError as error:
        raise UnusableError(f"not JSON: {str(error)[:120]}") from error


def _words(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _delimited(text: str, delimiter: str) -> Iterable[tuple[str, str]]:
    csv.field_size_limit(_MOST_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names = list(reader.fieldnames or ())
    if missing := set(_COLUMNS) - set(names):
        raise UnusableError(f"the text table has no column {' and '.join(sorted(missing))}")
    if twice := [name for name in _COLUMNS if names.count(name) > 1]:
        raise UnusableError(f"the text table has two columns {' and '.join(twice)}")
    for row in reader:
        if None in row:
            raise UnusableError(
                f"the text table has too many cells at line {reader.line_num}: quote texts that hold {delimiter!r}"
            )
        yield _words(row["case_id"]), _words(row["text"])


def _objects(items: Iterable[Any]) -> Iterable[tuple[str, str]]:
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict) or not set(_COLUMNS) <= set(item):
            raise UnusableError(f"entry {number} of the text table: expected an object with case_id and text")
        yield _words(item["case_id"]), _words(item["text"])


def _json(text: str, is_lines: bool) -> Iterable[tuple[str, str]]:
    if is_lines:
        return _objects(parse_json(line) for line in text.splitlines() if line.strip())
    try:
        table = parse_json(text)
    except UnusableError:
        # JSON lines under the name .json are common.
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.lstrip().startswith("{") for line in lines):
            raise
        return _objects(map(parse_json, lines))
    if isinstance(table, list):
        return _objects(table)
    if isinstance(table, _Object) and set(_COLUMNS) <= set(table):
        return _objects([table])
    if isinstance(table, _Object) and all(isinstance(value, str | None) for value in table.values()):
        return [(key, _words(value)) for key, value in [*table.items(), *table.again]]
    raise UnusableError("the text table is JSON of another form: expected a list of objects with case_id and text")


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


@lru_cache(maxsize=2)
def _texts(path: Path, _modified_ns: int, _size: int) -> dict[str, list[str]]:
    suffix = _suffix(path)
    if suffix not in TEXT_TABLE_SUFFIXES:
        raise UnusableError(f"a text table of another suffix: expected {', '.join(TEXT_TABLE_SUFFIXES)}, each also .gz")
    text, _ = decode(read_bounded(path, MOST_TABLE_BYTES))
    rows = _json(text, suffix != ".json") if "json" in suffix else _delimited(text, "," if suffix == ".csv" else "\t")
    texts: dict[str, list[str]] = {}
    for case_id, words in rows:
        texts.setdefault(case_id.strip(), []).append(words)
    return texts


def texts_of(path: Path) -> dict[str, list[str]]:
    """Texts by case id as they stand in the table (not masked); parsed once a process.

    Raises
    ------
    UnusableError
        If the table does not read, lacks a column or is larger than :data:`MOST_TABLE_BYTES`.
    """
    try:
        stat = path.stat()
        return _texts(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, csv.Error) as error:
        raise UnusableError(f"the text table does not read: {reason_of(error, path)}") from error
    except UnusableError as error:
        if "text table" in str(error):
            raise
        raise UnusableError(f"the text table does not read: {error}") from error
