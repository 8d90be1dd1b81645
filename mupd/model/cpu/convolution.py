"""3 x 3 convolutions by oneDNN, over maps in which place comes before sample: (height, width, batch, channels)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mupd.model.cpu.workspace import Workspace


class Convolution:
    """A 3 x 3 convolution, padded with zeros, its weights packed; oneDNN's maps lie sample by sample, channels last.

    Parameters
    ----------
    layer
        3 x 3, padded by 1.
    beside
        Another such layer without a bias, of further channels, whose result is added.
    """

    def __init__(self, layer: nn.Conv2d, work: Workspace, beside: nn.Conv2d | None = None) -> None:
        weight = layer.weight if beside is None else torch.cat([layer.weight, beside.weight], 1)
        self._weight = weight.detach().contiguous(memory_format=torch.channels_last)
        self._bias = None if layer.bias is None else layer.bias.detach()
        self._work = work

    def places(self, name: str, height: int, width: int, batch: int, channels: int) -> Tensor:
        """Memory of the workspace for a map (height, width, batch, channels), laid out as oneDNN takes it."""
        return self._work(name, batch, height, width, channels).permute(1, 2, 0, 3)

    def __call__(self, parts: Sequence[Tensor], out: Tensor, add: bool = False) -> Tensor:
        """Convolve maps whose channels stand one behind the other; `out` holds the result.

        Parameters
        ----------
        parts, out
            From :meth:`places`.
        add
            Whether the result is added to what `out` holds.
        """
        by_sample = [part.permute(2, 0, 1, 3) for part in parts]
        x = (by_sample[0] if len(parts) == 1 else torch.cat(by_sample, -1)).permute(0, 3, 1, 2)
        convolved = F.conv2d(x, self._weight, self._bias, padding=1).permute(2, 3, 0, 1)
        return out.add_(convolved) if add else out.copy_(convolved)
