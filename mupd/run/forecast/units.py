"""What a shard's jobs have to do, in the units that a calibration has costs for: windows, megapixels, draws, files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mupd.base.ids import stain_name
from mupd.config import Config
from mupd.contracts.layout import Stage
from mupd.model_folder.geometry import evaluations, read_geometry
from mupd.run.forecast.plan import ShardPlan

Units = dict[str, float]
"""{unit: how many}. ``job`` is a process's start; others are named where they are counted."""


def evaluations_of(config: Config) -> int:
    """Evaluations of the network that a draw takes."""
    return evaluations(config.sampler.solver, config.sampler.steps)


def megapixels(config: Config) -> float:
    """Of a generated slide as it is written."""
    return config.slide.width_px * config.slide.height_px / 1e6


def window_evaluations(config: Config) -> int:
    """Windows that one generated slide puts through the network, in one pass over all evaluations.

    Counted on the grid that generation itself uses; the last micro-batch of each evaluation is filled up.
    """
    geometry, slide, batch = read_geometry(Path(config.model)), config.slide, config.sampler.batch_size
    size_px = geometry.native_size_px((slide.width_px, slide.height_px), slide.mpp)
    counts = geometry.windows_by_evaluation(size_px, evaluations_of(config))
    return sum(-(-windows // batch) * batch for windows in counts)


def passes_of(given: Sequence[str], config: Config) -> int:
    """Passes of the network that an H&E draw takes each time, by what it is generated from: guidance asks for some."""
    from mupd.model.guidance import guidance_passes

    guidance = config.sampler.guidance
    scales = {"text": guidance.text, "rna": guidance.rna, "pathways": guidance.rna}
    streams = (["text"] if "text" in given else []) + (["pathways", "rna"] if "rna" in given else [])
    return len(guidance_passes(dict.fromkeys(streams), scales))


def _given_and_target(task: str) -> tuple[tuple[str, ...], str]:
    given, _, target = task.partition("->")
    return tuple(given.split("+")), target


def _draw_kinds(shard: ShardPlan, config: Config) -> Units:
    """Draws by kind: H&E, RNA in profiles of a slide's tiles or a single one from text, records."""
    kinds: Counter[str] = Counter()
    for task, cases in shard.tasks.items():
        given, target = _given_and_target(task)
        if target == "he":
            kinds["he_draw"] += cases * config.draws.he
        elif target == "rna":
            kinds["rna_slide_draw" if "he" in given else "rna_text_draw"] += cases * config.draws.rna
        elif target == "text":
            kinds["text_draw"] += cases * config.draws.text
    return {kind: float(count) for kind, count in kinds.items()}


def table_megabytes(path: str | None) -> float:
    """Megabytes of text that a job parses to find a case's row; of an .h5ad or .h5mu, of which rows are read, none."""
    if path is None or path.lower().endswith((".h5ad", ".h5mu")):
        return 0.0
    table = Path(path)
    if table.suffix.lower() != ".gz":
        return table.stat().st_size / 1e6
    with table.open("rb") as packed:
        # gzip's last four bytes are the length of what was packed, modulo 4 GiB.
        packed.seek(-4, os.SEEK_END)
        return max(int.from_bytes(packed.read(4), "little"), table.stat().st_size) / 1e6


def _intake(shard: ShardPlan, config: Config) -> Units:
    files = shard.files
    tables = ((files.rna_rows, config.tables.rna), (files.text_rows, config.tables.text))
    return {
        "job": 1.0,
        "slide": float(files.slides),
        "slide_mb": files.slide_bytes / 1e6,
        "rna_file": float(files.rna + files.rna_rows),
        "text_file": float(files.text + files.text_rows),
        "table_mb": sum(table_megabytes(table) for rows, table in tables if rows),
    }


def _generate(shard: ShardPlan, config: Config, windows: int) -> Units:
    units: Units = _draw_kinds(shard, config)
    lacks_of = {"he": ("rna", "text"), "rna": ("he", "text"), "text": ("he", "rna")}
    encoded: Counter[str] = Counter()
    for name, cases in shard.given.items():
        given = name.split("+") if name else []
        for modality in given:
            if any(other not in given for other in lacks_of[modality]):
                encoded[modality] += cases
    units |= {"tiles": float(encoded["he"]), "report": float(encoded["text"]), "profile": float(encoded["rna"])}
    units["tile_encoder"] = float(encoded["he"] > 0)
    units["text_encoder"] = float(encoded["text"] > 0)
    slides = ((_given_and_target(task)[0], cases) for task, cases in shard.tasks.items() if task.endswith("->he"))
    windows_of_case = config.draws.he * windows
    units["he_window"] = float(sum(cases * windows_of_case * passes_of(given, config) for given, cases in slides))
    units["he_mpix"] = units.get("he_draw", 0.0) * megapixels(config)
    units["rna_slide_step"] = units.get("rna_slide_draw", 0.0) * evaluations_of(config)
    units["rna_text_step"] = units.get("rna_text_draw", 0.0) * evaluations_of(config)
    units["text_step"] = units.get("text_draw", 0.0) * config.sampler.steps
    if shard.files.rna_rows:
        units["table_mb"] = table_megabytes(config.tables.rna)
    return {"job": 1.0} | units


def _of_draws(shard: ShardPlan, config: Config) -> Units:
    draws = _draw_kinds(shard, config)
    return {"job": 1.0} | draws | {"he_mpix": draws.get("he_draw", 0.0) * megapixels(config)}


def units_of(shard: ShardPlan, config: Config, windows: int) -> dict[Stage, Units]:
    """What each stage has to do on a shard; the cohort stage has no shards, see :func:`cohort_units`.

    Stains of slides are left out: a calibration has no costs of them.

    Parameters
    ----------
    windows
        :func:`window_evaluations` of the configuration.
    """
    of_draws = _of_draws(shard, config)
    return {
        "intake": _intake(shard, config),
        "generate": _generate(shard, config, windows),
        "check": of_draws,
        "export": dict(of_draws),
    }


def cohort_units(shards: Sequence[ShardPlan], config: Config) -> Units:
    """What the one job over all shards has to do."""
    tabled = any(shard.files.rna_rows for shard in shards)
    return {
        "job": 1.0,
        "case": float(sum(shard.cases for shard in shards)),
        "table_mb": table_megabytes(config.tables.rna) if tabled else 0.0,
    }


def has_stains(shard: ShardPlan) -> bool:
    """Whether a shard has slides to stain."""
    return any(stain_name(target) and count for target, count in shard.draws.items())
