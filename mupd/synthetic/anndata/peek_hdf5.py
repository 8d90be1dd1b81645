"""Looks for marks in .h5ad, .h5mu and 10x .h5 files through h5py, without loading their matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mupd.errors import UnusableError
from mupd.synthetic.anndata.peek import TableLook, look_at_tables


def look_at_hdf5(path: Path) -> TableLook:
    """What the tables of an HDF5 file show.

    Raises
    ------
    UnusableError
        If the file cannot be read as HDF5; names the file.
    """
    from mupd.rna.size_limits import open_h5

    try:
        with open_h5(path) as file:
            return look_at_tables(file)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise UnusableError(f"{path.name}: found HDF5 that cannot be read ({error}); expected .h5ad") from error


def hdf5_marks(path: Path) -> tuple[list[str], dict[str, Any]]:
    """Marks of an HDF5 file and what its ``uns["mupd"]`` says (empty if it has none); see :func:`look_at_hdf5`."""
    look = look_at_hdf5(path)
    return list(look.marks), look.provenance
