"""Measurements, each in its own process; memory is summed over that process and its children."""

from __future__ import annotations

import multiprocessing
import resource
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_SAMPLE_SECONDS = 0.1


class PeakMemory(threading.Thread):
    """Peak of resident memory of this process and its descendants, in GB (10^9 bytes)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_gb = 0.0
        self._stopped = threading.Event()

    def run(self) -> None:
        import psutil

        this = psutil.Process()
        while not self._stopped.wait(_SAMPLE_SECONDS):
            resident = 0
            for process in (this, *this.children(recursive=True)):
                with suppress(psutil.Error):
                    resident += process.memory_info().rss
            self.peak_gb = max(self.peak_gb, resident / 1e9)

    def stop(self) -> float:
        self._stopped.set()
        self.join()
        return self.peak_gb


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _in_process(results: Any, work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    memory = PeakMemory()
    memory.start()
    began = time.perf_counter()
    figures = work(*arguments)
    results.put(figures | {"seconds": time.perf_counter() - began, "cpu": cpu_seconds(), "gb": memory.stop()})


def measured(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What `work` returns, with wall time, CPU time (children included) and peak memory."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_in_process, args=(results, work, arguments))
    process.start()
    figures: dict[str, Any] = results.get(timeout=3600)
    process.join()
    return figures


def whole(config: Any, jobs: int) -> dict[str, Any]:
    """The inventory of a whole cohort, as ``mupd status`` makes it."""
    from collections import Counter

    from mupd.inputs.pool import pool_of
    from mupd.stages.intake import status_rows

    cases = status_rows(config, jobs)
    pool_of(jobs).close()
    return {"statuses": dict(Counter(f"{m} {e.status}" for case in cases for m, e in case.entries.items()))}


def one_shard(config: Any, jobs: int) -> dict[str, Any]:
    """One shard, as ``mupd intake`` examines it."""
    from mupd.stages.intake import run_shard

    return {"path": str(run_shard(config, 0, jobs))}


def open_and_thumbnail(folder: Path, jobs: int) -> dict[str, Any]:
    """OpenSlide's own part: each slide opened and its thumbnail of 1,024 px made, by as many processes."""
    paths = [str(path) for path in sorted(folder.glob("*.svs"))]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        pool.map(_thumbnail, paths[: 4 * jobs])
        began = time.perf_counter()
        cpu = sum(pool.map(_thumbnail, paths, chunksize=8))
        return {"own": time.perf_counter() - began, "own_cpu": cpu}


def _thumbnail(path: str) -> float:
    """CPU seconds of one slide."""
    import openslide

    began = time.process_time()
    with openslide.OpenSlide(path) as slide:
        slide.get_thumbnail((1024, 1024))
    return time.process_time() - began
