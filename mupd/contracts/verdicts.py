"""Verdicts on draws and their checks, in the table ``checked/SHARD.parquet``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from mupd.base.files import atomic_path
from mupd.base.ids import Target
from mupd.errors import MupdError

NOT_MEASURED = "not measured"

FAILED_DRAW = -1
"""Number of the one row of a task that left no draw."""

Outcome = Literal["accepted", "rejected", "failed"]


@dataclass(frozen=True)
class Check:
    """One check of one draw.

    Attributes
    ----------
    value, limit
        Plain JSON values: the measurement and its limit.
    ok
        None if the check decides nothing: the value is only reported, or nothing was measured that it can be compared
        with (value :data:`NOT_MEASURED`). None never counts as passed.
    sentence
        Why the draw fails (``ok`` False), or a warning that is kept with an accepted draw.
    """

    name: str
    value: Any
    limit: Any
    ok: bool | None
    sentence: str = ""


def not_measured(name: str, why: str) -> Check:
    """A check for which nothing was measured to compare with; `why` takes the place of the limit."""
    return Check(name, NOT_MEASURED, why, None)


def sentences(checks: Sequence[Check], failed: bool) -> list[str]:
    """The sentences of the failed checks, or the warnings of the others."""
    return [check.sentence for check in checks if check.sentence and (check.ok is False) == failed]


def as_json(checks: Sequence[Check]) -> dict[str, dict[str, Any]]:
    """``{name: {"value": ..., "limit": ..., "ok": true | false | null}}``."""
    return {check.name: {"value": check.value, "limit": check.limit, "ok": check.ok} for check in checks}


@dataclass(frozen=True)
class Verdict:
    """One row: a draw, or a task that left none (draw :data:`FAILED_DRAW`, verdict ``failed``).

    Attributes
    ----------
    reasons
        Sentences joined by "; ": why the draw was rejected, or warnings on an accepted draw.
    checks
        {name: {"value", "limit", "ok"}}, see :func:`as_json`.
    content_sha256
        Recomputed from the draw's values.
    folder
        Of the draw, relative to the output folder.
    facts
        For RNA, the draw's row in the table ``generated_rna`` of the expectation suites.
    """

    case_id: str
    target: Target
    draw: int
    verdict: Outcome
    reasons: str
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    content_sha256: str = ""
    folder: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def failed_task(case_id: str, target: Target, reason: str) -> Verdict:
    """The row of a task that left no draw."""
    return Verdict(case_id, target, FAILED_DRAW, "failed", reason)


_COLUMNS = tuple(column.name for column in fields(Verdict))
_JSON_COLUMNS = ("checks", "facts")


def write_verdicts(path: Path, verdicts: Iterable[Verdict]) -> None:
    """Write the rows as Parquet, atomically; ``checks`` and ``facts`` as JSON, ``draw`` as int64."""
    import pandas as pd

    rows = [
        vars(verdict) | {name: json.dumps(getattr(verdict, name), sort_keys=True) for name in _JSON_COLUMNS}
        for verdict in verdicts
    ]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    kinds = {column: "int64" if column == "draw" else str for column in _COLUMNS}
    with atomic_path(path) as temporary:
        table.astype(kinds).to_parquet(temporary, index=False)


def read_verdicts(path: Path) -> list[Verdict]:
    """Read what :func:`write_verdicts` wrote.

    Raises
    ------
    MupdError
        If the table has other columns.
    """
    import pandas as pd

    table = pd.read_parquet(path)
    if set(table.columns) != set(_COLUMNS):
        raise MupdError(
            f"{path}: found columns {', '.join(sorted(table.columns))}; expected {', '.join(sorted(_COLUMNS))}: "
            "run `mupd check` on this shard again"
        )
    rows = table.to_dict("records")
    return [
        Verdict(**(row | {"draw": int(row["draw"])} | {name: json.loads(row[name]) for name in _JSON_COLUMNS}))
        for row in rows
    ]
