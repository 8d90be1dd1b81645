"""Tells a lock that a crashed run left from the lock of a run that is still at work."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from mupd.files import write_json

_RECORD = "mupd-run.json"


def _is_alive(record: dict[str, object]) -> bool:
    import psutil

    try:
        process = psutil.Process(int(str(record["pid"])))
        return abs(process.create_time() - float(str(record["started"]))) < 1.0
    except psutil.NoSuchProcess:
        return False


def release_stale_lock(folder: Path) -> bool:
    """Remove Snakemake's lock if the run that took it is dead, and record this run.

    Only a run recorded on this same host can be known to be dead; any other lock is left alone,
    and Snakemake then refuses to start and says how to unlock.

    Parameters
    ----------
    folder
        Snakemake's state folder, ``.snakemake``.

    Returns
    -------
    bool
        Whether a stale lock was removed.
    """
    import psutil

    path, locks = folder / _RECORD, folder / "locks"
    released = False
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
        here = record.get("host") == socket.gethostname()
        if not here or _is_alive(record):
            return False
        for lock in locks.glob("*.lock") if locks.exists() else ():
            lock.unlink(missing_ok=True)
            released = True
    elif locks.exists() and any(locks.glob("*.lock")):
        return False
    started = psutil.Process().create_time()
    write_json(path, {"pid": os.getpid(), "host": socket.gethostname(), "started": started})
    return released
