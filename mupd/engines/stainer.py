"""Virtual stains of measured slides: single draws, kept in the store as soon as they are whole."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mupd
from mupd.base.files import atomic_path, write_json
from mupd.base.ids import stain_name
from mupd.base.progress import track
from mupd.config import Config
from mupd.config.stains import StainSettings
from mupd.contracts.draws import Draw, DrawMeta, content_sha256, draw_key, store_folder
from mupd.contracts.inventory import CaseInventory, Task
from mupd.engines.disk_space import stain_bytes
from mupd.engines.mupd.draws import begun_pixels, partial_folder, stored_meta
from mupd.errors import ModelError, UnusableError
from mupd.model.devices import DeviceError, batch_for, halves, is_out_of_memory, place_of_job
from mupd.model.journal import RegionJournal, alone_in
from mupd.model.stainer import MuPDStainer
from mupd.model_folder.geometry import evaluations
from mupd.slides.reader import open_slide
from mupd.slides.region import Region, RegionReader, choose_region

log = logging.getLogger(__name__)

STAIN_VERSION = 4
"""Raised when the same slide and settings would give other values: older draws are then not reused."""

BACKGROUND = {"mif": 0, "ihc": 255}
"""What glass far from any tissue is set to: no light in fluorescence, white in bright field."""

_COARSER = 1.1

MOST_ENLARGED = 4.0
"""How many times as coarse as the stainer's scale a slide may be; pairs it is trained on may be as much
(docs/staining.md: little is lost at 4 times, near half of CD3 at 8)."""


class Stainers:
    """The stainers of a run, each opened when first asked for and then kept."""

    def __init__(self, config: Config, device: str) -> None:
        self.config, self.device = config, device
        self._opened: dict[str, MuPDStainer] = {}
        self.largest_batch: dict[str, int] = {}

    def settings(self, task: Task) -> StainSettings:
        """The configured stain of a task."""
        name = stain_name(task.target)
        return next(stain for stain in self.config.stains if stain.name == name)

    def open(self, stain: StainSettings) -> MuPDStainer:
        """The stainer of a configured stain.

        Raises
        ------
        ModelError
            If it cannot be loaded, or is not any more what the configuration was held against.
        """
        if stain.name not in self._opened:
            stainer = MuPDStainer.from_pretrained(stain.model, self.device, compile_trunk=self.config.sampler.compile)
            if stainer.stain != stain.kind or not set(stain.channels) <= set(stainer.channels):
                found = f"{stainer.stain} of {', '.join(stainer.channels)}"
                raise ModelError(
                    f"stainer {stain.model}: found {found}; expected {stain.kind} of {', '.join(stain.channels)}"
                )
            self._opened[stain.name] = stainer
        return self._opened[stain.name]


def settings_of_stain(stain: StainSettings, config: Config, batch_size: int | None = None) -> dict[str, Any]:
    """The settings that a draw of a stain depends on, see :func:`mupd.engines.mupd.draws.settings_of`."""
    return {
        "steps": stain.steps or config.sampler.steps,
        "solver": config.sampler.solver,
        "batch_size": batch_size or config.sampler.batch_size,
        "stain": stain.kind,
        "channels": list(stain.channels),
        "max_side_px": stain.max_side_px,
    }


def identity_of_stain(
    task: Task, draw: int, case: CaseInventory, stainer: MuPDStainer, settings: dict[str, Any]
) -> dict[str, Any]:
    """Everything that the values of a stain's draw depend on."""
    slide = case.entries["he"]
    return {
        "stain_version": STAIN_VERSION,
        "model": stainer.sha256,
        "device": stainer.device,
        "compiled": stainer.compile_trunk,
        "case_id": task.case_id,
        "target": task.target,
        "given": {"he": slide.source_sha256},
        "slide_mpp": slide.facts["mpp"],
        "seed": task.seeds[draw],
        "settings": settings,
    }


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


