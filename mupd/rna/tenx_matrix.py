"""Matrices of 10x Genomics: HDF5 (v2, v3, probe sets) and folders with MatrixMarket and TSV files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.rna.h5ad import DiskMatrix
from mupd.rna.input_names import best_names, genome_species, refuse_other_species
from mupd.rna.matrix_market import market_entries
from mupd.rna.size_limits import (
    MOST_CASE_BYTES,
    MOST_NAMES,
    h5_numbers,
    h5_strings,
    open_h5,
    open_text,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_EXPRESSION = "Gene Expression"


@dataclass(frozen=True)
class TenxMatrix:
    """Gene expression in a 10x matrix.

    Attributes
    ----------
    counts
        (barcodes, genes) CSR.
    ids, symbols, barcodes
        Names of its axes. Several columns may belong to one gene (probes).
    evidence
        What was read and what was left out, in words.
    """

    counts: csr_matrix
    ids: list[str]
    symbols: list[str]
    barcodes: list[str]
    evidence: tuple[str, ...]
    format: str

    @property
    def whole_numbers(self) -> bool:
        """Whether the values are counts. Corrected ones have fractions."""
        data = self.counts.data
        return data.dtype.kind in "iu" or bool(np.array_equal(data, np.rint(data)))


def _kept_features(
    ids: list[str], symbols: list[str], types: list[str] | None, genomes: list[str] | None
) -> tuple[NDArray[np.intp], list[str]]:
    """The columns with expression of human genes, and what was left out, in words."""
    kept, words = np.ones(len(ids), bool), []
    if types is not None:
        kept = np.array([kind in (_EXPRESSION, "") for kind in types], bool)
        if not kept.any():
            shown = ", ".join(sorted(set(types))[:4])
            raise UnusableError(f"no feature of type {_EXPRESSION} (found: {shown})")
        if lost := int((~kept).sum()):
            words.append(f"{lost} features of other types than {_EXPRESSION} left out")
    if genomes is not None:
        names = sorted({name for name, keep in zip(genomes, kept, strict=True) if keep and name})
        human = [name for name in names if genome_species(name) == "human"]
        if len(names) > 1 and len(human) == 1:
            of_human = np.array([name == human[0] for name in genomes], bool)
            words.append(f"{int((kept & ~of_human).sum())} genes of other genomes than {human[0]} left out")
            kept &= of_human
        elif len(names) > 1 and not human:
            raise UnusableError(f"several genomes ({', '.join(names[:4])}), none known as human: keep the human one")
        if len(names) == 1 or human:
            words.append(f"genome {', '.join(human or names)}")
            refuse_other_species((), (), (human or names)[0])
    columns = np.flatnonzero(kept)
    refuse_other_species([symbols[index] for index in columns], [ids[index] for index in columns])
    return columns, words


def _compressed(group: Any, features: int, barcodes: int) -> csr_matrix:
    """(barcodes, features) CSR, which is the stored (features, barcodes) CSC."""
    return DiskMatrix(group, (barcodes, features), "csr_matrix", "the 10x matrix").rows(0, barcodes)


def _shape(group: Any, features: int, barcodes: int) -> None:
    declared = tuple(int(value) for value in h5_numbers(group["shape"], "matrix/shape")[()])
    if declared != (features, barcodes):
        raise UnusableError(f"a 10x matrix of {declared} with {features} features and {barcodes} barcodes")


def _of_probes(features: Any, name: str) -> tuple[list[str], list[str], NDArray[np.bool_]]:
    ids = [value.removeprefix("DEPRECATED_") for value in h5_strings(features["gene_id"], "gene_id")]
    symbols = h5_strings(features["gene_name"], "gene_name") if "gene_name" in features else ids
    passed = h5_numbers(features[name], name)[()].astype(bool) if name in features else np.ones(len(ids), bool)
    return ids, symbols, passed if len(passed) == len(ids) and passed.any() else np.ones(len(ids), bool)


def _read_v3(group: Any) -> TenxMatrix:
    features = group["features"]
    barcodes, ids = h5_strings(group["barcodes"], "barcodes"), h5_strings(features["id"], "features/id")
    _shape(group, len(ids), len(barcodes))
    symbols = h5_strings(features["name"], "features/name")
    types = h5_strings(features["feature_type"], "feature_type") if "feature_type" in features else None
    genomes = h5_strings(features["genome"], "genome") if "genome" in features else None
    for what, names in (("name", symbols), ("feature_type", types), ("genome", genomes)):
        if names is not None and len(names) != len(ids):
            raise UnusableError(f"features/{what}: {len(names)} values for {len(ids)} features")
    counts, words, version = _compressed(group, len(ids), len(barcodes)), [], "10x HDF5 v3"
    keep = np.ones(len(ids), bool)
    if "gene_id" in features:
        ids, symbols, keep = _of_probes(features, "filtered_probes")
        version = "10x HDF5 of probes"
        words.append(f"probes added up by gene ({int(keep.sum())} of {len(ids)} that pass the filter)")
    columns, left_out = _kept_features(ids, symbols, types, genomes)
    columns = columns[keep[columns]]
    if "filtered_barcodes" in group:
        inside = h5_numbers(group["filtered_barcodes"], "filtered_barcodes")[()].astype(bool)
        if len(inside) == len(barcodes) and inside.any():
            words.append(f"{int(inside.sum())} of {len(barcodes)} barcodes pass the filter")
            barcodes = [name for name, kept in zip(barcodes, inside, strict=True) if kept]
            counts = counts[np.flatnonzero(inside)]
    return _chosen(counts, _Axes(ids, symbols, barcodes), columns, (*words, *left_out), version)


@dataclass(frozen=True)
class _Axes:
    """Names of a matrix's axes, before columns are left out."""

    ids: list[str]
    symbols: list[str]
    barcodes: list[str]


