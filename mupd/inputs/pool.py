"""A pool of worker processes that read inputs. An input that hangs, crashes or takes too much memory ends one worker.

Why no library: pebble and loky limit the time of a whole task and unpickle what a worker sends. Here the rows of a
table are one task with a time limit for each row, and workers answer in JSON.
"""

from __future__ import annotations

import atexit
import json
import selectors
import subprocess
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import Any

from mupd.config import Config
from mupd.errors import MupdError
from mupd.inputs.examine import Outcome
from mupd.inputs.process import WORKER, Numbered, Worker, reason_of_death

_MOST_REQUEST_BYTES = 48_000
"""A message that fits into a pipe (64 KiB) never blocks its writer."""
_MOST_STARTS_FAILED = 3
_MOST_DEATHS_A_TABLE = 3


class Pool:
    """Up to `jobs` workers, started when there is work and kept for the next call."""

    def __init__(self, jobs: int, command: Sequence[str] = WORKER) -> None:
        self.jobs, self.command = jobs, command
        self.workers: list[Worker] = []
        self.replaced = 0

    def close(self) -> None:
        """End all workers."""
        while self.workers:
            self.workers.pop().end()

    def run(self, requests: Sequence[Numbered], config: Config, genes: Sequence[str]) -> Iterator[tuple[int, Outcome]]:
        """Yield the outcome of each request once, as it arrives, with the request's number.

        Requests for rows of one table should follow each other: they go to the same worker, which opens it once.

        Raises
        ------
        MupdError
            If no worker starts.
        """
        yield from _Run(self, requests, config, genes).outcomes()


class _Run:
    """One call of :meth:`Pool.run`."""

    def __init__(self, pool: Pool, requests: Sequence[Numbered], config: Config, genes: Sequence[str]) -> None:
        self.pool, self.config, self.workers = pool, config, pool.workers
        self.setup = json.dumps({"config": config.to_dict(), "genes": list(genes)})
        self.bundles = deque(_bundles(requests))
        self.bad_tables: dict[str, str] = {}
        self.deaths: Counter[str] = Counter()
        self.failed_starts = 0
        self.selector = selectors.DefaultSelector()

    def outcomes(self) -> Iterator[tuple[int, Outcome]]:
        for worker in self.workers:
            self.selector.register(worker.fd, selectors.EVENT_READ, worker)
        done = False
        try:
            while self.bundles or any(worker.waiting for worker in self.workers):
                yield from self._give_work()
                yield from self._wait()
            done = True
        finally:
            self.selector.close()
            if not done:
                self.pool.close()

    def _give_work(self) -> Iterator[tuple[int, Outcome]]:
        while self.bundles and self.bundles[0][0][1].path in self.bad_tables and self.bundles[0][0][1].row:
            bundle = self.bundles.popleft()
            reason = self.bad_tables[bundle[0][1].path]
            yield from ((number, Outcome("unusable", reason)) for number, _ in bundle)
        while self.bundles:
            idle = next((worker for worker in self.workers if not worker.waiting), None)
            if idle is None:
                if len(self.workers) >= self.pool.jobs:
                    return
                idle = Worker(self.pool.command)
                self.workers.append(idle)
                self.selector.register(idle.fd, selectors.EVENT_READ, idle)
            idle.ask(self.setup, self._next_for(idle), self.config.intake.file_seconds)

    def _next_for(self, worker: Worker) -> list[Numbered]:
        """The next bundle of a table that no other worker has open; if there is none, the next of all."""
        elsewhere = set().union(*(other.opened for other in self.workers if other is not worker and other.waiting))
        elsewhere |= {
            request.path for other in self.workers if other is not worker for _, request in other.waiting if request.row
        }
        for position, bundle in enumerate(self.bundles):
            first = bundle[0][1]
            if not first.row or first.path in worker.opened or first.path not in elsewhere:
                del self.bundles[position]
                return bundle
        return self.bundles.popleft()

    def _wait(self) -> Iterator[tuple[int, Outcome]]:
        busy = [worker for worker in self.workers if worker.waiting or not worker.is_ready]
        if not busy:
            return
        soonest = min(worker.deadline for worker in busy)
        for key, _ in self.selector.select(max(0.0, soonest - time.monotonic())):
            worker: Worker = key.data
            messages = worker.messages()
            if messages is None:
                yield from self._remove(worker)
            else:
                yield from self._take_answers(worker, messages)
        now = time.monotonic()
        for worker in [worker for worker in self.workers if worker.waiting and worker.deadline < now]:
            worker.is_late = True
            yield from self._remove(worker)

    def _take_answers(self, worker: Worker, messages: list[dict[str, Any]]) -> Iterator[tuple[int, Outcome]]:
        for message in messages:
            if not worker.is_ready:
                self.failed_starts = 0
            worker.is_ready = True
            worker.deadline = time.monotonic() + self.config.intake.file_seconds
            if "outcome" not in message:
                if message.get("tick") and worker.waiting and worker.waiting[0][1].row:
                    worker.opened.add(worker.waiting[0][1].path)
                if "number" in message:
                    worker.last_message = message
                continue
            if not worker.waiting or worker.waiting[0][0] != message.get("number"):
                raise MupdError(
                    "a reading process: found an answer out of turn; expected them in the order of the requests"
                )
            number, request = worker.waiting.popleft()
            if request.row:
                worker.opened.add(request.path)
            yield number, Outcome(**message["outcome"])

    def _remove(self, worker: Worker) -> Iterator[tuple[int, Outcome]]:
        """Remove an ended worker. The input it was reading is unusable; the rest of its work goes to another worker."""
        self.selector.unregister(worker.fd)
        self.workers.remove(worker)
        if not worker.is_late:
            # It closed its end of the pipe: wait for its own exit code.
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(2)
        worker.end()
        self.pool.replaced += 1
        if not worker.is_ready:
            self.failed_starts += 1
            if self.failed_starts >= _MOST_STARTS_FAILED:
                raise MupdError(
                    f"{self.failed_starts} reading processes did not start "
                    f"(exit code {worker.process.returncode}); their messages stand above"
                )
        elif worker.waiting:
            number, request = worker.waiting.popleft()
            reason = reason_of_death(worker, self.config)
            yield number, Outcome("unusable", reason)
            if request.row:
                self.deaths[request.path] += 1
                if request.path not in worker.opened or self.deaths[request.path] >= _MOST_DEATHS_A_TABLE:
                    self.bad_tables[request.path] = f"the table: {reason}"
        if worker.waiting:
            self.bundles.appendleft(list(worker.waiting))


def _bundles(requests: Sequence[Numbered]) -> Iterator[list[Numbered]]:
    """Bundle rows of one table into messages of bounded size; every other input stands alone."""
    bundle: list[Numbered] = []
    size = 0
    for number, request in requests:
        own = len(json.dumps(asdict(request))) + 16
        table = request.path if request.row else None
        if bundle and (not table or bundle[-1][1].path != table or size + own > _MOST_REQUEST_BYTES):
            yield bundle
            bundle, size = [], 0
        bundle.append((number, request))
        size += own
        if not table:
            yield bundle
            bundle, size = [], 0
    if bundle:
        yield bundle


@cache
def pool_of(jobs: int) -> Pool:
    """This process's pool of `jobs` workers. It keeps its workers between calls and ends with the process."""
    pool = Pool(jobs)
    atexit.register(pool.close)
    return pool
