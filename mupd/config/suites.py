"""Suite files: Great Expectations' own JSON form, checked before anything runs and without importing it.

Nothing in a suite file is run: an expectation is a name of the list below and plain values. What would evaluate text
(``row_condition``, ``$PARAMETER``), speak SQL or load a schema from elsewhere is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mupd.base.package_files import shipped_file
from mupd.config.suite_columns import COLUMNS, Table
from mupd.errors import Fault, InputFaults

_MOST_BYTES = 1 << 20
_MOST_EXPECTATIONS = 500
_MOST_REGEX = 500

_COLUMN = (
    "distinct_values_to_be_in_set distinct_values_to_contain_set distinct_values_to_equal_set max_to_be_between "
    "mean_to_be_between median_to_be_between min_to_be_between most_common_value_to_be_in_set "
    "proportion_of_non_null_values_to_be_between proportion_of_unique_values_to_be_between "
    "quantile_values_to_be_between "
    "stdev_to_be_between sum_to_be_between to_exist unique_value_count_to_be_between value_lengths_to_be_between "
    "value_lengths_to_equal value_z_scores_to_be_less_than values_to_be_between values_to_be_in_set "
    "values_to_be_null values_to_be_unique values_to_match_regex values_to_match_regex_list values_to_not_be_in_set "
    "values_to_not_be_null values_to_not_match_regex values_to_not_match_regex_list"
)
_PAIR = "values_a_to_be_greater_than_b values_to_be_equal values_to_be_in_set"
_TABLE = (
    "column_count_to_be_between column_count_to_equal columns_to_match_ordered_list columns_to_match_set "
    "row_count_to_be_between row_count_to_equal"
)
ALLOWED: frozenset[str] = frozenset(
    [f"expect_column_{name}" for name in _COLUMN.split()]
    + [f"expect_column_pair_{name}" for name in _PAIR.split()]
    + [f"expect_table_{name}" for name in _TABLE.split()]
    + ["expect_compound_columns_to_be_unique", "expect_multicolumn_sum_to_equal"]
    + ["expect_select_column_values_to_be_unique_within_record"]
)
"""Core expectations that a suite may name."""

_REFUSED = {
    "row_condition": "it is evaluated as code",
    "condition_parser": "it says how a row_condition is evaluated",
    "batch_id": "mupd decides what is checked",
    "result_format": "mupd decides how results are kept",
    "catch_exceptions": "errors are always reported",
    "windows": "there are no earlier runs to look back to",
}
_COLUMN_KEYS = ("column", "column_A", "column_B")
_LISTS_OF_COLUMNS = {"column_list": True, "column_set": False}
_SUITE_KEYS = {"name", "id", "expectations", "meta", "notes"}
_EXPECTATION_KEYS = {"type", "kwargs", "meta", "severity", "description", "notes", "id", "rendered_content"}


@dataclass(frozen=True)
class Expectation:
    """One expectation: its name, its arguments, and what its author says of it ("" = nothing)."""

    type: str
    kwargs: Mapping[str, Any]
    description: str = ""


@dataclass(frozen=True)
class Suite:
    """A suite for one table; `file` is the file's name and `own` whether mupd ships it."""

    name: str
    table: Table
    file: str
    own: bool
    expectations: tuple[Expectation, ...] = field(default_factory=tuple)


@cache
def shipped_folder() -> Path:
    """Folder of the suites that mupd ships: in the installed package, or the repository.

    Raises
    ------
    FileNotFoundError
        If it is in neither.
    """
    return shipped_file("expectations", "sheet.json").parent


