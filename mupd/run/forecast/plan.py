"""What a run has to do, from the sheet or, where a shard has one, its inventory: tasks, draws, windows, bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mupd.base.ids import MODALITIES, Modality, Target, shard_name, stain_target
from mupd.config import Config
from mupd.contracts.layout import Layout
from mupd.run.job_resources import window_steps
from mupd.run.table_ids import TableIds
from mupd.sheet import Sheet, SheetCase, cases_by_shard

_BYTES = {"rna": 8_000_000, "text": 1_000_000}
"""Bound of the bytes that a draw of RNA or of a record takes, in the store and as artifacts."""

_COPIES_HE = 3.5
"""Of a generated slide's pixels: the store's, and its pyramid and picture as artifacts, at most."""


@dataclass(frozen=True)
class Files:
    """What intake reads: files by kind, bytes of the slides' files, and rows of cohort tables.

    A folder (a DICOM slide, a Visium sample) counts as one file without bytes.
    """

    slides: int = 0
    slide_bytes: int = 0
    rna: int = 0
    text: int = 0
    rna_rows: int = 0
    text_rows: int = 0


@dataclass(frozen=True)
class ShardPlan:
    """What one shard has to do.

    Attributes
    ----------
    tasks
        {``rna+text->he``: cases}.
    draws
        {target: draws}, also of ``stain:NAME``.
    input_bytes
        Of the files that the sheet names; folders and cohort tables are not counted.
    known
        Whether intake has run: unusable inputs are then known, which a sheet does not tell.
    given
        {``rna+text``: cases that have just these}; "" for cases that have nothing.
    """

    shard: int
    cases: int
    tasks: dict[str, int]
    draws: dict[Target, int]
    input_bytes: int = 0
    known: bool = False
    given: dict[str, int] = field(default_factory=dict)
    files: Files = Files()


@dataclass(frozen=True)
class Plan:
    """What a run has to do; one slide is `tiles` windows, each evaluated `evaluations` times."""

    shards: tuple[ShardPlan, ...]
    tiles: int
    evaluations: int
    disk_bytes: int
    tasks: dict[str, int] = field(default_factory=dict)
    draws: dict[Target, int] = field(default_factory=dict)


def given_of(case: SheetCase, tables: TableIds) -> tuple[Modality, ...]:
    """What a case has, by its row of the sheet and the cohort tables; whether it is usable is not known."""
    return tuple(m for m in MODALITIES if getattr(case, m) is not None or case.row_id in tables.get(m, ()))


def tasks_of_given(given: Sequence[Modality], config: Config) -> dict[str, tuple[Target, int]]:
    """{task: (target, draws)} that follow from what a case has; none for a case that has nothing."""
    name = "+".join(given)
    found: dict[str, tuple[Target, int]] = {}
    for target in MODALITIES if given else ():
        if target not in given:
            found[f"{name}->{target}"] = (target, getattr(config.draws, target))
    if "he" in given:
        found |= {f"he->{stain.name}": (stain_target(stain.name), stain.draws) for stain in config.stains}
    return found


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path is not None and path.is_file() else 0
    except OSError:
        return 0


def _files(cases: Sequence[SheetCase], tables: TableIds) -> Files:
    slides = [path for case in cases for path in (case.he, *case.further_he) if path is not None]
    rows = {m: sum(getattr(c, m) is None and c.row_id in tables.get(m, ()) for c in cases) for m in MODALITIES}
    return Files(
        slides=len(slides),
        slide_bytes=sum(map(_size, slides)),
        rna=sum(case.rna is not None for case in cases),
        text=sum(case.text is not None for case in cases),
        rna_rows=rows["rna"],
        text_rows=rows["text"],
    )


def _of_shard(index: int, cases: Sequence[SheetCase], config: Config, tables: TableIds) -> ShardPlan:
    inventory = Layout(config.out).inventory(shard_name(index))
    known = inventory.is_file()
    given: dict[str, tuple[Modality, ...]] = {case.case_id: given_of(case, tables) for case in cases}
    if known:
        from mupd.contracts.inventory import read_inventory

        given |= {case.case_id: case.given for case in read_inventory(inventory) if case.case_id in given}
    sets = Counter(given.values())
    tasks: Counter[str] = Counter()
    draws: Counter[Target] = Counter()
    for has, count in sets.items():
        for task, (target, each) in tasks_of_given(has, config).items():
            tasks[task] += count
            draws[target] += count * each
    files = _files(cases, tables)
    others = sum(_size(path) for case in cases for path in (case.rna, case.text))
    by_name = {"+".join(has): count for has, count in sets.items()}
    return ShardPlan(index, len(cases), dict(tasks), dict(draws), files.slide_bytes + others, known, by_name, files)


def disk_of(draws: dict[Target, int], config: Config) -> int:
    """Bytes that draws take at most, in the store and as artifacts; stains are not counted."""
    slide = config.slide.width_px * config.slide.height_px * 3 * _COPIES_HE
    others = draws.get("rna", 0) * _BYTES["rna"] + draws.get("text", 0) * _BYTES["text"]
    return int(draws.get("he", 0) * slide) + others


def plan_of(sheet: Sheet, config: Config, tables: TableIds) -> Plan:
    """What a run on a sheet has to do. Draws that are finished already are counted too.

    Parameters
    ----------
    tables
        Whose RNA or text is a row of a cohort table (:func:`mupd.run.table_ids.in_tables`).
    """
    shards = tuple(_of_shard(i, cases, config, tables) for i, cases in cases_by_shard(sheet, config.shards).items())
    tasks: Counter[str] = Counter()
    draws: Counter[Target] = Counter()
    for shard in shards:
        tasks.update(shard.tasks)
        draws.update(shard.draws)
    steps = config.sampler.steps
    evaluations = steps if config.sampler.solver == "euler" else 2 * steps - 1
    return Plan(
        shards, window_steps(config) // evaluations, evaluations, disk_of(dict(draws), config), dict(tasks), dict(draws)
    )
