"""MuPDPipeline: any non-empty subset of {H&E, RNA, text} in, any other modality out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mupd.errors import ModelError
from mupd.model import loading
from mupd.model.attention import Conditions
from mupd.model.conditions import CaseVectors
from mupd.model.cpu.prepared import prepare
from mupd.model.encoders import TextEncoder, TileEncoder
from mupd.model.guidance import guided
from mupd.model.loading import load_autoencoder, load_network
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.record_codec import Probabilities, RecordCodec, direction_of
from mupd.model.regions import RegionSampling, decode_region, denoise_region, he_extra
from mupd.model.rna_codec import Kind, RnaCodec
from mupd.model.sampling import sample_record, sample_vectors, seeded_noise
from mupd.model.solvers import Solver, Velocity
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import Autoencoder
from mupd.model.window_contexts import WindowContexts, bag_tokens, row_tokens
from mupd.model_folder.contents import RECORD_FILE, read_json_file
from mupd.model_folder.geometry import DOWNSAMPLE, Geometry, read_geometry

_PARTS = ("vae", "transformer", "rna_codec", "pathways", "tile_encoder")
MICRO_BATCH = 32
"""Profiles denoised together; the last batch is filled up, so that a profile does not depend on how many there are."""


@dataclass(frozen=True)
class RnaDraw:
    """One draw of RNA, each (n, genes of the panel) float32, log1p counts per 10,000 over the panel.

    Attributes
    ----------
    expected
        What the model draws, without the noise of a measurement.
    values
        The same with that noise.
    """

    expected: NDArray[np.float32]
    values: NDArray[np.float32]


def hashed_files(folder: Path) -> list[Path]:
    """Weights and configurations of a model folder, and what the places of a record's vector stand for."""
    return loading.hashed_files(folder, _PARTS, (RECORD_FILE,))


def model_sha256(folder: Path) -> str:
    """SHA-256 over the names and contents of a model's weights and configurations."""
    return loading.files_sha256(folder, hashed_files(folder))


