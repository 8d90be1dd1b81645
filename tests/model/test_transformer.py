"""The trunk: absent streams cost and change nothing, conditions are projected once, wrong ones are refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations

import pytest
import torch
from torch import Tensor

from mupd.model.attention import Conditions, Context, stack_contexts
from mupd.model.layers import sincos_positions_2d, timestep_embedding
from mupd.model.presets import PRESETS, preset
from mupd.model.record_codec import RecordCodec
from mupd.model.stems import VectorStem
from mupd.model.transformer import TARGETS, MuPDTransformer
from mupd.reports.record.fields import FIELDS
from tests.fixtures.tiny_model import LATENT_CHANNELS, RNA_DIM, STREAMS, tiny_transformer

SHAPE = {"he": (LATENT_CHANNELS, 8, 8), "rna": (RNA_DIM,), "text": (RecordCodec(FIELDS).dim,)}
NAMES = tuple(STREAMS)
SUBSETS = [subset for size in range(len(NAMES)) for subset in combinations(NAMES, size)]
BATCH = 3


@pytest.fixture(scope="module")
def model() -> MuPDTransformer:
    return tiny_transformer()


def inputs(target: str, batch: int = BATCH) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((batch, *SHAPE[target]), generator=generator)
    return x, torch.linspace(0.1, 0.9, batch), torch.randn((batch, 2), generator=generator)


def given(names: tuple[str, ...] = NAMES, tokens: int = 4) -> Conditions:
    generator = torch.Generator().manual_seed(1)
    made = {
        name: (torch.randn((BATCH, tokens, dim), generator=generator), torch.ones(BATCH, tokens, dtype=torch.bool))
        for name, dim in STREAMS.items()
    }
    return {name: made[name] for name in names}


@torch.no_grad()
def run(model: MuPDTransformer, target: str, conditions: Conditions) -> Tensor:
    x, t, extra = inputs(target)
    return model(x, t, target, model.context(conditions, BATCH), extra)


@contextmanager
def counted(model: MuPDTransformer) -> Iterator[Counter[str]]:
    """Calls of each stream's modules: its tokens (``NAME``), its keys and values and its attention (``NAME.cross``)."""
    calls: Counter[str] = Counter()
    handles = []
    for name in NAMES:
        handles.append(model.stream[name].register_forward_hook(lambda *_, name=name: calls.update([name])))
        for block in model.blocks:
            cross = block.cross[name]
            handles.append(
                cross.key_value.register_forward_hook(lambda *_, name=name: calls.update([f"{name}.key_value"]))
            )
            handles.append(cross.register_forward_hook(lambda *_, name=name: calls.update([f"{name}.cross"])))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("target", TARGETS)
def test_output_depends_on_every_condition(model: MuPDTransformer, target: str) -> None:
    """What the other tests rest on: the tiny network is not blind."""
    whole = run(model, target, given())
    assert whole.shape == (BATCH, *SHAPE[target])
    for name in NAMES:
        conditions = given()
        tokens, mask = conditions[name]
        conditions[name] = (tokens + 1 * torch.arange(tokens.shape[-1]).sin(), mask)
        assert not torch.allclose(run(model, target, conditions), whole, atol=1e-4), name
    x, t, extra = inputs(target)
    context = model.context(given(), BATCH)
    assert not torch.allclose(model(x, t + 0.05, target, context, extra), whole, atol=1e-4)
    assert not torch.allclose(model(x, t, target, context, extra + 1), whole, atol=1e-4)


