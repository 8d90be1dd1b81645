"""What the figures of a model share: plan, held-out section, generated data, and patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mupd.base.progress import track
from mupd.config.sections import Guidance
from mupd.model.pipeline import MuPDPipeline
from mupd.model.regions import from_uint8, he_extra, to_uint8
from mupd.model.sampling import sample_he_windows
from mupd.training.cache import TextCache, cached_array
from mupd.training.plan import Plan
from mupd.training.public.pairs import Patient, read_patients
from mupd.training.public.read import HELD_OUT_SECTION, HER2ST_MPP
from mupd.training.public.splits import Split
from mupd.training.public.spots import Spots, windows_at
from mupd.training.tokens import one_token

_BATCH = 32


@dataclass(frozen=True)
class Effort:
    """How much is generated for the figures.

    Attributes
    ----------
    he_draws
        Windows for each spot; figures of one draw use the first.
    rna_draws, text_draws
        Draws of RNA for each spot, and for each patient from text.
    steps
        Of the sampler.
    bootstraps
        Resamplings of an interval.
    region_px, memory_px
        Sides of the regions whose seams and whose memory are measured.
    most_spots
        Only the first so many spots of the held-out section; None = all.
    """

    he_draws: int = 4
    rna_draws: int = 50
    text_draws: int = 50
    steps: int = 20
    bootstraps: int = 1000
    region_px: int = 1024
    memory_px: tuple[int, int] = (512, 2048)
    most_spots: int | None = None


def workflow_guidance() -> dict[str, float]:
    """Guidance that a run has by default; pathway scores are guided as the profile they were taken from."""
    scales = Guidance()
    return {"text": scales.text, "rna": scales.rna, "pathways": scales.rna}


def reconstructed(pipeline: MuPDPipeline, windows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Windows (n, h, w, 3) through the autoencoder and back, rounded to 8 bits."""
    rows = []
    with torch.inference_mode():
        for start in range(0, len(windows), 8):
            images = from_uint8(windows[start : start + 8]).to(pipeline.device)
            rows.append(to_uint8(pipeline.vae.decode(pipeline.vae.encode(images))))
    return np.concatenate(rows)


class Bench:
    """The model under measurement, with the data that several figures need.

    Generated arrays are stored in the work folder under the model's hash, so that a second measurement, or one that
    goes on after an interruption, does not generate them again.
    """

    def __init__(self, plan: Plan, pipeline: MuPDPipeline, effort: Effort | None = None) -> None:
        self.plan, self.pipeline, self.effort = plan, pipeline, effort or Effort()
        self._patients: dict[Split, list[Patient]] = {}

    @cached_property
    def section(self) -> Spots:
        """The held-out section."""
        whole = self.plan.spots(HELD_OUT_SECTION)
        rows = slice(self.effort.most_spots)
        return replace(
            whole,
            xy_px=whole.xy_px[rows],
            components=whole.components[rows],
            conditions=whole.conditions[rows],
            pathways=whole.pathways[rows],
        )

    def patients(self, split: Split) -> list[Patient]:
        """TCGA patients of one split with RNA and a record."""
        if split not in self._patients:
            codec, scorer = self.pipeline.rna_codec, self.pipeline.pathway_scorer
            self._patients[split] = read_patients(self.plan.tcga, codec, scorer, split)
        return self._patients[split]

    @cached_property
    def texts(self) -> TextCache:
        """The pipeline's text encoder; embeddings are kept in the work folder."""
        return TextCache(self.pipeline.text_encoder, self.plan.work)

    @cached_property
    def training(self) -> list[Spots]:
        """The sections that were trained on, without their pictures (they are large)."""
        return [replace(self.plan.spots(name), image=np.zeros((0, 0, 3), np.uint8)) for name in self.plan.sections]

    @cached_property
    def real(self) -> NDArray[np.uint8]:
        """Windows (n, 128, 128, 3) around the held-out section's spots."""
        return windows_at(self.section.image, self.section.xy_px)

    @cached_property
    def shuffled_order(self) -> NDArray[np.int64]:
        """Another spot for each spot."""
        order = np.random.default_rng(0).permutation(len(self.section.xy_px))
        other = np.empty_like(order)
        other[order] = np.roll(order, 1)  # one cycle: no spot keeps its own
        return other

    def generated(self, draw: int = 0) -> NDArray[np.uint8]:
        """Windows (n, 128, 128, 3) from the RNA of each spot."""
        return self._windows(f"own-{draw}", np.arange(len(self.section.xy_px)), draw)

    def shuffled(self) -> NDArray[np.uint8]:
        """Windows (n, 128, 128, 3) from the RNA of another spot of the section; same noise as draw 0."""
        return self._windows("shuffled", self.shuffled_order, 0)

    def _windows(self, name: str, order: NDArray[np.int64], draw: int) -> NDArray[np.uint8]:
        return self.cached(f"he-{name}", lambda: self._sample_windows(name, order, draw))

    def _sample_windows(self, name: str, order: NDArray[np.int64], draw: int) -> NDArray[np.uint8]:
        windows = []
        for start in track(range(0, len(order), _BATCH), f"RNA to H&E, {name}"):
            rows = order[start : start + _BATCH]
            conditions = {
                "rna": one_token(self.section.conditions[rows]),
                "pathways": one_token(self.section.pathways[rows]),
            }
            windows.append(
                sample_he_windows(
                    self.pipeline.transformer,
                    self.pipeline.vae,
                    conditions,
                    he_extra(HER2ST_MPP).expand(len(rows), 2),
                    seed=10_000 * draw + start,
                    steps=self.effort.steps,
                    scales=workflow_guidance(),
                )
            )
        return np.concatenate(windows)

    def cached(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """An array that depends on the model, made once and stored under the model's hash."""
        e = self.effort
        folder = self.plan.work / "measured" / f"{self.pipeline.sha256[:12]}-{e.steps}-{e.most_spots or 'all'}"
        return cached_array(folder / f"{name}.npy", make)

    def cached_real(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """An array that depends on the data alone, made once."""
        return cached_array(self.plan.work / "features" / f"{name}.npy", make)
