"""Operations of a loop, and the rate at which this machine can do them: they explain the ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mupd.model.cpu.convolution import Convolution
from mupd.model.cpu.products import linear
from mupd.model.cpu.workspace import Workspace

_ROUNDS = 20


def _of_linear(x: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Floating-point operations of oneDNN's product, from the shapes of its arguments."""
    rows = 1
    for side in x[:-1]:
        rows *= side
    return 2 * rows * weight[0] * weight[1]


def _of_attention(query: Any, key: Any, *_: Any, **__: Any) -> int:
    """Operations of attention on the CPU: (batch, heads, tokens, width per head) with (batch, heads, keys, width)."""
    return 4 * query[0] * query[1] * query[2] * query[3] * key[2]


def _of_added(_: Any, left: Any, right: Any, **__: Any) -> int:
    """Floating-point operations of products that are added to a tensor, single or in a batch."""
    batch = left[0] if len(left) == 3 else 1
    return 2 * batch * left[-2] * left[-1] * right[-1]


_COUNTS = {
    torch.ops.aten.addmm_: _of_added,
    torch.ops.aten.baddbmm_: _of_added,
    torch.ops.mkldnn._linear_pointwise: _of_linear,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _of_attention,
}


def _kind(name: str) -> str:
    if "convolution" in name:
        return "convolutions"
    return "attention" if "attention" in name else "products"


@torch.no_grad()
def gflops(work: Callable[[], Tensor]) -> dict[str, float]:
    """10^9 floating-point operations of a call: of convolutions, of matrix products, and inside attention."""
    counter = FlopCounterMode(display=False, custom_mapping=_COUNTS)
    with counter:
        work()
    found = {"convolutions": 0.0, "products": 0.0, "attention": 0.0}
    for operator, count in counter.get_flop_counts()["Global"].items():
        found[_kind(str(operator))] += count / 1e9
    return found


def _seconds(work: Callable[[], object]) -> float:
    """CPU time, the best of some rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        before = time.process_time()
        work()
        best = min(best, time.process_time() - before)
    return best


def _rate(work: Callable[[], object], count: float) -> float:
    """10^9 operations a second of CPU time."""
    return count / _seconds(work) / 1e9


@torch.no_grad()
def rates(stem: int, width: int) -> dict[str, float]:
    """10^9 float32 operations a second that the CPU reaches.

    Parameters
    ----------
    stem, width
        Channels of the convolutions and of the trunk, whose shapes are taken.
    """
    square = torch.randn(1024, 1024)
    tokens, layer = torch.randn(32, 64, width), nn.Linear(width, 4 * width)
    picture, kernel = torch.randn(4, stem, 16, 16), torch.randn(stem, stem, 3, 3)
    by_channel = picture.contiguous(memory_format=torch.channels_last)
    of_tokens, of_picture = 2 * 32 * 64 * 4 * width**2, 2 * 4 * 256 * 9 * stem**2
    return {
        "product 1024 x 1024, PyTorch's": _rate(lambda: square @ square, 2 * 1024**3),
        "product of the trunk, PyTorch's": _rate(lambda: F.linear(tokens, layer.weight, layer.bias), of_tokens),
        "product of the trunk, ours": _rate(lambda: linear(layer, tokens), of_tokens),
        "convolution of the stem": _rate(lambda: F.conv2d(by_channel, kernel, padding=1), of_picture),
    }


@torch.no_grad()
def convolution_ms(stem: int, side: int, batch: int) -> float:
    """Milliseconds of CPU time that a convolution of the stem takes, of maps of `side` latents."""
    made = Convolution(nn.Conv2d(stem, stem, 3, padding=1), Workspace())
    x, out = made.places("in", side, side, batch, stem).normal_(), made.places("out", side, side, batch, stem)
    return 1000 * _seconds(partial(made, [x], out))


def shares(work: Callable[[], Tensor], least: float = 0.01) -> dict[str, float]:
    """Share of the CPU time spent in each PyTorch operator itself, largest first."""
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work()
    times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    whole = sum(times.values())
    found = {name: spent / whole for name, spent in times.items() if spent >= least * whole}
    return dict(sorted(found.items(), key=lambda item: -item[1]))
