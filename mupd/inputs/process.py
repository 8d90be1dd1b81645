"""A worker process as its parent sees it. Both sides write lines of JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from mupd.base.package_files import PACKAGE_PARENT
from mupd.config import Config
from mupd.inputs.examine import Request

Numbered = tuple[int, Request]

WORKER = (sys.executable, "-m", "mupd.inputs.worker")
"""Command that starts a worker."""

_MOST_LINE_BYTES = 1 << 26
_START_SECONDS = 120
_READ_BYTES = 1 << 16


class Worker:
    """A process, the requests that it has not answered yet, and the time until which it must report progress.

    `opened` holds the tables that it has read; `last_message` what it said of an input that ended it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB")}
        path = os.pathsep.join(filter(None, [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH")]))
        # A session of its own, so that an interrupt at the terminal reaches the parent alone, which ends its workers.
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | one_thread | {"PYTHONPATH": path},
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.to, self.fd = self.process.stdin, self.process.stdout.fileno()
        self.waiting: deque[Numbered] = deque()
        self.deadline = time.monotonic() + _START_SECONDS
        self.is_ready = False
        self.is_late = False
        self.last_message: dict[str, Any] = {}
        self.opened: set[str] = set()
        self.setup = ""
        self._read = b""

    def ask(self, setup: str, requests: Sequence[Numbered], seconds: float) -> None:
        """Send requests; the worker must be idle. `setup` is sent first if it differs from the last one."""
        self.waiting.extend(requests)
        self.deadline = max(self.deadline if not self.is_ready else 0, time.monotonic() + seconds)
        message = json.dumps({"requests": [[number, asdict(request)] for number, request in requests]})
        # A worker that has died shows when its answers end.
        with suppress(BrokenPipeError):
            if setup != self.setup:
                self.to.write(setup.encode() + b"\n")
                self.setup = setup
            self.to.write(message.encode() + b"\n")
            self.to.flush()

    def messages(self) -> list[dict[str, Any]] | None:
        """Messages that have arrived; None if there will be no more."""
        piece = os.read(self.fd, _READ_BYTES)
        *lines, self._read = (self._read + piece).split(b"\n")
        if not piece or len(self._read) > _MOST_LINE_BYTES:
            return None
        try:
            received = [json.loads(line) for line in lines]
        except ValueError:
            return None
        return received if all(isinstance(message, dict) for message in received) else None

    def end(self) -> None:
        """Kill the process and all that it started."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                if hasattr(os, "killpg"):
                    os.killpg(self.process.pid, signal.SIGKILL)
                else:
                    self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):
            self.to.close()
        assert self.process.stdout is not None
        self.process.stdout.close()


def reason_of_death(worker: Worker, config: Config) -> str:
    """Why a worker ended, in words: the reason of the input that it was reading."""
    limits = config.intake
    if worker.is_late:
        return (
            f"not read in {limits.file_seconds:g} s: damaged so that it never ends, or large and slow; "
            "intake.file_seconds is the limit"
        )
    if worker.last_message.get("out_of_memory"):
        return f"needs more than {limits.file_mb} MB of memory to be read; intake.file_mb is the limit"
    if "crash" in worker.last_message:
        return f"cannot be read ({worker.last_message['crash']})"
    code = worker.process.returncode
    how = f"exit code {code}"
    if code < 0:
        known = {item.value: item.name for item in signal.Signals}
        how = known.get(-code, f"signal {-code}")
    return (
        f"the process that read it ended ({how}): damaged so that the reader crashes, "
        f"or in need of more memory than intake.file_mb = {limits.file_mb}"
    )
