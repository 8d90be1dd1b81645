"""MuPDStainer: a virtual stain of an H&E slide of any size."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mupd.errors import ModelError
from mupd.model.attention import Context
from mupd.model.cpu.prepared import prepare, prepared
from mupd.model.loading import files_sha256, hashed_files, load_autoencoder, load_network
from mupd.model.regions import (
    RegionSampling,
    decode_region,
    denoise_region,
    encode_region,
    from_uint8,
    he_extra,
    to_uint8,
)
from mupd.model.sampling import seeded_noise
from mupd.model.solvers import Solver, Velocity, integrate
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import Autoencoder, MuPDVAE
from mupd.model_folder.geometry import DOWNSAMPLE, Geometry
from mupd.model_folder.stainer import Stain, StainerFacts, stainer_facts

PARTS = ("he_vae", "stain_vae", "transformer")
Reader = Callable[[int, int, int, int], NDArray[np.uint8]]
"""x, y, width, height in pixels to RGB pixels (height, width, 3)."""

_WHITE = 255


class MuPDStainer:
    """The parts of a stainer's folder, and the way from H&E to the stain.

    The trunk is that of :class:`~mupd.model.pipeline.MuPDPipeline`; what it makes are latents of the stain, and the
    latents of the H&E are its condition, place by place. Use :meth:`from_pretrained`; parts are loaded when first
    used.
    """

    def __init__(self, folder: Path, device: str = "cpu", *, compile_trunk: bool = False) -> None:
        self.folder, self.device, self.compile_trunk = folder, device, compile_trunk
        self.facts: StainerFacts = stainer_facts(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu", *, compile_trunk: bool = False) -> MuPDStainer:
        """Open a stainer's folder.

        Raises
        ------
        ModelError
            If it is no stainer, or a part is not there or cannot be loaded (loading happens at first use).
        """
        folder = Path(folder)
        stainer = cls(folder, device, compile_trunk=compile_trunk)
        absent = [part for part in PARTS if not (folder / part / "config.json").exists()]
        if absent:
            raise ModelError(f"stainer {folder}: found no config.json in {', '.join(absent)}; expected a whole stainer")
        return stainer

    @property
    def model_id(self) -> str:
        """Name of the model, from model_index.json."""
        return self.facts.name

    @property
    def stain(self) -> Stain:
        """What it makes: ``mif`` or ``ihc``."""
        return self.facts.stain

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return self.facts.channels

    @property
    def mpp(self) -> float:
        """Micrometres per pixel it works at."""
        return self.facts.mpp

    @property
    def geometry(self) -> Geometry:
        """Windows and scale in which it works."""
        return Geometry(self.facts.window_px, self.facts.mpp)

    @property
    def window(self) -> int:
        """Side of what it sees at once, in latents."""
        return self.geometry.window

    @cached_property
    def sha256(self) -> str:
        """Hash of all weights and configurations, and of what the channels are."""
        return files_sha256(self.folder, hashed_files(self.folder, PARTS, ("model_index.json",)))

    @cached_property
    def he_vae(self) -> Autoencoder:
        """Autoencoder of the H&E."""
        return load_autoencoder(self.folder / "he_vae", self.device)

    @cached_property
    def stain_vae(self) -> Autoencoder:
        """Autoencoder of the stain.

        Raises
        ------
        ModelError
            If it is for another number of channels than the model names.
        """
        model = load_autoencoder(self.folder / "stain_vae", self.device)
        channels = model.config["channels"] if isinstance(model, MuPDVAE) else 3
        if channels != len(self.channels):
            raise ModelError(
                f"{self.folder / 'stain_vae'}: an autoencoder of {channels} channels; expected {len(self.channels)}"
            )
        return model

    @cached_property
    def transformer(self) -> MuPDTransformer:
        """The trunk.

        Raises
        ------
        ModelError
            If it does not fit the autoencoders.
        """
        dtype = torch.bfloat16 if self.device.startswith("cuda") else torch.float32
        model = load_network(MuPDTransformer, self.folder / "transformer", dtype)
        channels = model.config["he_channels"], model.config["aligned_channels"]
        expected = self.stain_vae.latent_channels, self.he_vae.latent_channels
        if channels != expected:
            raise ModelError(
                f"{self.folder / 'transformer'}: found he_channels, aligned_channels {channels}; "
                f"expected {expected}, as the autoencoders have"
            )
        model = model.to(self.device)
        if self.compile_trunk:
            model.compile()
            return model
        return prepare(model)

    def velocity(self, aligned: Tensor) -> Velocity:
        """The velocity of a batch of windows.

        Parameters
        ----------
        aligned
            Latents of their H&E, (batch, channels, height, width).
        """
        model = self.transformer
        aligned = aligned.to(model.dtype)
        extra = he_extra(self.mpp).to(self.device, model.dtype).expand(len(aligned), 2)
        context = Context(len(aligned), {})

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            return model(x.to(model.dtype), t, "he", context, extra, aligned=aligned).to(x.dtype)

        trunk = prepared(model, context)
        return velocity if trunk is None else trunk.velocity(context, extra, [((), 1.0)], aligned)

    @torch.no_grad()
    def stain_region(
        self,
        he: Reader,
        size_px: tuple[int, int],
        write: Callable[[int, int, NDArray[np.uint8]], None],
        *,
        seed: int,
        sampling: RegionSampling,
    ) -> None:
        """Stain a region and hand it over tile by tile.

        The H&E is read once, tile by tile, and only its latents are kept: memory is that of a few copies of the
        latents, half a byte a pixel and copy for 8 channels of 32 bits. One step of Euler reads the trunk once, at
        t = 0, and gives its expectation of the latents: no draw, whatever the seed adds to it.

        Parameters
        ----------
        he
            Called with x, y, width and height in pixels of :attr:`mpp`, inside the region; returns (height, width, 3).
        size_px
            Width and height; multiples of 8.
        write
            Called with y, x and uint8 pixels (h, w, channels) of each finished tile.

        Raises
        ------
        ValueError
            If the size is no multiple of 8, or `he` returns another shape than it was asked for.
        """
        if min(size_px) < DOWNSAMPLE or size_px[0] % DOWNSAMPLE or size_px[1] % DOWNSAMPLE:
            raise ValueError(f"size_px: found {size_px}; expected multiples of {DOWNSAMPLE} over 0")
        width, height = (side // DOWNSAMPLE for side in size_px)
        window = self.window
        # A region smaller than the window is stained as the corner of a window that is white elsewhere.
        shape = max(height, window), max(width, window)
        source = encode_region(self.he_vae, _padded(he, size_px), shape)
        noise = seeded_noise((self.stain_vae.latent_channels, *shape), seed, self.device)

        def velocity_of(corners: NDArray[np.int64]) -> Velocity:
            return self.velocity(torch.stack([source[:, y : y + window, x : x + window] for y, x in corners]))

        latents = denoise_region(velocity_of, noise, sampling, self.geometry)
        decode_region(self.stain_vae, latents[:, :height, :width], write, sampling.journal)

    @torch.no_grad()
    def stain_windows(
        self, he: NDArray[np.uint8], *, seed: int, steps: int, solver: Solver = "euler"
    ) -> NDArray[np.uint8]:
        """Stains (n, side, side, channels) of single pictures (n, side, side, 3), sides multiples of 16."""
        source = self.he_vae.encode(from_uint8(he).to(self.device))
        shape = len(he), self.stain_vae.latent_channels, *source.shape[2:]
        noise = seeded_noise(shape, seed, self.device)
        return to_uint8(self.stain_vae.decode(integrate(self.velocity(source), noise, steps, solver)))


def _padded(he: Reader, size_px: tuple[int, int]) -> Reader:
    """A reader that is white outside of the region, and checks what it gets."""

    def read(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        wide, high = min(width, size_px[0] - x), min(height, size_px[1] - y)
        pixels = np.full((height, width, 3), _WHITE, np.uint8)
        if wide > 0 and high > 0:
            tile = he(x, y, wide, high)
            if tile.shape != (high, wide, 3) or tile.dtype != np.uint8:
                raise ValueError(f"he: found {tile.dtype} of shape {tile.shape}; expected uint8 {(high, wide, 3)}")
            pixels[:high, :wide] = tile
        return pixels

    return read
