"""Sends DICOM artifacts to a DICOMweb server (STOW-RS). Refuses files that are altered or lack marks."""

from __future__ import annotations

from mupd.push.account import Account, Outcome
from mupd.push.run import push

__all__ = ["Account", "Outcome", "push"]
