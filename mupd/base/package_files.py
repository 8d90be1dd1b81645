"""Files that come with mupd. In an installed package they are under ``mupd/_NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder ``mupd/`` that this code runs from."""

PACKAGE_PARENT = PACKAGE.parent
"""PYTHONPATH for another process that runs this code."""

Shipped = Literal["gene_sets", "genes", "expectations", "workflow"]

_IN_REPOSITORY: dict[Shipped, str] = {
    "gene_sets": "resources/gene_sets",
    "genes": "resources/genes",
    "expectations": "resources/expectations",
    "workflow": ".",
}
"""Where each folder is in the repository. pyproject.toml (force-include) copies it into the package."""

PROFILES = PACKAGE_PARENT / "workflow" / "profiles"
"""Snakemake profiles in the repository."""


def shipped_file(folder: Shipped, name: str) -> Path:
    """The path of a file that comes with mupd.

    Raises
    ------
    FileNotFoundError
        If it is neither in the installed package nor in the repository.
    """
    for parent in (PACKAGE / f"_{folder}", PACKAGE_PARENT / _IN_REPOSITORY[folder]):
        if (parent / name).is_file():
            return parent / name
    raise FileNotFoundError(f"{name}: not in the package nor in {_IN_REPOSITORY[folder]}")
