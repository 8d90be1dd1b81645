"""Pictures of how far a training is, drawn at its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mupd.base.files import atomic_path
from mupd.model.attention import Conditions
from mupd.model.regions import he_extra
from mupd.model.sampling import sample_he_windows
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import Autoencoder
from mupd.model_folder.geometry import TRAINED
from mupd.training.public.read import HER2ST_MPP
from mupd.training.public.spots import Spots, windows_at
from mupd.training.tokens import on_device, one_token

WINDOWS = 16


class Examples(NamedTuple):
    """Real windows (n, 128, 128, 3) uint8 and the conditions to draw others like them."""

    real: NDArray[np.uint8]
    conditions: Conditions


def spot_examples(spots: Spots, count: int) -> Examples:
    """Windows around `count` spots spread over a section, and the RNA of these spots."""
    chosen = np.linspace(0, len(spots.xy_px) - 1, count).astype(int)
    conditions = {"rna": one_token(spots.conditions[chosen]), "pathways": one_token(spots.pathways[chosen])}
    return Examples(windows_at(spots.image, spots.xy_px[chosen]), conditions)


@torch.no_grad()
def preview_grid(model: MuPDTransformer, vae: Autoencoder, examples: Examples, folder: Path, step: int) -> None:
    """Draw sixteen real windows above sixteen generated from their conditions, as preview.png."""
    conditions = on_device(examples.conditions, model.device)
    extra = he_extra(HER2ST_MPP).to(model.device).expand(WINDOWS, 2)
    scales = dict.fromkeys(conditions, 1.5)
    generated = sample_he_windows(model, vae, conditions, extra, seed=1, steps=20, scales=scales)
    rows = np.concatenate([examples.real, generated]).reshape(2, 2, 8, TRAINED.window_px, TRAINED.window_px, 3)
    grid = Image.fromarray(rows.transpose(0, 1, 3, 2, 4, 5).reshape(4 * TRAINED.window_px, 8 * TRAINED.window_px, 3))
    with atomic_path(folder / "preview.png") as temporary:
        grid.save(temporary, format="PNG")
    grid.save(folder / f"preview-{step:06d}.jpg", quality=85)
