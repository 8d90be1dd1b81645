"""MuPDVAE: tiles of H&E, or of another stain, to latents and back, 8 times smaller on each side."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from mupd.model.layers import ChannelNorm, ResBlock
from mupd.model_folder.geometry import DOWNSAMPLE

_UNSHUFFLE = 4


class Autoencoder(Protocol):
    """What the pipeline and training need of an autoencoder: :class:`MuPDVAE`, or a diffusers AutoencoderKL."""

    @property
    def latent_channels(self) -> int:
        """Channels of the latent."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it is."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """(batch, channels, h, w) in [-1, 1] to (batch, latent_channels, h / 8, w / 8) of about unit variance."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to images in [-1, 1], not clipped."""
        ...


def _expect_images(images: Tensor, channels: int = 3) -> None:
    if images.ndim != 4 or images.shape[1] != channels:
        raise ValueError(f"images: found shape {tuple(images.shape)}; expected (batch, {channels}, h, w)")
    if images.shape[2] % DOWNSAMPLE or images.shape[3] % DOWNSAMPLE:
        raise ValueError(f"images: found {images.shape[2]} x {images.shape[3]} px; expected multiples of {DOWNSAMPLE}")


class MuPDVAE(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Convolutional autoencoder with unit-variance latents and a decoder that tolerates noise.

    The rate is set not by a KL weight but by a fixed noise: latents are standardised per channel
    by running statistics, and in training Gaussian noise of up to `latent_noise` standard
    deviations is added before decoding. The decoder therefore accepts latents that a weak prior
    gets slightly wrong.

    Parameters
    ----------
    latent_channels
        Channels of the latent.
    encoder_widths, decoder_widths
        Channels at 1/4 and at 1/8 of the input's side.
    encoder_blocks, decoder_blocks
        Residual blocks at each of these two sizes.
    latent_noise
        Largest standard deviation of the noise that training adds to the latents.
    channels
        Of the pictures: 3 for H&E and other bright-field stains, one a marker for fluorescence.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        encoder_widths: tuple[int, int] = (48, 96),
        decoder_widths: tuple[int, int] = (64, 128),
        encoder_blocks: tuple[int, int] = (2, 2),
        decoder_blocks: tuple[int, int] = (3, 2),
        latent_noise: float = 0.3,  # noqa: ARG002  (kept in the configuration, read by forward)
        channels: int = 3,
    ) -> None:
        super().__init__()
        pixels = channels * _UNSHUFFLE**2
        quarter, eighth = encoder_widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(_UNSHUFFLE),
            nn.Conv2d(pixels, quarter, 3, padding=1),
            *[ResBlock(quarter) for _ in range(encoder_blocks[0])],
            nn.Conv2d(quarter, eighth, 4, stride=2, padding=1),
            *[ResBlock(eighth) for _ in range(encoder_blocks[1])],
            ChannelNorm(eighth),
            nn.SiLU(),
            nn.Conv2d(eighth, latent_channels, 3, padding=1),
        )
        self.standardise = nn.BatchNorm2d(latent_channels, affine=False, momentum=0.02)
        quarter, eighth = decoder_widths
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, eighth, 3, padding=1),
            *[ResBlock(eighth) for _ in range(decoder_blocks[0])],
            nn.Conv2d(eighth, 4 * quarter, 3, padding=1),
            nn.PixelShuffle(2),
            *[ResBlock(quarter) for _ in range(decoder_blocks[1])],
            nn.Conv2d(quarter, 128, 3, padding=1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(32, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
        )

    @property
    def latent_channels(self) -> int:
        """Channels of the latent."""
        return int(self.config["latent_channels"])

    def encode(self, images: Tensor) -> Tensor:
        """Latents of images.

        Parameters
        ----------
        images
            (batch, channels, height, width), float in [-1, 1]; sides multiples of 8.

        Returns
        -------
        Tensor
            (batch, latent_channels, height / 8, width / 8), about unit variance.

        Raises
        ------
        ValueError
            If the shape is not as above.
        """
        _expect_images(images, self.config["channels"])
        return self.standardise(self.encoder(images))

    def decode(self, latents: Tensor) -> Tensor:
        """Images in [-1, 1] (not clipped), 8 times larger than `latents` on each side.

        Raises
        ------
        ValueError
            If `latents` has the wrong number of channels.
        """
        channels = self.config["latent_channels"]
        if latents.ndim != 4 or latents.shape[1] != channels:
            raise ValueError(f"latents: found shape {tuple(latents.shape)}; expected (batch, {channels}, h, w)")
        return self.decoder(latents)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Training pass: the reconstruction from noised latents, and the clean latents."""
        latents = self.encode(images)
        level = torch.rand(len(images), 1, 1, 1, device=images.device) * self.config["latent_noise"]
        return self.decode(latents + level * torch.randn_like(latents)), latents


class AutoencoderKLAdapter:
    """A diffusers ``AutoencoderKL`` in the place of :class:`MuPDVAE`.

    Its mean latents are scaled and shifted as its configuration says (``scaling_factor``,
    ``shift_factor``). Its decoder has norms and attention over the whole picture: tiles of a large
    region, which are decoded with a halo, may differ slightly at their borders.

    Raises
    ------
    ValueError
        If it does not reduce each side 8 times.
    """

    def __init__(self, model: Any) -> None:
        factor = 2 ** (len(model.config.block_out_channels) - 1)
        if factor != DOWNSAMPLE:
            raise ValueError(f"AutoencoderKL: found a reduction of {factor}; expected {DOWNSAMPLE}")
        self.model = model
        self.scale = float(model.config.scaling_factor)
        self.shift = float(getattr(model.config, "shift_factor", None) or 0.0)

    @property
    def latent_channels(self) -> int:
        """Channels of the latent."""
        return int(self.model.config.latent_channels)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.model.device

    def encode(self, images: Tensor) -> Tensor:
        """Mean latents, scaled; see :meth:`MuPDVAE.encode`."""
        _expect_images(images)
        return (self.model.encode(images).latent_dist.mean - self.shift) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Images; see :meth:`MuPDVAE.decode`."""
        return self.model.decode(latents / self.scale + self.shift).sample


def autoencoder_class(folder: Path) -> Any:
    """The class that a ``vae`` folder's config.json names: MuPDVAE or diffusers' AutoencoderKL.

    Raises
    ------
    ValueError
        If it names another.
    """
    name = MuPDVAE.load_config(folder).get("_class_name")
    if name == "MuPDVAE":
        return MuPDVAE
    if name == "AutoencoderKL":
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        return AutoencoderKL
    raise ValueError(f"config.json [_class_name]: found {name!r}; expected MuPDVAE or AutoencoderKL")


def reconstruction_loss(made: Tensor, wanted: Tensor, scales: int = 3) -> Tensor:
    """Mean absolute error of values and of finite differences over a pyramid of `scales` levels."""
    total = made.new_zeros(())
    for scale in range(scales):
        if scale:
            made, wanted = F.avg_pool2d(made, 2), F.avg_pool2d(wanted, 2)
        error = made - wanted
        total = total + error.abs().mean()
        total = total + 0.5 * error.diff(dim=-1).abs().mean() + 0.5 * error.diff(dim=-2).abs().mean()
    return total / scales