class MuPDPipeline:
    """The parts of a model folder and the three directions of generation.

    Use :meth:`from_pretrained`; parts are loaded when first used.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda``; on CUDA the trunk works in bfloat16.
    compile_trunk
        Compile the trunk with ``torch.compile``: pays for long runs, and needs a C++ compiler on the CPU.
    """

    def __init__(self, folder: Path, device: str = "cpu", *, compile_trunk: bool = False) -> None:
        self.folder, self.device, self.compile_trunk = folder, device, compile_trunk
        self.largest_batch: int | None = None
        """Windows that fit into the device's memory together, once that is known."""

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu", *, compile_trunk: bool = False) -> MuPDPipeline:
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
        return cls(folder, device, compile_trunk=compile_trunk)

    @cached_property
    def model_id(self) -> str:
        """Name of the model, from model_index.json."""
        index = read_json_file(self.folder / "model_index.json")
        if not isinstance(index, dict) or not isinstance(index.get("name"), str):
            raise ModelError(f'{self.folder / "model_index.json"}: found no name; expected {{"name": text, ...}}')
        return str(index["name"])

    @property
    def geometry(self) -> Geometry:
        """Windows and scale in which the model generates H&E."""
        return read_geometry(self.folder)

    @cached_property
    def sha256(self) -> str:
        """Hash of all weights and configurations."""
        return model_sha256(self.folder)

    @cached_property
    def vae(self) -> Autoencoder:
        """The H&E autoencoder: MuPDVAE, or a diffusers AutoencoderKL."""
        return load_autoencoder(self.folder / "vae", self.device)

    @cached_property
    def transformer(self) -> MuPDTransformer:
        """The trunk."""
        dtype = torch.bfloat16 if self.device.startswith("cuda") else torch.float32
        model = load_network(MuPDTransformer, self.folder / "transformer", dtype).to(self.device)
        if self.compile_trunk:
            model.compile()
            return model
        return prepare(model)

    @cached_property
    def record_codec(self) -> RecordCodec:
        """Fields and values of the model's records."""
        return RecordCodec.from_pretrained(self.folder)

    @cached_property
    def pathway_scorer(self) -> PathwayScorer:
        """Scores of the model's gene sets."""
        return PathwayScorer.from_pretrained(self.folder / "pathways")

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

    @torch.no_grad()
    def generate_he(
        self,
        given: CaseVectors,
        size_px: tuple[int, int],
        write: Callable[[int, int, NDArray[np.uint8]], None],
        *,
        seed: int,
        guidance: Mapping[str, float],
        sampling: RegionSampling,
    ) -> None:
        """Generate a slide region at the model's own scale and hand it over tile by tile.

        Parameters
        ----------
        size_px
            Width and height; multiples of 8.
        write
            Called with y, x and uint8 pixels (h, w, 3) of each decoded tile.
        guidance
            Scale of each of ``rna`` (pathways with it) and ``text``; 1 where not named.

        Raises
        ------
        ValueError
            If nothing is given or the size is not a multiple of 8.
        """
        if given.rna is None and given.text is None:
            raise ValueError("given: found neither rna nor text; expected at least one")
        if size_px[0] % DOWNSAMPLE or size_px[1] % DOWNSAMPLE:
            raise ValueError(f"size_px: found {size_px}; expected multiples of {DOWNSAMPLE}")
        model, geometry = self.transformer, self.geometry
        width, height = (side // DOWNSAMPLE for side in size_px)
        # A region smaller than the window is cut from a whole window.
        shape = (self.vae.latent_channels, max(height, geometry.window), max(width, geometry.window))
        noise = seeded_noise(shape, seed, self.device)
        # The scale is known where the RNA comes from the trained platform; text alone was trained
        # on tiles whose scale is not stated.
        extra = he_extra(geometry.mpp if given.rna is not None else None).to(self.device).expand(sampling.batch_size, 2)
        scales = _with_pathways(guidance)
        context_of = WindowContexts(model, given, (shape[2], shape[1]), geometry.window)

        def velocity_of(corners: NDArray[np.int64]) -> Velocity:
            return guided(model, "he", context_of(corners), extra, scales)

        latents = denoise_region(velocity_of, noise, sampling, geometry)
        decode_region(self.vae, latents[:, :height, :width], write, sampling.journal)

    def rna_kind(self, given: CaseVectors) -> Kind:
        """Kind of profile that is generated: spots where there is H&E to place them on, else bulk."""
        return "bulk" if given.tiles is None else "spot"

    @torch.no_grad()
    def generate_rna(
        self,
        given: CaseVectors,
        *,
        seed: int,
        steps: int,
        guidance: Mapping[str, float] | None = None,
        solver: Solver = "euler",
    ) -> RnaDraw:
        """One draw of RNA: a profile for each tile, or a single bulk profile from text alone.

        Without guidance unless asked for: it would narrow the draws, whose spread is to show how
        unsure the model is.

        Raises
        ------
        ValueError
            If neither tiles nor text are given.
        """
        if given.tiles is None and given.text is None:
            raise ValueError("given: found neither H&E tiles nor text; expected at least one")
        kind = self.rna_kind(given)
        n = 1 if given.tiles is None else len(given.tiles)
        model, dim = self.transformer, self.rna_codec.dim
        # From text alone there is one profile, always by itself.
        batch = MICRO_BATCH if given.tiles is not None else 1
        noise = np.stack([_row_noise(seed, row, dim) for row in range(n)])
        extra = torch.tensor([float(kind == "bulk"), 0.0], device=self.device).expand(batch, 2)
        parts = []
        for start in range(0, n, batch):
            rows = np.minimum(np.arange(start, start + batch), n - 1)
            conditions: Conditions = {}
            if given.tiles is not None:
                conditions["he"] = row_tokens(model, given.tiles[rows])
            if given.text is not None:
                conditions["text"] = bag_tokens(model, given.text, batch)
            context = model.context(conditions, batch)
            x = torch.from_numpy(noise[rows]).to(self.device)
            part = sample_vectors(model, context, extra, x, steps=steps, scales=guidance or {}, solver=solver)
            parts.append(part[: n - start].cpu().numpy())
        components = np.concatenate(parts)
        # Row by row: a matrix product's last bits depend on how many rows it has.
        single = [components[row : row + 1] for row in range(n)]
        expected = [self.rna_codec.decode(row, kind) for row in single]
        named = "+".join(name for name, rows in (("he", given.tiles), ("text", given.text)) if rows is not None)
        values = [self.rna_codec.measure(row, kind, _row_rng(seed, n), named) for n, row in enumerate(single)]
        return RnaDraw(np.concatenate(expected), np.concatenate(values))

    @torch.no_grad()
    def generate_record(self, given: CaseVectors, *, seed: int, steps: int) -> tuple[dict[str, str], Probabilities]:
        """One draw of the synoptic record: a value for each field, and each field's probabilities.

        Raises
        ------
        ValueError
            If neither tiles nor RNA are given.
        """
        model = self.transformer
        conditions: Conditions = {}
        if given.tiles is not None:
            conditions["he"] = bag_tokens(model, given.tiles)
        if given.rna is not None:
            conditions["rna"] = bag_tokens(model, given.rna.mean(0, keepdims=True))
        if given.pathways is not None:
            conditions["pathways"] = bag_tokens(model, given.pathways.mean(0, keepdims=True))
        if not conditions:
            raise ValueError("given: found neither H&E tiles nor rna; expected at least one")
        codec, direction = self.record_codec, direction_of(conditions)
        drawn, marginal = sample_record(
            model,
            codec,
            model.context(conditions, 1),
            seeded_noise((1, codec.dim), seed, self.device),
            steps=steps,
            direction=direction,
        )
        final = codec.named_probabilities(drawn[0])
        values = {field: max(row, key=lambda value: row[value]) for field, row in final.items()}
        values = codec.redrawn(values, direction, np.random.default_rng((seed, 0, 2)))
        return values, codec.named_probabilities(codec.blended(marginal, direction)[0])


def _with_pathways(guidance: Mapping[str, float]) -> dict[str, float]:
    """Scales of the streams: pathway scores are guided as the profile they were taken from."""
    return {"pathways": guidance.get("rna", 1.0)} | dict(guidance)


def _row_rng(seed: int, row: int) -> np.random.Generator:
    """Of the measurement noise of one profile, whatever others there are."""
    return np.random.default_rng((seed, row, 1))


def _row_noise(seed: int, row: int, dim: int) -> NDArray[np.float32]:
    """Noise of one profile, whatever others there are."""
    return np.random.default_rng((seed, row)).standard_normal(dim, np.float32)
