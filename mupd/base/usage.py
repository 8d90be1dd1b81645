"""What a process has used since it began: wall time, CPU time of all its cores, and the most memory it held."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Of this process and its children, since it began.

    Attributes
    ----------
    seconds
        Wall time, the interpreter's start included.
    cpu_seconds
        User and system time, over all threads, of finished and of living children too.
    peak_mb
        Most resident memory of the process, and with it that of its living children, in megabytes of 10**6 bytes.
        Pages that processes share count in each; children that have ended do not count.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float

    def since(self, earlier: Usage) -> Usage:
        """What was used between `earlier` and this; the peak stays that of the whole process."""
        return Usage(self.seconds - earlier.seconds, self.cpu_seconds - earlier.cpu_seconds, self.peak_mb)


def _peak_bytes_of(pid: int) -> int:
    """Most resident memory of a living process; 0 where the system does not say."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def usage_now() -> Usage:
    """What this process has used so far."""
    import resource

    import psutil

    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    # Linux's ru_maxrss begins with the memory of the process that started this one.
    peak = _peak_bytes_of(os.getpid()) or own.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    living = 0
    process = psutil.Process()
    for child in process.children(recursive=True):
        try:
            times = child.cpu_times()
            cpu += times.user + times.system
            living += _peak_bytes_of(child.pid) or child.memory_info().rss
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue  # it has ended since it was listed
    seconds = time.time() - process.create_time()
    return Usage(round(max(seconds, 0.0), 3), round(cpu, 3), round((peak + living) / 1e6, 1))
