"""Sampling: guidance, Euler steps, regions larger than a window, tiled decoding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_model import LATENT_CHANNELS, RNA_DIM, randomise, tiny_transformer, tiny_vae
from torch import Tensor

from mupd.model import sampling
from mupd.model.sampling import (
    NATIVE_MPP,
    STRIDE,
    WINDOW,
    Velocity,
    decode_region,
    denoise_region,
    euler,
    guided,
    he_extra,
    sample_he_windows,
    sampling_times,
    to_uint8,
    window_starts,
    window_weight,
)
from mupd.model.transformer import Conditions, MuPDTransformer
from mupd.model.vae import MuPDVAE


@pytest.fixture(scope="module")
def transformer() -> MuPDTransformer:
    return tiny_transformer("he")


def one_rna(batch: int, seed: int = 0) -> Conditions:
    rows = torch.randn((batch, 1, RNA_DIM + 1), generator=torch.Generator().manual_seed(seed))
    return {"rna": (rows, torch.ones(batch, 1, dtype=torch.bool))}


def latents(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_guidance_of_one_is_a_single_pass(transformer: MuPDTransformer) -> None:
    x, t, extra, batches = latents(2, LATENT_CHANNELS, 16, 16), torch.full((2,), 0.4), torch.zeros(2, 2), []
    conditions = one_rna(2)
    conditional = transformer(x, t, conditions, extra)
    plain = transformer(x, t, {}, extra)
    handle = transformer.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
    try:
        once = guided(transformer, conditions, extra, 1.0)(x, t)
        assert batches == [2]
        unconditioned = guided(transformer, {}, extra, 3.0)(x, t)
        assert batches == [2, 2]
        twice = guided(transformer, conditions, extra, 2.5)(x, t)
        assert batches == [2, 2, 4]
        none = guided(transformer, conditions, extra, 0.0)(x, t)
    finally:
        handle.remove()
    assert torch.equal(once, conditional)
    assert torch.equal(unconditioned, plain)
    torch.testing.assert_close(twice, plain + 2.5 * (conditional - plain), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(none, plain, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(twice, conditional, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_euler_integrates_a_constant_velocity_exactly(steps: int) -> None:
    times = sampling_times(steps)
    assert (times[0], times[-1], len(times)) == (0.0, 1.0, steps + 1)
    noise, seen = latents(2, 5), []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        seen.append(t[0].item())
        return torch.full_like(x, 2.0)

    torch.testing.assert_close(euler(velocity, noise, steps), noise + 2)
    assert seen == pytest.approx(times[:-1])


def test_extra_tells_scale_and_whether_it_is_known() -> None:
    assert he_extra(None).tolist() == [0, 0]
    assert he_extra(NATIVE_MPP).tolist() == [0, 1]
    assert he_extra(NATIVE_MPP / 2).tolist() == [-1, 1]


@given(length=st.integers(WINDOW, 400), step=st.integers(0, 99))
def test_windows_cover_a_side_and_stay_inside(length: int, step: int) -> None:
    starts = window_starts(length, step)
    covered = np.zeros(length, int)
    for start in starts:
        assert 0 <= start <= length - WINDOW
        covered[start : start + WINDOW] += 1
    assert covered.min() >= 1
    assert covered.max() <= 3
    assert len(starts) <= length // STRIDE + 2


def test_the_grid_of_windows_moves() -> None:
    assert window_starts(4 * WINDOW, 0) == [0, 12, 24, 36, 48]
    assert window_starts(4 * WINDOW, 5) == [0, 7, 19, 31, 43, 48]
    assert window_starts(4 * WINDOW, 12) == window_starts(4 * WINDOW, 0)
    assert len({(7 * step) % STRIDE for step in range(STRIDE)}) == STRIDE
    assert len({(5 * step) % STRIDE for step in range(STRIDE)}) == STRIDE


def test_windows_fade_into_each_other() -> None:
    weight = window_weight()
    assert weight.shape == (WINDOW, WINDOW)
    assert weight.max() == 1
    assert weight[0, 0] == weight.min() > 0
    shared = weight[WINDOW // 2, STRIDE:] + weight[WINDOW // 2, : WINDOW - STRIDE]
    torch.testing.assert_close(shared, torch.ones(WINDOW - STRIDE))


@pytest.mark.parametrize("shape", [(WINDOW, WINDOW), (40, 24), (17, 64)])
def test_every_place_of_every_window_is_at_the_same_time(shape: tuple[int, int]) -> None:
    """With velocity 1 everywhere, x = noise + t: also at the region's border, and at the end noise + 1."""
    noise, steps = latents(3, *shape), 8

    def velocity_of(corners: NDArray[np.int64]) -> Velocity:
        def velocity(x: Tensor, t: Tensor) -> Tensor:
            for window, now, (top, left) in zip(x, t, corners, strict=True):
                expected = noise[:, top : top + WINDOW, left : left + WINDOW] + now
                torch.testing.assert_close(window, expected, atol=1e-5, rtol=0)
            return torch.ones_like(x)

        return velocity

    torch.testing.assert_close(denoise_region(velocity_of, noise, steps, 4), noise + 1, atol=1e-5, rtol=0)


