"""Sends DICOM artifacts to a server by DICOMweb (STOW-RS), and nothing that is not whole and marked."""

from __future__ import annotations

from mupd.push.account import Account, Outcome
from mupd.push.run import push

__all__ = ["Account", "Outcome", "push"]
