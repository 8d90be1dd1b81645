"""Training of the H&E autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mupd.base.files import atomic_path, write_json
from mupd.model.vae import MuPDVAE, reconstruction_loss
from mupd.training.loop import LoopSettings, train
from mupd.training.prepare import split_of
from mupd.training.processes import batch_rng, device, is_main, wait
from mupd.training.sources import read_her2st_section, read_tiles, tissue_windows

CROP_PX = 128


class Crops(Protocol):
    """Where crops of H&E come from."""

    def batch(self, size: int, rng: np.random.Generator) -> Tensor:
        """(size, 3, 128, 128), float in [-1, 1]."""
        ...


def turned(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop in one of its eight orientations."""
    crop = np.rot90(crop, int(rng.integers(4)))
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


def _as_tensor(crops: list[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1


class CropSampler:
    """Random flipped and transposed crops: section windows mixed with tiles of other organs."""

    def __init__(self, her2st: Path, sections: list[str], tiles: Path | None, tile_share: float) -> None:
        self.images: list[NDArray[np.uint8]] = []
        self.corners: list[NDArray[np.int64]] = []
        for name in sections:
            section = read_her2st_section(her2st, name)
            if section.image is not None:
                self.images.append(section.image)
                self.corners.append(tissue_windows(section.image, CROP_PX, 64, least=0.3))
        self.tiles: list[NDArray[np.uint8]] = []
        if tiles is not None:
            table = read_tiles(tiles)
            table = table[[split_of(str(group)) == "train" for group in table["group"]]]
            self.tiles = [np.asarray(Image.open(path).convert("RGB")) for path in table["path"]]
        self.tile_share = tile_share if self.tiles else 0.0

    def batch(self, size: int, rng: np.random.Generator) -> Tensor:
        """(size, 3, 128, 128), float in [-1, 1]."""
        return _as_tensor([self._crop(rng) for _ in range(size)])

    def _crop(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        if rng.random() < self.tile_share:
            image = self.tiles[rng.integers(len(self.tiles))]
            y = int(rng.integers(image.shape[0] - CROP_PX + 1))
            x = int(rng.integers(image.shape[1] - CROP_PX + 1))
        else:
            which = int(rng.integers(len(self.images)))
            image = self.images[which]
            y, x = self.corners[which][rng.integers(len(self.corners[which]))] + rng.integers(0, 64, 2)
            y, x = min(y, image.shape[0] - CROP_PX), min(x, image.shape[1] - CROP_PX)
        return turned(image[y : y + CROP_PX, x : x + CROP_PX], rng)


class CohortCrops:
    """Crops of the windows of a cohort's cases, every case as often as any other.

    Parameters
    ----------
    windows
        Of each case, (n, side, side, 3) uint8, sides at least 128.
    """

    def __init__(self, windows: Sequence[NDArray[np.uint8]]) -> None:
        self.windows = windows

    def batch(self, size: int, rng: np.random.Generator) -> Tensor:
        """See :class:`Crops`."""
        crops = []
        for _ in range(size):
            pixels = self.windows[int(rng.integers(len(self.windows)))]
            image = pixels[rng.integers(len(pixels))]
            y, x = rng.integers(0, image.shape[0] - CROP_PX + 1, 2)
            crops.append(turned(image[y : y + CROP_PX, x : x + CROP_PX], rng))
        return _as_tensor(crops)


class MixedCrops:
    """Crops of several sources, by their shares."""

    def __init__(self, sources: Sequence[Crops], shares: Sequence[float]) -> None:
        self.sources, self.shares = sources, np.array(shares) / sum(shares)

    def batch(self, size: int, rng: np.random.Generator) -> Tensor:
        """See :class:`Crops`."""
        counts = rng.multinomial(size, self.shares)
        return torch.cat([source.batch(int(n), rng) for n, source in zip(counts, self.sources, strict=True) if n])


def train_vae(
    model: MuPDVAE, sampler: Crops, settings: LoopSettings, folder: Path, out: Path, batch_size: int = 16
) -> None:
    """Train `model` and save its averaged weights to `out` (diffusers layout)."""

    def loss_of_step(step: int, _generator: torch.Generator) -> Tensor:
        images = sampler.batch(batch_size, batch_rng(settings.seed, step)).to(model.device)
        found, latents = model(images)
        loss = reconstruction_loss(found, images)
        if step % 2:
            # The half-size latent should decode to the half-size picture: smoother latents, which
            # a small prior learns more easily (EQ-VAE, arXiv:2502.09509).
            half = model.decode(F.avg_pool2d(latents, 2))
            loss = loss + 0.5 * reconstruction_loss(half, F.avg_pool2d(images, 2))
        return loss

    ema = train(model, loss_of_step, settings, folder, lambda step, ema: _preview(model, ema, sampler, folder, step))
    model.load_state_dict(ema)
    model.eval()
    if is_main():
        model.save_pretrained(out)
        write_json(out / "training.json", {"steps": settings.steps, "batch_size": batch_size})
    wait()


def finish_decoder(
    model: MuPDVAE,
    sampler: Crops,
    settings: LoopSettings,
    folder: Path,
    out: Path,
    batch_size: int,
    *,
    steps: int,
    noise: float,
) -> None:
    """Refine the decoder for latents that are less noisy than in training, and save the model to `out`.

    The encoder stays as it is, and with it the latents: a trunk that was trained on them, or is
    being trained, need not know.

    Parameters
    ----------
    noise
        Largest standard deviation of the noise on the latents.
    """
    model.load_state_dict(MuPDVAE.from_pretrained(out).state_dict())
    model.to(device()).eval()  # type: ignore[arg-type]
    model.encoder.requires_grad_(False)
    own = replace(settings, steps=steps, warmup_steps=min(20, steps), learning_rate=settings.learning_rate / 2)

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        images = sampler.batch(batch_size, batch_rng(settings.seed, 1, step)).to(model.device)
        with torch.no_grad():
            latents = model.encode(images)
        level = torch.rand(len(images), 1, 1, 1, generator=generator) * noise
        noisy = latents + (level * torch.randn(latents.shape, generator=generator)).to(latents)
        found = model.decode(noisy)
        return reconstruction_loss(found, images) + 2 * F.mse_loss(found, images)

    ema = train(model.decoder, loss_of_step, own, folder)
    model.decoder.load_state_dict(ema)
    if is_main():
        model.save_pretrained(out)
    wait()


@torch.no_grad()
def _preview(model: MuPDVAE, ema: dict[str, Tensor], sampler: Crops, folder: Path, step: int) -> None:
    """Eight crops above their reconstructions, clean and at the largest noise."""
    own = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(ema)
    model.eval()
    images = sampler.batch(8, np.random.default_rng(7)).to(model.device)
    latents = model.encode(images)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(latents)
    noisy = latents + model.config["latent_noise"] * noise
    rows = torch.cat([images, model.decode(latents), model.decode(noisy)])
    mse = F.mse_loss(((rows[8:16] + 1) / 2).clamp(0, 1), (images + 1) / 2).item()
    grid = rows.reshape(3, 8, 3, CROP_PX, CROP_PX).permute(0, 3, 1, 4, 2).reshape(3 * CROP_PX, 8 * CROP_PX, 3)
    array = ((grid + 1) * 127.5).clamp(0, 255).byte().cpu().numpy()
    with atomic_path(folder / "preview.png") as temporary:
        Image.fromarray(array).save(temporary, format="PNG")
    write_json(folder / "preview.json", {"step": step, "psnr_db": round(-10 * np.log10(mse), 2)})
    model.load_state_dict(own)
