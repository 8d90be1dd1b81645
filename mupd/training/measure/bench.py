"""What the figures of a model share: its plan, the held-out section, what was generated for it, and fixed features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mupd.base.files import atomic_path
from mupd.base.progress import track
from mupd.config import load_schema, with_defaults
from mupd.model.attention import Conditions
from mupd.model.pipeline import MuPDPipeline
from mupd.model.regions import HE_WINDOW_PX, he_extra
from mupd.model.sampling import sample_he_windows
from mupd.training.plan import Plan
from mupd.training.prepare import Spots
from mupd.training.sources import HELD_OUT_SECTION, HER2ST_MPP

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
    scales = with_defaults({}, load_schema("config"))["sampler"]["guidance"]
    return scales | {"pathways": scales["rna"]}


def windows_at(image: NDArray[np.uint8], xy_px: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Windows (n, 128, 128, 3) around places (n, 2) given as x, y."""
    half = HE_WINDOW_PX // 2
    return np.stack([image[y - half : y + half, x - half : x + half] for x, y in np.rint(xy_px).astype(int)])


def reconstructed(pipeline: MuPDPipeline, windows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Windows (n, h, w, 3) through the autoencoder and back, rounded to 8 bits."""
    from mupd.model.regions import to_uint8

    rows = []
    with torch.inference_mode():
        for start in range(0, len(windows), 8):
            pixels = torch.from_numpy(np.ascontiguousarray(windows[start : start + 8])).permute(0, 3, 1, 2)
            images = (pixels.float() / 127.5 - 1).to(pipeline.device)
            rows.append(to_uint8(pipeline.vae.decode(pipeline.vae.encode(images))))
    return np.concatenate(rows)


class Bench:
    """The model under measurement, with what several figures are made from.

    What was generated is kept in the work folder under the model's hash, so that measuring some of
    the figures again, or going on after an interruption, does not generate again.
    """

    def __init__(self, plan: Plan, pipeline: MuPDPipeline, effort: Effort | None = None) -> None:
        self.plan, self.pipeline, self.effort = plan, pipeline, effort or Effort()

    @cached_property
    def section(self) -> Spots:
        """The held-out section."""
        found = self.plan.spots((HELD_OUT_SECTION,))[0]
        rows = slice(self.effort.most_spots)
        return replace(
            found,
            xy_px=found.xy_px[rows],
            components=found.components[rows],
            conditions=found.conditions[rows],
            pathways=found.pathways[rows],
        )

    @cached_property
    def training(self) -> list[Spots]:
        """The sections that were trained on, without their pictures (they are large)."""
        return [
            replace(self.plan.spots((name,))[0], image=np.zeros((0, 0, 3), np.uint8)) for name in self.plan.sections
        ]

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
        return self.kept(f"he-{name}", lambda: self._sample_windows(name, order, draw))

    def _sample_windows(self, name: str, order: NDArray[np.int64], draw: int) -> NDArray[np.uint8]:
        found = []
        for start in track(range(0, len(order), _BATCH), f"RNA to H&E, {name}"):
            rows = order[start : start + _BATCH]
            conditions = {
                "rna": one_token(self.section.conditions[rows]),
                "pathways": one_token(self.section.pathways[rows]),
            }
            found.append(
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
        return np.concatenate(found)

    def kept(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """An array that depends on the model, made once and kept under the model's hash."""
        e = self.effort
        folder = self.plan.work / "measured" / f"{self.pipeline.sha256[:12]}-{e.steps}-{e.most_spots or 'all'}"
        return kept_array(folder / f"{name}.npy", make)

    def kept_real(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """An array that depends on the data alone, made once."""
        return kept_array(self.plan.work / "features" / f"{name}.npy", make)


def kept_array(path: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """The array of a .npy file, which is written if it is not there."""
    if path.exists():
        return np.load(path, allow_pickle=False)
    found = make()
    with atomic_path(path) as temporary:
        np.save(temporary, found, allow_pickle=False)
    return found


def one_token(rows: NDArray[np.floating]) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row as the one token of a sample, and its mask."""
    tokens = torch.from_numpy(np.ascontiguousarray(rows, np.float32))[:, None]
    return tokens, torch.ones(len(rows), 1, dtype=torch.bool)


def on_device(conditions: Conditions, device: str) -> Conditions:
    """Conditions moved to a device."""
    return {name: (tokens.to(device), mask.to(device)) for name, (tokens, mask) in conditions.items()}


def top_columns(level: NDArray[np.floating], count: int, usable: Any) -> NDArray[np.int64]:
    """Columns of the `count` highest levels among those where `usable` (columns,) bool."""
    return np.argsort(-np.where(usable, level, -np.inf))[: min(count, int(np.sum(usable)))]
