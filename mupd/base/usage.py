"""Wall time, CPU time and peak memory of a process since it started."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Usage of this process and its children since it started.

    Attributes
    ----------
    seconds
        Wall time, including the start of the interpreter.
    cpu_seconds
        User and system time of all threads, including those of running and finished children.
    peak_mb
        Peak resident memory of the process plus that of its running children, in megabytes of 10**6 bytes. Shared
        pages count in each process. Finished children do not count.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float

    def since(self, earlier: Usage) -> Usage:
        """Usage between `earlier` and this one. The peak remains that of the whole process."""
        return Usage(self.seconds - earlier.seconds, self.cpu_seconds - earlier.cpu_seconds, self.peak_mb)


def _peak_bytes_of(pid: int) -> int:
    """Peak resident memory of a running process; 0 if the system does not tell."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def usage_now() -> Usage:
    """The usage of this process so far."""
    import resource

    import psutil

    own, finished = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + finished.ru_utime + finished.ru_stime
    # On Linux, ru_maxrss starts with the memory of the parent process.
    peak = _peak_bytes_of(os.getpid()) or own.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    children_peak = 0
    process = psutil.Process()
    for child in process.children(recursive=True):
        try:
            times = child.cpu_times()
            cpu += times.user + times.system
            children_peak += _peak_bytes_of(child.pid) or child.memory_info().rss
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue  # it has finished since it was listed
    seconds = time.time() - process.create_time()
    return Usage(round(max(seconds, 0.0), 3), round(cpu, 3), round((peak + children_peak) / 1e6, 1))
