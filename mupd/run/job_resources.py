"""Memory and run time that a job requests from a cluster, from the cases of its shard and the number of the attempt.

The Snakefile imports this module: no heavy imports here. If a request was too small, Snakemake tries the job again
with more (``attempt``), and generation resumes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from mupd.base.ids import Modality
from mupd.config import Config
from mupd.contracts.layout import Stage
from mupd.model_folder.geometry import DOWNSAMPLE, TRAINED, evaluations, read_geometry
from mupd.sheet import SheetCase
from mupd.sheet.sources import usable_sources

JobStage = Stage | Literal["expect"]

LONGEST_MIN = 1440
"""Longest run time requested: a day, which most partitions allow. A longer generation resumes at its next attempt."""

_WINDOW_STEP_S = 0.03
"""Seconds per window of 128 px and step: 0.012 to 0.026 measured with mupd-mini on two CPU cores."""

_MARGIN = 2.0
INTAKE_THREADS = 2
"""Inputs that an intake job reads at a time."""

_READING_MB = 1024
"""Memory of a reading process at the first attempt. A job with one took 0.45 GB for a PNG of 9 megapixels."""

_BASE_MB = {"intake": 1000, "generate": 4000, "check": 2000, "export": 2000, "cohort": 4000, "expect": 2000}
_LATENT_BYTES = 8 * 4 * 8
"""Bytes per position of the latents: 8 channels, float32, up to eight copies (noise, change, windows, solver)."""


def window_steps(config: Config) -> int:
    """Windows of one generated slide that the network evaluates, over all steps."""
    geometry, slide = read_geometry(Path(config.model)), config.slide
    size_px = geometry.native_size_px((slide.width_px, slide.height_px), slide.mpp)
    return sum(geometry.windows_by_evaluation(size_px, evaluations(config.sampler.solver, config.sampler.steps)))


def latents_mb(config: Config) -> float:
    """Most megabytes that the latents of a generated slide take."""
    scale = config.slide.mpp / read_geometry(Path(config.model)).mpp / DOWNSAMPLE
    return config.slide.width_px * config.slide.height_px * scale**2 * _LATENT_BYTES / 1e6


def _stain_px(config: Config) -> float:
    """Most pixels of the stains of one slide: the sheet does not state the size of a slide."""
    return float(sum(stain.draws * stain.max_side_px**2 for stain in config.stains))


def _stain_seconds(config: Config) -> float:
    """Most seconds for the stains of one slide, at the speed of generated slides."""
    seconds_per_px = _WINDOW_STEP_S / TRAINED.stride_px**2
    solver, steps = config.sampler.solver, config.sampler.steps
    return seconds_per_px * sum(
        evaluations(solver, stain.steps or steps) * stain.draws * stain.max_side_px**2 for stain in config.stains
    )


def mem_mb(stage: JobStage, config: Config, attempt: int) -> int:
    """Megabytes of memory: a base plus the latents of a slide, times the number of the attempt.

    For intake, the memory of each reading process grows up to ``intake.file_mb``, the limit at which it is stopped.
    """
    wanted = _BASE_MB[stage]
    if stage == "intake":
        reading = min(_READING_MB * attempt, config.intake.file_mb)
        return wanted * min(attempt, 2) + INTAKE_THREADS * reading
    if stage == "generate":
        side = max((stain.max_side_px for stain in config.stains), default=0) / DOWNSAMPLE
        stained = side**2 * _LATENT_BYTES / 1e6
        wanted += int(max(latents_mb(config), stained))
    return wanted * attempt


def _lacking(
    modality: Modality, cases: Sequence[SheetCase], config: Config, tables: Mapping[Modality, Collection[str]]
) -> int:
    """Number of cases with neither a file of a modality nor a row of its table."""
    return sum(not usable_sources(case, modality, config, tables) for case in cases)


def runtime_min(
    stage: JobStage,
    cases: Sequence[SheetCase],
    config: Config,
    attempt: int,
    tables: Mapping[Modality, Collection[str]] | None = None,
) -> int:
    """Minutes of run time, times the number of the attempt, at most :data:`LONGEST_MIN`.

    Counted from the sheet and the ids of the tables: slides that intake will find unusable count as usable, which the
    margin and the next attempt cover. The speed of generation is that of two CPU cores, with a GPU too.

    Parameters
    ----------
    tables
        Case ids in the cohort tables (:meth:`mupd.run.table_rows.TableRows.case_ids`); if None, their cases count as
        lacking the modality.
    """
    lacking_slides = _lacking("he", cases, config, {})
    slides, measured = lacking_slides * config.draws.he, len(cases) - lacking_slides
    if stage == "generate":
        rows = tables or {}
        others = _lacking("rna", cases, config, rows) * config.draws.rna
        others += _lacking("text", cases, config, rows) * config.draws.text
        seconds = slides * window_steps(config) * _WINDOW_STEP_S + 2.0 * others + 5.0 * len(cases)
        seconds += measured * _stain_seconds(config)
    elif stage == "intake":
        seconds = 60.0 * len(cases)
    elif stage == "expect":
        seconds = 0.02 * len(cases)
    else:
        seconds = 10.0 * len(cases) + slides * config.slide.width_px * config.slide.height_px / 5e6
        seconds += measured * _stain_px(config) / 5e6
    return min((15 + int(_MARGIN * seconds / 60)) * attempt, LONGEST_MIN)


def gpus(config: Config) -> int:
    """GPUs of a generation job: one, or none if ``sampler.device`` is ``cpu``."""
    return 0 if config.sampler.device == "cpu" else 1
