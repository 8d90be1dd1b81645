"""The quick way through the trunk on a CPU: the values of the plain layers, nothing for what takes gradients."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.speed.plain import plain_forward
from benchmarks.speed.work import gflops
from mupd.model.attention import Conditions, stack_contexts
from mupd.model.cpu.products import layer_norm, linear, linear_gelu, quick
from mupd.model.guidance import guided
from mupd.model.transformer import MuPDTransformer
from tests.fixtures.tiny_model import LATENT_CHANNELS, STREAMS, tiny_transformer

BATCH = 3


@pytest.fixture(scope="module")
def model() -> MuPDTransformer:
    return tiny_transformer(stem_blocks=2)


def conditions_of(batch: int) -> Conditions:
    generator = torch.Generator().manual_seed(1)
    made = {name: torch.randn((batch, 3, dim), generator=generator) for name, dim in STREAMS.items()}
    return {name: (tokens, torch.ones(batch, 3, dtype=torch.bool)) for name, tokens in made.items()}


def test_only_without_gradient_in_float32_on_the_cpu() -> None:
    x = torch.zeros(2)
    assert not quick(x)
    with torch.no_grad():
        assert quick(x)
        assert not quick(x.double())
        assert not quick(x.bfloat16())
        assert not quick(x.to("meta"))


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 64, 2048])
def test_layers_give_what_torchs_give(rows: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, rows, 48) + 3
    layer = nn.Linear(48, 96)
    torch.testing.assert_close(linear(layer, x), layer(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(linear_gelu(layer, x), F.gelu(layer(x), approximate="tanh"), atol=1e-5, rtol=1e-5)
    for norm in (nn.LayerNorm(48), nn.LayerNorm(48, elementwise_affine=False)):
        for parameter in norm.parameters():
            nn.init.normal_(parameter)
        torch.testing.assert_close(layer_norm(norm, x), norm(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("size", "own"), list(product([8, 16], [False, True])))
def test_the_trunk_gives_what_it_gives_with_gradients(size: int, own: bool) -> None:
    model = tiny_transformer(stem_blocks=2, own_modulation=own)
    x = torch.randn((BATCH, LATENT_CHANNELS, size, size), generator=torch.Generator().manual_seed(0))
    t, extra = torch.linspace(0.1, 0.9, BATCH), torch.ones(BATCH, 2)
    plain = model(x, t, "he", model.context(conditions_of(BATCH), BATCH), extra)
    assert plain.requires_grad
    with torch.no_grad():
        found = model(x, t, "he", model.context(conditions_of(BATCH), BATCH), extra)
    torch.testing.assert_close(found, plain.detach(), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("target", ["he", "rna"])
def test_copies_stand_for_a_repeated_batch(model: MuPDTransformer, target: str) -> None:
    shape = (LATENT_CHANNELS, 8, 8) if target == "he" else (model.config["rna_dim"],)
    x = torch.randn((BATCH, *shape), generator=torch.Generator().manual_seed(0))
    t, extra = torch.full((2 * BATCH,), 0.4), torch.ones(2 * BATCH, 2)
    whole = model.context(conditions_of(BATCH), BATCH)
    context = stack_contexts([whole.without(list(STREAMS)), whole])
    assert all(stream.rows == slice(BATCH, 2 * BATCH) for stream in context.streams.values())
    once = model(x, t, target, context, extra, copies=2)
    torch.testing.assert_close(once, model(torch.cat([x, x]), t, target, context, extra), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(once[:BATCH], once[BATCH:], atol=1e-4)
    with pytest.raises(ValueError, match="found a batch of 6; expected 9"):
        model(x, t, target, context, extra, copies=3)


@torch.no_grad()
def test_guidance_gives_what_the_plain_loop_gives(model: MuPDTransformer) -> None:
    """The benchmark's reference uses PyTorch's layers alone, and the weights of the trunk."""
    conditions, extra = conditions_of(BATCH), torch.ones(BATCH, 2)
    x = torch.randn((BATCH, LATENT_CHANNELS, 16, 16), generator=torch.Generator().manual_seed(2))
    t = torch.full((BATCH,), 0.3)
    nothing = {name: (tokens, torch.zeros_like(mask)) for name, (tokens, mask) in conditions.items()}
    conditional, unconditional = (plain_forward(model, x, t, given, extra) for given in (conditions, nothing))
    expected = unconditional + 1.5 * (conditional - unconditional)
    assert not torch.allclose(conditional, unconditional, atol=1e-3)
    found = guided(model, "he", model.context(conditions, BATCH), extra, dict.fromkeys(conditions, 1.5))(x, t)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_benchmark_counts_work_by_shapes() -> None:
    """A multiplication and an addition for each weight and row, whichever way a product takes."""
    torch.manual_seed(0)
    layer, convolution = nn.Linear(48, 96), nn.Conv2d(4, 8, 3, padding=1)
    x, heads, picture = torch.randn(5, 48), torch.randn(2, 3, 7, 16), torch.randn(2, 4, 6, 6)
    product = 2 * 5 * 48 * 96 / 1e9
    assert gflops(lambda: linear(layer, x))["products"] == pytest.approx(product)
    assert gflops(lambda: F.linear(x, layer.weight))["products"] == pytest.approx(product)
    assert gflops(lambda: torch.zeros(5, 96).addmm_(x, layer.weight.t()))["products"] == pytest.approx(product)
    batches = torch.zeros(3, 5, 96), x.expand(3, -1, -1), layer.weight.t().expand(3, -1, -1)
    assert gflops(lambda: batches[0].baddbmm_(*batches[1:]))["products"] == pytest.approx(3 * product)
    attention = gflops(lambda: F.scaled_dot_product_attention(heads, heads[:, :, :4], heads[:, :, :4]))
    assert attention == {"convolutions": 0, "products": 0, "attention": pytest.approx(4 * 2 * 3 * 7 * 16 * 4 / 1e9)}
    assert gflops(lambda: convolution(picture))["convolutions"] == pytest.approx(2 * 2 * 36 * 9 * 4 * 8 / 1e9)
