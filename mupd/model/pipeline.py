"""MuPDPipeline: any non-empty subset of {H&E, RNA, text} in, any other modality out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from mupd.errors import ModelError
from mupd.files import sha256_file
from mupd.model.encoders import TextEncoder, TileEncoder
from mupd.model.facts import RECORD_FILE, read_json_file
from mupd.model.record_codec import Probabilities, RecordCodec
from mupd.model.rna_codec import Kind, RnaCodec
from mupd.model.sampling import (
    DOWNSAMPLE,
    NATIVE_MPP,
    WINDOW,
    Velocity,
    decode_region,
    denoise_region,
    euler,
    guided,
    he_extra,
    sampling_times,
)
from mupd.model.transformer import Conditions, MuPDTransformer
from mupd.model.vae import MuPDVAE

_PARTS = ("vae", "transformer_he", "transformer_rna", "transformer_text", "rna_codec", "tile_encoder")


@dataclass(frozen=True)
class Given:
    """Encoded conditions of one case; None = absent.

    Attributes
    ----------
    tiles
        (n, tile features) of a bag of H&E tiles.
    rna
        (n, components + 1), one row for bulk or one a spot, as :meth:`RnaCodec.condition` gives.
    rna_xy_px
        (n, 2) x and y of each spot in pixels of the slide to be made; None = one profile for all.
    text
        (chunks, 384) sentence embeddings.
    """

    tiles: NDArray[np.float32] | None = None
    rna: NDArray[np.float32] | None = None
    rna_xy_px: NDArray[np.float64] | None = None
    text: NDArray[np.float32] | None = None


Network = TypeVar("Network", MuPDVAE, MuPDTransformer)


def _load(kind: type[Network], folder: Path, device: str) -> Network:
    """Load one network; safetensors only, and every tensor has to be there."""
    weights = folder / "diffusion_pytorch_model.safetensors"
    if not weights.exists():
        raise ModelError(f"{folder}: found no {weights.name}; expected weights as safetensors (pickles are refused)")
    try:
        # With output_loading_info diffusers returns a pair, which its annotation does not say.
        loaded: Any = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
        model, info = loaded
    except (OSError, ValueError, RuntimeError, SafetensorError, TypeError) as error:
        raise ModelError(f"{folder}: cannot be loaded: {str(error).splitlines()[0]}") from error
    if info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"]:
        raise ModelError(
            f"{folder}: config and tensors disagree: missing {info['missing_keys'][:3]}, "
            f"unexpected {info['unexpected_keys'][:3]}, of another shape {info['mismatched_keys'][:3]}"
        )
    return model.eval().to(device)


def model_sha256(folder: Path) -> str:
    """SHA-256 over the names and contents of a model's weights and configurations."""
    digest = hashlib.sha256()
    for part in _PARTS:
        for file in sorted(path for path in (folder / part).rglob("*") if path.suffix in {".json", ".safetensors"}):
            digest.update(f"{file.relative_to(folder).as_posix()}\0{sha256_file(file)}\n".encode())
    if (folder / RECORD_FILE).exists():  # what the places of a record's vector stand for
        digest.update(f"{RECORD_FILE}\0{sha256_file(folder / RECORD_FILE)}\n".encode())
    return digest.hexdigest()


