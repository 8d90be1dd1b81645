"""Distinguishes the lock of a crashed run from that of a run that is still at work.

Snakemake locks the files of a working folder. Two runs that share an output folder but not a working folder do not see
each other's locks, so the output folder gets a record of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
from pathlib import Path
from typing import Any

from mupd.base.files import write_json
from mupd.errors import MupdError

_RUNS = "mupd-runs"
OWNER = ".mupd-run.json"
"""In the output folder: the run that writes into it."""


class RunningError(MupdError):
    """Another run writes into the output folder."""


def _is_dead(record: Any) -> bool:
    """Whether a recorded run is known to be over; this can be known only of runs on this host."""
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


def _own_record() -> dict[str, Any]:
    import psutil

    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def release_stale_lock(folder: Path) -> bool:
    """Remove Snakemake's locks if every recorded run is dead.

    A lock may belong to a run on another host, to one that is alive, or to one without a record. Then all locks stay,
    and Snakemake itself refuses to start and says how to unlock.

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
    """Record this process as a run. The record is removed when the process ends, and stays if it is killed."""
    record = _own_record()
    path = folder / _RUNS / f"{record['host']}-{record['pid']}.json"
    write_json(path, record)
    atexit.register(path.unlink, missing_ok=True)
    return path


def _claimed(path: Path) -> bool:
    """Write the record of this process to a path; False if there is a record already."""
    record = _own_record()
    mine = path.with_name(f"{path.name}.{record['host']}-{record['pid']}")
    write_json(mine, record)
    try:
        os.link(mine, path)  # atomic: only one run can create it
    except FileExistsError:
        return False
    finally:
        mine.unlink()
    return True


def claim_output(out: Path) -> None:
    """Make this process the only run that writes into an output folder, until it ends.

    The record of a run that crashed on this host is replaced. A record of another host stays, because that run may be
    alive.

    Raises
    ------
    RunningError
        If another run has it.
    """
    path = out / OWNER
    if not _claimed(path):
        record = _read(path)
        if not _is_dead(record):
            known = record if isinstance(record, dict) else {}
            who = f"process {known.get('pid', 'unknown')} on {known.get('host', 'an unknown host')}"
            raise RunningError(
                f"{out}: another run writes into this folder: {who}. Wait for it, or give this one another outdir. "
                f"If that run is over, remove {path} and start again."
            )
        path.unlink(missing_ok=True)
        if not _claimed(path):
            raise RunningError(f"{out}: another run has just begun to write into this folder")
    atexit.register(_release, path, os.getpid())


def _release(path: Path, pid: int) -> None:
    if os.getpid() == pid:  # a forked child ends too
        path.unlink(missing_ok=True)
