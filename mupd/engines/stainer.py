"""The virtual stainer as an engine: stains of measured slides (``stain:NAME``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.base.ids import Target, stain_name
from mupd.base.progress import track
from mupd.config import Config
from mupd.config.stains import StainSettings
from mupd.contracts.inventory import CaseInventory, Task
from mupd.engines.disk_space import refuse_full_disk, stain_bytes
from mupd.engines.engine import Written
from mupd.engines.picture_files import begun_pixels
from mupd.errors import ModelError, UnusableError
from mupd.model.devices import batch_for, halves
from mupd.model.journal import RegionJournal
from mupd.model.regions import RegionSampling
from mupd.model.stainer import MuPDStainer
from mupd.model_folder.geometry import evaluations
from mupd.slides.reader import open_slide
from mupd.slides.region import Region, RegionReader, choose_region

STAIN_VERSION = 4
"""Raised when the same slide and settings would give other values: older draws are then not reused."""

BACKGROUND = {"mif": 0, "ihc": 255}
"""What glass far from any tissue is set to: no light in fluorescence, white in bright field."""

_COARSER = 1.1

MOST_ENLARGED = 4.0
"""How many times as coarse as the stainer's scale a slide may be; pairs it is trained on may be as much
(docs/staining.md: little is lost at 4 times, near half of CD3 at 8)."""


class StainEngine:
    """Opens tasks of the configured stains; each stainer is loaded when first asked for and then kept."""

    def __init__(self, config: Config, device: str) -> None:
        self.config, self.device = config, device
        self._stainers: dict[str, MuPDStainer] = {}
        self.largest_batch: dict[str, int] = {}
        """Windows that fit into the device's memory together, by stain."""

    def makes(self, target: Target) -> bool:
        """Whether the target is a configured stain."""
        return stain_name(target) in {stain.name for stain in self.config.stains}

    def open(self, task: Task, case: CaseInventory) -> StainTask:
        """Open a task of a case.

        Raises
        ------
        ModelError
            If the stainer cannot be loaded, or is not any more what the configuration was held against.
        """
        name = stain_name(task.target)
        stain = next(stain for stain in self.config.stains if stain.name == name)
        return StainTask(task, case, self, stain, self._stainer(stain))

    def _stainer(self, stain: StainSettings) -> MuPDStainer:
        if stain.name not in self._stainers:
            stainer = MuPDStainer.from_pretrained(stain.model, self.device, compile_trunk=self.config.sampler.compile)
            if stainer.stain != stain.kind or not set(stain.channels) <= set(stainer.channels):
                made = f"{stainer.stain} of {', '.join(stainer.channels)}"
                raise ModelError(
                    f"stainer {stain.model}: found {made}; expected {stain.kind} of {', '.join(stain.channels)}"
                )
            self._stainers[stain.name] = stainer
        return self._stainers[stain.name]


