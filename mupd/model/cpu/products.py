"""Layers of the trunk on a CPU while no gradient is taken: the same values up to rounding, in less time.

For RNA and records, and for H&E where :mod:`mupd.model.cpu` has nothing prepared. Products go through oneDNN for the
reason given there (:class:`mupd.model.cpu.layers.Product`); weights stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mupd.model.cpu.layers import available

_POINTWISE: Any = torch.ops.mkldnn._linear_pointwise if available() else None


def quick(x: Tensor) -> bool:
    """Whether `x` may go the quick way: float32 on the CPU, no gradient, not while the trunk is compiled."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    )


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, then: str) -> Tensor:
    product: Tensor = _POINTWISE(x, weight, bias, then, [], "tanh" if then == "gelu" else "")
    return product


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """What the layer gives."""
    if _POINTWISE is None or not quick(x):
        projected: Tensor = layer(x)
        return projected
    return _pointwise(x, layer.weight, layer.bias, "none")


def linear_gelu(layer: nn.Linear, x: Tensor) -> Tensor:
    """The layer, and GELU in its tanh form."""
    if _POINTWISE is None or not quick(x):
        return F.gelu(layer(x), approximate="tanh")
    return _pointwise(x, layer.weight, layer.bias, "gelu")


def layer_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """What the layer gives."""
    if not quick(x):
        normalised: Tensor = layer(x)
        return normalised
    centred = x - x.mean(-1, keepdim=True)
    size = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    centred.mul_(size.square_().div_(x.shape[-1]).add_(layer.eps).rsqrt_())
    return centred if layer.weight is None else centred.mul_(layer.weight).add_(layer.bias)
