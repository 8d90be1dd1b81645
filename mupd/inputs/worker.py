"""A process that reads inputs one after another, so that a damaged or hostile one can end nothing else.

Started as ``python -m mupd.inputs.worker``. Requests come as lines of JSON on standard input, answers go as lines of
JSON to standard output: nobody unpickles what an input could have influenced.

Requests: ``{"config": {...}, "genes": [...]}`` once, then ``{"requests": [[number, {...}], ...]}``.
Answers: ``{"tick": true}`` for progress, ``{"number": n, "outcome": {...}}`` for each request in order,
``{"number": n, "out_of_memory": true}`` or ``{"number": n, "crash": "..."}`` before an input ends the process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from mupd.base.memory_limit import allow_megabytes, no_core_dump
from mupd.base.messages import reason_of

_TICK_SECONDS = 0.5
# The parent kills at the limit. The alarm ends a worker whose parent was killed.
_ALARM_FACTOR, _ALARM_SECONDS = 2, 60

Say = Callable[[dict[str, Any]], None]


class _Ticker:
    """Reports progress at most twice a second, and resets the alarm."""

    def __init__(self, say: Say, seconds: float) -> None:
        self._say, self._seconds, self._last = say, seconds, 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last > _TICK_SECONDS:
            self._last = now
            _alarm(self._seconds)
            self._say({"tick": True})

    def always(self) -> None:
        """Report progress now."""
        self._last = 0.0
        self()


def _alarm(seconds: float) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(int(seconds * _ALARM_FACTOR) + _ALARM_SECONDS if seconds else 0)


def _serve(lines: IO[bytes], say: Say, at: dict[str, Any]) -> None:
    from mupd.config import parse_config
    from mupd.inputs.examine import Request, examine_request

    config, genes = None, ()
    for line in lines:
        message = json.loads(line)
        if "config" in message:
            config, genes = parse_config(message["config"], "intake worker"), tuple(message["genes"])
            continue
        if config is None:
            raise RuntimeError("found requests before any configuration")
        tick = _Ticker(say, config.intake.file_seconds)
        for number, values in message["requests"]:
            at |= {"number": number, "path": values["path"]}
            request = replace(Request(**values), known=tuple(values["known"]))
            _alarm(config.intake.file_seconds)
            allow_megabytes(config.intake.file_mb)
            outcome = examine_request(request, config, genes, tick.always if request.row else tick)
            say({"number": number, "outcome": outcome.to_dict()})
        _alarm(0)


def main() -> None:
    """Serve until standard input ends or an input brings the process down."""
    no_core_dump()
    # Libraries print to standard output, so the answers get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    at: dict[str, Any] = {}

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message).encode() + b"\n")
        answers.flush()

    def crashed(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        # No reader is trusted after an unexpected error: the process says what happened, and ends.
        allow_megabytes(None)
        if issubclass(kind, MemoryError):
            say({"number": at.get("number"), "out_of_memory": True})
        elif isinstance(error, Exception):
            reason = reason_of(error, Path(at.get("path", ".")))
            say({"number": at.get("number"), "crash": f"{kind.__name__}: {reason}"})

    sys.excepthook = crashed
    say({"ready": True})
    # Complaints of libraries stand in the reasons. A damaged file can make them print gigabytes.
    os.dup2(nowhere, 2)
    _serve(sys.stdin.buffer, say, at)


if __name__ == "__main__":
    main()
