"""Reading the RNA profile of one case from its own file or folder, by its suffix or by what lies in it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from mupd.base.messages import reason_of
from mupd.errors import UnusableError
from mupd.rna.h5ad import read_anndata
from mupd.rna.profiles import RnaProfile
from mupd.rna.size_limits import READ_ERRORS
from mupd.rna.text_tables import TEXT_SUFFIXES, has_suffix, read_text_profile
from mupd.rna.visium import (
    MARKET_SUFFIXES,
    matrix_in,
    read_market,
    read_tenx_folder,
    read_tenx_h5,
    tenx_files,
)

ANNDATA_SUFFIXES = (".h5ad", ".h5mu")
SUFFIXES = (*ANNDATA_SUFFIXES, ".h5", *MARKET_SUFFIXES, *TEXT_SUFFIXES)
"""Suffixes of files that may be RNA; a folder may be too (10x)."""


def read_rna(
    path: Path, values: str = "auto", genes: Collection[str] | None = None, keep_given: bool = False
) -> RnaProfile:
    """Read the profile of one case.

    Parameters
    ----------
    path
        ``.h5ad`` or ``.h5mu`` (its modality ``rna``): spots if ``obsm["spatial"]`` is there (x and y in pixels of the
        slide's level 0); ``layers["counts"]`` goes before X. A 10x ``.h5``, ``matrix.mtx`` or folder (of a matrix, or
        what Space Ranger writes): spots in tissue where ``spatial/tissue_positions`` is beside the matrix, else all
        barcodes added up. A table ``.csv``/``.tsv``/``.txt``/``.sf``/``.genes.results``, gzipped or not: genes in rows
        or in columns, gene and value, spots named ``XxY`` in rows (their positions on the slide are then not known),
        or a quantifier's (GDC STAR counts, RSEM, Salmon, kallisto, StringTie, featureCounts, HTSeq).
    values
        Scale: ``auto``, ``log`` or one of :data:`mupd.rna.profiles.Values`. Of a quantifier's table that has
        both, ``counts`` takes the reads, everything else the TPM.
    genes
        Gene symbols of the model, to tell which axis holds genes; without them their form tells.
    keep_given
        Whether the profile also holds the values as they stand in the file (of cells: their sum).

    Raises
    ------
    UnusableError
        If the file does not read as such a table.
    """
    try:
        if path.is_dir():
            return read_tenx_folder(path, values, keep_given)
        known = None if genes is None else frozenset(genes)
        if has_suffix(path, ANNDATA_SUFFIXES):
            return read_anndata(path, values, known, keep_given)
        if has_suffix(path, (".h5",)):
            return read_tenx_h5(path, values, keep_given)
        if has_suffix(path, MARKET_SUFFIXES):
            return read_market(path, values, keep_given)
        if has_suffix(path, TEXT_SUFFIXES):
            return read_text_profile(path, values, known, keep_given)
    except READ_ERRORS as error:
        raise UnusableError(f"does not read as an expression table: {reason_of(error, path)}") from error
    raise UnusableError("another suffix: expected .h5ad, .h5mu, .h5 (10x), .csv, .tsv, .txt (.gz), or a 10x folder")


def source_files(path: Path) -> list[Path]:
    """The files that :func:`read_rna` reads of a path, sorted: what a content hash has to cover.

    A 10x matrix is read together with ``spatial/`` beside it, and of an output folder only these are read.

    Raises
    ------
    UnusableError
        For a folder without a 10x matrix.
    OSError
        If the folder cannot be listed.
    """
    if path.is_dir():
        return tenx_files(matrix_in(path))
    return tenx_files(path) if has_suffix(path, (".h5", *MARKET_SUFFIXES)) else [path]
