"""MuPD as an engine: H&E, RNA or a record of a case from any of the other modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.base.files import write_json
from mupd.base.ids import MODALITIES, Target
from mupd.base.progress import track
from mupd.config import Config
from mupd.contracts.inventory import RNA_VALUES, CaseInventory, Task
from mupd.engines.disk_space import refuse_full_disk, slide_size_px, working_bytes
from mupd.engines.engine import Written
from mupd.engines.mupd.conditions import NOTE_SHARES, CaseConditions
from mupd.engines.picture_files import begun_pixels, resample, save_array
from mupd.model.devices import batch_for, halves
from mupd.model.journal import RegionJournal
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import direction_of
from mupd.model.regions import RegionSampling
from mupd.model_folder.contents import ORGAN_FIELD
from mupd.model_folder.geometry import evaluations
from mupd.reports.record.fields import undetermined

GENERATOR_VERSION = 6
"""Raised when the same inputs would give other values: older draws are then not used again."""

_FILE_SETTINGS = ("codec", "jpeg_quality", "watermark")
"""Settings of a slide that are chosen when its files are written: the draw does not depend on them."""


class MupdEngine:
    """Opens tasks of the three modalities; the conditions of the case at hand are kept."""

    def __init__(self, config: Config, pipeline: MuPDPipeline) -> None:
        self.config, self.pipeline = config, pipeline
        self._conditions: CaseConditions | None = None

    def makes(self, target: Target) -> bool:
        """Whether the target is a modality."""
        return target in MODALITIES

    def open(self, task: Task, case: CaseInventory) -> MupdTask:
        """Open a task of a case; its conditions are encoded when first asked for."""
        if self._conditions is None or self._conditions.case is not case:
            self._conditions = CaseConditions(case, self.config, self.pipeline)
        return MupdTask(task, self._conditions, self.config)


class MupdTask:
    """One task of a case, opened (:class:`mupd.engines.engine.OpenTask`)."""

    def __init__(self, task: Task, conditions: CaseConditions, config: Config) -> None:
        self.task, self.conditions, self.config = task, conditions, config
        self.pipeline = conditions.pipeline

    @property
    def model_id(self) -> str:
        """Name of the model."""
        return self.pipeline.model_id

    @property
    def model_sha256(self) -> str:
        """Hash of the model's weights and configurations."""
        return self.pipeline.sha256

    @property
    def given_sha256(self) -> dict[str, str]:
        """{modality: hash of the input} of the given modalities."""
        return {modality: self.conditions.case.entries[modality].source_sha256 for modality in self.task.given}

    @property
    def batch_sizes(self) -> Sequence[int]:
        """Only slides are made of windows; profiles and records have a batch of their own."""
        configured = self.config.sampler.batch_size
        return list(halves(configured)) if self.task.target == "he" else [configured]

    def largest_batch(self) -> int:
        """Windows that fit into the device's memory together; measured once a pipeline."""
        configured = self.config.sampler.batch_size
        if self.task.target != "he":
            return configured
        if self.pipeline.largest_batch is None:
            self.pipeline.largest_batch = batch_for(self.pipeline, configured, self.pipeline.geometry.window**2)
        return self.pipeline.largest_batch or configured

    def limit_batch(self, size: int) -> None:
        """Remember that no more than `size` windows fit."""
        self.pipeline.largest_batch = size

    def settings(self, batch_size: int) -> dict[str, Any]:
        """The settings that a draw of this target depends on.

        The last bits of a slide depend on how many windows are denoised together.
        """
        config = self.config
        settings: dict[str, Any] = {"steps": config.sampler.steps, "solver": config.sampler.solver}
        if self.task.target == "text":
            settings["abstain_below"] = config.check.abstain_below
        if self.task.target == "he":
            slide = {name: value for name, value in asdict(config.slide).items() if name not in _FILE_SETTINGS}
            settings |= {"guidance": asdict(config.sampler.guidance), "batch_size": batch_size, "slide": slide}
        return settings

    def identity(self, draw: int, batch_size: int) -> dict[str, Any]:
        """Everything that the values of a draw depend on."""
        entries = self.conditions.case.entries
        return {
            "generator": GENERATOR_VERSION,
            "model": self.pipeline.sha256,
            "device": self.pipeline.device,
            "compiled": self.pipeline.compile_trunk,
            "case_id": self.task.case_id,
            "target": self.task.target,
            "given": self.given_sha256,
            "he_mpp": entries["rna"].facts.get("he_mpp"),
            "slide_mpp": entries["he"].facts.get("mpp"),
            "rna_values": entries["rna"].facts.get(RNA_VALUES, "auto"),
            "seed": self.task.seeds[draw],
            "settings": self.settings(batch_size),
        }

    def write(self, folder: Path, draw: int, batch_size: int, partial: Path) -> Written:
        """Write the values of a draw into `folder`; see :meth:`mupd.engines.engine.OpenTask.write`."""
        if self.task.target == "he":
            notes = self._write_he(folder, draw, batch_size, partial)
            return Written(tuple(notes), self.config.slide.mpp)
        notes = self._write_rna(folder, draw) if self.task.target == "rna" else self._write_record(folder, draw)
        return Written(tuple(notes))

    def _write_he(self, folder: Path, draw: int, batch_size: int, partial: Path) -> list[str]:
        native_path = partial / "native.npy"
        refuse_full_disk(self.config, working_bytes(self.task, self.config), native_path)
        conditions, notes = self.conditions.for_he()
        width, height = slide_size_px(self.config)
        shape = (height, width, 3)
        journal = RegionJournal(partial)
        native = begun_pixels(native_path, shape, journal)

        def write(y: int, x: int, pixels: NDArray[np.uint8]) -> None:
            native[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels

        sampler, task = self.config.sampler, self.task
        total = evaluations(sampler.solver, sampler.steps)
        bar = iter(track(range(total), f"{task.case_id} {task.name} draw {draw}"))
        self.pipeline.generate_he(
            conditions,
            (width, height),
            write,
            seed=task.seeds[draw],
            guidance=asdict(sampler.guidance),
            sampling=RegionSampling(sampler.steps, batch_size, sampler.solver, lambda: next(bar, None), journal),
        )
        for _ in bar:  # lets the bar close
            pass
        native.flush()
        wanted = (self.config.slide.height_px, self.config.slide.width_px, 3)
        if shape == wanted:
            native_path.rename(folder / "pixels.npy")
        else:
            resample(native, folder / "pixels.npy", wanted, self.config.slide.mpp / self.pipeline.geometry.mpp)
            native_path.unlink()
        return notes

    def _write_rna(self, folder: Path, draw: int) -> list[str]:
        conditions, centres = self.conditions.for_rna()
        sampler = self.config.sampler
        drawn = self.pipeline.generate_rna(
            conditions, seed=self.task.seeds[draw], steps=sampler.steps, solver=sampler.solver
        )
        save_array(folder / "values.npy", drawn.values)
        save_array(folder / "expected.npy", drawn.expected)
        panel = self.pipeline.rna_codec.panels[self.pipeline.rna_kind(conditions)]
        write_json(folder / "genes.json", list(panel.genes))
        if centres is not None:
            save_array(folder / "xy_px.npy", centres)
        return []

    def _write_record(self, folder: Path, draw: int) -> list[str]:
        values, probabilities = self.pipeline.generate_record(
            self.conditions.for_text(), seed=self.task.seeds[draw], steps=self.config.sampler.steps
        )
        record = {}
        for field, value in values.items():
            abstained = undetermined(probabilities[field], self.config.check.abstain_below)
            stated = None if abstained else value
            record[field] = {"value": stated, "abstained": abstained, "probabilities": probabilities[field]}
        write_json(folder / "record.json", record)
        notes = self.conditions.rna_notes() if "rna" in self.task.given else []
        organs = probabilities.get(ORGAN_FIELD, {})
        leaning = self.pipeline.record_codec.leaning(organs, direction_of(self.task.given))
        if leaning:
            fields = ", ".join(f"{field.replace('_', ' ')} {100 * weight:.0f} %" for field, weight in leaning.items())
            notes.append(f"{NOTE_SHARES}: {fields}")
        return notes
