"""Geometry of a model's H&E: window, stride, scale, borders. Read from the model's folder, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from mupd.errors import ModelError
from mupd.model_folder.contents import read_json_file

Solver = Literal["euler", "heun"]

DOWNSAMPLE = 8
"""Pixels of one side of a latent; every autoencoder that this package loads reduces by it."""

DECODE_SIDE = 64
"""Side of a tile that is decoded by itself, in latents."""

ROW_SHIFT, COLUMN_SHIFT = 7, 5
"""Latents that the grid of windows moves down and to the right from one evaluation to the next. Neither shares a factor
with the stride of a window of 16, 32 or 64 latents: every offset comes once before one comes again."""

Lines = list[int]
"""Lines of a picture along one axis: line i lies between pixels i and i + 1."""


def evaluations(solver: Solver, steps: int) -> int:
    """How often the sampler evaluates the velocity: Heun twice in all steps but the last."""
    return steps if solver == "euler" else 2 * steps - 1


@dataclass(frozen=True)
class Geometry:
    """Windows in which a model generates pictures of any size.

    Attributes
    ----------
    window_px
        Side of the trunk's window in pixels, a multiple of four latents.
    mpp
        Micrometres per pixel at which the model generates.
    """

    window_px: int
    mpp: float

    @property
    def window(self) -> int:
        """Side of the window in latents."""
        return self.window_px // DOWNSAMPLE

    @property
    def stride(self) -> int:
        """Step of the grid of windows in latents: neighbours share a quarter of a window."""
        return self.window - self.window // 4

    @property
    def stride_px(self) -> int:
        """Step of the grid of windows in pixels."""
        return self.stride * DOWNSAMPLE

    def native_size_px(self, size_px: tuple[int, int], mpp: float) -> tuple[int, int]:
        """Width and height at the model's own scale that cover a picture of another scale; multiples of a latent."""
        scale = mpp / self.mpp
        width, height = (-(-round(side * scale) // DOWNSAMPLE) * DOWNSAMPLE for side in size_px)
        return max(width, DOWNSAMPLE), max(height, DOWNSAMPLE)

    def window_starts(self, length: int, offset: int) -> list[int]:
        """Starts of the windows that cover one side of `length` latents, the grid moved back by `offset` latents.

        Every window lies inside: at the ends it is pushed inward and overlaps its neighbour.
        """
        starts = range(-(offset % self.stride), length - self.window + self.stride, self.stride)
        return sorted({min(max(start, 0), length - self.window) for start in starts})

    def window_grid(self, height: int, width: int, evaluation: int) -> tuple[list[int], list[int]]:
        """Starts of the rows and of the columns of windows (latents) at one evaluation of the velocity, from 0."""
        return self.window_starts(height, ROW_SHIFT * evaluation), self.window_starts(width, COLUMN_SHIFT * evaluation)

    def windows_by_evaluation(self, size_px: tuple[int, int], count: int) -> list[int]:
        """Windows that each of `count` evaluations takes over a picture (width, height) of the model's own scale."""
        width, height = (max(side // DOWNSAMPLE, self.window) for side in size_px)
        grids = (self.window_grid(height, width, evaluation) for evaluation in range(count))
        return [len(rows) * len(columns) for rows, columns in grids]

    def border_lines(self, size_px: tuple[int, int], evaluation: int) -> tuple[Lines, Lines]:
        """Lines between rows and lines between columns at which windows of one evaluation, or decoded tiles, meet.

        Parameters
        ----------
        size_px
            Width and height at the model's own scale.
        evaluation
            Of the sampler, from 0: the borders of the last one are those that a seam would show at.
        """
        width, height = (max(side // DOWNSAMPLE, self.window) for side in size_px)
        rows, columns = self.window_grid(height, width, evaluation)
        return self._edges(rows, size_px[1]), self._edges(columns, size_px[0])

    def _edges(self, starts: list[int], length_px: int) -> Lines:
        length = length_px // DOWNSAMPLE
        edges = {*starts, *(start + self.window for start in starts), *range(0, length, DECODE_SIDE)}
        return [edge * DOWNSAMPLE - 1 for edge in sorted(edges) if 0 < edge < length]


TRAINED = Geometry(window_px=128, mpp=0.78)
"""Geometry of the models that :mod:`mupd.training` makes; their folders state it."""


@cache
def read_geometry(model: Path) -> Geometry:
    """Geometry of a model's folder, or of a stainer's, from ``model_index.json``.

    A folder of version 0.2 states no ``window_px``: all models of that version have windows of 128 px.

    Raises
    ------
    ModelError
        If the file is not there, or states no scale or no possible window.
    """
    path = model / "model_index.json"
    index = read_json_file(path)
    if not isinstance(index, dict):
        raise ModelError(f"{path}: found no index of a model; expected a JSON object")
    mpp, window_px = index.get("native_mpp", index.get("mpp")), index.get("window_px", TRAINED.window_px)
    if isinstance(mpp, bool) or not isinstance(mpp, int | float) or not 0 < mpp < math.inf:
        raise ModelError(f"{path} [native_mpp]: found {mpp!r}; expected micrometres per pixel, a number over 0")
    if isinstance(window_px, bool) or not isinstance(window_px, int) or window_px < 1 or window_px % (4 * DOWNSAMPLE):
        raise ModelError(f"{path} [window_px]: found {window_px!r}; expected a multiple of {4 * DOWNSAMPLE} pixels")
    return Geometry(window_px, float(mpp))


def has_geometry(model: Path) -> bool:
    """Whether :func:`read_geometry` can read a folder."""
    try:
        read_geometry(model)
    except ModelError:
        return False
    return True