def _dollars(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            if str(key).startswith("$"):
                yield f"{place}.{key}"
            yield from _dollars(part, f"{place}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _dollars(part, f"{place}[{index}]")


def _column_faults(table: Table, kwargs: Mapping[str, Any], place: str) -> list[Fault]:
    known = ", ".join(COLUMNS[table])
    named = [(key, kwargs[key]) for key in _COLUMN_KEYS if key in kwargs]
    for key, each in _LISTS_OF_COLUMNS.items():
        if each and isinstance(kwargs.get(key), list) and "columns_to_match" not in place:
            named += [(key, name) for name in kwargs[key]]
    return [
        Fault(f"{place}.{key}]", repr(name)[:80], f"a column of the table {table}: {known}")
        for key, name in named
        if not isinstance(name, str) or name not in COLUMNS[table]
    ]


def _regex_faults(kwargs: Mapping[str, Any], place: str) -> list[Fault]:
    import re

    faults = []
    given = kwargs.get("regex_list", []) if isinstance(kwargs.get("regex_list", []), list) else []
    for regex in [*given, *([kwargs["regex"]] if "regex" in kwargs else [])]:
        expected = f"a regular expression of at most {_MOST_REGEX} characters"
        if not isinstance(regex, str) or len(regex) > _MOST_REGEX:
            faults.append(Fault(f"{place}.regex]", repr(regex)[:80], expected))
            continue
        try:
            re.compile(regex)
        except re.error as error:
            faults.append(Fault(f"{place}.regex]", f"{regex[:80]!r} ({error})", expected))
    return faults


def _expectation_faults(table: Table, value: Any, where: str, index: int) -> list[Fault]:
    place = f"{where} [expectations.{index}"
    if not isinstance(value, dict):
        return [Fault(f"{place}]", repr(value)[:80], "a mapping with type and kwargs")]
    faults = [
        Fault(f"{place}.{key}]", "an unknown key", "only: " + ", ".join(sorted(_EXPECTATION_KEYS)))
        for key in sorted(set(value) - _EXPECTATION_KEYS)
    ]
    name = value.get("type")
    if not isinstance(name, str) or name not in ALLOWED:
        faults.append(Fault(f"{place}.type]", repr(name)[:80], "a core expectation that docs/expectations.md lists"))
    kwargs = value.get("kwargs")
    if not isinstance(kwargs, dict):
        return [*faults, Fault(f"{place}.kwargs]", repr(kwargs)[:80], "a mapping")]
    for key, why in _REFUSED.items():
        if kwargs.get(key) is not None:
            faults.append(Fault(f"{place}.kwargs.{key}]", repr(kwargs[key])[:80], f"no such key: {why}"))
    for at in _dollars(kwargs, f"{place}.kwargs"):
        faults.append(Fault(f"{at}]", "a value to be evaluated", "plain values"))
    faults += _column_faults(table, kwargs, f"{place}.kwargs")
    return faults + _regex_faults(kwargs, f"{place}.kwargs")


def _words_of(value: Mapping[str, Any]) -> str:
    notes = value.get("meta", {}).get("notes") if isinstance(value.get("meta"), dict) else None
    if isinstance(notes, dict):
        notes = notes.get("content")
    if isinstance(notes, list):
        notes = " ".join(str(part) for part in notes)
    for words in (value.get("description"), value.get("notes"), notes):
        if isinstance(words, str) and words.strip():
            return " ".join(words.split())[:500]
    return ""


def read_suite(path: Path, table: Table, own: bool = False, where: str = "") -> Suite:
    """Read and check a suite file.

    Parameters
    ----------
    table
        The table it is for.
    where
        Key of the configuration that names it, for messages.

    Raises
    ------
    InputFaults
        With every fault: not there, not JSON, larger than 1 MiB, an unknown or refused expectation, a column that
        the table does not have, arguments that would be evaluated.
    """
    place = f"{where}: {path}" if where else str(path)
    expected = "a suite in Great Expectations' JSON form"

    def refuse(found: str, wanted: str = expected) -> InputFaults:
        return InputFaults(f"expectation suite {path}", [Fault(place, found, wanted)])

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise refuse(f"{path.stat().st_size:,} bytes", f"at most {_MOST_BYTES:,}")
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refuse(error.strerror or type(error).__name__) from error
    except (ValueError, RecursionError) as error:
        raise refuse(str(error).splitlines()[0] or type(error).__name__) from error
    if not isinstance(value, dict) or not isinstance(value.get("expectations"), list):
        raise refuse(f"{type(value).__name__} without a list `expectations`")
    faults = [
        Fault(f"{place} [{key}]", "an unknown key", "only: " + ", ".join(sorted(_SUITE_KEYS)))
        for key in sorted(set(value) - _SUITE_KEYS)
    ]
    items = value["expectations"]
    if len(items) > _MOST_EXPECTATIONS:
        faults.append(Fault(f"{place} [expectations]", f"{len(items)}", f"at most {_MOST_EXPECTATIONS}"))
    for index, item in enumerate(items[:_MOST_EXPECTATIONS]):
        faults += _expectation_faults(table, item, place, index)
    if faults:
        raise InputFaults(f"expectation suite {path}", faults)
    name = value.get("name") if isinstance(value.get("name"), str) else path.stem
    made = tuple(Expectation(item["type"], item["kwargs"], _words_of(item)) for item in items)
    return Suite(str(name)[:120], table, path.name, own, made)


def read_suites(table: Table, further: Sequence[str] = ()) -> list[Suite]:
    """The shipped suite of a table, and the user's own after it.

    Raises
    ------
    InputFaults
        With the faults of all files.
    """
    suites = [read_suite(shipped_folder() / f"{table}.json", table, own=True)]
    faults: list[Fault] = []
    for name in further:
        try:
            suites.append(read_suite(Path(name), table, where=f"configuration [expectations.suites.{table}]"))
        except InputFaults as error:
            faults += error.faults
    if faults:
        raise InputFaults("expectation suites", faults)
    return suites
