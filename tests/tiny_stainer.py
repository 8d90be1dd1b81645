"""The folder of a virtual stainer with tiny random networks: everything runs, nothing means anything."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_model import LATENT_CHANNELS, randomise

from mupd.files import write_json
from mupd.model.stain_facts import IHC_CHANNELS, Stain, StainerFacts, index_of
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import MuPDVAE

NAME = "mupd-tiny-stainer"
MPP = 0.5
WINDOW_PX = 128


def tiny_vae(channels: int, seed: int) -> MuPDVAE:
    torch.manual_seed(seed)
    model = MuPDVAE(LATENT_CHANNELS, (16, 16), (16, 16), (1, 1), (1, 1), channels=channels)
    randomise(model, seed)
    return model.eval()


def tiny_stain_trunk(
    latent_channels: int = LATENT_CHANNELS, aligned_channels: int = LATENT_CHANNELS
) -> MuPDTransformer:
    torch.manual_seed(2)
    model = MuPDTransformer({}, None, latent_channels, 8, 1, 4, 1, 32, 2, 2, 16, 1, aligned_channels=aligned_channels)
    randomise(model, 2)
    return model.eval()


def write_tiny_stainer(
    folder: Path, stain: Stain = "mif", channels: tuple[str, ...] = ("DAPI", "CD3", "panCK")
) -> Path:
    """Write a stainer's folder and return it; an ``ihc`` stainer has red, green and blue, whatever is named."""
    names = IHC_CHANNELS if stain == "ihc" else channels
    tiny_vae(3, 0).save_pretrained(folder / "he_vae")
    tiny_vae(len(names), 1).save_pretrained(folder / "stain_vae")
    tiny_stain_trunk().save_pretrained(folder / "transformer")
    write_json(folder / "model_index.json", index_of(StainerFacts(stain, names, MPP, NAME, WINDOW_PX)))
    return folder