def test_targets_have_numbers_of_their_own(model: MuPDTransformer) -> None:
    """Two targets of the same shape would not come out alike: time and extra are embedded by target."""
    other = tiny_transformer(text_dim=RNA_DIM, text_tokens=4)
    other.stem_text.load_state_dict(other.stem_rna.state_dict())
    x, t, extra = inputs("rna")
    context = other.context(given(), BATCH)
    assert not torch.allclose(other(x, t, "rna", context, extra), other(x, t, "text", context, extra), atol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("subset", SUBSETS, ids=lambda s: "+".join(s) or "none")
def test_absent_streams_change_nothing_and_cost_nothing(
    model: MuPDTransformer, target: str, subset: tuple[str, ...]
) -> None:
    """Left out or masked in all samples: the same bits, and not one call of the stream's modules."""
    with counted(model) as calls:
        left_out = run(model, target, given(subset))
    depth = len(model.blocks)
    once = {name: 1 for name in subset}
    assert calls == once | {f"{name}.{part}": depth for name in subset for part in ("key_value", "cross")}
    assert torch.isfinite(left_out).all()
    masked = {
        name: (tokens, mask if name in subset else torch.zeros_like(mask)) for name, (tokens, mask) in given().items()
    }
    with counted(model) as again:
        found = run(model, target, masked)
    assert torch.equal(found, left_out)
    assert again == calls


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("absent", NAMES)
def test_a_stream_that_one_sample_lacks(model: MuPDTransformer, target: str, absent: str) -> None:
    """This sample comes out as if nobody had the stream, the others as if all had; it is not computed for it."""
    others = tuple(name for name in NAMES if name != absent)
    nobody, everybody = run(model, target, given(others)), run(model, target, given())
    conditions = given()
    tokens, mask = conditions[absent]
    mask = mask.clone()
    mask[1] = False
    # Nor is what stands in the rows that are masked.
    tokens = tokens.clone()
    tokens[1] = float("nan")
    rows: list[int] = []
    handle = model.blocks[0].cross[absent].register_forward_hook(lambda _, args, out: rows.append(len(out)))
    try:
        partly = run(model, target, conditions | {absent: (tokens, mask)})
    finally:
        handle.remove()
    torch.testing.assert_close(partly[1], nobody[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(partly[[0, 2]], everybody[[0, 2]], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(partly[0], nobody[0], atol=1e-4)
    assert rows == [BATCH - 1]


@pytest.mark.parametrize("target", TARGETS)
def test_padding_and_order_of_tokens_do_not_matter(model: MuPDTransformer, target: str) -> None:
    whole = run(model, target, given())
    changed: Conditions = {}
    for name, (tokens, mask) in given().items():
        padding = 100 * torch.ones_like(tokens[:, :2])
        order = torch.tensor([2, 0, 3, 1])
        changed[name] = (torch.cat([padding, tokens[:, order]], 1), torch.cat([mask[:, :2] & False, mask], 1))
    torch.testing.assert_close(run(model, target, changed), whole, atol=1e-5, rtol=1e-4)


def test_conditions_are_projected_once_however_many_steps(model: MuPDTransformer) -> None:
    x, t, extra = inputs("he")
    depth = len(model.blocks)
    with torch.no_grad(), counted(model) as calls:
        context = model.context(given(), BATCH)
        for _ in range(5):
            model(x, t, "he", context, extra)
    for name in NAMES:
        assert calls[name] == 1
        assert calls[f"{name}.key_value"] == depth
        assert calls[f"{name}.cross"] == 5 * depth


@torch.no_grad()
def test_samples_taken_from_a_context(model: MuPDTransformer) -> None:
    x, t, extra = inputs("rna")
    context = model.context(given(), BATCH)
    whole = model(x, t, "rna", context, extra)
    index = torch.tensor([2, 0, 2, 2])
    taken = context.take(index)
    assert taken.batch == 4
    found = model(x[index], t[index], "rna", taken, extra[index])
    torch.testing.assert_close(found, whole[index], atol=1e-5, rtol=1e-4)
    masked = given()
    for _, mask in masked.values():
        mask[:, 0] = False
    padded = model.context(masked, BATCH)
    found = model(x[index], t[index], "rna", padded.take(index), extra[index])
    torch.testing.assert_close(found, model(x, t, "rna", padded, extra)[index], atol=1e-5, rtol=1e-4)
    mask = masked["rna"][1]
    mask[1] = False
    with pytest.raises(ValueError, match="expected a stream that all samples have"):
        model.context(masked, BATCH).take(index)


@torch.no_grad()
def test_contexts_stacked_behind_each_other(model: MuPDTransformer) -> None:
    """Passes that run together come out as apart: one has all, one none, one some, one lacks samples."""
    x, t, extra = inputs("he")
    whole = model.context(given(), BATCH)
    partly = given()
    partly["rna"][1][1] = False
    parts = [whole, Context(BATCH, {}), whole.without(["rna", "he"]), model.context(partly, BATCH)]
    stacked = stack_contexts(parts)
    assert stacked.batch == 4 * BATCH
    found = model(x.repeat(4, 1, 1, 1), t.repeat(4), "he", stacked, extra.repeat(4, 1))
    for part, rows in zip(parts, found.chunk(4), strict=True):
        torch.testing.assert_close(rows, model(x, t, "he", part, extra), atol=1e-5, rtol=1e-4)
    both = stack_contexts([whole, whole])
    assert all(stream.rows is None for stream in both.streams.values())
    with pytest.raises(ValueError, match=r"context\['text'\]: found different numbers of tokens"):
        stack_contexts([whole, model.context(given(tokens=2), BATCH)])


@pytest.mark.parametrize("name", NAMES)
def test_wrong_conditions_are_refused(model: MuPDTransformer, name: str) -> None:
    dim = STREAMS[name]
    mask = torch.ones(BATCH, 2, dtype=torch.bool)
    good = torch.zeros(BATCH, 2, dim)
    shape = rf"conditions\['{name}'\]: found shape .*expected \({BATCH}, n, {dim}\)"
    for wrong in (torch.zeros(BATCH, 2, dim + 1), torch.zeros(BATCH, dim), torch.zeros(BATCH + 1, 2, dim)):
        with pytest.raises(ValueError, match=shape):
            model.context({name: (wrong, mask)}, BATCH)
    for wrong_mask in (mask[:, :1], mask[:1], mask[:, 0]):
        with pytest.raises(ValueError, match=rf"conditions\['{name}'\]: found a mask of .*expected \({BATCH}, 2\)"):
            model.context({name: (good, wrong_mask)}, BATCH)
    for number in (float("nan"), float("inf")):
        bad = good.clone()
        bad[1, 1, 0] = number
        with pytest.raises(ValueError, match=rf"conditions\['{name}'\]: found values that are not finite"):
            model.context({name: (bad, mask)}, BATCH)
        hidden = mask.clone()
        hidden[1, 1] = False
        model.context({name: (bad, hidden)}, BATCH)  # what is masked is not there


def test_unknown_streams_and_targets_are_refused(model: MuPDTransformer) -> None:
    mask = torch.ones(BATCH, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"found stream 'mif'; expected one of \['he', 'pathways', 'rna', 'text'\]"):
        model.context({"mif": (torch.zeros(BATCH, 2, 5), mask)}, BATCH)
    x, t, extra = inputs("rna")
    with pytest.raises(ValueError, match="found 'mif'; expected one of he, rna, text"):
        model(x, t, "mif", Context(BATCH, {}), extra)
    with pytest.raises(ValueError, match="found a batch of 2; expected 3, as x has"):
        model(x, t, "rna", Context(2, {}), extra)


@pytest.mark.parametrize("size", [(12, 26), (2, 2), (6, 10)])
def test_other_sizes_than_trained(model: MuPDTransformer, size: tuple[int, int]) -> None:
    x = torch.randn(1, LATENT_CHANNELS, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model(x, torch.tensor([0.5]), "he", Context(1, {}), torch.zeros(1, 2))
    assert found.shape == x.shape
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("size", [(7, 8), (8, 5)])
def test_odd_sides_are_refused(model: MuPDTransformer, size: tuple[int, int]) -> None:
    x = torch.zeros(1, LATENT_CHANNELS, *size)
    with pytest.raises(ValueError, match=rf"found {size[0]} x {size[1]} latents; expected even sides"):
        model(x, torch.tensor([0.5]), "he", Context(1, {}), torch.zeros(1, 2))


@torch.no_grad()
def test_features_for_alignment(model: MuPDTransformer) -> None:
    x, t, extra = inputs("he")
    context = model.context(given(), BATCH)
    plain = model(x, t, "he", context, extra)
    seen = []
    for index in range(len(model.blocks)):
        velocity, features, grid = model(x, t, "he", context, extra, features_of=index)
        assert torch.equal(velocity, plain)
        assert features.shape == (BATCH, 16, model.config["width"])
        assert grid == (4, 4)
        seen.append(features)
    assert not torch.allclose(seen[0], seen[1], atol=1e-4)


def test_a_model_is_the_same_after_saving(model: MuPDTransformer, tmp_path: object) -> None:
    model.save_pretrained(tmp_path)
    again = MuPDTransformer.from_pretrained(tmp_path).eval()
    for target in TARGETS:
        assert torch.equal(run(again, target, given()), run(model, target, given()))


def test_own_modulation(tmp_path: object) -> None:
    """A table a block, as in DiT: begins as the identity, and depends on the time once trained."""
    own = tiny_transformer(own_modulation=True)
    x, t, extra = inputs("rna")
    context = own.context(given(), BATCH)
    assert not torch.allclose(own(x, t, "rna", context, extra), own(x, t + 0.1, "rna", context, extra), atol=1e-5)
    shared = sum(p.numel() for p in tiny_transformer().parameters())
    width, depth = own.config["width"], len(own.blocks)
    assert sum(p.numel() for p in own.parameters()) == shared + (depth - 1) * 6 * width * (width + 1)


MILLIONS = {"mini": 6.3, "S": 57.4, "B": 218, "L": 879, "XL": 1290}
"""With the streams of the shipped model; docs/model.md states them."""


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_have_their_size(name: str) -> None:
    streams, splits = {"text": 384, "pathways": 61, "rna": 65, "he": 128}, {"text": 2, "pathways": 4, "rna": 8}
    with torch.device("meta"):  # shapes without memory
        model = MuPDTransformer(streams, splits, **preset(name))
    count = sum(p.numel() for p in model.parameters())
    assert count == pytest.approx(MILLIONS[name] * 1e6, rel=0.01), f"{name} has {count / 1e6:.1f} M parameters"
    assert model.config["width"] % model.config["heads"] == 0


def test_the_largest_preset_is_the_papers() -> None:
    assert (preset("XL")["depth"], preset("XL")["width"]) == (28, 1152)
    with pytest.raises(ValueError, match="found 'XXL'; expected one of mini, S, B, L, XL"):
        preset("XXL")


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
    model = tiny_transformer().train()
    for target in TARGETS:
        x, t, extra = inputs(target)
        model(x, t, target, model.context(given(), BATCH), extra).square().mean().backward()
    blind = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert blind == []
