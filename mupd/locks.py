"""Tells a lock that a crashed run left from the lock of a run that is still at work."""

from __future__ import annotations

import atexit
import json
import os
import socket
from pathlib import Path
from typing import Any

from mupd.files import write_json

_RUNS = "mupd-runs"


def _is_dead(record: Any) -> bool:
    """Whether a recorded run is known to be over: only one of this host can be."""
    import psutil

    try:
        if record["host"] != socket.gethostname():
            return False
        process = psutil.Process(int(record["pid"]))
        # A later process may have got the same number.
        return abs(process.create_time() - float(record["started"])) >= 1.0
    except psutil.NoSuchProcess:
        return True
    except (psutil.AccessDenied, KeyError, TypeError, ValueError):
        return False


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def release_stale_lock(folder: Path) -> bool:
    """Remove Snakemake's locks if every run recorded here is dead, so that one of them left them.

    A run on another host, one that is alive, and one that left no record may own a lock: then all
    are left alone, and Snakemake itself refuses to start and says how to unlock.

    Parameters
    ----------
    folder
        Snakemake's state folder, ``.snakemake``.

    Returns
    -------
    bool
        Whether a stale lock was removed.
    """
    records = sorted((folder / _RUNS).glob("*.json"))
    if not records or not all(_is_dead(_read(path)) for path in records):
        return False
    locks = sorted((folder / "locks").glob("*.lock"))
    for path in (*locks, *records):
        path.unlink(missing_ok=True)
    return bool(locks)


def record_run(folder: Path) -> Path:
    """Record this process as a run; the record goes when the process ends, and stays if it is killed."""
    import psutil

    host, pid = socket.gethostname(), os.getpid()
    path = folder / _RUNS / f"{host}-{pid}.json"
    write_json(path, {"host": host, "pid": pid, "started": psutil.Process().create_time()})
    atexit.register(path.unlink, missing_ok=True)
    return path
