"""The result of a push: one outcome per file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["stored", "already there", "failed", "refused"]
STATES: tuple[State, ...] = ("stored", "already there", "failed", "refused")


@dataclass(frozen=True)
class Outcome:
    """Outcome of one file.

    Attributes
    ----------
    path
        Relative to the run's output folder.
    state
        ``failed``: the server did not accept it; ``refused``: it was not sent, see `reason`.
    """

    path: str
    state: State
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.state:<13} {self.path}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Account:
    """Outcomes of all files."""

    outcomes: tuple[Outcome, ...]

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Account:
        """Make an account from outcomes."""
        return cls(tuple(outcomes))

    @property
    def exit_code(self) -> int:
        """0 if every file is on the server, otherwise 1."""
        return int(any(outcome.state in ("failed", "refused") for outcome in self.outcomes))

    def __str__(self) -> str:
        counts = Counter(outcome.state for outcome in self.outcomes)
        total = ", ".join(f"{counts[state]} {state}" for state in STATES)
        return "\n".join([*(str(outcome) for outcome in self.outcomes), f"{len(self.outcomes)} files: {total}"])
