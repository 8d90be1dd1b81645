"""Seams of a generated picture: grey-level steps where windows met, against steps where none did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mupd.model_folder.geometry import DOWNSAMPLE, Geometry

_BAND_PX = 64
_RESAMPLES = 1000

Steps = NDArray[np.float64]


@dataclass(frozen=True)
class Seams:
    """Mean grey-level step at the borders of windows over that at other lines; 1 = no seams.

    Attributes
    ----------
    ratio, low, high
        To the other lines between latents, where the decoder leaves a slight lattice everywhere; its bootstrap 95 %
        interval over the borders.
    to_all_lines
        To all lines that are no border.
    """

    ratio: float
    low: float
    high: float
    to_all_lines: float


def line_steps(pixels: NDArray[np.uint8]) -> tuple[Steps, Steps]:
    """Mean absolute grey-level step across each line between rows (h - 1,) and between columns (w - 1,).

    `pixels` (h, w, channels) may be memory-mapped: a band of rows is in memory at a time.
    """
    height, width = pixels.shape[:2]
    between_rows, between_columns = np.zeros(height - 1), np.zeros(width - 1)
    above: NDArray[np.float64] | None = None
    for top in range(0, height, _BAND_PX):
        grey = pixels[top : top + _BAND_PX].astype(np.float64).mean(-1)
        between_columns += np.abs(np.diff(grey, axis=1)).sum(0)
        joined = grey if above is None else np.concatenate([above, grey])
        first = top if above is None else top - 1
        between_rows[first : first + len(joined) - 1] = np.abs(np.diff(joined, axis=0)).mean(1)
        above = grey[-1:]
    return between_rows, between_columns / height


def _at_scale(lines: Sequence[int], scale: float, count: int) -> NDArray[np.int64]:
    """Lines of a picture that was resampled by `scale`, of `count` lines."""
    scaled = np.rint((np.array(lines) + 1) * scale).astype(np.int64) - 1
    return np.unique(scaled[(scaled >= 0) & (scaled < count)])


def measure_seams(
    pixels: NDArray[np.uint8], geometry: Geometry, last_evaluation: int, mpp: float | None = None
) -> Seams | None:
    """Measure the seams of a generated picture.

    Borders are those of the windows of the sampler's last evaluation, which the grid moves with, and of tiles that are
    decoded by themselves; borders of earlier evaluations lie elsewhere and were denoised away.

    Parameters
    ----------
    pixels
        (height, width, channels) uint8, may be memory-mapped.
    mpp
        Micrometres per pixel of `pixels`; None: the model's own. A resampled picture is measured at the lines that
        the borders came to lie on.

    Returns
    -------
    None for a picture without borders, or of one colour.
    """
    height, width = pixels.shape[:2]
    scale = 1.0 if mpp is None else geometry.mpp / mpp
    native = (width, height) if mpp is None else geometry.native_size_px((width, height), mpp)
    at, between, elsewhere = [], [], []
    borders = geometry.border_lines(native, last_evaluation)
    for steps, lines, length in zip(line_steps(pixels), borders, native[::-1], strict=True):
        is_border = np.zeros(len(steps), bool)
        is_border[_at_scale(lines, scale, len(steps))] = True
        on_lattice = np.zeros(len(steps), bool)
        on_lattice[_at_scale(range(DOWNSAMPLE - 1, length - 1, DOWNSAMPLE), scale, len(steps))] = True
        at.append(steps[is_border])
        between.append(steps[~is_border & on_lattice])
        elsewhere.append(steps[~is_border])
    border_steps, rest = np.concatenate(at), np.concatenate(between)
    if not len(border_steps) or not len(rest) or not rest.mean():
        return None
    rng = np.random.default_rng(0)
    picks = rng.integers(len(border_steps), size=(_RESAMPLES, len(border_steps)))
    low, high = np.percentile(border_steps[picks].mean(1), [2.5, 97.5]) / rest.mean()
    to_all = float(border_steps.mean() / np.concatenate(elsewhere).mean())
    return Seams(float(border_steps.mean() / rest.mean()), float(low), float(high), to_all)
