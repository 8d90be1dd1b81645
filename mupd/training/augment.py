"""Random changes of training samples: orientation, noise, dropped conditions."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

STREAM_DROPOUT = 0.1
"""How often a condition is left out, so that the model learns to do without it."""
FEATURE_NOISE = 0.3
RNA_NOISE = 1.0
"""Standard deviation of the noise on RNA conditions of records: without it a few hundred patients are memorised."""
SPOT_NOISE = 0.25
"""The same for RNA conditions of H&E."""
SCORE_NOISE = 0.3
MOST_CHUNKS = 8
"""Most chunks of a text in one sample."""
MOST_TILES = 16
MOST_SPOTS = 64

Number = TypeVar("Number", bound=np.generic)


def turned(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop (h, w, channels) in one of its eight orientations."""
    crop = np.rot90(crop, int(rng.integers(4)))
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


def random_crop(image: NDArray[np.uint8], side_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square of `side_px` anywhere in an image (h, w, channels), as it lies."""
    y = int(rng.integers(image.shape[0] - side_px + 1))
    x = int(rng.integers(image.shape[1] - side_px + 1))
    return image[y : y + side_px, x : x + side_px]


def noisy(rows: NDArray[np.float32], level: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """`rows` with normal noise of standard deviation `level`."""
    return rows + level * rng.standard_normal(rows.shape).astype(np.float32)


def noisy_profile(rows: NDArray[np.float32], level: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """RNA condition vectors with noise on all but the last column, which says bulk or spots."""
    changed = noisy(rows, level, rng)
    changed[:, -1] = rows[:, -1]
    return changed


def dropped(rows: NDArray[np.float32], share: float, rng: np.random.Generator) -> NDArray[np.float32] | None:
    """None in this share of the calls, else `rows`."""
    return None if rng.random() < share else rows


def bag(rows: NDArray[Number], most: int, rng: np.random.Generator) -> NDArray[Number]:
    """Between 1 and `most` rows, drawn without repetition."""
    count = int(rng.integers(1, min(most, len(rows)) + 1))
    return rows[rng.choice(len(rows), count, replace=False)]
