"""AnnData as HDF5 or zarr behind one interface: what is read of a zarr store becomes HDF5 in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mupd.base.zarr_store import is_zarr, open_zarr
from mupd.errors import UnusableError
from mupd.rna.size_limits import MOST_VALUES, open_h5

ZARR_SUFFIX = ".zarr"
_MOST_BYTES = 4 * MOST_VALUES
_WHOLE = ("X", "obs", "var")
_PARTS = (("layers", "counts"), ("obsm", "spatial"), ("uns", "log1p"), ("uns", "spatial"), ("raw", "X"), ("raw", "var"))


def open_anndata(path: Path) -> Any:
    """An AnnData file, or a zarr store, as an open :class:`h5py.File`.

    Raises
    ------
    UnusableError
        As :func:`mupd.rna.size_limits.open_h5` and :func:`mupd.base.zarr_store.open_zarr`; for MuData as zarr, and a
        store that is no AnnData or larger than 1.6 GB.
    """
    return _of_zarr(path) if is_zarr(path) else open_h5(path)


def _of_zarr(path: Path) -> Any:
    import h5py
    import zarr

    root: Any = open_zarr(path)
    if not isinstance(root, zarr.Group) or "obs" not in root or "var" not in root:
        what = "MuData as zarr: give it as .h5mu" if isinstance(root, zarr.Group) and "mod" in root else "no AnnData"
        raise UnusableError(f"a zarr store that is {what}")
    store: Any = root
    file = h5py.File("anndata", "w", driver="core", backing_store=False)
    try:
        left = _MOST_BYTES
        for name in _WHOLE:
            if name in store:
                left = _copy(store[name], file, name, left)
        for parent, name in _PARTS:
            if parent in store and name in store[parent]:
                left = _copy(store[parent][name], file.require_group(parent), name, left)
        if "layers" in store:
            for name in set(store["layers"].keys()) - {"counts"}:
                file.require_group("layers").require_group(name)  # for the message that names them
    except BaseException:
        file.close()
        raise
    return file


def _copy(node: Any, parent: Any, name: str, left: int) -> int:
    """Copy a zarr node into an HDF5 group; returns how many bytes may still follow."""
    import h5py
    import zarr

    if isinstance(node, zarr.Group):
        copied = parent.create_group(name)
        for key in node.keys():  # noqa: SIM118 - a zarr group is no mapping of its keys
            left = _copy(node[key], copied, key, left)
    else:
        left -= int(node.nbytes)
        if left < 0:
            raise UnusableError(
                f"the zarr store declares over {_MOST_BYTES:,} bytes: bin its spots or add up its cells"
            )
        values = np.asarray(node[()])
        if values.dtype.kind in "iufb":
            copied = parent.create_dataset(name, data=values)
        elif values.dtype.kind in "OUST":
            words = [_word(value) for value in values.ravel().tolist()]
            copied = parent.create_dataset(name, shape=values.shape, dtype=h5py.string_dtype(), data=words or None)
        else:
            return left
    for key, value in node.attrs.asdict().items():
        if isinstance(value, str | int | float | list):
            copied.attrs[key] = value
    return left


def _word(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
