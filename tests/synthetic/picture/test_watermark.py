from __future__ import annotations

import hashlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mupd.synthetic.picture import watermark
from mupd.synthetic.picture.watermark import SCALES, THRESHOLD, detect, embed, embed_picture
from tests.fixtures.basic import he_pixels

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def slide() -> Pixels:
    """Tissue with glass around it, (2048, 2048, 3), its 512 px blocks marked one by one."""
    return embed_picture(he_pixels(2048, 2048))


def as_jpeg(picture: Pixels, quality: int = 80) -> Pixels:
    stream = BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        return np.asarray(image)


def resized(picture: Pixels, factor: float) -> Pixels:
    size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def psnr(one: Pixels, other: Pixels) -> float:
    error = np.square(one.astype(float) - other).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def test_the_pattern_is_the_same_for_ever() -> None:
    """Another pattern would no longer find the slides that were written with this one."""
    digest = hashlib.sha256(watermark._pattern().astype("<i2").tobytes()).hexdigest()
    assert digest == "6df559aaf560ccc37a40200abec30ee4da3ba356b5b0151d92fb594ab3a12ea6"


@given(seed=st.integers(0, 10**6), contrast=st.floats(0, 120), base=st.integers(0, 255), smooth=st.booleans())
@settings(max_examples=25)
def test_no_block_changes_visibly(seed: int, contrast: float, base: int, smooth: bool) -> None:
    noise = np.random.default_rng(seed).normal(base, contrast, (64 if smooth else 512,) * 2 + (3,))
    small = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
    block = np.asarray(small.resize((512, 512), Image.Resampling.BICUBIC))
    kept = block.copy()
    marked = embed(block)
    assert psnr(block, marked) >= 41
    assert np.array_equal(block, kept)


def test_the_mark_is_grey() -> None:
    block = np.clip(he_pixels(512, 512), 20, 235)
    change = embed(block).astype(int) - block
    assert np.ptp(change, axis=-1).max() == 0
    assert change.std() > 0.5


def test_glass_stays_as_it_is() -> None:
    glass = np.random.default_rng(0).integers(243, 249, (512, 512, 3), dtype=np.uint8)
    assert np.array_equal(embed(glass), glass)


@pytest.mark.parametrize("shape", [(512, 512), (256, 512, 3), (512, 512, 4)])
def test_blocks_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(512, 512, 3\) uint8"):
        embed(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="float64"):
        embed(np.zeros((512, 512, 3)))
    if shape[2:] != (3,):
        with pytest.raises(ValueError, match=r"expected \(height, width, 3\) uint8"):
            detect(np.zeros(shape, np.uint8))


@given(top=st.integers(600, 1000), left=st.integers(600, 1000))
@settings(max_examples=8)
def test_found_at_any_offset(slide: Pixels, top: int, left: int) -> None:
    found = detect(slide[top : top + 512, left : left + 512])
    assert found.present
    assert found.scale == 1


@pytest.mark.parametrize("scale", SCALES)
def test_found_at_each_scale_after_jpeg(slide: Pixels, scale: float) -> None:
    found = detect(as_jpeg(resized(as_jpeg(slide[7:, 5:]), scale)))
    assert found.present
    assert found.scale == scale


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flipped", [False, True])
def test_found_turned_and_flipped(slide: Pixels, turns: int, flipped: bool) -> None:
    piece = np.rot90(slide[900:1412, 730:1242], turns)
    found = detect(np.ascontiguousarray(piece[:, ::-1] if flipped else piece))
    assert found.present


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_without_texture_scores_nothing(value: int) -> None:
    found = detect(np.full((512, 512, 3), value, np.uint8))
    assert (found.score, found.present) == (0, False)


def test_unmarked_and_tiny_pictures_are_not_marked() -> None:
    y, x = np.mgrid[0:512, 0:512]
    waves = (127 + 100 * np.sin(2 * np.pi * (x * 40 + y * 21) / 512))[..., None].repeat(3, -1).astype(np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, (700, 600, 3), dtype=np.uint8)
    for picture in (he_pixels(900, 800, 3), waves, noise, noise[:20, :30], noise[:1, :1]):
        assert detect(picture).score < THRESHOLD - 1
        assert not detect(picture).present


@pytest.mark.parametrize("size", [(512, 512), (100, 700), (1025, 513), (3, 5)])
def test_a_picture_is_marked_in_blocks_that_reach_over_its_edge(size: tuple[int, int]) -> None:
    picture = he_pixels(*size)
    marked = embed_picture(picture)
    assert marked.shape == picture.shape
    rows, columns = (min(side, 512) for side in picture.shape[:2])
    first = np.pad(picture[:512, :512], ((0, 512 - rows), (0, 512 - columns), (0, 0)), mode="symmetric")
    assert np.array_equal(marked[:512, :512], embed(first)[:rows, :columns])
