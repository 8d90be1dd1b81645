"""Counts the work of a run: tasks, draws and disk space, and units of work per shard and stage.

A unit is something that has a measured cost: a process start (``job``), a slide, a megabyte, a draw, a window.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mupd.base.ids import MODALITIES, Modality, Target, shard_name, stain_name, stain_target
from mupd.config import Config
from mupd.contracts.layout import Layout, Stage
from mupd.model_folder.geometry import evaluations, read_geometry
from mupd.run.table_ids import TableIds
from mupd.sheet import Sheet, SheetCase, cases_by_shard
from mupd.sheet.columns import is_anndata
from mupd.sheet.sources import usable_sources

Units = dict[str, float]
"""{unit: count}."""

Pattern = tuple[Modality, ...]
"""The modalities that a case has."""

_MAX_DRAW_BYTES = {"rna": 8_000_000, "text": 1_000_000}
"""Upper bound for one draw of RNA or of a record, in the store and as artifacts together."""

_HE_COPIES = 3.5
"""Upper bound for the copies of a generated slide's pixels: one in the store, pyramid and picture as artifacts."""


@dataclass(frozen=True)
class ShardPlan:
    """The work of one shard.

    Attributes
    ----------
    cases
        {modalities that a case has: number of such cases}; the key is empty for cases that have nothing.
    reads
        Units that intake reads.
    rna_table_mb
        Megabytes of the RNA table; 0 if no case of the shard has a row in it.
    from_inventory
        Whether intake has run. If so, unusable inputs are known.
    windows
        :func:`window_evaluations` of the configuration.
    """

    cases: dict[Pattern, int]
    reads: Units
    rna_table_mb: float
    from_inventory: bool
    windows: int


@dataclass(frozen=True)
class Plan:
    """The work of a run: {``rna+text->he``: number of cases} and {target: number of draws}, stains included."""

    shards: tuple[ShardPlan, ...]
    tasks: dict[str, int]
    draws: dict[Target, int]
    disk_bytes: int

    @property
    def cases(self) -> int:
        """Number of cases in all shards."""
        return sum(sum(shard.cases.values()) for shard in self.shards)

    @property
    def counted_from(self) -> str:
        """Where the tasks are counted from, in words."""
        known = sum(shard.from_inventory for shard in self.shards)
        if known == len(self.shards):
            return "the inventories of a finished intake"
        if not known:
            return "the sheet alone: intake has not run"
        return f"the inventories of {known:,} of {len(self.shards):,} shards, the sheet for the others"


