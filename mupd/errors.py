"""Errors that name the place, what was found and what was expected.

Everything a user can cause raises a subclass of :class:`MupdError`; the command line prints it
without a traceback and exits with :attr:`MupdError.exit_code`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MupdError(Exception):
    """Base of all errors that a user can act on."""

    exit_code = 1


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an input.

    Attributes
    ----------
    where
        File and line or field, e.g. ``cases.tsv:4 [rna]``.
    found
        What is there.
    expected
        What should be there instead.
    """

    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}; expected {self.expected}"


class InputFaults(MupdError):
    """A sheet or configuration that cannot be used; lists every fault at once."""

    exit_code = 2

    def __init__(self, what: str, faults: Sequence[Fault]) -> None:
        self.what = what
        self.faults = tuple(faults)
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        plural = "fault" if len(self.faults) == 1 else "faults"
        super().__init__(f"{what}: {len(self.faults)} {plural}\n{lines}")


class UnusableError(MupdError):
    """An input of one case that is there but fails its checks; becomes status ``unusable``."""


class ModelError(MupdError):
    """A model folder or checkpoint that cannot be loaded, or does not fit its configuration."""


class CaseError(MupdError):
    """A failure inside one case: the case is recorded as failed, the others go on."""


class SyntheticInputError(UnusableError):
    """An input that carries synthetic marks; it is never read as measured."""
