"""What a run has to do: tasks, draws and disk space, and the units of work per shard and stage.

A calibration has a cost for each unit: a process start (``job``), a slide, a megabyte, a draw, a window.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mupd.base.ids import MODALITIES, Modality, Target, shard_name, stain_name, stain_target
from mupd.config import Config
from mupd.contracts.layout import Layout, Stage
from mupd.model_folder.geometry import evaluations, read_geometry
from mupd.run.job_resources import window_steps
from mupd.run.table_ids import TableIds
from mupd.sheet import Sheet, SheetCase, cases_by_shard
from mupd.sheet.sources import usable_sources

Units = dict[str, float]
"""{unit: count}."""

_MAX_DRAW_BYTES = {"rna": 8_000_000, "text": 1_000_000}
"""Upper bound for one draw of RNA or of a record, in the store and as artifacts together."""

_HE_COPIES = 3.5
"""Upper bound for the copies of a generated slide's pixels: one in the store, pyramid and picture as artifacts."""


@dataclass(frozen=True)
class ShardPlan:
    """The work of one shard.

    Attributes
    ----------
    tasks
        {``rna+text->he``: number of cases}.
    draws
        {target: number of draws}, including ``stain:NAME``.
    given
        {``rna+text``: number of cases that have exactly these}; "" for cases that have nothing.
    reads
        Units that intake reads.
    rna_table_mb
        Megabytes of the RNA table; 0 if no case of the shard has a row in it.
    known
        Whether intake has run. If so, unusable inputs are known.
    """

    shard: int
    cases: int
    tasks: dict[str, int]
    draws: dict[Target, int]
    given: dict[str, int]
    reads: Units
    rna_table_mb: float
    known: bool


@dataclass(frozen=True)
class Plan:
    """The work of a run. A slide has `tiles` windows; each is evaluated `evaluations` times."""

    shards: tuple[ShardPlan, ...]
    tiles: int
    evaluations: int
    disk_bytes: int
    tasks: dict[str, int] = field(default_factory=dict)
    draws: dict[Target, int] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        """Number of cases in all shards."""
        return sum(shard.cases for shard in self.shards)

    @property
    def known_shards(self) -> int:
        """Number of shards on which intake has run."""
        return sum(shard.known for shard in self.shards)


def evaluations_of(config: Config) -> int:
    """Evaluations of the network per draw."""
    return evaluations(config.sampler.solver, config.sampler.steps)


