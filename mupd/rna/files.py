"""The table of RNA formats, and reading the profile of one case from a file or folder.

To add a format, write a reader that ends in :func:`mupd.rna.assemble.assemble`, and a row of :data:`FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from mupd.base.messages import reason_of
from mupd.errors import UnusableError
from mupd.rna.assemble import ReadOptions
from mupd.rna.h5ad import ANNDATA_SUFFIXES, read_anndata
from mupd.rna.profiles import RnaProfile
from mupd.rna.size_limits import READ_ERRORS
from mupd.rna.text_tables import TEXT_SUFFIXES, read_text_profile
from mupd.rna.visium import MARKET_SUFFIXES, matrix_in, read_market, read_tenx_folder, read_tenx_h5, tenx_files


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
    RnaFormat("10x folder", (), read_tenx_folder, lambda folder: tenx_files(matrix_in(folder))),
    RnaFormat("AnnData, MuData", ANNDATA_SUFFIXES, read_anndata),
    RnaFormat("10x HDF5", (".h5",), read_tenx_h5, tenx_files),
    RnaFormat("10x MatrixMarket", MARKET_SUFFIXES, read_market, tenx_files),
    RnaFormat("text table", TEXT_SUFFIXES, read_text_profile),
)


def _format_of(path: Path) -> RnaFormat | None:
    name, folder = path.name.lower(), path.is_dir()
    return next((one for one in FORMATS if (folder and not one.suffixes) or name.endswith(one.suffixes)), None)


def read_rna(
    path: Path, values: str = "auto", genes: Collection[str] | None = None, keep_stored: bool = False
) -> RnaProfile:
    """Read the profile of one case.

    Parameters
    ----------
    path
        ``.h5ad`` or ``.h5mu`` (its modality ``rna``): spots if there is ``obsm["spatial"]`` (x and y in pixels of the
        slide's level 0); ``layers["counts"]`` takes precedence over X. A 10x ``.h5``, ``matrix.mtx`` or folder (of a
        matrix, or the output of Space Ranger): the spots in tissue if ``spatial/tissue_positions`` is beside the
        matrix, else all barcodes added up. A table ``.csv``/``.tsv``/``.txt``/``.sf``/``.genes.results``, gzipped or
        not: genes in rows or columns, gene and value, spots named ``XxY`` in rows (without positions on the slide), or
        the output of a quantifier (GDC STAR counts, RSEM, Salmon, kallisto, StringTie, featureCounts, HTSeq).
    values
        Scale: ``auto``, ``log`` or one of :data:`mupd.rna.profiles.Values`. From a quantifier's table with reads and
        TPM, ``counts`` selects the reads, everything else the TPM.
    genes
        Gene symbols of the model, which help to tell which axis holds genes.
    keep_stored
        Whether the profile also holds the values as the file stores them (of cells: their sum).

    Raises
    ------
    UnusableError
        If the file does not read as an expression table.
    """
    try:
        if file_format := _format_of(path):
            known = None if genes is None else frozenset(genes)
            return file_format.read(path, ReadOptions(values, known, keep_stored))
    except READ_ERRORS as error:
        raise UnusableError(f"does not read as an expression table: {reason_of(error, path)}") from error
    raise UnusableError("another suffix: expected .h5ad, .h5mu, .h5 (10x), .csv, .tsv, .txt (.gz), or a 10x folder")


def source_files(path: Path) -> list[Path]:
    """The files that :func:`read_rna` reads for a path, sorted.

    Raises
    ------
    UnusableError
        For a folder without a 10x matrix.
    OSError
        If the folder cannot be listed.
    """
    file_format = _format_of(path)
    return file_format.files(path) if file_format else [path]
