"""What one check found."""

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
        What was looked at, e.g. ``slurm``, ``partition gpu``.
    state
        ``PASS``; ``WARN`` where a run may work; ``FAIL`` where it cannot; ``SKIP`` where it does not apply.
    found
        What is there, or why it was not looked at.
    fix
        What to do about a WARN or FAIL; else empty.
    """

    area: str
    name: str
    state: State
    found: str
    fix: str = ""


def exit_code(findings: Iterable[Finding]) -> int:
    """1 if anything fails, else 0."""
    return int(any(finding.state == "FAIL" for finding in findings))
