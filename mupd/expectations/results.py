"""Results of expectation suites: their file and classes.

``OUT/expectations/cohort.json`` (``inputs.json`` and ``draws.json`` of the gates): {"stage", "suites": [{"suite",
"table", "file", "own", "rows", "results": [...]}]}. A result names case ids and numbers, never a value of a text
column.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mupd.base.files import write_json
from mupd.errors import MupdError

Outcome = Literal["passed", "failed", "error", "nothing to check"]
MOST_CASES = 50

_log = logging.getLogger(__name__)


class ExpectationError(MupdError):
    """Expectations failed and the configuration says to stop."""


@dataclass(frozen=True)
class Result:
    """One expectation on one table.

    Attributes
    ----------
    words
        The expectation in plain words.
    checked, unexpected
        Number of values, and of those that do not fit; None for expectations on a whole table or column.
    observed
        The observed value as a number or in words; "" if the counts say enough.
    cases
        Ids of the cases that do not fit, at most 50.
    problem
        Why it could not be evaluated ("" = it was).
    """

    type: str
    words: str
    outcome: Outcome
    checked: int | None = None
    unexpected: int | None = None
    observed: str = ""
    cases: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class SuiteResult:
    """A suite on the rows of one table."""

    suite: str
    table: str
    file: str
    own: bool
    rows: int
    results: tuple[Result, ...] = field(default_factory=tuple)

    @property
    def failed(self) -> tuple[Result, ...]:
        """Results that failed or could not be evaluated."""
        return tuple(result for result in self.results if result.outcome in ("failed", "error"))


def write_results(path: Path, stage: str, suites: Sequence[SuiteResult]) -> None:
    """Write them as JSON, atomically."""
    write_json(path, {"stage": stage, "suites": [asdict(suite) for suite in suites]})


def read_results(path: Path) -> list[SuiteResult]:
    """Read what :func:`write_results` wrote.

    Raises
    ------
    MupdError
        If the file is missing or holds anything else.
    """
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        return [_suite_of(dict(suite)) for suite in whole["suites"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MupdError(f"{path}: found {error}; expected the results of expectation suites") from error


def _suite_of(value: dict[str, Any]) -> SuiteResult:
    results = tuple(Result(**(item | {"cases": tuple(item["cases"])})) for item in value.pop("results"))
    return SuiteResult(**value, results=results)


def tell(suites: Iterable[SuiteResult], stop: bool) -> None:
    """Log a warning for every expectation that is not met.

    Raises
    ------
    ExpectationError
        If there is one and `stop` is true.
    """
    messages = []
    for suite in suites:
        for result in suite.failed:
            of = f"{result.unexpected:,} of {result.checked:,}" if result.unexpected is not None else result.observed
            words = f"expectation not met ({suite.table}, {suite.suite}): {result.words}: {result.problem or of}"
            cases = (
                f" [{', '.join(result.cases[:5])}{', ...' if len(result.cases) > 5 else ''}]" if result.cases else ""
            )
            messages.append(words + cases)
            _log.warning("%s", messages[-1])
    if messages and stop:
        raise ExpectationError("\n  ".join([f"{len(messages)} not met (expectations.on_failure: stop)", *messages]))
