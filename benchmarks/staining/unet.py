"""Baseline: the generator of pix2pix, trained on the same pairs by regression.

A U-Net from H&E pixels to the stain's channels, trained with L1 (Isola et al. 2017 without the adversarial loss).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mupd.model.regions import from_uint8
from mupd.training.loop import train
from mupd.training.processes import batch_rng
from mupd.training.settings import LoopSettings
from mupd.training.stain.batches import StainBatches


def _double(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1, bias=False),
        nn.InstanceNorm2d(outside, affine=True),
        nn.LeakyReLU(0.2),
        nn.Conv2d(outside, outside, 3, padding=1, bias=False),
        nn.InstanceNorm2d(outside, affine=True),
        nn.LeakyReLU(0.2),
    )


class UNet(nn.Module):
    """Five sizes; the first layer works at half of the picture's side, which saves three quarters of the time."""

    def __init__(self, channels: int, widths: tuple[int, ...] = (24, 48, 96, 192, 256)) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, widths[0], 3, padding=1), nn.LeakyReLU(0.2))
        self.down = nn.ModuleList([_double(a, b) for a, b in zip((widths[0], *widths), widths, strict=False)])
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList([_double(a + b, b) for a, b in pairs])
        self.last = nn.Sequential(nn.Conv2d(widths[0], 4 * channels, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, h, w) in [-1, 1] to (batch, channels, h, w); sides multiples of 32."""
        x, skips = self.first(x), []
        for number, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if number else x)
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return self.last(x)


def train_unet(batches: StainBatches, channels: int, settings: LoopSettings, folder: Path, batch_size: int) -> UNet:
    """Train with L1 and return the averaged weights; goes on from a checkpoint in `folder`."""
    torch.manual_seed(0)
    model = UNet(channels)

    def loss_of_step(step: int, _generator: torch.Generator) -> Tensor:
        he, stain = batches.pair_batch(batch_size, batch_rng(settings.seed, 1, step))
        return (model(he) - stain).abs().mean()

    model.load_state_dict(train(model, loss_of_step, settings, folder))
    return model.eval()


@torch.no_grad()
def predict(model: UNet, he: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(h, w, 3) to (h, w, channels) of 0 to 255."""
    values = (model(from_uint8(he[None]))[0] + 1) * 127.5
    return values.clamp(0, 255).permute(1, 2, 0).numpy()
