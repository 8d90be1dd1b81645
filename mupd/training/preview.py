"""Pictures of how far a training is, drawn at its checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mupd.base.files import atomic_path
from mupd.model.attention import Conditions
from mupd.model.regions import HE_WINDOW_PX, he_extra
from mupd.model.sampling import sample_he_windows
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import Autoencoder
from mupd.training.prepare import Spots
from mupd.training.sources import HER2ST_MPP

WINDOWS = 16


def spot_examples(spots: Spots, count: int) -> tuple[NDArray[np.uint8], Conditions]:
    """Windows (count, 128, 128, 3) around spots spread over a section, and the RNA of these spots."""
    chosen = np.linspace(0, len(spots.xy_px) - 1, count).astype(int)
    half = HE_WINDOW_PX // 2
    real = [spots.image[y - half : y + half, x - half : x + half] for x, y in np.rint(spots.xy_px[chosen]).astype(int)]
    given = torch.ones(count, 1, dtype=torch.bool)
    conditions: Conditions = {
        "rna": (torch.from_numpy(spots.conditions[chosen])[:, None], given),
        "pathways": (torch.from_numpy(spots.pathways[chosen])[:, None], given),
    }
    return np.stack(real), conditions


@torch.no_grad()
def preview_grid(
    model: MuPDTransformer,
    vae: Autoencoder,
    real: NDArray[np.uint8],
    conditions: Conditions,
    folder: Path,
    step: int,
    ema: dict[str, Tensor],
) -> None:
    """Sixteen real windows (16, 128, 128, 3) above sixteen generated from their conditions, as preview.png."""
    own = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(ema)
    model.eval()
    given = {name: (rows.to(model.device), mask.to(model.device)) for name, (rows, mask) in conditions.items()}
    extra = he_extra(HER2ST_MPP).to(model.device).expand(WINDOWS, 2)
    scales = dict.fromkeys(given, 1.5)
    found = sample_he_windows(model, vae, given, extra, seed=1, steps=20, scales=scales)
    rows = np.concatenate([real, found]).reshape(2, 2, 8, HE_WINDOW_PX, HE_WINDOW_PX, 3)
    grid = Image.fromarray(rows.transpose(0, 1, 3, 2, 4, 5).reshape(4 * HE_WINDOW_PX, 8 * HE_WINDOW_PX, 3))
    with atomic_path(folder / "preview.png") as temporary:
        grid.save(temporary, format="PNG")
    grid.save(folder / f"preview-{step:06d}.jpg", quality=85)
    model.load_state_dict(own)
    model.train()
