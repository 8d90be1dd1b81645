"""Baseline from single pixels: regression from haematoxylin and eosin optical density."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

PIXELS = 200_000
"""Of all training pairs together."""


def densities(he: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Haematoxylin and eosin (h * w, 2) of a picture, by fixed stain vectors."""
    from skimage.color import rgb2hed

    return rgb2hed(he)[..., :2].reshape(-1, 2).astype(np.float32)


class PixelRegression:
    """Boosted trees from two densities to each channel."""

    def __init__(self, pairs: Sequence[NDArray[np.uint8]]) -> None:
        rng = np.random.default_rng(0)
        each = max(1, PIXELS // len(pairs))
        x, y = [], []
        for pair in pairs:
            chosen = rng.choice(pair.shape[0] * pair.shape[1], each, replace=False)
            x.append(densities(pair[..., :3])[chosen])
            y.append(pair[..., 3:].reshape(-1, pair.shape[2] - 3)[chosen])
        inputs, outputs = np.concatenate(x), np.concatenate(y).astype(np.float32)
        self.models = [
            HistGradientBoostingRegressor(max_iter=100, random_state=0).fit(inputs, outputs[:, n])
            for n in range(outputs.shape[1])
        ]

    def predict(self, he: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, 3) to (h, w, channels) of 0 to 255."""
        inputs = densities(he)
        values = np.stack([model.predict(inputs) for model in self.models], axis=-1)
        return values.reshape(*he.shape[:2], -1).clip(0, 255).astype(np.float32)
