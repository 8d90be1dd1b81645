"""AnnData and MuData, read from HDF5 without trusting what the file declares."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mupd.errors import UnusableError
from mupd.rna.anndata_parts import (
    in_tissue,
    is_null,
    part_of,
    positions_of,
    refuse_cells,
    refuse_several_donors,
    stated_scale,
)
from mupd.rna.anndata_store import open_anndata
from mupd.rna.assemble import RawRna, ReadOptions, assemble, stored_numbers
from mupd.rna.gene_names import rows_are_genes, share_of
from mupd.rna.gene_table import ENSEMBL
from mupd.rna.input_names import SYMBOL_COLUMNS, best_names, refuse_other_species
from mupd.rna.profiles import RnaProfile
from mupd.rna.size_limits import (
    MOST_STORED,
    MOST_VALUES,
    checked_compressed,
    h5_numbers,
    h5_strings,
    refuse_if_large,
)
from mupd.rna.stored_values import Values2D

_ID_COLUMNS = ("gene", "genes", "gene_id", "gene_ids", "ensembl_id", "ensembl", "ensembl_gene_id", "name", "names")
# 0, 1, 2: the row numbers that pandas gives where no names were set
_NUMBER = re.compile(r"^\d+(\.0)?$")
_ROWS_EXAMINED = 64
_RNA_MODALITIES = ("rna", "gex", "gene expression", "transcriptome", "expression", "mrna")


@dataclass(frozen=True)
class DiskMatrix:
    """A matrix of numbers on disk.

    Attributes
    ----------
    node
        The HDF5 array, or the group of a sparse matrix's arrays.
    shape
        (rows, columns).
    layout
        ``array``, ``csr_matrix`` or ``csc_matrix``.
    name
        Where it is in the file.
    """

    node: Any
    shape: tuple[int, int]
    layout: str
    name: str

    @property
    def stored_bytes(self) -> int:
        """Bytes of its values in memory, in the stored type."""
        if self.layout == "array":
            return int(self.shape[0] * self.shape[1] * self.node.dtype.itemsize)
        return int(self.node["data"].shape[0] * (self.node["data"].dtype.itemsize + 4))

    def rows(self, start: int, stop: int) -> Values2D:
        """Rows from `start` up to `stop` (excluded) in the stored type; of a sparse matrix as CSR."""
        if self.layout == "array":
            return np.asarray(self.node[start:stop])
        from scipy.sparse import csc_matrix, csr_matrix

        node, where = self.node, self.name
        data, indices = h5_numbers(node["data"], where), h5_numbers(node["indices"], where)
        indptr = h5_numbers(node["indptr"], where)
        lines = self.shape[0] if self.layout == "csr_matrix" else self.shape[1]
        if indptr.shape != (lines + 1,) or data.shape != indices.shape or len(data.shape) != 1:
            raise UnusableError(f"{where}: pointers, indices and values do not fit a matrix of {self.shape}")
        if data.shape[0] > MOST_STORED:
            raise UnusableError(f"{where}: {data.shape[0]:,} stored values, expected at most {MOST_STORED:,}")
        if self.layout == "csc_matrix":
            parts = checked_compressed(data[()], indices[()], indptr[()], self.shape[0], where)
            return csr_matrix(csc_matrix(parts, shape=self.shape))[start:stop]
        pointers = indptr[start : stop + 1].astype(np.int64)
        low, high = int(pointers[0]), int(pointers[-1])
        if not 0 <= low <= high <= data.shape[0]:
            raise UnusableError(f"{where}: row pointers beyond its {data.shape[0]:,} values")
        parts = checked_compressed(data[low:high], indices[low:high], pointers - low, self.shape[1], where)
        return csr_matrix(parts, shape=(stop - start, self.shape[1]))


def table_group(file: Any) -> tuple[Any, str]:
    """The AnnData group of an open file, and its name: the root, or the RNA modality of a MuData file.

    Raises
    ------
    UnusableError
        If there is no AnnData group, or not exactly one RNA modality.
    """
    import h5py

    if isinstance(file.get("mod"), h5py.Group):
        names = list(file["mod"].keys())
        # In the order of _RNA_MODALITIES, not of the file.
        rna = [name for wanted in _RNA_MODALITIES for name in names if name.lower() == wanted]
        if not rna and len(names) == 1:
            rna = names
        if not rna:
            shown = ", ".join(names[:8])
            raise UnusableError(f"a MuData file without a modality named rna ({shown}): rename the one with RNA")
        if len({name.lower() for name in rna}) > 1 and rna[0].lower() != "rna":
            raise UnusableError(f"a MuData file with several RNA modalities ({', '.join(rna[:8])}): name one rna")
        return file["mod"][rna[0]], f"modality {rna[0]} of the .h5mu file"
    if not isinstance(file.get("obs"), h5py.Group) or not isinstance(file.get("var"), h5py.Group):
        old = isinstance(file.get("obs"), h5py.Dataset)
        hint = ", or one written before AnnData 0.7: write it again with a newer version" if old else ""
        raise UnusableError(f"an HDF5 file that is no AnnData (.h5ad): obs or var is not there{hint}")
    return file, "the .h5ad file"


def index_names(group: Any, where: str) -> list[str]:
    """The index of an ``obs`` or ``var`` group."""
    key = group.attrs.get("_index", "_index")
    key = key.decode() if isinstance(key, bytes) else str(key)
    if key not in group:
        raise UnusableError(f"{where} has no index")
    return h5_strings(group[key], where)


def gene_symbols(group: Any, names: list[str]) -> tuple[list[str], str]:
    """The gene symbols of an AnnData group: var_names, or a column of `var` if var_names are Ensembl ids."""
    ensembl, numbers = share_of(ENSEMBL, names), share_of(_NUMBER, names)
    if ensembl <= 0.05 and numbers <= 0.5:
        return names, "genes are var_names"
    columns = {str(column).lower(): str(column) for column in group["var"]}
    wanted_columns = (*SYMBOL_COLUMNS, *_ID_COLUMNS) if numbers > 0.5 else SYMBOL_COLUMNS
    for wanted in wanted_columns:
        if wanted in columns:
            symbols = h5_strings(group["var"][columns[wanted]], "var")
            if len(symbols) != len(names):
                raise UnusableError(f"var: {len(symbols)} symbols for {len(names)} genes")
            return best_names(names, symbols), f"genes are var[{columns[wanted]!r}]"
    if numbers > 0.5:
        there = ", ".join(sorted(set(columns.values()) - {"_index", "index"})) or "no other column"
        raise UnusableError(
            f"{numbers:.0%} of var_names are numbers, and var has no column of gene names ({there}): expected gene "
            f"symbols or Ensembl ids as var_names, or a column such as {SYMBOL_COLUMNS[0]}"
        )
    some = "" if ensembl > 0.5 else "partly "
    return names, f"genes are var_names ({some}Ensembl ids)"


def _matrix_at(group: Any, name: str) -> DiskMatrix:
    import h5py

    item = group[name]
    if isinstance(item, h5py.Group):
        layout = item.attrs.get("encoding-type", item.attrs.get("h5sparse_format", ""))
        layout = layout.decode() if isinstance(layout, bytes) else str(layout)
        layout = layout if layout.endswith("_matrix") else f"{layout}_matrix"
        shape = item.attrs.get("shape", item.attrs.get("h5sparse_shape"))
        if layout not in ("csr_matrix", "csc_matrix") or shape is None or len(shape) != 2:
            raise UnusableError(f"{name} is a group {layout!r}: expected a dense, CSR or CSC matrix of numbers")
        for part in ("data", "indices", "indptr"):
            if part not in item:
                raise UnusableError(f"{name} lacks its {part}")
        h5_numbers(item["data"], name)
        return DiskMatrix(item, (int(shape[0]), int(shape[1])), layout, name)
    if len(item.shape) != 2:
        raise UnusableError(f"{name} has the shape {item.shape}: expected observations x genes")
    return DiskMatrix(h5_numbers(item, name), (int(item.shape[0]), int(item.shape[1])), "array", name)


def table_matrix(group: Any) -> DiskMatrix:
    """The expression matrix of an AnnData group: the layer ``counts`` if there is one, else X."""
    if part_of(group, "layers", "counts") is not None:
        return _matrix_at(group, "layers/counts")
    if "X" not in group or (is_null(group["X"])):
        layers = ", ".join(str(name) for name in part_of(group, "layers") or ()) or "none"
        raise UnusableError(f"no X in the .h5ad file (layers: {layers}): put the counts into X or the layer counts")
    return _matrix_at(group, "X")


def stated_of(group: Any, matrix: DiskMatrix) -> str:
    """The scale that the file states for a matrix; ``auto`` if it states none."""
    if not matrix.name.endswith("X"):
        return "auto"
    return stated_scale(group, stored_numbers(matrix.rows(0, min(_ROWS_EXAMINED, matrix.shape[0]))))


def _unscaled(group: Any, matrix: DiskMatrix) -> DiskMatrix | None:
    """``raw/X`` if X has values below 0: z-scores cannot be turned back into expression."""
    if matrix.name != "X" or part_of(group, "raw", "X") is None:
        return None
    stored = stored_numbers(matrix.rows(0, min(_ROWS_EXAMINED, matrix.shape[0])))
    return _matrix_at(group, "raw/X") if stored.size and np.nanmin(stored) < 0 else None


def refuse_swapped(names: list[str], observations: list[str], known: Collection[str] | None) -> None:
    """Raise UnusableError if the rows of an AnnData are genes."""
    if len(names) < 2 or len(observations) < 20:
        return
    swapped, why = rows_are_genes(observations, names, known)
    if swapped:
        raise UnusableError(f"swapped axes: obs_names are genes ({why}), var_names are not: transpose it")


def read_anndata(path: Path, options: ReadOptions) -> RnaProfile:
    """The profile in an ``.h5ad`` or ``.h5mu`` file; see :func:`mupd.rna.files.read_rna`."""
    with open_anndata(path) as file:
        group, where = table_group(file)
        matrix, names = table_matrix(group), index_names(group["var"], "var")
        observations = index_names(group["obs"], "obs")
        note, var = "", group
        if raw := _unscaled(group, matrix):
            matrix, var, note = raw, group["raw"], "X is below 0 in places (scaled)"
            names = index_names(var["var"], "raw/var")
        rows, width = matrix.shape
        if (rows, width) != (len(observations), len(names)):
            raise UnusableError(
                f"{matrix.name} is {rows} x {width}, with {len(observations)} obs_names and {len(names)} var_names"
            )
        refuse_swapped(names, observations, options.model_genes)
        if matrix.layout == "array" and rows * width > MOST_VALUES:
            refuse_if_large(rows, width)
        symbols, names_from = gene_symbols(var, names)
        refuse_other_species(symbols, names)
        refuse_several_donors(group, rows)
        xy, inside = positions_of(file, group, rows), in_tissue(group, rows)
        stored = matrix.rows(0, rows)
        stated = stated_of(group, matrix) if options.scale == "auto" else "auto"
    suffix = path.suffix.lower().removeprefix(".")
    details: dict[str, Any] = {"format": suffix if suffix in ("h5mu", "zarr") else "h5ad"}
    words = [f"{matrix.name} of {where}", note, names_from]
    if stated != "auto":
        words.append(f"{stated} by uns['log1p']")
    if xy is not None and inside is not None and not inside.all():
        stored, xy = stored[inside], xy[inside]
        observations = [name for name, kept in zip(observations, inside, strict=True) if kept]
        details["out_of_tissue"] = int((~inside).sum())
        words.append(f"{details['out_of_tissue']} spots out of tissue left out (obs['in_tissue'])")
    if xy is not None:
        refuse_cells(xy)
    evidence = "; ".join(filter(None, words))
    scale = None if stated == "auto" else stated
    return assemble(RawRna(names, symbols, stored, observations, evidence, xy, scale, details), options)
