"""Looks for marks in .h5ad, .h5mu and 10x .h5 files through h5py, without loading their matrices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mupd.errors import UnusableError
from mupd.synthetic.anndata_marks import OBS_COLUMN, OBS_NAMES, UNS
from mupd.synthetic.statement import PREFIX


def _plain(node: Any) -> Any:
    """A node of ``uns`` as plain Python values."""
    import h5py
    import numpy as np

    if isinstance(node, h5py.Group):
        if "values" in node and "mask" in node:  # nullable strings of pandas
            return _plain(node["values"])
        return {name: _plain(child) for name, child in node.items()}
    value = node.asstr()[()] if h5py.check_string_dtype(node.dtype) else node[()]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _strings(node: Any) -> list[str]:
    """Values of a string array, a nullable string array or a categorical."""
    import h5py

    if isinstance(node, h5py.Group):
        if "codes" in node:
            categories = _strings(node["categories"])
            return [categories[code] if code >= 0 else "" for code in node["codes"][()]]
        return _strings(node["values"])
    return [str(value) for value in node.asstr()[()]] if h5py.check_string_dtype(node.dtype) else []


def _true_values(node: Any) -> list[bool]:
    """Values of a Boolean, nullable Boolean, categorical or text column as flags."""
    import h5py

    if isinstance(node, h5py.Group) and "codes" not in node and "values" in node:
        values = _true_values(node["values"])
        mask = node["mask"][()] if "mask" in node else [False] * len(values)
        return [bool(value) and not hidden for value, hidden in zip(values, mask, strict=True)]
    if isinstance(node, h5py.Group) or h5py.check_string_dtype(node.dtype):
        return [value.lower() in ("true", "1", "yes", "synthetic") for value in _strings(node)]
    return [bool(value) for value in node[()]]


def _tables(file: Any) -> Iterator[Any]:
    """The AnnData groups of a file: its root and, in MuData, each modality."""
    yield file
    yield from (file["mod"][name] for name in file.get("mod", {}))


def _marks_of(group: Any) -> list[str]:
    import h5py

    marks = []
    obs = group.get("obs")
    flags: list[bool] = []
    names: list[str] = []
    if isinstance(obs, h5py.Group):
        if "synthetic" in obs:
            flags = _true_values(obs["synthetic"])
        index = obs.attrs.get("_index", "_index")
        names = _strings(obs[index]) if index in obs else []
    prefixed = [name.startswith(PREFIX) for name in names]
    if any(prefixed):
        marks.append(OBS_NAMES if all(prefixed) else f"{OBS_NAMES} ({sum(prefixed)} of {len(prefixed)})")
    if any(flags):
        marks.append(OBS_COLUMN if all(flags) else f"{OBS_COLUMN} ({sum(flags)} of {len(flags)})")
    uns = group.get("uns")
    if isinstance(uns, h5py.Group) and "mupd" in uns:
        marks.append(UNS)
    return marks


def hdf5_marks(path: Path) -> tuple[list[str], dict[str, Any]]:
    """Marks of an HDF5 file and what its ``uns["mupd"]`` says (empty if it has none).

    A mark that only some observations carry, as after a concatenation with measured data, is
    followed by ``(N of M)``.

    Raises
    ------
    UnusableError
        If the file cannot be read as HDF5; names the file.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            marks = [mark for group in _tables(file) for mark in _marks_of(group)]
            provenance: dict[str, Any] = {}
            for group in _tables(file):
                if not provenance and UNS in _marks_of(group):
                    said = _plain(group["uns"]["mupd"])
                    provenance = said if isinstance(said, dict) else {"statement": str(said)}
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise UnusableError(f"{path.name}: found HDF5 that cannot be read ({error}); expected .h5ad") from error
    return list(dict.fromkeys(marks)), provenance
