"""Looks for marks in zarr stores (AnnData, MuData, SpatialData) without loading their matrices."""

from __future__ import annotations

from pathlib import Path

from mupd.errors import UnusableError
from mupd.synthetic.anndata.peek import TableLook, look_at_tables

_ROOT_FILES = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")


def is_zarr(path: Path) -> bool:
    """Whether a folder is the root of a zarr store: it holds the metadata of one (format 3 or 2)."""
    return path.is_dir() and any((path / name).is_file() for name in _ROOT_FILES)


def look_at_zarr(path: Path) -> TableLook:
    """What the tables of a zarr store show.

    Raises
    ------
    UnusableError
        If the store cannot be read; names it.
    """
    import zarr

    try:
        root = zarr.open(str(path), mode="r")
        if not isinstance(root, zarr.Group):
            return TableLook(())
        return look_at_tables(root)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise UnusableError(f"{path.name}: found zarr that cannot be read ({error}); expected AnnData") from error
