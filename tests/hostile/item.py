"""One hostile input."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mupd.base.ids import Modality
from mupd.contracts.inventory import Entry, Status

TENTHS = range(1, 10)


@dataclass(frozen=True)
class Hostile:
    """A broken or odd input.

    Attributes
    ----------
    what
        What is wrong with it, in words: unique.
    suffix
        Of the name it gets, or "" for a folder.
    write
        Makes it at a path.
    status
        What it must come out as.
    word
        Pattern that its reason must hold (without regard to case); "" where it is measured.
    mpp
        What the sheet states as he_mpp.
    """

    what: str
    modality: Modality
    suffix: str
    write: Callable[[Path], object]
    status: Status = "unusable"
    word: str = ""
    mpp: str = ""

    @property
    def format(self) -> str:
        """Its format, by the suffix."""
        return self.suffix.lstrip(".") or "folder"

    def fault(self, entry: Entry) -> str:
        """How an entry differs from what it must be; "" if it does not."""
        if entry.status != self.status:
            return f"{self.what}: found {entry.status} ({entry.reason or entry.facts}); expected {self.status}"
        if not re.search(self.word, entry.reason, re.IGNORECASE):
            return f"{self.what}: found the reason {entry.reason!r}; expected {self.word!r} in it"
        return ""


def bytes_of(make: Callable[[Path], object], suffix: str, folder: Path) -> bytes:
    """The bytes that a maker writes."""
    path = folder / f"made{suffix}"
    make(path)
    data = path.read_bytes()
    path.unlink()
    return data


def data(content: bytes) -> Callable[[Path], object]:
    """A maker of a file with these bytes."""
    return lambda path: path.write_bytes(content)


def part(whole: bytes, tenths: int) -> Callable[[Path], object]:
    """A maker of a file cut off after so many tenths."""
    return data(whole[: len(whole) * tenths // 10])


def flipped(whole: bytes, every: int, start: int = 0) -> bytes:
    """Bytes with every `every`-th inverted, from `start` on."""
    changed = bytearray(whole)
    for place in range(start, len(whole), every):
        changed[place] ^= 0xFF
    return bytes(changed)
