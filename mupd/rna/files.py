"""Reading the RNA profile of one case from its own file or folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from mupd.base.messages import reason_of
from mupd.errors import UnusableError
from mupd.rna.assemble import ReadOptions
from mupd.rna.formats import format_of
from mupd.rna.profiles import RnaProfile
from mupd.rna.size_limits import READ_ERRORS


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
        if file_format := format_of(path):
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
    file_format = format_of(path)
    return file_format.files(path) if file_format else [path]