class MuPDPipeline:
    """The parts of a model folder and the three directions of generation.

    Use :meth:`from_pretrained`; parts are loaded when first used.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.folder, self.device = folder, device

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu") -> MuPDPipeline:
        """Open a model folder.

        Raises
        ------
        ModelError
            If a part is not there or cannot be loaded (loading happens at first use).
        """
        folder = Path(folder)
        absent = [part for part in _PARTS if not (folder / part / "config.json").exists()]
        if absent:
            listed = ", ".join(absent)
            raise ModelError(f"model {folder}: found no config.json in {listed}; expected a MuPD model folder")
        if not (folder / "model_index.json").exists():
            raise ModelError(f"model {folder}: found no model_index.json; expected one with the model's name")
        return cls(folder, device)

    @cached_property
    def model_id(self) -> str:
        """Name of the model, from model_index.json."""
        index = read_json_file(self.folder / "model_index.json")
        if not isinstance(index, dict) or not isinstance(index.get("name"), str):
            raise ModelError(f'{self.folder / "model_index.json"}: found no name; expected {{"name": text, ...}}')
        return str(index["name"])

    @cached_property
    def sha256(self) -> str:
        """Hash of all weights and configurations."""
        return model_sha256(self.folder)

    @cached_property
    def vae(self) -> MuPDVAE:
        """The H&E autoencoder."""
        return _load(MuPDVAE, self.folder / "vae", self.device)

    def transformer(self, target: str) -> MuPDTransformer:
        """The transformer of a target, loaded once."""
        if target not in self._transformers:
            self._transformers[target] = _load(MuPDTransformer, self.folder / f"transformer_{target}", self.device)
        return self._transformers[target]

    @cached_property
    def _transformers(self) -> dict[str, MuPDTransformer]:
        return {}

    @cached_property
    def record_codec(self) -> RecordCodec:
        """Fields and values of the model's records."""
        return RecordCodec.from_pretrained(self.folder)

    @cached_property
    def rna_codec(self) -> RnaCodec:
        """RNA panels and components."""
        return RnaCodec.from_pretrained(self.folder / "rna_codec")

    @cached_property
    def tile_encoder(self) -> TileEncoder:
        """Encoder of H&E tiles."""
        return TileEncoder.from_pretrained(self.folder / "tile_encoder")

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """Encoder of texts."""
        return TextEncoder()

    def _stream(self, rows: NDArray[np.float32], batch: int) -> tuple[Tensor, Tensor]:
        tokens = torch.from_numpy(np.ascontiguousarray(rows, np.float32)).to(self.device)
        return tokens.expand(batch, *tokens.shape), torch.ones(batch, len(rows), dtype=torch.bool, device=self.device)

    def generate_he(
        self,
        given: Given,
        size_px: tuple[int, int],
        write: Callable[[int, int, NDArray[np.uint8]], None],
        *,
        seed: int,
        steps: int,
        guidance: float,
        batch_size: int,
        on_step: Callable[[], object] | None = None,
    ) -> None:
        """Generate a slide region at 0.78 um/px and hand it over tile by tile.

        Parameters
        ----------
        size_px
            Width and height; multiples of 8.
        write
            Called with y, x and uint8 pixels (h, w, 3) of each decoded tile.

        Raises
        ------
        ValueError
            If nothing is given or the size is not a multiple of 8.
        """
        if given.rna is None and given.text is None:
            raise ValueError("given: found neither rna nor text; expected at least one")
        if size_px[0] % DOWNSAMPLE or size_px[1] % DOWNSAMPLE:
            raise ValueError(f"size_px: found {size_px}; expected multiples of {DOWNSAMPLE}")
        model = self.transformer("he")
        width, height = (side // DOWNSAMPLE for side in size_px)
        generator = torch.Generator().manual_seed(seed)
        # A region smaller than the window is cut from a whole window.
        shape = (self.vae.config["latent_channels"], max(height, WINDOW), max(width, WINDOW))
        noise = torch.randn(shape, generator=generator).to(self.device)
        # The scale is known where the RNA comes from the trained platform; text alone was trained
        # on tiles whose scale is not stated.
        extra = he_extra(NATIVE_MPP if given.rna is not None else None).to(self.device)

        def velocity_of(corners: NDArray[np.int64]) -> Velocity:
            conditions: Conditions = {}
            if given.rna is not None:
                rows = self._rna_of_windows(given, corners)
                tokens = torch.from_numpy(rows)[:, None].to(self.device)
                conditions["rna"] = (tokens, torch.ones(len(rows), 1, dtype=torch.bool, device=self.device))
            if given.text is not None:
                conditions["text"] = self._stream(given.text, len(corners))
            return guided(model, conditions, extra.expand(len(corners), 2), guidance)

        with torch.no_grad():
            latents = denoise_region(velocity_of, noise, steps, batch_size, on_step)
        decode_region(self.vae, latents[:, :height, :width], write)

    @staticmethod
    def _rna_of_windows(given: Given, corners: NDArray[np.int64]) -> NDArray[np.float32]:
        """For each window (corner y, x in latents) the profile of the nearest spot, or the one profile."""
        assert given.rna is not None
        if given.rna_xy_px is None:
            return np.repeat(given.rna.mean(0, keepdims=True), len(corners), axis=0)
        centres = (corners[:, ::-1] + WINDOW / 2) * DOWNSAMPLE
        distance = ((centres[:, None] - given.rna_xy_px[None]) ** 2).sum(-1)
        return given.rna[distance.argmin(1)]

    def rna_kind(self, given: Given) -> Kind:
        """Kind of profile that is generated: spots where there is H&E to place them on, else bulk."""
        return "bulk" if given.tiles is None else "spot"

    @torch.no_grad()
    def generate_rna(self, given: Given, *, seed: int, steps: int, guidance: float) -> NDArray[np.float32]:
        """One draw of RNA: a profile for each tile, or a single bulk profile from text alone.

        Returns
        -------
        (n, genes of the kind's panel) float32, log1p counts per 10,000 over the panel.
        """
        if given.tiles is None and given.text is None:
            raise ValueError("given: found neither H&E tiles nor text; expected at least one")
        kind = self.rna_kind(given)
        n = 1 if given.tiles is None else len(given.tiles)
        conditions: Conditions = {}
        if given.tiles is not None:
            tiles = torch.from_numpy(given.tiles)[:, None].to(self.device)
            conditions["he"] = (tiles, torch.ones(n, 1, dtype=torch.bool, device=self.device))
        if given.text is not None:
            conditions["text"] = self._stream(given.text, n)
        extra = torch.tensor([float(kind == "bulk"), 0.0], device=self.device).expand(n, 2)
        noise = torch.randn((n, self.rna_codec.dim), generator=torch.Generator().manual_seed(seed)).to(self.device)
        found = euler(guided(self.transformer("rna"), conditions, extra, guidance), noise, steps)
        return self.rna_codec.decode(found.cpu().numpy(), kind)

    @torch.no_grad()
    def generate_record(self, given: Given, *, seed: int, steps: int) -> tuple[dict[str, str], Probabilities]:
        """One draw of the synoptic record: a value for each field, and each field's probabilities.

        The network predicts the clean record; its prediction at t = 0 is the distribution of each
        field given the conditions, and integrating to t = 1 draws all fields jointly.
        """
        conditions: Conditions = {}
        if given.tiles is not None:
            conditions["he"] = self._stream(given.tiles, 1)
        if given.rna is not None:
            conditions["rna"] = self._stream(given.rna.mean(0, keepdims=True), 1)
        if not conditions:
            raise ValueError("given: found neither H&E tiles nor rna; expected at least one")
        model = self.transformer("text")
        extra = torch.zeros(1, 2, device=self.device)
        x = torch.randn((1, self.record_codec.dim), generator=torch.Generator().manual_seed(seed)).to(self.device)
        marginal: Tensor | None = None
        times = sampling_times(steps)
        for now, after in pairwise(times):
            logits = model(x, torch.full((1,), now, device=self.device), conditions, extra)
            clean = self.record_codec.log_probabilities(logits).exp()
            marginal = clean[0] if marginal is None else marginal
            x = x + (after - now) / (1 - now) * (clean.flatten(1) - x)
        assert marginal is not None
        final = self.record_codec.named_probabilities(x.unflatten(1, marginal.shape)[0])
        values = {field: max(row, key=lambda value: row[value]) for field, row in final.items()}
        return values, self.record_codec.named_probabilities(marginal)
