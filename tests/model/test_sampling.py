"""Sampling: guidance, Euler steps, regions larger than a window, tiled decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from mupd.model import regions
from mupd.model.attention import Conditions
from mupd.model.guidance import Velocity, guidance_passes, guided
from mupd.model.regions import RegionSampling, decode_region, denoise_region, he_extra, to_uint8, window_weight
from mupd.model.sampling import sample_he_windows, sample_record, sample_vectors, seeded_noise
from mupd.model.solvers import Solver, integrate, scheduler_of
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import MuPDVAE
from mupd.model_folder.geometry import TRAINED, evaluations
from tests.fixtures.tiny_model import LATENT_CHANNELS, STREAMS, randomise, tiny_transformer, tiny_vae

SOLVERS: tuple[Solver, ...] = ("euler", "heun")


@pytest.fixture(scope="module")
def transformer() -> MuPDTransformer:
    return tiny_transformer()


def conditions_of(names: tuple[str, ...], batch: int, seed: int = 0) -> Conditions:
    generator = torch.Generator().manual_seed(seed)
    made = {name: torch.randn((batch, 1, dim), generator=generator) for name, dim in STREAMS.items()}
    return {name: (made[name], torch.ones(batch, 1, dtype=torch.bool)) for name in names}


def latents(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


scales = st.dictionaries(st.sampled_from([*STREAMS, "other"]), st.sampled_from([0.0, 0.5, 1.0, 1.5, 3.0]))
names = st.sets(st.sampled_from([*STREAMS, "other"]))


@given(names=names, scales=scales)
def test_guidance_passes(names: set[str], scales: dict[str, float]) -> None:
    passes = guidance_passes(dict.fromkeys(names), scales)
    assert sum(weight for _, weight in passes) == pytest.approx(1)
    assert all(weight != 0 for _, weight in passes)
    own = {scales.get(name, 1.0) for name in names}
    assert 1 <= len(passes) <= len(names) + 1
    if own <= {1.0}:
        assert [(set(streams), weight) for streams, weight in passes] == [(names, 1.0)]
    elif len(own) == 1:
        # Equal scales are one group: everything or nothing, as without streams.
        scale = own.pop()
        expected = [((), 1 - scale), (tuple(sorted(names)), scale)]
        assert [(tuple(sorted(s)), w) for s, w in passes] == [(s, w) for s, w in expected if w != 0]
    # Streams are only ever added, and each carries its scale: the passes that have it add up to it.
    for (fewer, _), (more, _) in pairwise(passes):
        assert set(fewer) < set(more)
    for name in names:
        carried = sum(weight for streams, weight in passes if name in streams)
        assert carried == pytest.approx(scales.get(name, 1.0))


def test_text_is_added_before_rna() -> None:
    """v() + 2 (v(text) - v()) + 3 (v(text, rna) - v(text))."""
    passes = guidance_passes({"rna": 0, "text": 0}, {"text": 2.0, "rna": 3.0})
    assert passes == [((), -1.0), (("text",), -1.0), (("text", "rna"), 3.0)]


@torch.no_grad()
def test_guidance_of_one_is_a_single_pass(transformer: MuPDTransformer) -> None:
    x, t, extra, batches = latents(2, LATENT_CHANNELS, 16, 16), torch.full((2,), 0.4), torch.zeros(2, 2), []
    context = transformer.context(conditions_of(("rna",), 2), 2)
    nothing = transformer.context({}, 2)
    conditional = transformer(x, t, "he", context, extra)
    plain = transformer(x, t, "he", nothing, extra)
    handle = transformer.register_forward_pre_hook(
        lambda _, args, more: batches.append(len(args[0]) * more.get("copies", 1)), with_kwargs=True
    )
    try:
        once = guided(transformer, "he", context, extra, {"rna": 1.0, "text": 7.0})(x, t)
        assert batches == [2]
        unconditioned = guided(transformer, "he", nothing, extra, {"rna": 3.0})(x, t)
        assert batches == [2, 2]
        twice = guided(transformer, "he", context, extra, {"rna": 2.5})(x, t)
        assert batches == [2, 2, 4]
        none = guided(transformer, "he", context, extra, {"rna": 0.0})(x, t)
        assert batches == [2, 2, 4, 2]
    finally:
        handle.remove()
    assert torch.equal(once, conditional)
    assert torch.equal(unconditioned, plain)
    torch.testing.assert_close(twice, plain + 2.5 * (conditional - plain), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(none, plain, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(twice, conditional, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize(
    "scale",
    [
        {"text": 2.0, "rna": 3.0, "pathways": 3.0},
        {"text": 1.5, "rna": 1.5, "pathways": 1.5},
        {"rna": 2.0, "pathways": 0.5},
        {"text": 0.0, "rna": 2.0},
    ],
)
def test_guidance_by_stream_is_its_formula(transformer: MuPDTransformer, scale: Mapping[str, float]) -> None:
    """Each stream in turn moves the velocity by its scale, whatever is grouped, left out or batched."""
    x, t = latents(2, LATENT_CHANNELS, 8, 8), torch.tensor([0.2, 0.7])
    extra = he_extra(TRAINED.mpp).expand(2, 2)
    streams = ("text", "pathways", "rna")
    everything = conditions_of(streams, 2)

    def v(*names: str) -> Tensor:
        context = transformer.context({name: everything[name] for name in names}, 2)
        return transformer(x, t, "he", context, extra)

    expected = v()
    for count, name in enumerate(streams):
        expected = expected + scale.get(name, 1.0) * (v(*streams[: count + 1]) - v(*streams[:count]))
    found = guided(transformer, "he", transformer.context(everything, 2), extra, scale)(x, t)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(found, v(*streams), atol=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 3, 7])
def test_a_constant_velocity_is_integrated_exactly(solver: Solver, steps: int) -> None:
    noise, seen, told = latents(2, 5), [], []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        assert t.shape == (2,)
        seen.append(t[0].item())
        return torch.full_like(x, 2.0)

    found = integrate(velocity, noise, steps, solver, lambda: told.append(1))
    torch.testing.assert_close(found, noise + 2, atol=1e-4, rtol=0)
    assert len(seen) == len(told) == evaluations(solver, steps)
    assert seen[0] == pytest.approx(0, abs=1e-6)
    assert max(seen) < 1
    if solver == "euler":
        assert seen == pytest.approx([step / steps for step in range(steps)], abs=1e-6)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_a_linear_field_is_integrated_to_the_solvers_order(solver: Solver, order: int) -> None:
    """dx/dt = a x + b t has a closed form; twice the steps leave a half or a quarter of the error."""
    noise = latents(3, 4).double()
    a, b = -1.3, 0.7
    exact = (noise + b / a**2) * np.exp(a) - b / a - b / a**2

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return a * x + b * t[:, None]

    errors = [(integrate(velocity, noise, steps, solver) - exact).abs().max().item() for steps in (10, 20, 40)]
    assert errors[0] < (0.12 if order == 1 else 0.01)
    for coarse, fine in pairwise(errors):
        assert 2**order * 0.7 < coarse / fine < 2**order * 1.6


def test_solvers_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="solver: found 'rk4'; expected one of euler, heun"):
        scheduler_of("rk4", 4)  # type: ignore[arg-type]
    for solver in SOLVERS:
        with pytest.raises(ValueError, match="steps: found 0; expected at least 1"):
            scheduler_of(solver, 0)


def test_extra_tells_scale_and_whether_it_is_known() -> None:
    assert he_extra(None).tolist() == [0, 0]
    assert he_extra(TRAINED.mpp).tolist() == [0, 1]
    assert he_extra(TRAINED.mpp / 2).tolist() == [-1, 1]


@given(length=st.integers(TRAINED.window, 400), step=st.integers(0, 99))
def test_windows_cover_a_side_and_stay_inside(length: int, step: int) -> None:
    starts = TRAINED.window_starts(length, step)
    covered = np.zeros(length, int)
    for start in starts:
        assert 0 <= start <= length - TRAINED.window
        covered[start : start + TRAINED.window] += 1
    assert covered.min() >= 1
    assert covered.max() <= 3
    assert len(starts) <= length // TRAINED.stride + 2


def test_the_grid_of_windows_moves() -> None:
    assert TRAINED.window_starts(4 * TRAINED.window, 0) == [0, 12, 24, 36, 48]
    assert TRAINED.window_starts(4 * TRAINED.window, 5) == [0, 7, 19, 31, 43, 48]
    assert TRAINED.window_starts(4 * TRAINED.window, 12) == TRAINED.window_starts(4 * TRAINED.window, 0)
    assert len({(7 * step) % TRAINED.stride for step in range(TRAINED.stride)}) == TRAINED.stride
    assert len({(5 * step) % TRAINED.stride for step in range(TRAINED.stride)}) == TRAINED.stride


def test_windows_fade_into_each_other() -> None:
    weight = window_weight(TRAINED)
    assert weight.shape == (TRAINED.window, TRAINED.window)
    assert weight.max() == 1
    assert weight[0, 0] == weight.min() > 0
    shared = (
        weight[TRAINED.window // 2, TRAINED.stride :] + weight[TRAINED.window // 2, : TRAINED.window - TRAINED.stride]
    )
    torch.testing.assert_close(shared, torch.ones(TRAINED.window - TRAINED.stride))


@pytest.mark.parametrize("shape", [(TRAINED.window, TRAINED.window), (40, 24), (17, 64)])
def test_every_place_of_every_window_is_at_the_same_time(shape: tuple[int, int]) -> None:
    """With velocity 1 everywhere, x = noise + t: also at the region's border, and at the end noise + 1."""
    noise, steps = latents(3, *shape), 8

    def velocity_of(corners: NDArray[np.int64]) -> Velocity:
        def velocity(x: Tensor, t: Tensor) -> Tensor:
            for window, now, (top, left) in zip(x, t, corners, strict=True):
                expected = noise[:, top : top + TRAINED.window, left : left + TRAINED.window] + now
                torch.testing.assert_close(window, expected, atol=1e-5, rtol=0)
            return torch.ones_like(x)

        return velocity

    torch.testing.assert_close(
        denoise_region(velocity_of, noise, RegionSampling(steps, 4)), noise + 1, atol=1e-5, rtol=0
    )


