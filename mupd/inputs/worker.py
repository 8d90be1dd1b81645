"""A process that reads inputs for intake, one after another, so that what one of them does ends here.

Started as ``python -m mupd.inputs.worker``. It is told in lines of JSON on standard input and answers so on
standard output: nothing that an input could have influenced is unpickled by anyone.

To it: ``{"config": {...}, "genes": [...]}`` once, then ``{"requests": [[number, {...}], ...]}``.
From it: ``{"tick": true}`` for progress, ``{"number": n, "outcome": {...}}`` for each request in their order,
``{"number": n, "out_of_memory": true}`` or ``{"number": n, "crash": "..."}`` before it ends over one.
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
# The parent kills at the limit; this one is for a worker whose parent was killed in the middle.
_ALARM_FACTOR, _ALARM_SECONDS = 2, 60

Say = Callable[[dict[str, Any]], None]


class _Ticker:
    """Says that there is progress, not more often than needed, and sets the alarm back."""

    def __init__(self, say: Say, seconds: float) -> None:
        self._say, self._seconds, self._last = say, seconds, 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last > _TICK_SECONDS:
            self._last = now
            _alarm(self._seconds)
            self._say({"tick": True})

    def always(self) -> None:
        """A tick that counts in any case."""
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
    # Libraries print; the answers keep a descriptor of their own.
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    at: dict[str, Any] = {}

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message).encode() + b"\n")
        answers.flush()

    def crashed(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        # No reader is trusted after an error that it should not raise: the process ends, and says over what.
        allow_megabytes(None)
        if issubclass(kind, MemoryError):
            say({"number": at.get("number"), "out_of_memory": True})
        elif isinstance(error, Exception):
            reason = reason_of(error, Path(at.get("path", ".")))
            say({"number": at.get("number"), "crash": f"{kind.__name__}: {reason}"})

    sys.excepthook = crashed
    say({"ready": True})
    # From here on what libraries complain of stands in the reasons; a damaged file can make them write gigabytes.
    os.dup2(nowhere, 2)
    _serve(sys.stdin.buffer, say, at)


if __name__ == "__main__":
    main()
