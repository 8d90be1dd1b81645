"""Conditions as the trunk reads them: rows as tokens, and the contexts of windows of a region."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.model.attention import Conditions, Context
from mupd.model.conditions import CaseVectors
from mupd.model.transformer import MuPDTransformer
from mupd.model_folder.geometry import DOWNSAMPLE

_MOST_SPOTS = 4096
"""Profiles whose keys and values are kept for a region; with more, they are projected batch by batch."""


def _tokens(model: MuPDTransformer, rows: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows, np.float32)).to(model.device, model.dtype)


def bag_tokens(model: MuPDTransformer, rows: NDArray[np.float32], batch: int = 1) -> tuple[Tensor, Tensor]:
    """Rows (n, dim) as the tokens of each sample: (batch, n, dim), and their mask (batch, n)."""
    tokens = _tokens(model, rows)
    return tokens.expand(batch, *tokens.shape), torch.ones(batch, len(rows), dtype=torch.bool, device=model.device)


def row_tokens(model: MuPDTransformer, rows: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Each row (n, dim) as the one token of a sample: (n, 1, dim), and its mask (n, 1)."""
    return _tokens(model, rows)[:, None], torch.ones(len(rows), 1, dtype=torch.bool, device=model.device)


class WindowContexts:
    """Contexts of windows of a region: keys and values of each profile are projected once, then looked up.

    A window is conditioned by the profile of the spot nearest to its centre, or by the one profile.

    Parameters
    ----------
    size
        Width and height of the region in latents.
    window
        Side of a window in latents.
    """

    def __init__(self, model: MuPDTransformer, given: CaseVectors, size: tuple[int, int], window: int) -> None:
        self.model, self.given, self.window = model, given, window
        self.used = self._nearest_anywhere(size)
        self.kept: Context | None = None
        if len(self.used) <= _MOST_SPOTS:
            self.kept = self._context(self.used)

    def __call__(self, corners: NDArray[np.int64]) -> Context:
        """Context of windows by their corners (n, 2) y, x in latents."""
        nearest = self._nearest(corners)
        if self.kept is None:
            return self._context(nearest)
        index = torch.from_numpy(np.searchsorted(self.used, nearest)).to(self.model.device)
        return self.kept.take(index)

    def _context(self, rows: NDArray[np.int64]) -> Context:
        given, model = self.given, self.model
        conditions: Conditions = {}
        for name, vectors in (("rna", given.rna), ("pathways", given.pathways)):
            if vectors is not None:
                whole = vectors if given.rna_xy_px is not None else vectors.mean(0, keepdims=True)
                conditions[name] = row_tokens(model, whole[rows])
        if given.text is not None:
            conditions["text"] = bag_tokens(model, given.text, len(rows))
        return model.context(conditions, len(rows))

    def _nearest(self, corners: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.given.rna_xy_px is None:
            return np.zeros(len(corners), np.int64)
        return self._tree.query((corners[:, ::-1] + self.window / 2) * DOWNSAMPLE)[1]

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import KDTree

        return KDTree(self.given.rna_xy_px)

    def _nearest_anywhere(self, size: tuple[int, int]) -> NDArray[np.int64]:
        """Rows that are nearest to some window of the region, ascending."""
        if self.given.rna_xy_px is None:
            return np.zeros(1, np.int64)
        nearest: set[int] = set()
        xs = np.arange(size[0] - self.window + 1)
        for y in range(size[1] - self.window + 1):
            nearest.update(self._nearest(np.stack([np.full_like(xs, y), xs], 1)).tolist())
        return np.array(sorted(nearest), np.int64)
