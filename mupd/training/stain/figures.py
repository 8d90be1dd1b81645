"""Pictures of stains beside their H&E."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mupd.base.files import atomic_path
from mupd.model_folder.stainer import Stain

GAP_PX = 4


def panels(stain: NDArray[np.uint8], kind: Stain) -> list[NDArray[np.uint8]]:
    """A stain (h, w, channels) as RGB panels: one a channel, or the picture itself for ``ihc``."""
    if kind == "ihc":
        return [stain]
    return [np.repeat(stain[..., n, None], 3, axis=-1) for n in range(stain.shape[-1])]


def grid(he: NDArray[np.uint8] | None, stains: Sequence[NDArray[np.uint8]], kind: Stain) -> NDArray[np.uint8]:
    """A row for each picture: the H&E, then for each channel the stains beside each other.

    Parameters
    ----------
    he
        (n, h, w, 3); None = left out.
    stains
        Each (n, h, w, channels), e.g. measured and generated.
    """
    rows = []
    for number in range(len(stains[0])):
        by_stain = [panels(stain[number], kind) for stain in stains]
        columns = [[own[n] for own in by_stain] for n in range(len(by_stain[0]))]
        if he is not None:
            columns.insert(0, [he[number]])
        parts: list[NDArray[np.uint8]] = []
        for column in columns:
            for panel in column:
                parts += [panel, np.full((panel.shape[0], GAP_PX // 4, 3), 255, np.uint8)]
            parts.append(np.full((column[0].shape[0], GAP_PX, 3), 255, np.uint8))
        row = np.concatenate(parts[:-1], axis=1)
        rows += [row, np.full((GAP_PX, row.shape[1], 3), 255, np.uint8)]
    return np.concatenate(rows[:-1])


def save_picture(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write a picture, PNG or JPEG by its name."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, quality=88)
