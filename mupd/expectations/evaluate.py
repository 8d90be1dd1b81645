"""Runs suites on tables with Great Expectations: in memory, without analytics, without a network."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from mupd.config.suites import Expectation, Suite
from mupd.errors import Fault, InputFaults
from mupd.expectations.results import MOST_CASES, Outcome, Result, SuiteResult
from mupd.expectations.tables import frame_of
from mupd.expectations.words import plain_words


@cache
def _context() -> Any:
    # Great Expectations reads this when it is imported: no analytics are sent.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's log lines, which quote tracebacks; the results state what went wrong."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _built(expectation: Expectation) -> Any:
    _context()
    from great_expectations.expectations.registry import get_expectation_impl

    return get_expectation_impl(expectation.type)(**expectation.kwargs)


def _shortly(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # pydantic: a count, then pairs of a field and what is wrong with it.
    return "; ".join(lines[1:] if len(lines) > 1 else lines)[:300] or type(error).__name__


def argument_faults(suites: Sequence[Suite]) -> list[Fault]:
    """Arguments that Great Expectations refuses: missing, unknown, or of the wrong type."""
    faults = []
    with _quiet():
        for suite in suites:
            for index, expectation in enumerate(suite.expectations):
                try:
                    _built(expectation)
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    place = f"{suite.file} [expectations.{index}.kwargs]"
                    faults.append(Fault(place, _shortly(error), f"arguments of {expectation.type}"))
    return faults


def _observed(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:,.6g}" if math.isfinite(value) else str(value)
    if isinstance(value, list):
        return f"{len(value)} values"
    if isinstance(value, Mapping) and isinstance(value.get("values"), list):
        return ", ".join(_observed(part) or "none" for part in value["values"])
    # A text may be a value of the table.
    return ""


def _problem(information: Any) -> str:
    if not isinstance(information, Mapping):
        return ""
    parts = [information, *(part for part in information.values() if isinstance(part, Mapping))]
    for part in parts:
        message = part.get("exception_message")
        if message:
            return f"cannot be decided: {str(message).splitlines()[0][:200]}"
    return ""


def _result(expectation: Expectation, validation: Any) -> Result:
    words = expectation.words or plain_words(expectation.type, expectation.kwargs)
    details = validation.result or {}
    problem = "" if validation.success else _problem(validation.exception_info)
    cases: dict[str, None] = {}
    for row in details.get("unexpected_index_list") or ():
        if isinstance(row, Mapping) and row.get("case_id") is not None:
            cases[str(row["case_id"])] = None
    count = details.get("element_count")
    checked = None if count is None else int(count) - int(details.get("missing_count") or 0)
    unexpected = details.get("unexpected_count")
    outcome: Outcome = "error" if problem else "passed" if validation.success else "failed"
    if outcome == "passed" and checked == 0:
        outcome = "nothing to check"
    return Result(
        expectation.type,
        words,
        outcome,
        checked,
        None if unexpected is None else int(unexpected),
        _observed(details.get("observed_value")),
        () if validation.success else tuple(cases)[:MOST_CASES],
        problem,
    )


def run_suite(suite: Suite, rows: Sequence[Mapping[str, Any]]) -> SuiteResult:
    """Run a suite on the rows of its table.

    For a table without rows, every result is ``nothing to check`` and the library is not loaded.

    Raises
    ------
    InputFaults
        If an expectation refuses its arguments.
    """
    about = (suite.name, suite.table, suite.file, suite.own, len(rows))
    if not rows:
        empty = [
            Result(item.type, item.words or plain_words(item.type, item.kwargs), "nothing to check")
            for item in suite.expectations
        ]
        return SuiteResult(*about, tuple(empty))
    if faults := argument_faults([suite]):
        raise InputFaults(f"expectation suite {suite.file}", faults)
    context = _context()
    # Names of sources are unique in a context: reuse one for every table.
    source = context.data_sources.add_or_update_pandas(name="mupd")
    batch = (
        source.add_dataframe_asset(name=suite.table)
        .add_batch_definition_whole_dataframe("all")
        .get_batch(batch_parameters={"dataframe": frame_of(suite.table, rows)})
    )
    wanted = {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": ["case_id"],
        "return_unexpected_index_query": False,
    }
    results = []
    with _quiet():
        for expectation in suite.expectations:
            # One by one: results stay in order, and an expectation that cannot be evaluated does not affect the others.
            results.append(_result(expectation, batch.validate(_built(expectation), result_format=wanted)))
    return SuiteResult(*about, tuple(results))