def _chosen(
    counts: csr_matrix, axes: _Axes, columns: NDArray[np.intp], words: tuple[str, ...], version: str
) -> TenxMatrix:
    ids, symbols = axes.ids, axes.symbols
    if len(columns) < len(ids):
        counts, ids, symbols = counts[:, columns], [ids[at] for at in columns], [symbols[at] for at in columns]
    return TenxMatrix(counts, ids, best_names(ids, symbols), axes.barcodes, words, version)


def _read_v2(file: Any, names: list[str]) -> TenxMatrix:
    """A file of Cell Ranger before 3, with one group per genome."""
    human = [name for name in names if genome_species(name) == "human"]
    if len(names) > 1 and len(human) != 1:
        raise UnusableError(f"several genomes ({', '.join(names[:4])}), not one known as human: keep the human one")
    name = human[0] if human else names[0]
    refuse_other_species((), (), name)
    group = file[name]
    barcodes, ids = h5_strings(group["barcodes"], "barcodes"), h5_strings(group["genes"], "genes")
    symbols = h5_strings(group["gene_names"], "gene_names") if "gene_names" in group else ids
    if len(symbols) != len(ids):
        raise UnusableError(f"gene_names: {len(symbols)} values for {len(ids)} genes")
    _shape(group, len(ids), len(barcodes))
    words = [f"genome {name}"]
    if len(names) > 1:
        words.append(f"genomes {', '.join(other for other in names if other != name)} left out")
    columns, left_out = _kept_features(ids, symbols, None, None)
    counts = _compressed(group, len(ids), len(barcodes))
    return _chosen(counts, _Axes(ids, symbols, barcodes), columns, (*words, *left_out), "10x HDF5 v2")


def read_h5_matrix(path: Path) -> TenxMatrix:
    """The gene expression matrix in a 10x ``.h5`` file.

    Raises
    ------
    UnusableError
        If the HDF5 file is no 10x matrix, contradicts itself or holds no human gene expression.
    """
    import h5py

    with open_h5(path) as file:
        matrix = file.get("matrix")
        if isinstance(matrix, h5py.Group) and "features" in matrix:
            return _read_v3(matrix)
        genomes = [
            name
            for name in file
            if isinstance(file[name], h5py.Group) and {"barcodes", "genes", "data", "indptr"} <= set(file[name])
        ]
        if genomes:
            return _read_v2(file, genomes)
        if "molecule_info" in path.name or "barcode_idx" in file:
            raise UnusableError("10x molecule_info.h5, not a matrix: give filtered_feature_bc_matrix.h5")
    raise UnusableError("an HDF5 file that is no 10x matrix: expected matrix/features (v3) or a group per genome (v2)")


def _names_table(path: Path, columns: int) -> list[list[str]]:
    """The columns of a small TSV without header."""
    with open_text(path, MOST_CASE_BYTES) as stream:
        if columns == 1:
            # Raw matrices have millions of barcodes.
            return [[name.partition("\t")[0].strip('"') for name in stream.read().splitlines() if name]]
        names: list[list[str]] = [[] for _ in range(columns)]
        for number, line in enumerate(stream):
            if number >= MOST_NAMES:
                raise UnusableError(f"over {MOST_NAMES:,} names in a list of a 10x folder")
            cells = line.rstrip("\r\n").split("\t")
            if cells == [""]:
                continue
            for column in range(columns):
                names[column].append(cells[column].strip('"') if column < len(cells) else "")
    return names


@dataclass(frozen=True)
class MatrixFolder:
    """The three files of a 10x matrix folder."""

    matrix: Path
    barcodes: Path
    features: Path

    def all(self) -> list[Path]:
        """The three paths."""
        return [self.matrix, self.barcodes, self.features]


def matrix_folder(folder: Path, prefix: str = "") -> MatrixFolder | None:
    """The three files, which may have a common prefix, as GEO's do; None if there is no matrix.

    Parameters
    ----------
    prefix
        The prefix of the sample to read, if the folder has several.

    Raises
    ------
    UnusableError
        If one of the files is missing or there are several.
    """
    files = [file for file in sorted(folder.iterdir()) if file.name.startswith(prefix) and file.is_file()]
    paths: list[Path] = []
    for endings in (("matrix.mtx",), ("barcodes.tsv",), ("features.tsv", "genes.tsv")):
        both = tuple(f"{ending}{packed}" for ending in endings for packed in ("", ".gz"))
        matches = [file for file in files if file.name.lower().endswith(both)]
        if not matches and not paths:
            return None
        if len(matches) != 1:
            how = f"{len(matches)} files" if matches else "no file"
            raise UnusableError(f"a 10x folder with {how} {' or '.join(endings)} (.gz): expected one")
        paths += matches
    return MatrixFolder(*paths)


def read_folder_matrix(files: MatrixFolder) -> TenxMatrix:
    """The gene expression matrix in a folder; see :func:`read_h5_matrix`."""
    (barcodes,) = _names_table(files.barcodes, 1)
    ids, symbols, types = _names_table(files.features, 3)
    symbols = [symbol or own for own, symbol in zip(ids, symbols, strict=True)]
    columns, left_out = _kept_features(ids, symbols, types, None)
    counts = market_entries(files.matrix, len(ids), len(barcodes))
    return _chosen(counts, _Axes(ids, symbols, barcodes), columns, tuple(left_out), "10x matrix folder")
