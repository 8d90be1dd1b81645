"""3 x 3 convolutions over maps in which place comes before sample: (height, width, batch, channels).

On processors of Intel's the products of PyTorch run at full rate, and minimal filtering (S. Winograd; A. Lavin and
S. Gray, arXiv:1509.09308) needs a quarter of the multiplications. Elsewhere MKL keeps to half of the vector width, and
oneDNN's convolution, which does not, is the faster one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mupd.model.cpu.workspace import Workspace

TILE = 4
"""Side of the square of places that are computed together; sides of a map are multiples of it."""

_POINTS = (0.0, 1.0, -1.0, 2.0, -0.5)
"""Where the polynomials are evaluated, infinity beside; with these, rounding errors are a third of those of the usual
0, 1, -1, 2, -2."""

_ONE = _POINTS.index(1.0)
_N = len(_POINTS) + 1


Matrix = NDArray[np.float64]


class Convolution(Protocol):
    """A 3 x 3 convolution, padded with zeros, with its bias."""

    def places(self, name: str, height: int, width: int, batch: int, channels: int) -> Tensor:
        """Memory of the workspace for a map (height, width, batch, channels), laid out as the convolution reads it."""
        ...

    def results(self, name: str, height: int, width: int, batch: int, channels: int) -> Tensor:
        """The same, laid out as the convolution writes it."""
        ...

    def __call__(self, parts: Sequence[Tensor], out: Tensor, add: bool = False) -> Tensor:
        """Convolve maps whose channels stand one behind the other.

        Parameters
        ----------
        parts
            From :meth:`places`; as many, and with as many channels, as the convolution was made for.
        out
            From :meth:`results`; holds the result.
        add
            Whether the result is added to what `out` holds.
        """
        ...


@cache
def filtering(points: tuple[float, ...] = _POINTS) -> tuple[Matrix, Matrix, Matrix]:
    """Matrices of minimal filtering, 4 outputs by 3 taps (Toom and Cook): A^T (4, 6), G (6, 3) and B^T (6, 6).

    For inputs d (6,) and taps g (3,), A^T ((G g) * (B^T d)) is their correlation (4,).
    """
    p = np.array(points)
    inverse, taps, forward = np.zeros((TILE, _N)), np.zeros((_N, 3)), np.zeros((_N, _N))
    inverse[:, :-1] = p ** np.arange(TILE)[:, None]
    for j, point in enumerate(p):
        others = np.delete(p, j)
        taps[j] = point ** np.arange(3) / np.prod(point - others)
        forward[j, :-1] = np.poly(others)[::-1]
    inverse[-1, -1] = taps[-1, -1] = 1.0
    forward[-1] = np.poly(p)[::-1]
    return inverse, taps, forward


@cache
def of_side(length: int) -> tuple[Tensor, Tensor]:
    """B^T and A^T for a whole side of a map at once: (6 * tiles, length) there, (length, 6 * tiles) back.

    Values are ordered by point, then by tile; the first matrix has the padding in it.
    """
    inverse, _, forward = filtering()
    tiles = length // TILE
    there = np.zeros((_N, tiles, length + 2))
    back = np.zeros((tiles, TILE, _N, tiles))
    for tile in range(tiles):
        there[:, tile, TILE * tile : TILE * tile + _N] = forward
        back[tile, :, :, tile] = inverse
    padded = there.reshape(_N * tiles, length + 2)[:, 1:-1]
    return torch.from_numpy(padded.copy()).float(), torch.from_numpy(back.reshape(length, _N * tiles)).float()


class WinogradConvolution:
    """By minimal filtering: two small products make 36 values of 6 x 6 places, 36 products mix channels, two lead back.

    Row by row in, column by column out, or the other way: so every product reads and writes in place.

    Parameters
    ----------
    weight, bias
        (channels out, channels in, 3, 3) and (channels out,).
    splits
        Channels of each map that is handed over.
    turned
        Whether these lie column by column.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, splits: Sequence[int], work: Workspace, turned: bool = False
    ) -> None:
        g = torch.from_numpy(filtering()[1])
        taps = weight.detach().double()
        values = torch.einsum("ia,ocab,jb->ijco", g, taps.transpose(2, 3) if turned else taps, g)
        self._weights = [part.contiguous() for part in values.float().flatten(0, 1).split(list(splits), dim=1)]
        self._bias = None if bias is None else bias.detach()
        self._channels = len(weight)
        self._work, self._turned = work, turned

    def places(self, name: str, height: int, width: int, batch: int, channels: int) -> Tensor:
        """See :meth:`Convolution.places`."""
        return self._map(name, height, width, batch, channels, self._turned)

    def results(self, name: str, height: int, width: int, batch: int, channels: int) -> Tensor:
        """See :meth:`Convolution.results`."""
        return self._map(name, height, width, batch, channels, not self._turned)

    def _map(self, name: str, height: int, width: int, batch: int, channels: int, turned: bool) -> Tensor:
        if turned:
            return self._work(name, width, height, batch, channels).transpose(0, 1)
        return self._work(name, height, width, batch, channels)

    def _there(self, x: Tensor) -> Tensor:
        """Values (36, tiles * batch, channels) of a map (outer side, inner side, batch, channels)."""
        outer, inner, batch, channels = x.shape
        lines = _N * outer // TILE
        half = self._work("half there", inner, lines, batch * channels)
        torch.bmm(of_side(outer)[0].expand(inner, -1, -1), x.flatten(2).transpose(0, 1), out=half)
        half = half.view(inner, _N, -1).transpose(0, 1)
        values = self._work("there", _N, _N * inner // TILE, half.shape[2])
        torch.bmm(of_side(inner)[0].expand(_N, -1, -1), half, out=values)
        return values.view(_N * _N, -1, channels)

    def __call__(self, parts: Sequence[Tensor], out: Tensor, add: bool = False) -> Tensor:
        """See :meth:`Convolution.__call__`."""
        maps = [part.transpose(0, 1) for part in parts] if self._turned else parts
        outer, inner, batch, _ = maps[0].shape
        mixed = self._work("mixed", _N * _N, outer * inner // TILE**2 * batch, self._channels)
        torch.bmm(self._there(maps[0]), self._weights[0], out=mixed)
        for part, weight in zip(maps[1:], self._weights[1:], strict=True):
            mixed.baddbmm_(self._there(part), weight)
        if self._bias is not None:
            # What stands at the point 1 reaches every place alike.
            mixed[_ONE * _N + _ONE].add_(self._bias)
        lines, values = _N * outer // TILE, mixed.view(_N, _N * inner // TILE, -1)
        half = self._work("half back", inner, lines, batch * self._channels)
        torch.bmm(of_side(inner)[1].expand(_N, -1, -1), values, out=half.view(inner, _N, -1).transpose(0, 1))
        found = (out if self._turned else out.transpose(0, 1)).view(inner, outer, -1)
        back = of_side(outer)[1].expand(inner, -1, -1)
        if add:
            found.baddbmm_(back, half)
        else:
            torch.bmm(back, half, out=found)
        return out


class DirectConvolution:
    """By oneDNN, whose maps lie sample by sample, channels last."""

    def __init__(self, weight: Tensor, bias: Tensor | None, work: Workspace) -> None:
        self._weight = weight.detach().contiguous(memory_format=torch.channels_last)
        self._bias = None if bias is None else bias.detach()
        self._work = work

    def places(self, name: str, height: int, width: int, batch: int, channels: int) -> Tensor:
        """See :meth:`Convolution.places`."""
        return self._work(name, batch, height, width, channels).permute(1, 2, 0, 3)

    results = places

    def __call__(self, parts: Sequence[Tensor], out: Tensor, add: bool = False) -> Tensor:
        """See :meth:`Convolution.__call__`."""
        by_sample = [part.permute(2, 0, 1, 3) for part in parts]
        x = (by_sample[0] if len(parts) == 1 else torch.cat(by_sample, -1)).permute(0, 3, 1, 2)
        found = F.conv2d(x, self._weight, self._bias, padding=1).permute(2, 3, 0, 1)
        return out.add_(found) if add else out.copy_(found)


@cache
def is_intel() -> bool:
    """Whether this processor is one of Intel's, on which MKL's products run at full rate."""
    facts = Path("/proc/cpuinfo")
    return facts.is_file() and "GenuineIntel" in facts.read_text(encoding="utf-8", errors="replace")


def convolution(
    layer: nn.Conv2d,
    work: Workspace,
    *,
    turned: bool = False,
    beside: nn.Conv2d | None = None,
    splits: Sequence[int] = (),
) -> Convolution:
    """The quicker of both for this processor.

    Parameters
    ----------
    layer
        3 x 3, padded by 1.
    turned
        Whether it follows an odd number of others: each may turn rows into columns.
    beside
        Another such layer without a bias, of further channels, whose result is added.
    splits
        Channels of the maps that are handed over, where these are several.
    """
    weight = layer.weight if beside is None else torch.cat([layer.weight, beside.weight], 1)
    channels = list(splits) or ([weight.shape[1]] if beside is None else [layer.in_channels, beside.in_channels])
    if is_intel():
        return WinogradConvolution(weight, layer.bias, channels, work, turned)
    return DirectConvolution(weight, layer.bias, work)
