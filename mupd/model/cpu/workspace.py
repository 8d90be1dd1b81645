"""Memory that is used again: fresh pages cost more than much of what is computed in them."""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor


class Workspace(threading.local):
    """Float32 tensors by name, of each thread; what one holds is gone when the name is asked for again."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """A contiguous tensor of the shape, its values arbitrary."""
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.numel() < size:
            with torch.inference_mode(False):
                kept = self._kept[name] = torch.empty(size, dtype=torch.float32, device="cpu")
        return kept[:size].view(shape)
