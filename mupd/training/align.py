"""Feature alignment: a loss pulls the trunk's H&E tokens towards the patch features of a frozen encoder.

Representation alignment (REPA, arXiv:2410.06940) with the additions of MuPD (arXiv:2604.03635): a light convolutional
projector, and a second loss for denoising the encoder's CLS feature from the trunk's tokens. Projector and head are
trained with the trunk and are not part of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mupd.base.messages import first_line
from mupd.errors import ModelError
from mupd.model.layers import timestep_embedding, zeroed
from mupd.training.settings import AlignSettings

TIMM = "timm:"
_IMAGENET_MEAN, _IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PatchEncoder:
    """A frozen vision transformer: pictures to a CLS feature and a grid of patch features.

    Attributes
    ----------
    dim
        Length of the features.
    side
        Pictures are resized to this many pixels.
    prefix
        Tokens before the patch tokens; the first is CLS.
    """

    def __init__(
        self, network: nn.Module, dim: int, side: int, prefix: int, mean: Sequence[float], sd: Sequence[float]
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.dim, self.side, self.prefix = dim, side, prefix
        self.mean, self.sd = torch.tensor(mean)[:, None, None], torch.tensor(sd)[:, None, None]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """CLS features (batch, dim) and patch features (batch, dim, rows, columns) of images in [-1, 1]."""
        self.network.to(images.device)
        size = (self.side, self.side)
        small = F.interpolate((images + 1) / 2, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        tokens = self._tokens((small - self.mean.to(images)) / self.sd.to(images))
        patches = tokens[:, self.prefix :]
        rows = round(patches.shape[1] ** 0.5)
        if rows * rows != patches.shape[1]:
            raise ModelError(f"align.encoder: found {patches.shape[1]} patch tokens; expected a square grid of them")
        return tokens[:, 0], patches.transpose(1, 2).unflatten(2, (rows, rows))

    def _tokens(self, pixels: Tensor) -> Tensor:
        if hasattr(self.network, "forward_features"):
            return self.network.forward_features(pixels)  # type: ignore[operator]
        return self.network(pixel_values=pixels).last_hidden_state


def load_encoder(name: str) -> PatchEncoder:
    """A frozen encoder by its folder or its name in timm.

    Raises
    ------
    ModelError
        If it cannot be loaded, or is no vision transformer with a CLS token.
    """
    return _timm_encoder(name.removeprefix(TIMM)) if name.startswith(TIMM) else _transformers_encoder(Path(name))


def _timm_encoder(name: str) -> PatchEncoder:
    try:
        import timm
    except ImportError as error:
        raise ModelError(f"align.encoder {TIMM}{name}: timm is not installed (pip install timm)") from error
    try:
        network = timm.create_model(name, pretrained=True, num_classes=0)
    except (RuntimeError, OSError, ValueError) as error:
        raise ModelError(f"align.encoder {TIMM}{name}: {first_line(error)}") from error
    prefix = int(getattr(network, "num_prefix_tokens", 0))
    if prefix < 1:
        raise ModelError(f"align.encoder {TIMM}{name}: found no CLS token; expected a vision transformer")
    defaults = network.default_cfg
    return PatchEncoder(
        network, network.num_features, defaults["input_size"][-1], prefix, defaults["mean"], defaults["std"]
    )


def _transformers_encoder(folder: Path) -> PatchEncoder:
    from transformers import AutoImageProcessor, AutoModel

    try:
        network = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"align.encoder {folder}: {first_line(error)}; expected a transformers folder") from error
    config = network.config
    if not hasattr(config, "patch_size") or not hasattr(config, "image_size"):
        raise ModelError(f"align.encoder {folder}: found a {config.model_type}; expected a vision transformer")
    mean, sd = _IMAGENET_MEAN, _IMAGENET_SD
    if (folder / "preprocessor_config.json").exists():
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        mean, sd = processor.image_mean, processor.image_std
    prefix = 1 + int(getattr(config, "num_register_tokens", 0))
    return PatchEncoder(network, config.hidden_size, int(config.image_size), prefix, mean, sd)


class Projector(nn.Module):
    """From the trunk's tokens to the encoder's patch features, and to the velocity of its CLS feature."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.width = width
        self.patches = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, dim, 3, padding=1)
        )
        self.cls_norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.cls = nn.Sequential(nn.Linear(2 * width + dim, width), nn.SiLU(), zeroed(nn.Linear(width, dim)))

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (batch, n, width) to features (batch, dim, rows, columns)."""
        return self.patches(tokens.transpose(1, 2).unflatten(2, grid))

    def cls_velocity(self, tokens: Tensor, noised: Tensor, t: Tensor) -> Tensor:
        """Velocity (batch, dim) of a CLS feature on its line from noise, by the mean of the trunk's tokens."""
        time = timestep_embedding(t, self.width).to(tokens)
        return self.cls(torch.cat([tokens.mean(1), time, noised], dim=1))


class Alignment(nn.Module):
    """The two losses; only the projector has parameters to train."""

    def __init__(self, encoder: PatchEncoder, settings: AlignSettings, width: int) -> None:
        super().__init__()
        self.encoder, self.settings = encoder, settings
        self.projector = Projector(width, encoder.dim)

    def loss(
        self, images: Tensor, tokens: Tensor, grid: tuple[int, int], t: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Weighted sum of both losses.

        Parameters
        ----------
        images
            (batch, 3, height, width) in [-1, 1], without noise.
        tokens
            (batch, n, width) of the trunk at `grid`, seeing the latents at time `t` (batch,).
        """
        cls, patches = self.encoder(images)
        wanted = F.interpolate(patches, size=grid, mode="area")
        alike = F.cosine_similarity(self.projector(tokens, grid).float(), wanted.float(), dim=1)
        clean = self.projector.cls_norm(cls)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        at = t.to(clean)[:, None]
        velocity = self.projector.cls_velocity(tokens, (1 - at) * noise + at * clean, t)
        denoising = (velocity.float() - (clean - noise)).square().mean()
        return self.settings.weight * (1 - alike.mean()) + self.settings.cls_weight * denoising
