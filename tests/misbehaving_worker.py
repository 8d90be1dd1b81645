"""A worker of intake whose slide reader does what a slide's file says: run instead of mupd.intake.worker."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import mupd.modalities.he
import mupd.modalities.slide_picture
import mupd.modalities.text
from mupd.intake.worker import main


class UnheardOf(Exception):
    """What no reader is known to raise."""


def _hang() -> None:
    # With the interpreter's lock held, as a loop in C does: no Python code of the worker runs any more.
    ctypes.PyDLL(None).pause()


def _eat() -> None:
    held = []
    while True:
        held.append(bytearray(b"\1" * (64 << 20)))


def _raise() -> None:
    raise UnheardOf("Jane Doe, 'MRN 12345'")


ACTS = {
    "hang": _hang,
    "sleep": lambda: time.sleep(600),
    "segv": lambda: ctypes.string_at(8),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(0),
    "sysexit": lambda: sys.exit(7),
    "eat": _eat,
    "raise": _raise,
    "print": lambda: os.write(1, b'{"number": 0, "outcome": {}}\n' * 100),
    "recurse": lambda: _deep(),
}


def _deep() -> None:
    _deep()


def check_he(path: Path, _mpp: float | None, _limits: Any) -> dict[str, Any]:
    """Act, or give the facts of a usable slide."""
    words = path.read_text().split()
    if words[0] in ACTS:
        ACTS[words[0]]()
    # Lets a test see whether it was read, and by which process.
    with (path.parent / "read.log").open("a") as log:
        log.write(f"{path.name} {os.getpid()}\n")
    return {"tissue_mm2": float(len(words)), "mpp": 0.5}


def read_text_row(table: Path, row: str) -> str:
    """The row's text; some rows act."""
    text = _read_text_row(table, row)
    if text.split()[0] in ACTS:
        ACTS[text.split()[0]]()
    return text


def outlined_picture(path: Path, mpp: float | None, max_px: int) -> bytes:
    """The picture of a slide, or an act."""
    words = path.read_bytes()[:20].split()
    if words[0].decode("latin-1") in ACTS:
        ACTS[words[0].decode()]()
    return _outlined_picture(path, mpp, max_px)


_read_text_row = mupd.modalities.text.read_text_row
_outlined_picture = mupd.modalities.slide_picture.outlined_picture

if __name__ == "__main__":
    # In the worker alone: tests import this module for its acts.
    mupd.modalities.he.check_he = check_he
    mupd.modalities.text.read_text_row = read_text_row
    mupd.modalities.slide_picture.outlined_picture = outlined_picture
    main()
