"""The transformer: absent streams cost and change nothing, wrong conditions are refused."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from tiny_model import LATENT_CHANNELS, RNA_DIM, TILE_COMPONENTS, tiny_transformer
from torch import Tensor

from mupd.modalities.records import FIELDS
from mupd.model.encoders import TEXT_DIM
from mupd.model.layers import sincos_positions_2d, timestep_embedding
from mupd.model.record_codec import RecordCodec
from mupd.model.transformer import Conditions, MuPDTransformer, VectorStem

STREAMS = {
    "he": {"rna": RNA_DIM + 1, "text": TEXT_DIM},
    "rna": {"he": TILE_COMPONENTS, "text": TEXT_DIM},
    "text": {"he": TILE_COMPONENTS, "rna": RNA_DIM + 1},
}
SHAPE = {"he": (LATENT_CHANNELS, 8, 8), "rna": (RNA_DIM,), "text": (RecordCodec(FIELDS).dim,)}
TARGETS = sorted(STREAMS)
BATCH = 3


@pytest.fixture(scope="module")
def models() -> dict[str, MuPDTransformer]:
    return {target: tiny_transformer(target) for target in TARGETS}


def inputs(target: str) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((BATCH, *SHAPE[target]), generator=generator)
    return x, torch.tensor([0.1, 0.5, 0.9]), torch.randn((BATCH, 2), generator=generator)


def given(target: str, tokens: int = 4) -> Conditions:
    generator = torch.Generator().manual_seed(1)
    return {
        name: (torch.randn((BATCH, tokens, dim), generator=generator), torch.ones(BATCH, tokens, dtype=torch.bool))
        for name, dim in STREAMS[target].items()
    }


@torch.no_grad()
def run(model: MuPDTransformer, target: str, conditions: Conditions) -> Tensor:
    x, t, extra = inputs(target)
    return model(x, t, conditions, extra)


@pytest.mark.parametrize("target", TARGETS)
def test_output_depends_on_every_condition(models: dict[str, MuPDTransformer], target: str) -> None:
    """What the other tests rest on: the tiny networks are not blind."""
    whole = run(models[target], target, given(target))
    assert whole.shape == (BATCH, *SHAPE[target])
    for name in STREAMS[target]:
        conditions = given(target)
        tokens, mask = conditions[name]
        conditions[name] = (tokens + 1 * torch.arange(tokens.shape[-1]).sin(), mask)
        assert not torch.allclose(run(models[target], target, conditions), whole, atol=1e-4), name
    x, t, extra = inputs(target)
    assert not torch.allclose(models[target](x, t + 0.05, given(target), extra), whole, atol=1e-4)
    assert not torch.allclose(models[target](x, t, given(target), extra + 1), whole, atol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_an_absent_stream_changes_nothing(models: dict[str, MuPDTransformer], target: str) -> None:
    for absent in STREAMS[target]:
        conditions = given(target)
        tokens, mask = conditions.pop(absent)
        left_out = run(models[target], target, conditions)
        masked = run(models[target], target, conditions | {absent: (tokens, torch.zeros_like(mask))})
        assert torch.equal(masked, left_out)
        # Masked for one sample only: this sample comes out as if nobody had the stream, the others do not.
        mask = mask.clone()
        mask[1] = False
        partly = run(models[target], target, conditions | {absent: (tokens, mask)})
        assert torch.equal(partly[1], left_out[1])
        assert not torch.allclose(partly[0], left_out[0], atol=1e-4)
        assert not torch.allclose(partly[2], left_out[2], atol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_no_stream_at_all(models: dict[str, MuPDTransformer], target: str) -> None:
    nothing = {name: (tokens, torch.zeros_like(mask)) for name, (tokens, mask) in given(target).items()}
    assert torch.equal(run(models[target], target, {}), run(models[target], target, nothing))
    assert torch.isfinite(run(models[target], target, {})).all()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("how", ["left out", "masked"])
def test_an_absent_stream_costs_nothing(models: dict[str, MuPDTransformer], target: str, how: str) -> None:
    model = models[target]
    absent, present = STREAMS[target]
    calls: Counter[str] = Counter()
    handles = []
    for name in STREAMS[target]:
        for module in (model.stream[name], *(block.cross[name] for block in model.blocks)):
            handles.append(module.register_forward_hook(lambda *_, name=name: calls.update([name])))
    conditions = given(target)
    tokens, mask = conditions.pop(absent)
    if how == "masked":
        conditions[absent] = (tokens, torch.zeros_like(mask))
    try:
        run(model, target, conditions)
    finally:
        for handle in handles:
            handle.remove()
    assert calls == {present: 1 + len(model.blocks)}


@pytest.mark.parametrize("target", TARGETS)
def test_padding_and_order_of_tokens_do_not_matter(models: dict[str, MuPDTransformer], target: str) -> None:
    conditions = given(target)
    whole = run(models[target], target, conditions)
    changed: Conditions = {}
    for name, (tokens, mask) in conditions.items():
        padding = 100 * torch.ones_like(tokens[:, :2])
        order = torch.tensor([2, 0, 3, 1])
        changed[name] = (torch.cat([padding, tokens[:, order]], 1), torch.cat([mask[:, :2] & False, mask], 1))
    torch.testing.assert_close(run(models[target], target, changed), whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_wrong_conditions_are_refused(models: dict[str, MuPDTransformer], target: str) -> None:
    name, dim = next(iter(STREAMS[target].items()))
    mask = torch.ones(BATCH, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=rf"conditions\['{name}'\].*{dim + 1}.*expected \(batch, n, {dim}\)"):
        run(models[target], target, {name: (torch.zeros(BATCH, 2, dim + 1), mask)})
    with pytest.raises(ValueError, match=rf"conditions\['{name}'\]"):
        run(models[target], target, {name: (torch.zeros(BATCH, dim), mask)})
    with pytest.raises(ValueError, match="found stream 'mif'; expected one of"):
        run(models[target], target, {"mif": (torch.zeros(BATCH, 2, dim), mask)})
    # Its own target is no condition of any transformer.
    with pytest.raises(ValueError, match=f"found stream '{target}'"):
        run(models[target], target, {target: (torch.zeros(BATCH, 2, dim), mask)})


def test_other_sizes_than_trained(models: dict[str, MuPDTransformer]) -> None:
    x = torch.randn(1, LATENT_CHANNELS, 12, 26, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = models["he"](x, torch.tensor([0.5]), {}, torch.zeros(1, 2))
    assert found.shape == x.shape
    assert torch.isfinite(found).all()


def test_positions_belong_to_a_place_whatever_the_size() -> None:
    small = sincos_positions_2d(3, 5, 32).reshape(3, 5, 32)
    large = sincos_positions_2d(9, 7, 32).reshape(9, 7, 32)
    assert torch.equal(large[:3, :5], small)
    flat = large.reshape(-1, 32)
    distance = torch.cdist(flat, flat) + 10 * torch.eye(len(flat))
    assert distance.min() > 0.1  # no two places are alike
    half = sincos_positions_2d(9, 7, 32, scale=0.5).reshape(9, 7, 32)
    torch.testing.assert_close(half[::2, ::2], large[:5, :4])


def test_times_are_told_apart() -> None:
    times = timestep_embedding(torch.linspace(0, 1, 101), 32)
    assert times.shape == (101, 32)
    distance = torch.cdist(times, times) + 10 * torch.eye(101)
    assert distance.min() > 0.05


def test_a_vector_has_to_part_evenly() -> None:
    with pytest.raises(ValueError, match="found 10; expected a multiple of 4 tokens"):
        VectorStem(10, 4, 32)


def test_gradients_reach_every_parameter() -> None:
    for target in TARGETS:
        model = tiny_transformer(target).train()
        x, t, extra = inputs(target)
        model(x, t, given(target), extra).square().mean().backward()
        blind = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert blind == [], target