def window_evaluations(config: Config) -> int:
    """Windows per generated slide and guidance pass, summed over all evaluations.

    The grid of windows is the one that generation uses. Micro-batches count as full.
    """
    geometry, slide, batch = read_geometry(Path(config.model)), config.slide, config.sampler.batch_size
    size_px = geometry.native_size_px((slide.width_px, slide.height_px), slide.mpp)
    counts = geometry.windows_by_evaluation(size_px, evaluations_of(config))
    return sum(-(-windows // batch) * batch for windows in counts)


def megapixels(config: Config) -> float:
    """Megapixels of a generated slide."""
    return config.slide.width_px * config.slide.height_px / 1e6


def guidance_passes_of(given: Sequence[str], config: Config) -> int:
    """Passes per evaluation of an H&E draw: guidance adds passes, depending on the conditions."""
    from mupd.model.guidance import guidance_passes

    guidance = config.sampler.guidance
    scales = {"text": guidance.text, "rna": guidance.rna, "pathways": guidance.rna}
    streams = (["text"] if "text" in given else []) + (["pathways", "rna"] if "rna" in given else [])
    return len(guidance_passes(dict.fromkeys(streams), scales))


def draw_unit(given: Sequence[str], target: str) -> str:
    """Unit of a draw: RNA drawn for the tiles of a slide costs more than one profile drawn from text."""
    if target == "rna":
        return "rna_slide_draw" if "he" in given else "rna_text_draw"
    return f"{target}_draw"


def table_megabytes(path: str | None) -> float:
    """Megabytes of text that a job parses to find one row; 0 for .h5ad and .h5mu, of which single rows are read."""
    if path is None or path.lower().endswith((".h5ad", ".h5mu")):
        return 0.0
    table = Path(path)
    if table.suffix.lower() != ".gz":
        return table.stat().st_size / 1e6
    with table.open("rb") as packed:
        # The last four bytes of a gzip file are the length of its content, modulo 4 GiB.
        packed.seek(-4, os.SEEK_END)
        return max(int.from_bytes(packed.read(4), "little"), table.stat().st_size) / 1e6


def tasks_of_given(given: Sequence[Modality], config: Config) -> dict[str, tuple[Target, int]]:
    """{task: (target, number of draws)} for a case that has these modalities; empty for a case that has none."""
    name = "+".join(given)
    tasks: dict[str, tuple[Target, int]] = {}
    for target in MODALITIES if given else ():
        if target not in given:
            tasks[f"{name}->{target}"] = (target, getattr(config.draws, target))
    if "he" in given:
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
    given = {case_id: tuple(m for m in MODALITIES if by_modality[m]) for case_id, by_modality in sources.items()}
    slides, rna, text = ([source for by_modality in sources.values() for source in by_modality[m]] for m in MODALITIES)
    rows_of = {m: any(s.is_table and not s.named for s in of_m) for m, of_m in (("rna", rna), ("text", text))}
    rna_table_mb = table_megabytes(config.tables.rna) if rows_of["rna"] else 0.0
    reads = {
        "slide": float(len(slides)),
        "slide_mb": sum(_size(source.path) for source in slides) / 1e6,
        "rna_file": float(len(rna)),
        "text_file": float(len(text)),
        "table_mb": rna_table_mb + (table_megabytes(config.tables.text) if rows_of["text"] else 0.0),
    }
    inventory = Layout(config.out).inventory(shard_name(index))
    known = inventory.is_file()
    if known:
        from mupd.contracts.inventory import read_inventory

        given |= {case.case_id: case.given for case in read_inventory(inventory) if case.case_id in given}
    patterns = Counter(given.values())
    tasks: Counter[str] = Counter()
    draws: Counter[Target] = Counter()
    for pattern, count in patterns.items():
        for task, (target, each) in tasks_of_given(pattern, config).items():
            tasks[task] += count
            draws[target] += count * each
    by_name = {"+".join(pattern): count for pattern, count in patterns.items()}
    return ShardPlan(index, len(cases), dict(tasks), dict(draws), by_name, reads, rna_table_mb, known)


def _disk_bytes(draws: Counter[Target], config: Config) -> int:
    """Upper bound for the bytes of all draws, in the store and as artifacts; without stains."""
    slides = draws["he"] * megapixels(config) * 1e6 * 3 * _HE_COPIES
    return int(slides) + sum(draws[target] * size for target, size in _MAX_DRAW_BYTES.items())


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
        tasks.update(shard.tasks)
        draws.update(shard.draws)
    count = evaluations_of(config)
    return Plan(shards, window_steps(config) // count, count, _disk_bytes(draws, config), dict(tasks), dict(draws))


def _conditions_and_target(task: str) -> tuple[tuple[str, ...], str]:
    """Split a task, e.g. ``rna+text->he`` into (``rna``, ``text``) and ``he``."""
    given, _, target = task.partition("->")
    return tuple(given.split("+")), target


def draw_units(shard: ShardPlan, config: Config) -> Units:
    """Draws by kind, and megapixels of generated slides. Stains are left out: a calibration has no costs for them."""
    units: Counter[str] = Counter()
    for task, cases in shard.tasks.items():
        given, target = _conditions_and_target(task)
        if target in MODALITIES:
            units[draw_unit(given, target)] += cases * getattr(config.draws, target)
    return {unit: float(count) for unit, count in units.items()} | {"he_mpix": units["he_draw"] * megapixels(config)}


def _generate_units(shard: ShardPlan, config: Config, windows: int) -> Units:
    units = draw_units(shard, config)
    encoded: Counter[str] = Counter()
    for name, cases in shard.given.items():
        given = name.split("+") if name else []
        if 0 < len(given) < len(MODALITIES):  # a complete case needs no conditions
            encoded.update(dict.fromkeys(given, cases))
    units |= {"tiles": float(encoded["he"]), "report": float(encoded["text"]), "profile": float(encoded["rna"])}
    units |= {"tile_encoder": float(encoded["he"] > 0), "text_encoder": float(encoded["text"] > 0)}
    units["he_window"] = 0.0
    for task, cases in shard.tasks.items():
        given_by_task, target = _conditions_and_target(task)
        if target == "he":
            units["he_window"] += cases * config.draws.he * windows * guidance_passes_of(given_by_task, config)
    for kind in ("rna_slide", "rna_text"):
        units[f"{kind}_step"] = units.get(f"{kind}_draw", 0.0) * evaluations_of(config)
    units["text_step"] = units.get("text_draw", 0.0) * config.sampler.steps
    return units | {"table_mb": shard.rna_table_mb}


def units_of(shard: ShardPlan, config: Config, windows: int) -> dict[Stage, Units]:
    """The work of each stage on a shard; for the cohort stage, which has no shards, see :func:`cohort_units`.

    Parameters
    ----------
    windows
        :func:`window_evaluations` of the configuration.
    """
    job = {"job": 1.0}
    return {
        "intake": job | shard.reads,
        "generate": job | _generate_units(shard, config, windows),
        "check": job | draw_units(shard, config),
        "export": job | draw_units(shard, config),
    }


def cohort_units(plan: Plan) -> Units:
    """The work of the one job over all shards."""
    table_mb = max((shard.rna_table_mb for shard in plan.shards), default=0.0)
    return {"job": 1.0, "run": 1.0, "case": float(plan.cases), "table_mb": table_mb}


def has_stains(draws: Iterable[Target]) -> bool:
    """Whether any of the targets is a stain of a slide."""
    return any(stain_name(target) for target in draws)
