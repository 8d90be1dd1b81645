"""What one check found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Check:
    """One check of one draw.

    Attributes
    ----------
    value, limit
        Plain JSON values: what was found, what it is held against.
    ok
        True or False; None where nothing was decided: the value is only reported, or there was nothing
        to hold it against (value :data:`NOT_MEASURED`). None never counts as passed.
    sentence
        Why it fails (``ok`` False), or a warning that an accepted draw carries on.
    """

    name: str
    value: Any
    limit: Any
    ok: bool | None
    sentence: str = ""


def not_measured(name: str, why: str) -> Check:
    """A check that had nothing to hold the draw against; `why` stands as its limit."""
    return Check(name, NOT_MEASURED, why, None)


def sentences(checks: Sequence[Check], failed: bool) -> list[str]:
    """The sentences of the failed checks, or the warnings of the others."""
    return [check.sentence for check in checks if check.sentence and (check.ok is False) == failed]


def as_json(checks: Sequence[Check]) -> dict[str, dict[str, Any]]:
    """``{name: {"value": ..., "limit": ..., "ok": true | false | null}}``."""
    return {check.name: {"value": check.value, "limit": check.limit, "ok": check.ok} for check in checks}
