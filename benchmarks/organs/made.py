"""Windows generated from texts, and features of windows; each is made once and kept in a work folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.model.bench import cached_array, workflow_guidance
from benchmarks.model.distances import JudgeEncoder
from mupd.base.files import sha256_file
from mupd.base.progress import track
from mupd.model.conditions import CaseVectors
from mupd.model.pipeline import MuPDPipeline
from mupd.model.regions import RegionSampling, he_extra
from mupd.model.sampling import sample_he_windows
from mupd.model_folder.geometry import TRAINED
from mupd.training.tokens import padded

_BATCH = 16


@dataclass
class Maker:
    """A model, the judge's encoder, and the folder that keeps what they make.

    Attributes
    ----------
    steps
        Of the sampler.
    guidance
        Of the text; None = that of a run.
    """

    pipeline: MuPDPipeline
    work: Path
    steps: int
    guidance: float | None = None

    @property
    def scales(self) -> dict[str, float]:
        """Guidance of each stream."""
        return workflow_guidance() | ({} if self.guidance is None else {"text": self.guidance})

    @cached_property
    def folder(self) -> Path:
        """Folder for these weights; the record's temperatures, which do not change H&E, are not part of its name."""
        names = [f"{part}/diffusion_pytorch_model.safetensors" for part in ("vae", "transformer")]
        hashes = [sha256_file(self.pipeline.folder / name) for name in names]
        name = hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]
        return self.work / (name if self.guidance is None else f"{name}-guidance-{self.guidance:g}")

    @cached_property
    def encoder(self) -> JudgeEncoder:
        """Encoder of the features that windows are judged by; no training has used it."""
        return JudgeEncoder()

    @cached_property
    def _texts(self) -> dict[str, NDArray[np.float32]]:
        return {}

    def _encoded(self, text: str) -> NDArray[np.float32]:
        if text not in self._texts:
            self._texts[text] = self.pipeline.text_encoder(text)
        return self._texts[text]

    def windows(self, name: str, texts: Sequence[str], seed: int) -> NDArray[np.uint8]:
        """A window (n, 128, 128, 3) from each text, of unknown scale, with the guidance of a run."""
        texts = [str(text) for text in texts]
        key = hashlib.sha256("\0".join([str(seed), str(self.steps), *texts]).encode()).hexdigest()[:12]
        path = self.folder / f"{name}-{key}.npy"
        return cached_array(path, lambda: self._sample(name, texts, seed))

    def _sample(self, name: str, texts: Sequence[str], seed: int) -> NDArray[np.uint8]:
        model, windows = self.pipeline.transformer, []
        for start in track(range(0, len(texts), _BATCH), f"text to H&E, {name}"):
            rows = [self._encoded(text) for text in texts[start : start + _BATCH]]
            extra = he_extra(None).expand(len(rows), 2)
            conditions = {"text": padded(list(rows), rows[0].shape[1])}
            windows.append(
                sample_he_windows(
                    model,
                    self.pipeline.vae,
                    conditions,
                    extra,
                    seed=10_000 * seed + start,
                    steps=self.steps,
                    scales=self.scales,
                )
            )
        return np.concatenate(windows)

    def region(self, name: str, text: str, size_px: int, seed: int) -> NDArray[np.uint8]:
        """(size, size, 3): a slide region from a text, as a run makes it."""
        key = hashlib.sha256(f"{seed}\0{self.steps}\0{size_px}\0{text}".encode()).hexdigest()[:12]

        def make() -> NDArray[np.uint8]:
            pixels = np.zeros((size_px, size_px, 3), np.uint8)

            def write(y: int, x: int, tile: NDArray[np.uint8]) -> None:
                pixels[y : y + tile.shape[0], x : x + tile.shape[1]] = tile

            given = CaseVectors(text=self._encoded(text))
            size = (size_px, size_px)
            self.pipeline.generate_he(
                given, size, write, seed=seed, guidance=self.scales, sampling=RegionSampling(self.steps, _BATCH)
            )
            return pixels

        return cached_array(self.folder / f"{name}-{key}.npy", make)

    def features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, 1280) of windows."""
        key = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]
        with torch.inference_mode():
            return cached_array(self.work / "features" / f"{key}.npy", lambda: self.encoder(pixels, _BATCH))


def windows_of(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The windows (n, 128, 128, 3) that lie side by side in a region."""
    count = region.shape[0] // TRAINED.window_px, region.shape[1] // TRAINED.window_px
    cut = region[: count[0] * TRAINED.window_px, : count[1] * TRAINED.window_px]
    rows = cut.reshape(count[0], TRAINED.window_px, count[1], TRAINED.window_px, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(rows.reshape(-1, TRAINED.window_px, TRAINED.window_px, 3))
