"""Suite files in Great Expectations' JSON form, checked before anything runs and without importing it.

Nothing in a suite file is executed: an expectation is a name of the list below with plain values. Whatever evaluates
text (``row_condition``, ``$PARAMETER``), runs SQL or loads a schema from elsewhere is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from mupd.base.messages import first_line
from mupd.base.package_files import shipped_file
from mupd.config.faults import validated
from mupd.config.section import section
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
    "windows": "there are no earlier runs to compare with",
}
_COLUMN_KEYS = ("column", "column_A", "column_B")


def _core(name: str) -> str:
    if name not in ALLOWED:
        raise ValueError("a core expectation that docs/expectations.md lists")
    return name


@section
class Expectation:
    """One expectation: its name and its arguments. Keys of type object are for the reader of the file."""

    type: Annotated[str, AfterValidator(_core)]
    kwargs: dict[str, Any]
    meta: object = None
    severity: object = None
    description: object = None
    notes: object = None
    id: object = None
    rendered_content: object = None

    @property
    def words(self) -> str:
        """What its author says of it; "" = nothing."""
        notes = self.meta.get("notes") if isinstance(self.meta, dict) else None
        if isinstance(notes, dict):
            notes = notes.get("content")
        if isinstance(notes, list):
            notes = " ".join(str(part) for part in notes)
        for words in (self.description, self.notes, notes):
            if isinstance(words, str) and words.strip():
                return " ".join(words.split())[:500]
        return ""


@section
class _SuiteForm:
    """Keys of a suite file."""

    expectations: Annotated[tuple[Expectation, ...], Field(max_length=_MOST_EXPECTATIONS)]
    name: object = None
    id: object = None
    meta: object = None
    notes: object = None


@dataclass(frozen=True)
class Suite:
    """A suite for one table; `file` is the file's name and `own` whether mupd ships it."""

    name: str
    table: Table
    file: str
    own: bool
    expectations: tuple[Expectation, ...] = ()


@cache
def shipped_folder() -> Path:
    """Folder of the suites that mupd ships, in the installed package or the repository.

    Raises
    ------
    FileNotFoundError
        If it is in neither.
    """
    return shipped_file("expectations", "sheet.json").parent


def _parameters(value: object, place: str) -> Iterator[str]:
    """Places of keys that Great Expectations would evaluate, e.g. ``$PARAMETER``."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if str(key).startswith("$"):
                yield f"{place}.{key}"
            yield from _parameters(part, f"{place}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _parameters(part, f"{place}[{index}]")


def _unknown_columns(table: Table, kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Arguments that name a column which the table lacks, and what they name."""
    named = [(key, kwargs[key]) for key in _COLUMN_KEYS if key in kwargs]
    if isinstance(kwargs.get("column_list"), list):
        named += [("column_list", name) for name in kwargs["column_list"]]
    for key, name in named:
        if not isinstance(name, str) or name not in COLUMNS[table]:
            yield key, repr(name)[:80]


def _wrong_expressions(kwargs: Mapping[str, Any]) -> Iterator[str]:
    """Arguments that are not usable regular expressions."""
    listed = kwargs.get("regex_list")
    for regex in [*(listed if isinstance(listed, list) else []), *([kwargs["regex"]] if "regex" in kwargs else [])]:
        if not isinstance(regex, str) or len(regex) > _MOST_REGEX:
            yield repr(regex)[:80]
            continue
        try:
            re.compile(regex)
        except re.error as error:
            yield f"{regex[:80]!r} ({error})"


def _argument_faults(table: Table, kwargs: Mapping[str, Any], place: str) -> list[Fault]:
    faults = [
        Fault(f"{place}.{key}]", repr(kwargs[key])[:80], f"no such key: {why}")
        for key, why in _REFUSED.items()
        if kwargs.get(key) is not None
    ]
    faults += [Fault(f"{at}]", "a value to be evaluated", "plain values") for at in _parameters(kwargs, place)]
    column = f"a column of the table {table}: {', '.join(COLUMNS[table])}"
    faults += [Fault(f"{place}.{key}]", name, column) for key, name in _unknown_columns(table, kwargs)]
    expression = f"a regular expression of at most {_MOST_REGEX} characters"
    return faults + [Fault(f"{place}.regex]", wrong, expression) for wrong in _wrong_expressions(kwargs)]


def _read_json(path: Path, place: str) -> object:
    form = "a suite in Great Expectations' JSON form"
    try:
        if path.stat().st_size > _MOST_BYTES:
            fault = Fault(place, f"{path.stat().st_size:,} bytes", f"at most {_MOST_BYTES:,}")
            raise InputFaults(f"expectation suite {path}", [fault])
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        fault = Fault(place, error.strerror or type(error).__name__, form)
        raise InputFaults(f"expectation suite {path}", [fault]) from error
    except (ValueError, RecursionError) as error:
        fault = Fault(place, first_line(error), form)
        raise InputFaults(f"expectation suite {path}", [fault]) from error


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
        With every fault: a file that is missing, not JSON or larger than 1 MiB; unknown keys; an unknown or refused
        expectation; a column that the table does not have; arguments that would be evaluated.
    """
    place = f"{where}: {path}" if where else str(path)
    form, faults = validated(_SuiteForm, _read_json(path, place), place)
    if form is not None:
        for index, item in enumerate(form.expectations):
            faults += _argument_faults(table, item.kwargs, f"{place} [expectations.{index}.kwargs")
        if not faults:
            name = form.name if isinstance(form.name, str) else path.stem
            return Suite(name[:120], table, path.name, own, form.expectations)
    raise InputFaults(f"expectation suite {path}", faults)


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
