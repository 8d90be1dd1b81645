"""Expectations in plain words, for those whose author gave none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST_LISTED = 12


def _listed(values: Any) -> str:
    if not isinstance(values, list):
        return str(values)
    shown = ", ".join(str(value) for value in values[:_MOST_LISTED])
    return f"{shown}, and {len(values) - _MOST_LISTED} more" if len(values) > _MOST_LISTED else shown


def _number(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _between(kwargs: Mapping[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is not None and high is not None:
        return f"between {_number(low)} and {_number(high)}"
    if low is not None:
        return f"{'more than' if kwargs.get('strict_min') else 'at least'} {_number(low)}"
    return f"{'less than' if kwargs.get('strict_max') else 'at most'} {_number(high)}" if high is not None else "given"


def plain_words(name: str, kwargs: Mapping[str, Any]) -> str:
    """E.g. ``mpp is between 0.1 and 4 (in at least 95 % of rows)``."""
    column = kwargs.get("column")
    subject = str(column) if column else "the table"
    verb = name.removeprefix("expect_column_pair_").removeprefix("expect_column_").removeprefix("expect_table_")
    verb = verb.removeprefix("expect_").replace("_", " ")
    if "column_A" in kwargs:
        subject = f"{kwargs['column_A']} and {kwargs.get('column_B')}"
    if "column_list" in kwargs:
        subject = _listed(kwargs["column_list"])
    if name.endswith("_to_be_between"):
        what = verb.removesuffix(" to be between").removeprefix("values").replace("value lengths", "length")
        sentence = f"{f'{what.strip()} of ' if what.strip() else ''}{subject} is {_between(kwargs)}"
    elif "value_set" in kwargs:
        sentence = f"{subject}: {verb.removesuffix(' set')} {_listed(kwargs['value_set'])}"
    elif "regex" in kwargs:
        sentence = f"{subject} {'does not look' if '_not_' in name else 'looks'} like {kwargs['regex']}"
    elif name == "expect_column_values_to_not_be_null":
        sentence = f"{subject} is given"
    elif name == "expect_column_values_to_be_null":
        sentence = f"{subject} is empty"
    elif name == "expect_column_values_to_be_unique":
        sentence = f"{subject} is never twice the same"
    else:
        rest = {k: v for k, v in kwargs.items() if k not in ("column", "column_A", "column_B", "column_list", "mostly")}
        sentence = f"{subject}: {verb}" + (
            f" ({', '.join(f'{k} {_listed(v)}' for k, v in rest.items())})" if rest else ""
        )
    mostly = kwargs.get("mostly")
    if isinstance(mostly, int | float) and mostly < 1:
        sentence += f" (in at least {100 * mostly:g} % of rows)"
    return sentence
