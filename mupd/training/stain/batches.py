"""Windows of pairs for training, and whole pairs for measuring, read from the arrays in the work folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mupd.model.regions import from_uint8
from mupd.training.crops import turned
from mupd.training.stain.pairs import PairRow

_BACKGROUND = 245.0
"""Grey value taken as unstained, for optical densities."""

_MOST_WEIGHT = 8.0


def jittered(he: NDArray[np.uint8], level: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """H&E whose optical density is scaled by up to `level`, together and in each colour by half of that."""
    if level == 0:
        return he
    gain = 1 + level * rng.uniform(-1, 1) + 0.5 * level * rng.uniform(-1, 1, 3)
    table = _BACKGROUND * (np.arange(1, 257)[:, None] / _BACKGROUND) ** gain - 1
    values = np.rint(table.clip(0, 255)).astype(np.uint8)
    return np.stack([values[he[..., n], n] for n in range(3)], axis=-1)


class StainBatches:
    """Random windows of pairs in one of eight orientations; each group as often as the root of its size.

    Parameters
    ----------
    folder
        With the arrays.
    window_px
        Side of a window.
    jitter
        See :func:`jittered`.
    """

    def __init__(self, folder: Path, rows: Sequence[PairRow], window_px: int, jitter: float) -> None:
        self.pairs = [np.load(folder / row.array, mmap_mode="r", allow_pickle=False) for row in rows]
        self.window_px, self.jitter = window_px, jitter
        groups = [row.group for row in rows]
        weights = np.array([groups.count(group) ** -0.5 for group in groups])
        self.weights = weights / weights.sum()

    def _window(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        pixels = self.pairs[int(rng.choice(len(self.pairs), p=self.weights))]
        y, x = (int(rng.integers(side - self.window_px + 1)) for side in pixels.shape[:2])
        return turned(pixels[y : y + self.window_px, x : x + self.window_px], rng)

    def pair_batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """H&E (size, 3, window, window) and stain (size, channels, window, window), both in [-1, 1]."""
        windows = [self._window(rng) for _ in range(size)]
        he = np.stack([jittered(window[..., :3], self.jitter, rng) for window in windows])
        return from_uint8(he), from_uint8(np.stack([window[..., 3:] for window in windows]))

    def batch(self, size: int, rng: np.random.Generator) -> Tensor:
        """Stains alone, (size, channels, window, window) in [-1, 1]."""
        return from_uint8(np.stack([self._window(rng)[..., 3:] for _ in range(size)]))


def channel_weights(batches: StainBatches, samples: int = 64) -> NDArray[np.float64]:
    """Weights (channels,) of mean 1, the larger the less a channel varies: a rare marker counts as a common one.

    No channel counts more than 8 times as much as another; otherwise an empty channel would dominate.
    """
    stains = batches.batch(samples, np.random.default_rng(0)).numpy()
    spread = stains.std(axis=(0, 2, 3)).astype(np.float64)
    weights = 1 / np.maximum(spread, max(spread.max() / _MOST_WEIGHT, 1e-6))
    return weights / weights.mean()


def whole_pairs(folder: Path, rows: Sequence[PairRow], multiple: int = 16) -> list[NDArray[np.uint8]]:
    """Whole pairs (h, w, 3 + channels), cut at the end to sides that are multiples."""
    pairs = []
    for row in rows:
        pixels = np.load(folder / row.array, mmap_mode="r", allow_pickle=False)
        height, width = (side - side % multiple for side in pixels.shape[:2])
        pairs.append(pixels[:height, :width])
    return pairs
