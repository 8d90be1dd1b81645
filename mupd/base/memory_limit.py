"""Limits of memory and of core dumps for a process that reads inputs. The memory limit works on Linux only."""

from __future__ import annotations

import sys
from pathlib import Path

_MB = 1 << 20
_STATUS = Path("/proc/self/status")

HAS_MEMORY_LIMIT = sys.platform == "linux"
"""RLIMIT_DATA covers private memory since Linux 4.7. RLIMIT_AS would count libraries and mapped files as well; macOS
enforces neither."""


def data_bytes() -> int:
    """Private memory (heap, anonymous mappings, stacks) of this process, as RLIMIT_DATA counts it."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def allow_megabytes(megabytes: int | None) -> None:
    """Let this process take so much more private memory than it holds now; None lifts the limit."""
    if not HAS_MEMORY_LIMIT:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard if megabytes is None else data_bytes() + megabytes * _MB
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def no_core_dump() -> None:
    """Write no core file if this process crashes: it would hold a copy of patient data."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
