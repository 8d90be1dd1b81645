"""AnnData and MuData, read from HDF5 without trusting what the file declares."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
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
    open_h5,
    refuse_if_large,
)
from mupd.rna.stored_values import Values2D

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


def _part(group: Any, *names: str) -> Any:
    """The node at a path of names, or None. AnnData may write an empty array in place of a group."""
    import h5py

    for name in names:
        if not isinstance(group, h5py.Group) or name not in group:
            return None
        group = group[name]
    return group


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
    ensembl = share_of(ENSEMBL, names)
    if ensembl <= 0.05:
        return names, "genes are var_names"
    columns = {str(column).lower(): column for column in group["var"]}
    for wanted in SYMBOL_COLUMNS:
        if wanted in columns:
            symbols = h5_strings(group["var"][columns[wanted]], "var")
            if len(symbols) != len(names):
                raise UnusableError(f"var: {len(symbols)} symbols for {len(names)} genes")
            return best_names(names, symbols), f"genes are var[{columns[wanted]!r}]"
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
    if _part(group, "layers", "counts") is not None:
        return _matrix_at(group, "layers/counts")
    if "X" not in group:
        raise UnusableError("no X in the .h5ad file")
    return _matrix_at(group, "X")


def _unscaled(group: Any, matrix: DiskMatrix) -> DiskMatrix | None:
    """``raw/X`` if X has values below 0: z-scores cannot be turned back into expression."""
    if matrix.name != "X" or _part(group, "raw", "X") is None:
        return None
    stored = stored_numbers(matrix.rows(0, min(64, matrix.shape[0])))
    return _matrix_at(group, "raw/X") if stored.size and np.nanmin(stored) < 0 else None


def _positions(file: Any, group: Any, rows: int) -> NDArray[np.float64] | None:
    # In MuData, those of the modality take precedence over those of the whole file.
    nodes = [node for item in (group, file) if (node := _part(item, "obsm", "spatial")) is not None]
    if not nodes:
        return None
    array = h5_numbers(nodes[0], "obsm['spatial']")
    if len(array.shape) != 2 or array.shape[0] != rows or array.shape[1] < 2:
        raise UnusableError(f"obsm['spatial'] has the shape {array.shape}: expected ({rows}, 2), x and y in pixels")
    xy = array[:, :2].astype(np.float64)
    if lost := int((~np.isfinite(xy)).any(1).sum()):
        raise UnusableError(f"{lost} of {rows} spots have no position in obsm['spatial'] (NaN)")
    return xy


def _in_tissue(group: Any, rows: int) -> NDArray[np.bool_] | None:
    """The column ``in_tissue``, stored as numbers, booleans or words; None where it is missing or all false."""
    import h5py

    if (node := _part(group, "obs", "in_tissue")) is None:
        return None
    if isinstance(node, h5py.Dataset) and node.dtype.kind in "iufb":
        flags = np.asarray(h5_numbers(node, "in_tissue")[()] > 0)
    else:
        flags = np.array([word.lower() in ("1", "true", "1.0") for word in h5_strings(node, "in_tissue")], bool)
    return flags if len(flags) == rows and flags.any() else None


def refuse_swapped(names: list[str], observations: list[str], known: Collection[str] | None) -> None:
    """Raise UnusableError if the rows of an AnnData are genes."""
    if len(names) < 2 or len(observations) < 20:
        return
    swapped, why = rows_are_genes(observations, names, known)
    if swapped:
        raise UnusableError(f"swapped axes: obs_names are genes ({why}), var_names are not: transpose it")


def read_anndata(path: Path, options: ReadOptions) -> RnaProfile:
    """The profile in an ``.h5ad`` or ``.h5mu`` file; see :func:`mupd.rna.files.read_rna`."""
    with open_h5(path) as file:
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
        xy, inside = _positions(file, group, rows), _in_tissue(group, rows)
        stored = matrix.rows(0, rows)
    details: dict[str, Any] = {"format": "h5mu" if path.suffix.lower() == ".h5mu" else "h5ad"}
    words = [f"{matrix.name} of {where}", note, names_from]
    if xy is not None and inside is not None and not inside.all():
        stored, xy = stored[inside], xy[inside]
        observations = [name for name, kept in zip(observations, inside, strict=True) if kept]
        details["out_of_tissue"] = int((~inside).sum())
        words.append(f"{details['out_of_tissue']} spots out of tissue left out (obs['in_tissue'])")
    evidence = "; ".join(filter(None, words))
    return assemble(RawRna(names, symbols, stored, observations, evidence, xy, None, details), options)
