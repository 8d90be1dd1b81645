"""Which public patients and groups of tiles are trained on, which calibrate, and which are never seen."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "validation", "held_out"]

TEST_PATIENTS = frozenset(
    {"TCGA-DK-A2I6", "TCGA-G2-A2EK", "TCGA-ZF-A9R5", "TCGA-BL-A3JM", "TCGA-AD-6964", "TCGA-3M-AB46"}
)
"""TCGA patients with H&E, RNA and report: the real cohort of the benchmarks, not part of any training."""


def split_of(name: str) -> Split:
    """The split of a patient or a group of H&E tiles, by a hash of its name.

    One tenth is held out and never trained on. Another tenth is for validation: it calibrates the model. The
    patients of :data:`TEST_PATIENTS` are always held out.
    """
    if name in TEST_PATIENTS:
        return "held_out"
    bucket = int.from_bytes(hashlib.sha256(f"held-out\0{name}".encode()).digest()[:4], "big") % 10
    return "held_out" if bucket == 0 else "validation" if bucket == 1 else "train"


def is_held_out(name: str) -> bool:
    """Whether a patient or group is never trained on: the fixed tenth, and the test patients."""
    return split_of(name) == "held_out"