def make_stain(task: Task, draw: int, case: CaseInventory, stainers: Stainers) -> Draw:
    """The draw from the store, or made now and stored; see :func:`mupd.engines.mupd.draws.make_draw`.

    Raises
    ------
    ModelError
        If the stainer cannot be loaded.
    DeviceError
        If the GPU's memory does not hold a single window.
    OSError
        ENOSPC before the draw is begun if its disk has no space for it.
    UnusableError
        If the slide cannot be read at the stainer's scale, or is over :data:`MOST_ENLARGED` times as coarse.
    """
    config, stain = stainers.config, stainers.settings(task)
    stainer = stainers.open(stain)
    sizes = list(halves(config.sampler.batch_size))
    settings = {size: settings_of_stain(stain, config, size) for size in sizes}
    keys = {size: draw_key(identity_of_stain(task, draw, case, stainer, settings[size])) for size in sizes}
    for key in keys.values():
        final = store_folder(config.out, key)
        if meta := stored_meta(final, task):
            shutil.rmtree(partial_folder(final), ignore_errors=True)
            return Draw(final.relative_to(config.out).as_posix(), meta)
    if stain.name not in stainers.largest_batch:
        stainers.largest_batch[stain.name] = batch_for(stainer, config.sampler.batch_size, stainer.window**2)
    for size in sizes:
        if size > stainers.largest_batch[stain.name]:
            continue
        final = store_folder(config.out, keys[size])
        try:
            with alone_in(partial_folder(final)):
                meta = stored_meta(final, task) or _made(
                    task, draw, case, stainer, stain, settings[size], final, config
                )
                shutil.rmtree(partial_folder(final), ignore_errors=True)
            return Draw(final.relative_to(config.out).as_posix(), meta)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise DeviceError(
                    f"{task.case_id} {task.name}: the GPU's memory is full ({place_of_job()}), with one window at a "
                    "time too; ask for a GPU with more memory, lower max_side_px, or use one that no other job uses"
                ) from error
            stainers.largest_batch[stain.name] = size // 2
            shutil.rmtree(partial_folder(final), ignore_errors=True)
            log.warning("%s %s: GPU memory is full with %d windows; again with half", task.case_id, task.name, size)
    raise AssertionError("not reached: the smallest batch returns or raises")


def _made(
    task: Task,
    draw: int,
    case: CaseInventory,
    stainer: MuPDStainer,
    stain: StainSettings,
    settings: dict[str, Any],
    final: Path,
    config: Config,
) -> DrawMeta:
    """A draw made now, going on where an earlier run was stopped, and stored."""
    for leftover in (*final.parent.glob(f".tmp-*-{final.name}"), *final.parent.glob(f".old-*-{final.name}")):
        shutil.rmtree(leftover)  # of a run that was killed at this draw
    started = time.monotonic()
    with _region_of(case, stainer, stain) as part, atomic_path(final) as folder:
        region = part.region
        begun = partial_folder(final) / "stain.npy"
        needed = stain_bytes(region.width_px, region.height_px, len(stain.channels))
        if not begun.exists() and shutil.disk_usage(config.out).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(config.out))
        folder.mkdir()
        _stain(task, draw, part, stainer, stain, settings, begun, folder / "pixels.npy")
        meta = DrawMeta(
            case_id=task.case_id,
            target=task.target,
            draw=draw,
            seed=task.seeds[draw],
            given=task.given,
            given_sha256={"he": case.entries["he"].source_sha256},
            model_id=stainer.model_id,
            model_sha256=stainer.sha256,
            mupd_version=mupd.__version__,
            settings=settings | {"region": region.to_dict()},
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - started, 2),
            content_sha256=content_sha256(folder, task.target),
            notes=notes_of(region, float(case.entries["he"].facts["mpp"])),
            mpp=stainer.mpp,
        )
        write_json(folder / "meta.json", asdict(meta))
    return meta


def notes_of(region: Region, slide_mpp: float) -> tuple[str, ...]:
    """What a reader of the stain has to know of its source."""
    notes = [] if region.whole else [f"Stained is {region.words()}."]
    if slide_mpp > _COARSER * region.mpp:
        notes.append(
            f"The slide has {slide_mpp:g} um/px and the stainer works at {region.mpp:g}: "
            "it was enlarged, and detail that the stainer looks for is not in it."
        )
    return tuple(notes)


def _stain(
    task: Task,
    draw: int,
    part: RegionReader,
    stainer: MuPDStainer,
    stain: StainSettings,
    settings: dict[str, Any],
    begun: Path,
    target: Path,
) -> None:
    """Stain a region into `begun`, then rename it to `target`."""
    region = part.region
    journal = RegionJournal(begun.parent)
    pixels = begun_pixels(begun, (region.height_px, region.width_px, len(stain.channels)), journal)
    chosen = [stainer.channels.index(name) for name in stain.channels]

    def write(y: int, x: int, tile: NDArray[np.uint8]) -> None:
        tall, wide = tile.shape[:2]
        tissue = part.tissue(x, y, wide, tall)
        pixels[y : y + tall, x : x + wide] = np.where(tissue[..., None], tile[..., chosen], BACKGROUND[stain.kind])

    total = evaluations(settings["solver"], settings["steps"])
    bar = iter(track(range(total), f"{task.case_id} {task.name} draw {draw}"))
    stainer.stain_region(
        part.read,
        (region.width_px, region.height_px),
        write,
        seed=task.seeds[draw],
        steps=settings["steps"],
        batch_size=settings["batch_size"],
        solver=settings["solver"],
        on_step=lambda: next(bar, None),
        journal=journal,
    )
    for _ in bar:  # lets the bar close
        pass
    pixels.flush()
    begun.rename(target)
