"""The trunk prepared for a CPU: the plain layers' values, the same bits wherever a window stands."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed.plain import plain_loop
from mupd.model.attention import Conditions, Context
from mupd.model.cpu import prepared as prepared_trunks
from mupd.model.cpu.convolution import Convolution
from mupd.model.cpu.layers import Product, available, centred_unit
from mupd.model.cpu.prepared import PreparedTrunk, prepare, prepared
from mupd.model.cpu.workspace import Workspace
from mupd.model.guidance import guided
from mupd.model.solvers import Velocity, integrate
from mupd.model.transformer import MuPDTransformer
from tests.fixtures.tiny_model import LATENT_CHANNELS, STREAMS, tiny_transformer

pytestmark = pytest.mark.skipif(not available(), reason="this build of PyTorch has no oneDNN products")

BATCH = 5
SIDE = 16
SCALES = [{}, dict.fromkeys(STREAMS, 1.5), {name: 1.5 - 0.75 * number for number, name in enumerate(STREAMS)}]


def trunk(**settings: Any) -> MuPDTransformer:
    """With gains and biases that are not 1 and 0, as a trained one has them."""
    model = tiny_transformer(**{"stem_blocks": 2, **settings})
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def conditions_of(batch: int, hidden: int = 0) -> Conditions:
    """Streams of different numbers of tokens, of which up to `hidden` are not there, in every sample others."""
    generator = torch.Generator().manual_seed(1)
    made: Conditions = {}
    for count, (name, dim) in enumerate(STREAMS.items(), start=3):
        mask = torch.ones(batch, count, dtype=torch.bool)
        for sample in range(batch if hidden else 0):
            mask[sample, sample % 3 : sample % 3 + hidden] = False
        made[name] = torch.randn((batch, count, dim), generator=generator), mask
    return made


def latents(batch: int, height: int = SIDE, width: int = 0) -> Tensor:
    return torch.randn((batch, LATENT_CHANNELS, height, width or height), generator=torch.Generator().manual_seed(2))


def velocity_of(model: MuPDTransformer, conditions: Conditions, scales: dict[str, float]) -> Velocity:
    batch = len(next(iter(conditions.values()))[0])
    extra = torch.linspace(0, 1, 2 * batch).reshape(batch, 2)
    return guided(model, "he", model.context(conditions, batch), extra, scales)


@torch.no_grad()
@settings(max_examples=30, deadline=None)
@given(
    height=st.sampled_from([4, 8, 12, 20]),
    width=st.sampled_from([4, 8, 16]),
    batch=st.integers(1, 3),
    splits=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    channels=st.integers(1, 9),
    bias=st.booleans(),
    add=st.booleans(),
)
def test_convolutions_give_what_torchs_gives(
    height: int, width: int, batch: int, splits: list[int], channels: int, bias: bool, add: bool
) -> None:
    torch.manual_seed(4)
    layer = nn.Conv2d(sum(splits), channels, 3, padding=1, bias=bias)
    x, before = torch.randn(batch, sum(splits), height, width), torch.randn(batch, channels, height, width)
    expected = layer.double()(x.double()).float() + (before if add else 0)
    layer.float()
    convolution = Convolution(layer, Workspace())
    parts = [
        convolution.places(str(number), height, width, batch, part.shape[1]).copy_(part.permute(2, 3, 0, 1))
        for number, part in enumerate(x.split(splits, dim=1))
    ]
    out = convolution.places("out", height, width, batch, channels).copy_(before.permute(2, 3, 0, 1))
    assert convolution(parts, out, add) is out
    torch.testing.assert_close(out.permute(2, 3, 0, 1), expected, atol=3e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 64, 2048])
def test_products_and_norms_give_what_torchs_give(rows: int) -> None:
    torch.manual_seed(0)
    x, layer, norm = torch.randn(2, rows, 48) + 3, nn.Linear(48, 96), nn.LayerNorm(48, elementwise_affine=False)
    product = Product(layer.weight, layer.bias)
    torch.testing.assert_close(product(x), layer(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(product.gelu(x), F.gelu(layer(x), approximate="tanh"), atol=1e-5, rtol=1e-5)
    found = centred_unit(x, norm.eps, torch.empty_like(x)) * 48**0.5
    torch.testing.assert_close(found, norm(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("scales", SCALES, ids=["one pass", "two passes", "a pass a stream"])
@pytest.mark.parametrize("hidden", [0, 2])
@pytest.mark.parametrize("own", [False, True])
def test_velocities_are_those_of_the_trunk(scales: dict[str, float], hidden: int, own: bool) -> None:
    model, conditions = trunk(own_modulation=own), conditions_of(BATCH, hidden)
    x, t = latents(BATCH, 16, 8), torch.linspace(0.1, 0.9, BATCH)
    plain = velocity_of(model, conditions, scales)(x, t)
    found = velocity_of(prepare(model), conditions, scales)(x, t)
    torch.testing.assert_close(found, plain, atol=1e-4 * plain.std().item(), rtol=1e-4)
    assert not torch.equal(found, plain), "the plain layers computed both"


@torch.no_grad()
def test_a_whole_sample_is_that_of_the_plain_loop() -> None:
    model = trunk()
    conditions, extra = conditions_of(BATCH), torch.ones(BATCH, 2)
    expected = plain_loop(model, conditions, extra, latents(BATCH), 6, 1.5)
    context = prepare(model).context(conditions, BATCH)
    found = integrate(guided(model, "he", context, extra, dict.fromkeys(conditions, 1.5)), latents(BATCH), 6)
    torch.testing.assert_close(found, expected, atol=1e-3 * expected.std().item(), rtol=1e-3)


@torch.no_grad()
def test_an_aligned_picture_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model = trunk(aligned_channels=3)
    x, t, extra = latents(BATCH), torch.full((BATCH,), 0.4), torch.ones(BATCH, 2)
    aligned, context = torch.randn(BATCH, 3, SIDE, SIDE), Context(BATCH, {})
    plain = model(x, t, "he", context, extra, aligned=aligned)
    monkeypatch.setattr(prepared_trunks, "_PLACES", 2 * SIDE**2)
    found = PreparedTrunk(model).velocity(context, extra, [((), 1.0)], aligned)(x, t)
    torch.testing.assert_close(found, plain, atol=1e-4 * plain.std().item(), rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("places", [1, 3 * 2 * SIDE**2, 10**6])
def test_a_window_has_the_same_bits_wherever_it_stands(monkeypatch: pytest.MonkeyPatch, places: int) -> None:
    """Also where windows are computed in groups of which the last is filled up."""
    monkeypatch.setattr(prepared_trunks, "_PLACES", places)
    batch = 16
    model, conditions = prepare(trunk()), conditions_of(batch)
    x, t = latents(batch), torch.full((batch,), 0.3)
    order = torch.randperm(batch, generator=torch.Generator().manual_seed(6))
    extra = torch.ones(batch, 2)

    def found(rows: Tensor) -> Tensor:
        own = {name: (tokens[rows], mask[rows]) for name, (tokens, mask) in conditions.items()}
        velocity = guided(model, "he", model.context(own, batch), extra, dict.fromkeys(own, 1.5))
        return velocity(x[rows], t)

    assert torch.equal(found(order), found(torch.arange(batch))[order])
    others = torch.where(torch.arange(batch) == 7, 7, 0)
    assert torch.equal(found(others)[7], found(torch.arange(batch))[7])


@torch.no_grad()
def test_groups_are_even() -> None:
    assert [prepared_trunks._together(batch, 512) for batch in (1, 4, 16, 17, 32, 33)] == [1, 4, 16, 9, 16, 11]
    assert prepared_trunks._together(3, 10**9) == 1


@torch.no_grad()
def test_what_does_not_fit_goes_the_plain_way() -> None:
    model = prepare(trunk())
    conditions = conditions_of(BATCH)
    t = torch.full((BATCH,), 0.5)
    twin = trunk()
    name = next(iter(conditions))
    conditions[name][1][2] = False
    context = model.context(conditions, BATCH)
    assert prepared(model, context) is None
    some = velocity_of(model, conditions, {})(latents(BATCH), t)
    assert torch.equal(some, velocity_of(twin, conditions, {})(latents(BATCH), t))


def test_what_is_not_prepared() -> None:
    empty = Context(1, {})
    assert prepared(prepare(trunk().bfloat16()), empty) is None
    assert prepared(prepare(trunk(stem_blocks=0)), empty) is None
    assert prepared(trunk(), empty) is None
    assert prepared(prepare(trunk()), empty) is not None


def test_what_is_prepared_follows_the_model() -> None:
    model, empty = prepare(trunk()), Context(1, {})
    first = prepared(model, empty)
    assert first is not None
    assert prepared(model, empty) is first
    with torch.no_grad():
        model.stem_he.last.weight.mul_(2)
    assert prepared(model, empty) not in (None, first)
    assert prepared(model.train(), empty) is None
    assert prepared(model.eval().bfloat16(), empty) is None


@torch.no_grad()
def test_batches_that_differ_are_refused() -> None:
    model, t = prepare(trunk(aligned_channels=3)), torch.full((BATCH,), 0.4)
    picture = torch.randn(BATCH, 3, SIDE, SIDE)

    def found(x: Tensor, t: Tensor, aligned: Tensor | None) -> Tensor:
        ready = prepared(model, Context(BATCH, {}))
        assert ready is not None
        return ready.velocity(Context(BATCH, {}), torch.ones(BATCH, 2), [((), 1.0)], aligned)(x, t)

    assert found(latents(BATCH), t, picture).shape == (BATCH, LATENT_CHANNELS, SIDE, SIDE)
    with pytest.raises(ValueError, match="found 3 latents, 5 times, 5 extras; expected 5 of each"):
        found(latents(3), t, picture)
    with pytest.raises(ValueError, match="found 5 latents, 1 times"):
        found(latents(BATCH), t[:1], picture)
    for aligned in (None, picture[:1], picture[:, :, :4]):
        with pytest.raises(ValueError, match=r"aligned: found .*; expected \(5, 3, 16, 16\)"):
            found(latents(BATCH), t, aligned)


def test_threads_do_not_share_memory() -> None:
    model, conditions = prepare(trunk()), conditions_of(BATCH)
    times = [torch.full((BATCH,), 0.1 * number) for number in range(1, 9)]
    # Before the threads begin: to prepare is not their work.
    expected = [velocity_of(model, conditions, {})(latents(BATCH), t) for t in times]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda t: velocity_of(model, conditions, {})(latents(BATCH), t), times))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_memory_serves_inference_and_what_follows() -> None:
    model, conditions, t = prepare(trunk()), conditions_of(BATCH), torch.full((BATCH,), 0.5)
    with torch.inference_mode():
        first = velocity_of(model, conditions, {})(latents(BATCH), t).clone()
    torch.testing.assert_close(velocity_of(model, conditions, {})(latents(BATCH), t), first)


def test_a_prepared_trunk_goes_with_its_model() -> None:
    model = prepare(trunk())
    assert prepared(model, Context(1, {})) is not None
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_no_gradient_is_taken() -> None:
    found = velocity_of(prepare(trunk()), conditions_of(BATCH), {})(latents(BATCH), torch.full((BATCH,), 0.5))
    assert not found.requires_grad
