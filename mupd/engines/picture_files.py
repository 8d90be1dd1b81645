"""Arrays of draws on the disk: pictures that are begun again after a kill, and their resampling in strips."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.model.journal import RegionJournal, allocated

_STRIP_PX = 256


def begun_pixels(path: Path, shape: tuple[int, int, int], journal: RegionJournal) -> np.memmap:
    """The picture at the model's own scale: the one that was begun, or a new one with its space on the disk."""
    try:
        native = np.lib.format.open_memmap(path, mode="r+")
        if native.shape == shape and native.dtype == np.uint8:
            return native
    except (OSError, ValueError):  # none yet, or cut short while it was made
        pass
    journal.forget_tiles()
    return allocated(path, shape)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array; unlike ``np.save``, a full disk is told by its error number."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    path.write_bytes(buffer.getbuffer())


def resample(source: NDArray[np.uint8], target_path: Path, shape: tuple[int, int, int], scale: float) -> None:
    """Lanczos-resample `source` to `shape`, a strip at a time; `scale` is source pixels per target pixel."""
    from PIL import Image

    target = allocated(target_path, shape)
    margin = int(np.ceil(3 * max(1.0, scale))) + 1
    right = min(shape[1] * scale, source.shape[1])
    for y in range(0, shape[0], _STRIP_PX):
        rows = min(_STRIP_PX, shape[0] - y)
        top, bottom = y * scale, min((y + rows) * scale, source.shape[0])
        first = max(0, int(top) - margin)
        last = min(source.shape[0], int(np.ceil(bottom)) + margin)
        strip = Image.fromarray(np.ascontiguousarray(source[first:last]))
        box = (0.0, top - first, right, bottom - first)
        target[y : y + rows] = np.asarray(strip.resize((shape[1], rows), Image.Resampling.LANCZOS, box=box))
    target.flush()
