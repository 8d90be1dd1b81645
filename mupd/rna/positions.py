"""Positions of the barcodes of a 10x matrix, from the folder ``spatial/`` of Space Ranger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.rna.size_limits import open_text

_POSITIONS = ("tissue_positions.csv", "tissue_positions_list.csv", "tissue_positions.parquet")
_COLUMNS = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")
_MOST_SCALE_BYTES = 1 << 20
_MOST_POSITIONS_BYTES = 1 << 30


@dataclass(frozen=True)
class Places:
    """Positions of barcodes.

    Attributes
    ----------
    in_tissue
        Whether each is in tissue.
    array
        (barcodes, 2) row and column in the array.
    xy_px
        (barcodes, 2) x and y in pixels of the full-resolution picture.
    source
        The file that states them.
    scale
        Scale factors by name.
    """

    barcodes: list[str]
    in_tissue: NDArray[np.bool_]
    array: NDArray[np.int64]
    xy_px: NDArray[np.float64]
    source: str
    scale: dict[str, float]


def position_files(matrix: Path) -> list[Path]:
    """The files with positions and scale factors in the folder ``spatial`` inside or beside a matrix."""
    folders = (matrix / "spatial", matrix.parent / "spatial")
    spatial = next((folder for folder in folders if folder.is_dir()), None)
    if spatial is None:
        return []
    names = (*_POSITIONS, "scalefactors_json.json")
    files = [spatial / name for name in names if (spatial / name).is_file()]
    root = matrix.parent.resolve()
    if any(not file.resolve().is_relative_to(root) for file in files):
        # Without the positions, the spots would silently become one profile.
        raise UnusableError("spatial/ beside the matrix is a link to another folder: expected its files beside it")
    return files


def _read_positions(path: Path) -> Any:
    import pandas as pd

    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        meta = pq.ParquetFile(path).metadata
        if sum(meta.row_group(index).total_byte_size for index in range(meta.num_row_groups)) > _MOST_POSITIONS_BYTES:
            raise UnusableError("tissue_positions.parquet unpacks to over 1 GiB: take larger bins")
        return pd.read_parquet(path, columns=list(_COLUMNS))
    with open_text(path, _MOST_POSITIONS_BYTES) as stream:
        headless = not stream.readline(4096).lower().startswith("barcode")
    with open_text(path, _MOST_POSITIONS_BYTES) as stream:
        frame = pd.read_csv(
            stream, header=None if headless else 0, names=list(_COLUMNS) if headless else None, dtype={0: str}
        )
    if lacking := [name for name in _COLUMNS if name not in frame.columns]:
        raise UnusableError(f"spatial/{path.name} lacks the columns {', '.join(lacking)}")
    return frame


def _scale_factors(files: list[Path]) -> dict[str, float]:
    path = next((file for file in files if file.suffix == ".json"), None)
    if path is None or path.stat().st_size > _MOST_SCALE_BYTES:
        return {}
    try:
        factors = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnusableError("spatial/scalefactors_json.json is no JSON") from error
    numbers = factors.items() if isinstance(factors, dict) else ()
    return {
        str(name): float(value) for name, value in numbers if isinstance(value, int | float) and 0 < float(value) < 1e6
    }


def read_places(matrix: Path) -> Places | None:
    """Positions of a matrix's barcodes from ``spatial/`` beside it; None if there is no such folder.

    Raises
    ------
    UnusableError
        If they do not read or are no numbers.
    """
    files = position_files(matrix)
    path = next((file for file in files if file.name in _POSITIONS), None)
    if path is None:
        return None
    frame = _read_positions(path)
    for name in _COLUMNS[1:]:
        if frame[name].dtype.kind not in "iufb":
            raise UnusableError(f"spatial/{path.name}: {name} holds words, expected numbers")
    xy = frame[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(np.float64)
    array = frame[["array_row", "array_col"]].to_numpy(np.float64)
    if not np.isfinite(xy).all() or not np.isfinite(array).all():
        raise UnusableError(f"spatial/{path.name}: positions that are no numbers (NaN)")
    return Places(
        [str(name) for name in frame["barcode"]],
        frame["in_tissue"].to_numpy() > 0,
        array.astype(np.int64),
        xy,
        f"spatial/{path.name}",
        _scale_factors(files),
    )