def region_of(transformer: MuPDTransformer) -> Callable[[NDArray[np.int64]], Velocity]:
    rows = torch.randn(RNA_DIM + 1, generator=torch.Generator().manual_seed(3))

    def velocity_of(corners: NDArray[np.int64]) -> Velocity:
        # Another condition in every window, as with spots.
        tokens = rows + torch.from_numpy(corners).float().sum(1)[:, None, None] / 50
        conditions: Conditions = {"rna": (tokens, torch.ones(len(corners), 1, dtype=torch.bool))}
        return guided(transformer, conditions, torch.zeros(len(corners), 2), 1.5)

    return velocity_of


def test_a_region_is_the_same_again_and_in_other_batches(transformer: MuPDTransformer) -> None:
    noise, steps = latents(LATENT_CHANNELS, 40, 24), 3
    done: list[int] = []
    with torch.no_grad():
        first = denoise_region(region_of(transformer), noise, steps, 4, lambda: done.append(1))
        torch.manual_seed(99)
        denoise_region(region_of(transformer), latents(LATENT_CHANNELS, 16, 16, seed=5), steps, 4)
        again = denoise_region(region_of(transformer), noise, steps, 4)
        others = [denoise_region(region_of(transformer), noise, steps, size) for size in (1, 3, 50)]
    assert len(done) == steps
    assert first.shape == noise.shape
    assert torch.equal(first, again)
    for other in others:
        torch.testing.assert_close(first, other, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(first, noise, atol=0.1)


def test_a_region_smaller_than_a_window_is_refused(transformer: MuPDTransformer) -> None:
    with pytest.raises(ValueError, match=r"found 15 x 64 latents; expected at least 16 x 16"):
        denoise_region(region_of(transformer), latents(LATENT_CHANNELS, 15, 64), 2, 4)


def test_everything_of_a_region_is_on_the_device_of_its_noise() -> None:
    noise = torch.zeros(LATENT_CHANNELS, 32, 24, dtype=torch.bfloat16, device="meta")

    def velocity_of(_corners: NDArray[np.int64]) -> Velocity:
        def velocity(x: Tensor, t: Tensor) -> Tensor:
            assert (x.device, x.dtype) == (t.device, t.dtype) == (noise.device, noise.dtype)
            return x * t[:, None, None, None]

        return velocity

    found = denoise_region(velocity_of, noise, 2, 3)
    assert (found.device, found.shape) == (noise.device, noise.shape)


def decoded(vae: MuPDVAE, values: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The same latents decoded tile by tile and whole."""
    picture = np.zeros((values.shape[1] * 8, values.shape[2] * 8, 3), np.uint8)
    written = np.zeros(picture.shape[:2], int)

    def write(y: int, x: int, pixels: NDArray[np.uint8]) -> None:
        picture[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
        written[y : y + pixels.shape[0], x : x + pixels.shape[1]] += 1

    decode_region(vae, values, write)
    assert (written == 1).all()
    with torch.no_grad():
        return picture, to_uint8(vae.decode(values[None]))[0]


@pytest.mark.parametrize("shape", [(130, 70), (64, 64), (6, 65)])
def test_tiled_decoding_is_whole_decoding(shape: tuple[int, int]) -> None:
    tiled, whole = decoded(tiny_vae(), latents(LATENT_CHANNELS, *shape))
    assert np.ptp(whole) > 100
    assert np.abs(tiled.astype(int) - whole).max() <= 1


def test_the_halo_suffices_for_the_default_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    vae = MuPDVAE().eval()
    randomise(vae, 1, 0.05)
    values = latents(8, 20, 72)
    tiled, whole = decoded(vae, values)
    assert np.ptp(whole) > 100
    assert np.abs(tiled.astype(int) - whole).max() <= 1
    monkeypatch.setattr(sampling, "DECODE_HALO", 2)
    tiled, _ = decoded(vae, values)
    assert np.abs(tiled.astype(int) - whole).max() > 1, "the test cannot tell a halo that is too small"


def test_single_windows(transformer: MuPDTransformer) -> None:
    def sample(seed: int) -> NDArray[np.uint8]:
        with torch.no_grad():
            return sample_he_windows(
                transformer, tiny_vae(), one_rna(2), torch.zeros(2, 2), seed=seed, steps=2, guidance=1.5
            )

    found = sample(1)
    assert (found.shape, found.dtype) == ((2, 128, 128, 3), np.uint8)
    assert np.array_equal(found, sample(1))
    assert not np.array_equal(found, sample(2))


@settings(max_examples=20)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8))
def test_pixels_are_clipped_not_wrapped(values: list[float]) -> None:
    images = torch.tensor(values).reshape(1, 1, 1, -1).expand(1, 3, 1, -1)
    expected = np.clip(np.round((np.array(values, np.float32) + 1) * 127.5), 0, 255)
    np.testing.assert_allclose(to_uint8(images)[0, 0, :, 0], expected, atol=1)
