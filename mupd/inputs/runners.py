"""Who examines inputs: this process, or workers under limits of time and memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from mupd.config import Config
from mupd.inputs.examine import Outcome, examine_request
from mupd.inputs.pool import pool_of
from mupd.inputs.process import Numbered

Runner = Callable[[Sequence[Numbered]], Iterator[tuple[int, Outcome]]]
"""Examines requests in any order; yields the number of each with its outcome."""

NO_MEMORY = "needs more memory to be read than there is"


def in_place(config: Config, genes: tuple[str, ...]) -> Runner:
    """A runner in this process, without limits of time and memory: for tests, and for inputs that were read before."""

    def run(requests: Sequence[Numbered]) -> Iterator[tuple[int, Outcome]]:
        for number, request in requests:
            try:
                yield number, examine_request(request, config, genes)
            except MemoryError:
                yield number, Outcome("unusable", NO_MEMORY)

    return run


def in_workers(config: Config, genes: tuple[str, ...], jobs: int) -> Runner:
    """A runner in up to `jobs` processes, each input under the limits of intake.file_seconds and intake.file_mb."""

    def run(requests: Sequence[Numbered]) -> Iterator[tuple[int, Outcome]]:
        return pool_of(jobs).run(requests, config, genes)

    return run


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