class StainTask:
    """One stain of a case's slide, opened (:class:`mupd.engines.engine.OpenTask`)."""

    def __init__(
        self, task: Task, case: CaseInventory, engine: StainEngine, stain: StainSettings, stainer: MuPDStainer
    ) -> None:
        self.task, self.case, self.engine, self.stain, self.stainer = task, case, engine, stain, stainer
        self.config = engine.config

    @property
    def model_id(self) -> str:
        """Name of the stainer."""
        return self.stainer.model_id

    @property
    def model_sha256(self) -> str:
        """Hash of the stainer's weights and configurations."""
        return self.stainer.sha256

    @property
    def given_sha256(self) -> dict[str, str]:
        """Hash of the slide."""
        return {"he": self.case.entries["he"].source_sha256}

    @property
    def batch_sizes(self) -> Sequence[int]:
        """Windows that may be computed together, largest first."""
        return list(halves(self.config.sampler.batch_size))

    def largest_batch(self) -> int:
        """Windows that fit into the device's memory together; measured once a stainer."""
        limits, name = self.engine.largest_batch, self.stain.name
        if name not in limits:
            limits[name] = batch_for(self.stainer, self.config.sampler.batch_size, self.stainer.window**2)
        return limits[name]

    def limit_batch(self, size: int) -> None:
        """Remember that no more than `size` windows fit."""
        self.engine.largest_batch[self.stain.name] = size

    def settings(self, batch_size: int) -> dict[str, Any]:
        """The settings that a draw depends on."""
        return {
            "steps": self.stain.steps or self.config.sampler.steps,
            "solver": self.config.sampler.solver,
            "batch_size": batch_size,
            "stain": self.stain.kind,
            "channels": list(self.stain.channels),
            "max_side_px": self.stain.max_side_px,
        }

    def identity(self, draw: int, batch_size: int) -> dict[str, Any]:
        """Everything that the values of a draw depend on."""
        return {
            "stain_version": STAIN_VERSION,
            "model": self.stainer.sha256,
            "device": self.stainer.device,
            "compiled": self.stainer.compile_trunk,
            "case_id": self.task.case_id,
            "target": self.task.target,
            "given": self.given_sha256,
            "slide_mpp": self.case.entries["he"].facts["mpp"],
            "seed": self.task.seeds[draw],
            "settings": self.settings(batch_size),
        }

    def write(self, folder: Path, draw: int, batch_size: int, partial: Path) -> Written:
        """Write the stain of a region into `folder`; see :meth:`mupd.engines.engine.OpenTask.write`.

        Raises
        ------
        UnusableError
            If the slide cannot be read at the stainer's scale, or is over :data:`MOST_ENLARGED` times as coarse.
        """
        begun = partial / "stain.npy"
        with _region_of(self.case, self.stainer, self.stain) as part:
            region = part.region
            needed = stain_bytes(region.width_px, region.height_px, len(self.stain.channels))
            refuse_full_disk(self.config, needed, begun)
            self._stain(draw, part, batch_size, begun)
            begun.rename(folder / "pixels.npy")
        slide_mpp = float(self.case.entries["he"].facts["mpp"])
        return Written(notes_of(region, slide_mpp), self.stainer.mpp, {"region": region.to_dict()})

    def _stain(self, draw: int, part: RegionReader, batch_size: int, begun: Path) -> None:
        region, stain, settings = part.region, self.stain, self.settings(batch_size)
        journal = RegionJournal(begun.parent)
        pixels = begun_pixels(begun, (region.height_px, region.width_px, len(stain.channels)), journal)
        chosen = [self.stainer.channels.index(name) for name in stain.channels]

        def write(y: int, x: int, tile: NDArray[np.uint8]) -> None:
            tall, wide = tile.shape[:2]
            tissue = part.tissue(x, y, wide, tall)
            pixels[y : y + tall, x : x + wide] = np.where(tissue[..., None], tile[..., chosen], BACKGROUND[stain.kind])

        total = evaluations(settings["solver"], settings["steps"])
        bar = iter(track(range(total), f"{self.task.case_id} {self.task.name} draw {draw}"))
        self.stainer.stain_region(
            part.read,
            (region.width_px, region.height_px),
            write,
            seed=self.task.seeds[draw],
            sampling=RegionSampling(
                settings["steps"], batch_size, settings["solver"], lambda: next(bar, None), journal
            ),
        )
        for _ in bar:  # lets the bar close
            pass
        pixels.flush()


@contextmanager
def _region_of(case: CaseInventory, stainer: MuPDStainer, stain: StainSettings) -> Iterator[RegionReader]:
    slide = case.entries["he"]
    with open_slide(Path(slide.source), slide.facts["mpp"]) as reader:
        if reader.mpp is not None and reader.mpp > MOST_ENLARGED * stainer.mpp:
            raise UnusableError(
                f"not stained: the slide has {reader.mpp:g} um/px and the stainer works at {stainer.mpp:g}; "
                f"expected at most {MOST_ENLARGED * stainer.mpp:g}, {MOST_ENLARGED:g} times as coarse"
            )
        yield RegionReader(reader, choose_region(reader, stainer.mpp, stain.max_side_px))


def notes_of(region: Region, slide_mpp: float) -> tuple[str, ...]:
    """What a reader of the stain has to know of its source."""
    notes = [] if region.whole else [f"Stained is {region.words()}."]
    if slide_mpp > _COARSER * region.mpp:
        notes.append(
            f"The slide has {slide_mpp:g} um/px and the stainer works at {region.mpp:g}: "
            "it was enlarged, and detail that the stainer looks for is not in it."
        )
    return tuple(notes)
