"""The parts of a training, run in order, each by all processes or by the main one alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mupd.errors import Fault, InputFaults, MupdError
from mupd.training import processes
from mupd.training.loop import all_were_stopped


@dataclass(frozen=True)
class Part:
    """A part of a training.

    Attributes
    ----------
    alone
        Only the main process runs it; the others wait.
    """

    name: str
    run: Callable[[], None]
    alone: bool = False


def check_part(name: str, known: tuple[str, ...]) -> None:
    """Refuse a part that does not exist.

    Raises
    ------
    InputFaults
        If `name` is neither ``all`` nor one of `known`.
    """
    if name not in ("all", *known):
        raise InputFaults("mupd train", [Fault("--part", name, f"all or one of {', '.join(known)}")])


def run_parts(parts: tuple[Part, ...], name: str) -> None:
    """Run one part or, with ``all``, every part in order.

    Raises
    ------
    MupdError
        If a signal stopped a part; its checkpoint is saved.
    """
    for part in parts:
        if name not in ("all", part.name):
            continue
        if processes.is_main():
            print(f"mupd train: {part.name}")
        if processes.is_main() or not part.alone:
            part.run()
        if all_were_stopped():
            raise MupdError(f"stopped by a signal while training {part.name}; run the same command again to go on")
