"""Products with weights packed once, and norms without their constant factors, which the weights behind them carry."""

from __future__ import annotations

import platform

import torch
from torch import Tensor

_ROWS = 1_024
"""Rows of a product for which oneDNN chooses the layout of the weights."""


def available() -> bool:
    """Whether this build of PyTorch has oneDNN's products, for a processor on which they were tried."""
    names = ("_linear_pointwise", "_reorder_linear_weight")
    there = torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)
    return there and platform.machine() in ("x86_64", "AMD64")


class Product:
    """x W^T + b by oneDNN, W (out, in) packed in the layout that it multiplies fastest.

    PyTorch hands products of float32 matrices to MKL, which keeps to half of the vector width on processors that are
    not Intel's, and fuses no activation.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().float().contiguous(), _ROWS)
        self._bias = None if bias is None else bias.detach().float().contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        projected: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return projected

    def gelu(self, x: Tensor) -> Tensor:
        """The same, and GELU in its tanh form while the product is in cache."""
        activated: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "gelu", [], "tanh")
        return activated


def scale_of_unit(x: Tensor, eps: float) -> Tensor:
    """The factor (..., 1) that brings vectors (..., n) to length 1, not 1 a component as in a root-mean-square norm.

    The square root of n, by which the two differ, is left to a factor that is applied anyway.
    """
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length.square_().add_(x.shape[-1] * eps).rsqrt_()


def centred_unit(x: Tensor, eps: float, out: Tensor) -> Tensor:
    """A layer norm (..., n) over the square root of n, without gain and bias."""
    torch.sub(x, x.mean(-1, keepdim=True), out=out)
    return out.mul_(scale_of_unit(out, eps))