def region_of(transformer: MuPDTransformer) -> Callable[[NDArray[np.int64]], Velocity]:
    rows = torch.randn(STREAMS["rna"], generator=torch.Generator().manual_seed(3))

    def velocity_of(corners: NDArray[np.int64]) -> Velocity:
        # Another condition in every window, as with spots.
        tokens = rows + torch.from_numpy(corners).float().sum(1)[:, None, None] / 50
        conditions: Conditions = {"rna": (tokens, torch.ones(len(corners), 1, dtype=torch.bool))}
        context = transformer.context(conditions, len(corners))
        return guided(transformer, "he", context, torch.zeros(len(corners), 2), {"rna": 1.5})

    return velocity_of


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_region_is_the_same_again_and_in_other_batches(transformer: MuPDTransformer, solver: Solver) -> None:
    noise, steps = latents(LATENT_CHANNELS, 40, 24), 3
    done: list[int] = []

    def region(size: int, on_step: Callable[[], object] | None = None) -> Tensor:
        return denoise_region(region_of(transformer), noise, RegionSampling(steps, size, solver, on_step))

    with torch.no_grad():
        first = region(4, lambda: done.append(1))
        torch.manual_seed(99)
        denoise_region(
            region_of(transformer), latents(LATENT_CHANNELS, 16, 16, seed=5), RegionSampling(steps, 4, solver)
        )
        again = region(4)
        others = [region(size) for size in (1, 3, 50)]
    assert len(done) == evaluations(solver, steps)
    assert first.shape == noise.shape
    assert torch.equal(first, again)
    for other in others:
        torch.testing.assert_close(first, other, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(first, noise, atol=0.1)


def test_a_window_is_the_same_to_the_bit_whatever_it_is_batched_with(transformer: MuPDTransformer) -> None:
    """Its velocity does not depend on what else the region holds: batches have one size, the last is filled up."""
    extra, size = torch.zeros(4, 2), 4
    windows, conditions = latents(9, LATENT_CHANNELS, TRAINED.window, TRAINED.window), conditions_of(("rna", "text"), 9)
    t = torch.full((size,), 0.3)

    def velocity(rows: list[int]) -> Tensor:
        own = {name: (tokens[rows], mask[rows]) for name, (tokens, mask) in conditions.items()}
        context = transformer.context(own, size)
        return guided(transformer, "he", context, extra, {"rna": 1.5, "text": 2.0})(windows[rows], t)

    with torch.no_grad():
        whole = {row: v for rows in ([0, 1, 2, 3], [4, 5, 6, 7]) for row, v in zip(rows, velocity(rows), strict=True)}
        for rows in ([3, 0, 5, 1], [7, 7, 7, 7], [2, 6, 4, 8]):
            for row, found in zip(rows, velocity(rows), strict=True):
                assert row == 8 or torch.equal(found, whole[row]), row


def test_windows_that_disagree_leave_no_seam() -> None:
    """Every window pulls its own way; what is left of that at the borders is no steeper than elsewhere."""
    noise, steps = torch.zeros(64, 64, 64), 24

    def velocity_of(corners: NDArray[np.int64]) -> Velocity:
        own = [np.random.default_rng(tuple(corner)).standard_normal(64, np.float32) for corner in corners]

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            return torch.from_numpy(np.stack(own))[:, :, None, None].expand_as(x)

        return velocity

    found = denoise_region(velocity_of, noise, RegionSampling(steps, 8))
    for steep in (found.diff(dim=1).abs().mean((0, 2)), found.diff(dim=2).abs().mean((0, 1))):
        # The first grid's windows end behind latents 15, 27, 39; those at the region's rim end there in every step.
        inner = steep[TRAINED.window : 63 - TRAINED.window]
        at_border = steep[[27, 39]].mean() / inner.mean()
        assert 0.8 < at_border < 1.2
        # Windows of a grid that stood still would differ by more than 1, over 5 latents.
        assert steep.max() < 0.1


def test_a_region_smaller_than_a_window_is_refused(transformer: MuPDTransformer) -> None:
    with pytest.raises(ValueError, match=r"found 15 x 64 latents; expected at least 16 x 16"):
        denoise_region(region_of(transformer), latents(LATENT_CHANNELS, 15, 64), RegionSampling(2, 4))


def test_everything_of_a_region_is_on_the_device_of_its_noise() -> None:
    noise = torch.zeros(LATENT_CHANNELS, 32, 24, dtype=torch.bfloat16, device="meta")

    def velocity_of(_corners: NDArray[np.int64]) -> Velocity:
        def velocity(x: Tensor, t: Tensor) -> Tensor:
            assert (x.device, x.dtype) == (t.device, t.dtype) == (noise.device, noise.dtype)
            return x * t[:, None, None, None]

        return velocity

    found = denoise_region(velocity_of, noise, RegionSampling(2, 3))
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
    monkeypatch.setattr(regions, "DECODE_HALO", 2)
    tiled, _ = decoded(vae, values)
    assert np.abs(tiled.astype(int) - whole).max() > 1, "the test cannot tell a halo that is too small"


@torch.no_grad()
def test_single_windows(transformer: MuPDTransformer) -> None:
    def sample(seed: int) -> NDArray[np.uint8]:
        conditions = conditions_of(("rna",), 2)
        extra = torch.zeros(2, 2)
        return sample_he_windows(transformer, tiny_vae(), conditions, extra, seed=seed, steps=2, scales={"rna": 1.5})

    found = sample(1)
    assert (found.shape, found.dtype) == ((2, 128, 128, 3), np.uint8)
    assert np.array_equal(found, sample(1))
    assert not np.array_equal(found, sample(2))


@torch.no_grad()
def test_vectors(transformer: MuPDTransformer) -> None:
    noise = seeded_noise((3, transformer.config["rna_dim"]), 4, "cpu")
    context = transformer.context(conditions_of(("he", "text"), 3), 3)

    def sample(scales: Mapping[str, float], extra: Tensor | None = None) -> Tensor:
        extra = torch.zeros(3, 2) if extra is None else extra
        return sample_vectors(transformer, context, extra, noise, steps=4, scales=scales)

    found = sample({})
    assert found.shape == noise.shape
    assert torch.equal(found, sample({}))
    assert not torch.allclose(found, sample({"he": 3.0}), atol=1e-3)
    assert not torch.allclose(found, sample({}, torch.ones(3, 2)), atol=1e-3)  # bulk is another question


@torch.no_grad()
def test_records(transformer: MuPDTransformer) -> None:
    from mupd.model.record_codec import RecordCodec
    from mupd.reports.record.fields import FIELDS

    codec, draws = RecordCodec(FIELDS), 64
    conditions = {
        name: (rows.expand(draws, -1, -1), mask.expand(draws, -1))
        for name, (rows, mask) in conditions_of(("he",), 1).items()
    }
    context = transformer.context(conditions, draws)
    noise = seeded_noise((draws, codec.dim), 2, "cpu")
    drawn, marginal = sample_record(transformer, codec, context, noise, steps=8)
    assert drawn.shape == marginal.shape == (draws, len(FIELDS), codec.block)
    torch.testing.assert_close(marginal.sum(-1), torch.ones(draws, len(FIELDS)))
    assert not marginal[:, ~codec.usable_values()].any()
    again, _ = sample_record(transformer, codec, context, noise, steps=8)
    assert torch.equal(again, drawn)
    assert len({tuple(row.argmax(-1).tolist()) for row in drawn}) > 1
    # One step goes straight to what is expected.
    once, expected = sample_record(transformer, codec, context, noise, steps=1)
    torch.testing.assert_close(once, expected)
    with pytest.raises(ValueError, match="steps: found 0; expected at least 1"):
        sample_record(transformer, codec, context, noise, steps=0)


@settings(max_examples=20)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8))
def test_pixels_are_clipped_not_wrapped(values: list[float]) -> None:
    images = torch.tensor(values).reshape(1, 1, 1, -1).expand(1, 3, 1, -1)
    expected = np.clip(np.round((np.array(values, np.float32) + 1) * 127.5), 0, 255)
    np.testing.assert_allclose(to_uint8(images)[0, 0, :, 0], expected, atol=1)
