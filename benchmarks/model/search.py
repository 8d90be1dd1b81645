"""Search for a window in the training pictures, however it is moved, turned or mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from mupd.base.progress import track

REDUCTION = 8
_AT_ONCE = 32
_LEAST_SD = 0.02


@dataclass(frozen=True)
class Matches:
    """The best match of each window.

    Attributes
    ----------
    distance
        (n,) between the normalised pictures, root of 2 (1 - correlation): 0 = the same, 1.41 = unrelated.
    corner
        (n, 2) y, x in pixels of where it is.
    """

    distance: NDArray[np.float64]
    corner: NDArray[np.int64]


def _reduced(rgb: NDArray[np.uint8]) -> torch.Tensor:
    """Grey values (..., rows / 8, columns / 8) from 0 to 1; the fine detail that an autoencoder blurs is gone."""
    *lead, rows, columns, _ = rgb.shape
    tall, wide = rows // REDUCTION, columns // REDUCTION
    cut = rgb[..., : tall * REDUCTION, : wide * REDUCTION, :]
    blocks = cut.reshape(*lead, tall, REDUCTION, wide, REDUCTION, 3)
    return torch.from_numpy(blocks.mean((-4, -2, -1), dtype=np.float32) / 255)


def _templates(windows: NDArray[np.uint8]) -> torch.Tensor:
    """(8 n, 1, side, side): each window in its eight orientations, reduced, of mean 0 and norm 1."""
    small = _reduced(windows)
    turned = [torch.rot90(side, turn, (1, 2)) for side in (small, small.flip(2)) for turn in range(4)]
    turned_flat = torch.stack(turned, 1).flatten(0, 1)
    turned_flat = turned_flat - turned_flat.mean((1, 2), keepdim=True)
    return (turned_flat / turned_flat.square().sum((1, 2), keepdim=True).sqrt().clamp(min=1e-6))[:, None]


def _box(mask: torch.Tensor) -> tuple[int, int, int, int]:
    """Top, left, height and width of what is True; the first place if nothing is."""
    if not bool(mask.any()):
        return 0, 0, 1, 1
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    top, left = int(rows[0]), int(columns[0])
    return top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1


def best_matches(windows: NDArray[np.uint8], picture: NDArray[np.uint8], name: str) -> Matches:
    """Search windows (n, s, s, 3) in a whole picture (h, w, 3) by normalised cross-correlation.

    Every place in steps of eight pixels and every orientation is tried. Places without structure
    (glass) are left out.

    Parameters
    ----------
    name
        Of the picture, for the progress bar.
    """
    place = _reduced(picture)[None, None]
    place = place - place.mean()
    side = windows.shape[1] // REDUCTION
    with torch.inference_mode():
        mean, square = F.avg_pool2d(place, side, 1), F.avg_pool2d(place.square(), side, 1)
        sd = (square - mean.square()).clamp(min=0).sqrt()
        scale = torch.where(sd > _LEAST_SD, 1 / (side * sd.clamp(min=_LEAST_SD)), torch.zeros_like(sd))
        top, left, tall, wide = _box(scale[0, 0] > 0)
        scale = scale[:, :, top : top + tall, left : left + wide]
        place = place[:, :, top : top + tall + side - 1, left : left + wide + side - 1]
        templates = _templates(windows)
        best = []
        for part in track(templates.split(_AT_ONCE), f"search in {name}"):
            correlation = F.conv2d(place, part) * scale
            best.append(correlation[0].flatten(1).max(1))
    values = torch.cat([part.values for part in best]).reshape(-1, 8).double().numpy()
    indices = torch.cat([part.indices for part in best]).reshape(-1, 8).numpy()
    rows, which = np.arange(len(windows)), values.argmax(1)
    index = indices[rows, which]
    corner = np.stack([top + index // wide, left + index % wide], 1) * REDUCTION
    return Matches(np.sqrt(2 * np.clip(1 - values[rows, which], 0, None)), corner)
