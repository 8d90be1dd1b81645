"""Training of the H&E autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mupd.base.files import atomic_path, write_json
from mupd.model.vae import MuPDVAE, reconstruction_loss
from mupd.training.batches import BatchSource
from mupd.training.crops import CROP_PX
from mupd.training.loop import save_averaged, train
from mupd.training.processes import batch_rng, device, is_main
from mupd.training.settings import LoopSettings


@dataclass(frozen=True)
class AutoencoderRun:
    """Where a training of the autoencoder works.

    Attributes
    ----------
    work
        Folder of checkpoints, logs and previews.
    out
        Folder of the network (diffusers layout).
    """

    work: Path
    out: Path
    batch_size: int = 16


def train_vae(model: MuPDVAE, crops: BatchSource, settings: LoopSettings, run: AutoencoderRun) -> None:
    """Train `model` and save its averaged weights."""

    def loss_of_step(step: int, _generator: torch.Generator) -> Tensor:
        images = crops.batch(run.batch_size, batch_rng(settings.seed, step)).clean.to(model.device)
        decoded, latents = model(images)
        loss = reconstruction_loss(decoded, images)
        if step % 2:
            # The half-size latent should decode to the half-size picture. This makes latents smoother, which a small
            # trunk learns more easily (EQ-VAE, arXiv:2502.09509).
            half = model.decode(F.avg_pool2d(latents, 2))
            loss = loss + 0.5 * reconstruction_loss(half, F.avg_pool2d(images, 2))
        return loss

    ema = train(model, loss_of_step, settings, run.work, lambda step: _preview(model, crops, run.work, step))
    save_averaged(model, ema, run.out)
    if is_main():
        write_json(run.out / "training.json", {"steps": settings.steps, "batch_size": run.batch_size})


def finish_decoder(
    model: MuPDVAE, crops: BatchSource, settings: LoopSettings, run: AutoencoderRun, *, steps: int, noise: float
) -> None:
    """Refine the decoder for latents that are less noisy than in training, and save the model.

    The encoder, and with it the latents, stay as they are: a trunk that was trained on them stays valid.

    Parameters
    ----------
    noise
        Largest standard deviation of the noise on the latents.
    """
    model.load_state_dict(MuPDVAE.from_pretrained(run.out).state_dict())
    model.to(device()).eval()  # type: ignore[arg-type]
    model.encoder.requires_grad_(False)
    finishing = replace(settings, steps=steps, warmup_steps=min(20, steps), learning_rate=settings.learning_rate / 2)

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        images = crops.batch(run.batch_size, batch_rng(settings.seed, 1, step)).clean.to(model.device)
        with torch.no_grad():
            latents = model.encode(images)
        level = torch.rand(len(images), 1, 1, 1, generator=generator) * noise
        noisy = latents + (level * torch.randn(latents.shape, generator=generator)).to(latents)
        decoded = model.decode(noisy)
        return reconstruction_loss(decoded, images) + 2 * F.mse_loss(decoded, images)

    ema = train(model.decoder, loss_of_step, finishing, run.work)
    save_averaged(model, model.state_dict() | {f"decoder.{name}": value for name, value in ema.items()}, run.out)


@torch.no_grad()
def _preview(model: MuPDVAE, crops: BatchSource, folder: Path, step: int) -> None:
    """Draw eight crops above their reconstructions, without noise and at the largest noise."""
    images = crops.batch(8, np.random.default_rng(7)).clean.to(model.device)
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
