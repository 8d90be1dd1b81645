"""Case ids, shards and seeds: pure functions of names, so that nothing moves when a cohort grows."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

Modality = Literal["he", "rna", "text"]
MODALITIES: tuple[Modality, ...] = ("he", "rna", "text")

Target = str
"""What is generated: a modality, or a virtual stain of the slide, ``stain:NAME``."""

_STAIN = "stain:"

CASE_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$"
"""Letters, digits, dot, underscore, hyphen; at most 48, so that it fits DICOM LO (64) with a prefix."""

_CASE_ID = re.compile(CASE_ID_PATTERN)


def is_case_id(text: str) -> bool:
    """Whether `text` may name a case: legal in file names on every system and in DICOM LO values."""
    return bool(_CASE_ID.fullmatch(text)) and not text.endswith(".")


def stain_target(name: str) -> Target:
    """The target of a configured stain, e.g. ``stain:mif``."""
    return _STAIN + name


def stain_name(target: Target) -> str | None:
    """Name of the stain that a target is; None for a modality."""
    return target.removeprefix(_STAIN) if target.startswith(_STAIN) else None


def artifact_name(sheet_id: str) -> str:
    """Name of a case wherever it becomes a file name or a DICOM value: its id if that can be one, else a digest.

    Nothing of an id that cannot be a name is kept: what holds spaces and commas may be a person's name.
    Two ids get one name with a chance of 1e-11 in a cohort of 10,000; the sheet is refused then.
    """
    if is_case_id(sheet_id):
        return sheet_id
    return f"CASE-{hashlib.sha256(sheet_id.encode()).hexdigest()[:16]}"


def shard_of(case_id: str, shards: int) -> int:
    """The shard (0 to shards - 1) of a case, by its id alone: adding a case moves no other."""
    digest = hashlib.sha256(f"shard\0{case_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % shards


def shard_name(index: int) -> str:
    """File-name form of a shard, e.g. ``shard-0003``."""
    return f"shard-{index:04d}"


def seed_of(run_seed: int, case_id: str, target: Target, draw: int) -> int:
    """Seed (63 bits) of one draw; never depends on shard, batch or the other cases."""
    digest = hashlib.sha256(f"seed\0{run_seed}\0{case_id}\0{target}\0{draw}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
