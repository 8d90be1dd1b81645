"""The table of RNA formats.

To add one, write a reader that ends in :func:`mupd.rna.assemble.assemble`, and a row of :data:`FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mupd.rna.anndata_store import ZARR_SUFFIX
from mupd.rna.assemble import ReadOptions
from mupd.rna.h5ad import read_anndata
from mupd.rna.profiles import RnaProfile
from mupd.rna.tenx import MARKET_SUFFIXES, matrix_in, read_market, read_tenx_folder, read_tenx_h5, tenx_files
from mupd.rna.text_tables import TEXT_SUFFIXES, read_text_profile
from mupd.sheet.columns import ANNDATA_SUFFIXES


@dataclass(frozen=True)
class RnaFormat:
    """A format of RNA inputs.

    Attributes
    ----------
    name
        What it is called.
    suffixes
        How file names end, in lower case; none for a folder.
    read
        Reads a profile.
    files
        The files that are read for a path, sorted. A content hash has to cover them.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path, ReadOptions], RnaProfile]
    files: Callable[[Path], list[Path]] = lambda path: [path]


FORMATS = (
    RnaFormat("AnnData as zarr", (ZARR_SUFFIX,), read_anndata),
    RnaFormat("10x folder", (), read_tenx_folder, lambda folder: tenx_files(matrix_in(folder))),
    RnaFormat("AnnData, MuData", ANNDATA_SUFFIXES, read_anndata),
    RnaFormat("10x HDF5", (".h5",), read_tenx_h5, tenx_files),
    RnaFormat("10x MatrixMarket", MARKET_SUFFIXES, read_market, tenx_files),
    RnaFormat("text table", TEXT_SUFFIXES, read_text_profile),
)


def format_of(path: Path) -> RnaFormat | None:
    """The format of a file or folder, by its name; None if it has none of them."""
    name, folder = path.name.lower(), path.is_dir()
    return next((one for one in FORMATS if (folder and not one.suffixes) or name.endswith(one.suffixes)), None)
