"""Figures of the running process."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_memory_mb() -> float:
    """Peak of the memory that this process has held.

    VmHWM is read where there is /proc: ru_maxrss begins with the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # bytes on macOS
