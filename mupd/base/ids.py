"""Case ids, shards and seeds. They depend on names alone, so that nothing changes when a cohort grows."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

Modality = Literal["he", "rna", "text"]
MODALITIES: tuple[Modality, ...] = ("he", "rna", "text")

Target = str
"""What is generated: a modality, or a virtual stain of the slide (``stain:NAME``)."""

_STAIN = "stain:"

CASE_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$"
"""At most 48 letters, digits, dots, underscores and hyphens, to fit into DICOM LO (64) with a prefix: TCGA-A6-2686."""

_CASE_ID = re.compile(CASE_ID_PATTERN)


def is_case_id(text: str) -> bool:
    """Whether `text` is valid in file names on every system and in DICOM LO values."""
    return bool(_CASE_ID.fullmatch(text)) and not text.endswith(".")


def stain_target(name: str) -> Target:
    """The target of a configured stain, e.g. ``stain:mif``."""
    return _STAIN + name


def stain_name(target: Target) -> str | None:
    """The name of a target's stain; None for a modality."""
    return target.removeprefix(_STAIN) if target.startswith(_STAIN) else None


def artifact_name(sheet_id: str) -> str:
    """The name of a case in file names and DICOM values: its id if that is valid there, else a digest of the id.

    No part of an invalid id is kept: an id with spaces and commas may be a person's name. In a cohort of 10,000, the
    probability that two ids get the same name is 1e-11. The sheet is refused then.
    """
    if is_case_id(sheet_id):
        return sheet_id
    return f"CASE-{hashlib.sha256(sheet_id.encode()).hexdigest()[:16]}"


def shard_of(case_id: str, shards: int) -> int:
    """The shard (0 to shards - 1) of a case. It depends on the id alone: adding a case moves no other."""
    digest = hashlib.sha256(f"shard\0{case_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % shards


def shard_name(index: int) -> str:
    """The name of a shard's files, e.g. ``shard-0003``."""
    return f"shard-{index:04d}"


def seed_of(run_seed: int, case_id: str, target: Target, draw: int) -> int:
    """The seed (63 bits) of one draw. It does not depend on shard, batch or other cases."""
    digest = hashlib.sha256(f"seed\0{run_seed}\0{case_id}\0{target}\0{draw}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
