"""Looks for marks in AnnData and MuData as they are stored, HDF5 or zarr, without loading their matrices.

The groups and arrays of h5py and zarr are read alike here: a group has ``keys``, an array does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mupd.base.zarr_store import open_zarr
from mupd.errors import UnusableError
from mupd.synthetic.anndata.marks import OBS_COLUMN, OBS_NAMES, UNS
from mupd.synthetic.statement import PREFIX


@dataclass(frozen=True)
class TableLook:
    """What a file of one or several AnnData tables shows.

    Attributes
    ----------
    marks
        In words, each once; one that only some observations carry, as after a concatenation with
        measured data, is followed by ``(N of M)``.
    tables
        {name of the table, "" for the root: (synthetic observations, observations)}.
    contradictions
        Tables in which names and the column disagree on which observations are synthetic.
    provenance
        What the first ``uns["mupd"]`` says; empty if there is none.
    """

    marks: tuple[str, ...]
    tables: dict[str, tuple[int, int]] = field(default_factory=dict)
    contradictions: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)


def _is_group(node: Any) -> bool:
    return hasattr(node, "keys")


def _holds_text(node: Any) -> bool:
    """Whether an array holds strings: objects in h5py and zarr 2, variable-length strings in zarr 3."""
    return str(node.dtype) == "object" or getattr(node.dtype, "kind", "") in "TUS"


def _read_text(node: Any) -> Any:
    import numpy as np

    if hasattr(node, "is_virtual"):  # HDF5
        from mupd.rna.size_limits import h5_array

        h5_array(node, "a list of names")
    values = node.asstr()[()] if hasattr(node, "asstr") else node[()]
    return values.item() if isinstance(values, np.ndarray) and values.ndim == 0 else values


def plain(node: Any) -> Any:
    """A node of ``uns`` as plain Python values."""
    import numpy as np

    if _is_group(node):
        if "values" in node and "mask" in node:  # nullable strings of pandas
            return plain(node["values"])
        return {name: plain(node[name]) for name in sorted(node.keys())}
    value = _read_text(node) if _holds_text(node) else node[()]
    if isinstance(value, np.ndarray):
        return value.item() if value.ndim == 0 else value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def strings(node: Any) -> list[str]:
    """Values of a string array, a nullable string array or a categorical."""
    if _is_group(node):
        if "codes" in node:
            categories = strings(node["categories"])
            return [categories[int(code)] if code >= 0 else "" for code in node["codes"][()]]
        return strings(node["values"])
    return [str(value) for value in _read_text(node)] if _holds_text(node) else []


def _true_values(node: Any) -> list[bool]:
    """Values of a Boolean, nullable Boolean, categorical or text column as flags."""
    if _is_group(node) and "codes" not in node and "values" in node:
        values = _true_values(node["values"])
        mask = node["mask"][()] if "mask" in node else [False] * len(values)
        return [bool(value) and not hidden for value, hidden in zip(values, mask, strict=True)]
    if _is_group(node) or _holds_text(node):
        return [value.lower() in ("true", "1", "yes", "synthetic") for value in strings(node)]
    return [bool(value) for value in node[()]]


def _tables(root: Any) -> Iterator[tuple[str, Any]]:
    """The AnnData groups: the root and, in MuData each modality, in SpatialData each table."""
    yield "", root
    for parent in ("mod", "tables"):
        if parent in root and _is_group(root[parent]):
            yield from ((name, root[parent][name]) for name in root[parent].keys())  # noqa: SIM118 (zarr groups)


def _barcodes(root: Any) -> list[str]:
    """Names of the observations of a 10x matrix: ``matrix/barcodes``, or those of each genome before version 3."""
    groups = [root[name] for name in root.keys() if _is_group(root[name]) and "indptr" in root[name]]  # noqa: SIM118
    return [name for group in groups if "barcodes" in group for name in strings(group["barcodes"])]


def _index(obs: Any) -> list[str]:
    index = obs.attrs.get("_index", "_index")
    return strings(obs[index]) if index in obs else []


def _share(mark: str, flags: list[bool]) -> str:
    return mark if all(flags) else f"{mark} ({sum(flags)} of {len(flags)})"


def look_at_tables(root: Any) -> TableLook:
    """Look at an open h5py.File or zarr.Group."""
    marks: dict[str, None] = {}
    counts: dict[str, tuple[int, int]] = {}
    contradictions: list[str] = []
    provenance: dict[str, Any] = {}
    for name, group in _tables(root):
        obs: Any = group.get("obs")
        uns: Any = group.get("uns")
        names = _index(obs) if _is_group(obs) else [] if name else _barcodes(root)
        flags = _true_values(obs["synthetic"]) if _is_group(obs) and "synthetic" in obs else []
        prefixed = [value.startswith(PREFIX) for value in names]
        if any(prefixed):
            marks[_share(OBS_NAMES, prefixed)] = None
        if any(flags):
            marks[_share(OBS_COLUMN, flags)] = None
        if names:
            counts[name] = (sum(prefixed), len(names))
        if flags and len(flags) == len(prefixed) and flags != prefixed:
            contradictions.append(name)
        if _is_group(uns) and "mupd" in uns:
            marks[UNS] = None
            if not provenance:
                statement = plain(uns["mupd"])
                provenance = statement if isinstance(statement, dict) else {"statement": str(statement)}
    return TableLook(tuple(marks), counts, tuple(contradictions), provenance)


_UNREADABLE = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)


def look_at_hdf5(path: Path) -> TableLook:
    """Marks in the tables of an HDF5 file (.h5ad, .h5mu, 10x .h5), without loading their matrices.

    Raises
    ------
    UnusableError
        If the file cannot be read as HDF5; names the file.
    """
    from mupd.rna.size_limits import open_h5

    try:
        with open_h5(path) as file:
            return look_at_tables(file)
    except _UNREADABLE as error:
        raise UnusableError(f"{path.name}: found HDF5 that cannot be read ({error}); expected .h5ad") from error


def look_at_zarr(path: Path) -> TableLook:
    """Marks in the tables of a zarr store (AnnData, MuData, SpatialData), without loading their matrices.

    Raises
    ------
    UnusableError
        If the store cannot be read; names it.
    """
    import zarr

    try:
        root = open_zarr(path)
        return look_at_tables(root) if isinstance(root, zarr.Group) else TableLook(())
    except _UNREADABLE as error:
        raise UnusableError(f"{path.name}: found zarr that cannot be read ({error}); expected AnnData") from error
