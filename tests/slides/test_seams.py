"""Seams are measured where windows met, also in resampled pictures; a picture without borders has none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mupd.model_folder.geometry import TRAINED
from mupd.slides.seams import line_steps, measure_seams

LAST = 19


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(100, 130, (height, width, 3)).astype(np.uint8)


def with_seams(pixels: NDArray[np.uint8], evaluation: int) -> NDArray[np.uint8]:
    """12 grey levels up or down at every border of one evaluation."""
    rows, columns = TRAINED.border_lines((pixels.shape[1], pixels.shape[0]), evaluation)
    steps = np.zeros(pixels.shape[:2])
    for number, line in enumerate(rows):
        steps[line + 1 :] += 12 * (-1) ** number
    for number, line in enumerate(columns):
        steps[:, line + 1 :] += 12 * (-1) ** number
    return np.clip(pixels + steps[..., None], 0, 255).astype(np.uint8)


def test_seams_of_the_last_evaluation_show() -> None:
    plain = measure_seams(noise(512, 768), TRAINED, LAST)
    seamed = measure_seams(with_seams(noise(512, 768), LAST), TRAINED, LAST)
    assert plain is not None
    assert seamed is not None
    assert plain.low < 1.0 < plain.high
    assert plain.ratio == pytest.approx(1.0, abs=0.02)
    assert seamed.low > 1.3


def test_steps_elsewhere_are_no_seams() -> None:
    """The grid of an earlier evaluation lies elsewhere: its borders were denoised away."""
    seams = measure_seams(with_seams(noise(512, 768), LAST - 1), TRAINED, LAST)
    assert seams is not None
    assert seams.ratio < 1.1


@pytest.mark.parametrize("mpp", [0.5, 1.0])
def test_seams_show_in_a_resampled_picture(mpp: float) -> None:
    scale = TRAINED.mpp / mpp
    for seamed in (False, True):
        native = with_seams(noise(768, 768), LAST) if seamed else noise(768, 768)
        side = int(768 * scale)
        pixels = np.asarray(Image.fromarray(native).resize((side, side), Image.Resampling.LANCZOS))
        seams = measure_seams(pixels, TRAINED, LAST, mpp)
        assert seams is not None
        assert seams.ratio > 1.15 if seamed else seams.ratio == pytest.approx(1.0, abs=0.08)


def test_a_picture_without_borders_or_steps_has_no_ratio() -> None:
    assert measure_seams(noise(50, 50), TRAINED, LAST) is None
    assert measure_seams(np.full((512, 512, 3), 9, np.uint8), TRAINED, LAST) is None


def test_steps_are_the_same_in_bands_and_whole() -> None:
    pixels = noise(700, 300)
    grey = pixels.astype(float).mean(-1)
    rows, columns = line_steps(pixels)
    np.testing.assert_allclose(rows, np.abs(np.diff(grey, axis=0)).mean(1))
    np.testing.assert_allclose(columns, np.abs(np.diff(grey, axis=1)).mean(0))
