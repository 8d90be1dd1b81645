"""The result of a check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["PASS", "WARN", "FAIL", "SKIP"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes
    ----------
    area, name
        What was checked, e.g. ``slurm``, ``partition gpu``.
    state
        ``PASS``; ``WARN``: a run may work; ``FAIL``: a run cannot work; ``SKIP``: does not apply.
    found
        The state, or why it was not checked.
    fix
        How to fix a WARN or FAIL; otherwise empty.
    """

    area: str
    name: str
    state: State
    found: str
    fix: str = ""


def exit_code(findings: Iterable[Finding]) -> int:
    """1 if anything fails, else 0."""
    return int(any(finding.state == "FAIL" for finding in findings))