def window_evaluations(config: Config) -> int:
    """Windows per generated slide and guidance pass, summed over all evaluations.

    The grid of windows is the one that generation uses. Micro-batches count as full.
    """
    geometry, slide, batch = read_geometry(Path(config.model)), config.slide, config.sampler.batch_size
    size_px = geometry.native_size_px((slide.width_px, slide.height_px), slide.mpp)
    counts = geometry.windows_by_evaluation(size_px, evaluations(config.sampler.solver, config.sampler.steps))
    return sum(-(-windows // batch) * batch for windows in counts)


def _guidance_passes(pattern: Pattern, config: Config) -> int:
    """Passes per evaluation of an H&E draw: guidance adds passes, depending on the conditions."""
    from mupd.model.guidance import guidance_passes

    guidance = config.sampler.guidance
    scales = {"text": guidance.text, "rna": guidance.rna, "pathways": guidance.rna}
    streams = (["text"] if "text" in pattern else []) + (["pathways", "rna"] if "rna" in pattern else [])
    return len(guidance_passes(dict.fromkeys(streams), scales))


def table_megabytes(path: str | None) -> float:
    """Megabytes of text that a job parses to find one row; 0 for .h5ad and .h5mu, of which single rows are read."""
    if path is None or is_anndata(path):
        return 0.0
    table = Path(path)
    if table.suffix.lower() != ".gz":
        return table.stat().st_size / 1e6
    with table.open("rb") as stream:
        # The last four bytes of a gzip file are the length of its content, modulo 4 GiB.
        stream.seek(-4, os.SEEK_END)
        return max(int.from_bytes(stream.read(4), "little"), table.stat().st_size) / 1e6


def tasks_of_pattern(pattern: Pattern, config: Config) -> dict[str, tuple[Target, int]]:
    """{task: (target, number of draws)} for a case that has these modalities; empty for a case that has none."""
    tasks: dict[str, tuple[Target, int]] = {}
    for target in MODALITIES if pattern else ():
        if target not in pattern:
            tasks[f"{'+'.join(pattern)}->{target}"] = (target, getattr(config.draws, target))
    if "he" in pattern:
        tasks |= {f"he->{stain.name}": (stain_target(stain.name), stain.draws) for stain in config.stains}
    return tasks


def _size(path: Path) -> int:
    """Bytes of a file; 0 for a folder, such as a DICOM slide."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _plan_shard(index: int, cases: Sequence[SheetCase], config: Config, tables: TableIds) -> ShardPlan:
    sources = {case.case_id: {m: usable_sources(case, m, config, tables) for m in MODALITIES} for case in cases}
    patterns = {case_id: tuple(m for m in MODALITIES if by_modality[m]) for case_id, by_modality in sources.items()}
    slides, rna, text = ([source for by_modality in sources.values() for source in by_modality[m]] for m in MODALITIES)
    rna_table_mb, text_table_mb = (
        table_megabytes(table) if any(source.is_table and not source.named for source in of_modality) else 0.0
        for table, of_modality in ((config.tables.rna, rna), (config.tables.text, text))
    )
    reads = {
        "slide": float(len(slides)),
        "slide_mb": sum(_size(source.path) for source in slides) / 1e6,
        "rna_file": float(len(rna)),
        "text_file": float(len(text)),
        "table_mb": rna_table_mb + text_table_mb,
    }
    inventory = Layout(config.out).inventory(shard_name(index))
    from_inventory = inventory.is_file()
    if from_inventory:
        from mupd.contracts.inventory import read_inventory

        patterns |= {case.case_id: case.given for case in read_inventory(inventory) if case.case_id in patterns}
    return ShardPlan(dict(Counter(patterns.values())), reads, rna_table_mb, from_inventory, window_evaluations(config))


def plan_of(sheet: Sheet, config: Config, tables: TableIds) -> Plan:
    """Count the work of a run: from the inventory of each shard if intake has run on it, else from the sheet.

    Finished draws count too.

    Parameters
    ----------
    tables
        Case ids in the cohort tables (:func:`mupd.run.table_ids.in_tables`).
    """
    shards = tuple(_plan_shard(i, cases, config, tables) for i, cases in cases_by_shard(sheet, config.shards).items())
    tasks: Counter[str] = Counter()
    draws: Counter[Target] = Counter()
    for shard in shards:
        for pattern, cases in shard.cases.items():
            for task, (target, draws_per_case) in tasks_of_pattern(pattern, config).items():
                tasks[task] += cases
                draws[target] += cases * draws_per_case
    # An upper bound, without stains.
    disk_bytes = int(draws["he"] * _megapixels(config) * 1e6 * 3 * _HE_COPIES)
    disk_bytes += sum(draws[target] * size for target, size in _MAX_DRAW_BYTES.items())
    return Plan(shards, dict(tasks), dict(draws), disk_bytes)


def _megapixels(config: Config) -> float:
    return config.slide.width_px * config.slide.height_px / 1e6


def draw_units(shard: ShardPlan, config: Config) -> Units:
    """Draws by kind, and megapixels of generated slides. Stains are left out: they have no measured costs.

    RNA drawn for the tiles of a slide (``rna_slide_draw``) costs more than one profile (``rna_text_draw``).
    """
    units: Counter[str] = Counter()
    for pattern, cases in shard.cases.items():
        for target, draws in tasks_of_pattern(pattern, config).values():
            if not stain_name(target):
                kind = ("rna_slide" if "he" in pattern else "rna_text") if target == "rna" else target
                units[f"{kind}_draw"] += cases * draws
    return {unit: float(count) for unit, count in units.items()} | {"he_mpix": units["he_draw"] * _megapixels(config)}


def _generate_units(shard: ShardPlan, config: Config) -> Units:
    units = draw_units(shard, config)
    count = evaluations(config.sampler.solver, config.sampler.steps)
    for kind, steps in (("rna_slide", count), ("rna_text", count), ("text", config.sampler.steps)):
        units[f"{kind}_step"] = units.get(f"{kind}_draw", 0.0) * steps
    incomplete = {pattern: cases for pattern, cases in shard.cases.items() if 0 < len(pattern) < len(MODALITIES)}
    for unit, modality in (("tiles", "he"), ("report", "text"), ("profile", "rna")):
        units[unit] = float(sum(cases for pattern, cases in incomplete.items() if modality in pattern))
    units["he_window"] = float(
        sum(
            cases * config.draws.he * shard.windows * _guidance_passes(pattern, config)
            for pattern, cases in incomplete.items()
            if "he" not in pattern
        )
    )
    return units | {"table_mb": shard.rna_table_mb}


def units_of(stage: Stage, shard: ShardPlan, config: Config) -> Units:
    """The work of a stage on a shard, without the start of its process; for the cohort stage :func:`cohort_units`."""
    if stage == "intake":
        return shard.reads
    return _generate_units(shard, config) if stage == "generate" else draw_units(shard, config)


def cohort_units(plan: Plan) -> Units:
    """The work of the one job over all shards."""
    table_mb = max((shard.rna_table_mb for shard in plan.shards), default=0.0)
    return {"run": 1.0, "case": float(plan.cases), "table_mb": table_mb}
