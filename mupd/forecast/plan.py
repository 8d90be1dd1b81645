"""What a run has to do, from the sheet or, where a shard has one, its inventory: tasks, draws, windows, bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mupd.config import Config
from mupd.ids import MODALITIES, Modality, shard_name
from mupd.job_resources import window_steps
from mupd.shards import cases_by_shard
from mupd.sheet import Sheet, SheetCase

_BYTES = {"rna": 8_000_000, "text": 1_000_000}
"""Bound of the bytes that a draw of RNA or of a record takes, in the store and as artifacts."""

_COPIES_HE = 3.5
"""Of a generated slide's pixels: the store's, and its pyramid and picture as artifacts, at most."""


@dataclass(frozen=True)
class ShardPlan:
    """What one shard has to do.

    Attributes
    ----------
    tasks
        {``rna+text->he``: cases}.
    draws
        {target: draws}.
    input_bytes
        Of the files that the sheet names; folders and cohort tables are not counted.
    known
        Whether intake has run: unusable inputs are then known, which a sheet does not tell.
    """

    shard: int
    cases: int
    tasks: dict[str, int]
    draws: dict[Modality, int]
    input_bytes: int = 0
    known: bool = False


@dataclass(frozen=True)
class Plan:
    """What a run has to do; one slide is `tiles` windows, each evaluated `evaluations` times."""

    shards: tuple[ShardPlan, ...]
    tiles: int
    evaluations: int
    disk_bytes: int
    tasks: dict[str, int] = field(default_factory=dict)
    draws: dict[Modality, int] = field(default_factory=dict)


def _in_tables(config: Config) -> dict[Modality, frozenset[str]]:
    """Ids that the cohort tables have a row of; of a table that is not text, the ids are those of its index."""
    found: dict[Modality, frozenset[str]] = {}
    tables: dict[Modality, str | None] = {"rna": config.tables.rna, "text": config.tables.text}
    for modality, table in tables.items():
        found[modality] = table_ids(Path(table)) if table else frozenset()
    return found


def table_ids(path: Path) -> frozenset[str]:
    """Ids of a table: first cells of its rows (.tsv, .csv, also .gz) or an .h5ad's index; no value is read."""
    if path.suffix == ".h5ad":
        import h5py

        with h5py.File(path) as file:
            index = file["obs"].attrs.get("_index", "_index")
            return frozenset(str(name) for name in file["obs"][index].asstr()[:])
    import csv
    import gzip
    import io

    mark = "," if ".csv" in path.name.lower() else "\t"
    csv.field_size_limit(1 << 30)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as packed:
        text = io.TextIOWrapper(packed, encoding="utf-8-sig", errors="replace", newline="")
        rows = csv.reader(text, delimiter=mark)
        header = next(rows, [])
        at = header.index("case_id") if "case_id" in header else 0
        return frozenset(row[at].strip() for row in rows if len(row) > at)


def given_of(case: SheetCase, tables: dict[Modality, frozenset[str]]) -> tuple[Modality, ...]:
    """What a case has, by its row of the sheet and the cohort tables; whether it is usable is not known."""
    return tuple(m for m in MODALITIES if getattr(case, m) is not None or case.row_id in tables.get(m, ()))


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path is not None and path.is_file() else 0
    except OSError:
        return 0


def _of_shard(
    index: int, cases: Sequence[SheetCase], config: Config, tables: dict[Modality, frozenset[str]]
) -> ShardPlan:
    inventory = config.out / "intake" / f"{shard_name(index)}.parquet"
    known = inventory.is_file()
    given: dict[str, tuple[Modality, ...]] = {case.case_id: given_of(case, tables) for case in cases}
    if known:
        from mupd.inventory import read_inventory

        given |= {case.case_id: case.given for case in read_inventory(inventory) if case.case_id in given}
    tasks: Counter[str] = Counter()
    draws: Counter[Modality] = Counter()
    for has in given.values():
        for target in MODALITIES if has else ():
            if target not in has:
                tasks[f"{'+'.join(has)}->{target}"] += 1
                draws[target] += getattr(config.draws, target)
    files = {path for case in cases for path in (case.he, *case.further_he, case.rna, case.text) if path is not None}
    return ShardPlan(index, len(cases), dict(tasks), dict(draws), sum(map(_size, files)), known)


def disk_of(draws: dict[Modality, int], config: Config) -> int:
    """Bytes that draws take at most, in the store and as artifacts."""
    slide = config.slide.width_px * config.slide.height_px * 3 * _COPIES_HE
    others = draws.get("rna", 0) * _BYTES["rna"] + draws.get("text", 0) * _BYTES["text"]
    return int(draws.get("he", 0) * slide) + others


def plan_of(sheet: Sheet, config: Config) -> Plan:
    """What a run on a sheet has to do. Draws that are finished already are counted too."""
    tables = _in_tables(config)
    shards = tuple(_of_shard(i, cases, config, tables) for i, cases in cases_by_shard(sheet, config.shards).items())
    tasks: Counter[str] = Counter()
    draws: Counter[Modality] = Counter()
    for shard in shards:
        tasks.update(shard.tasks)
        draws.update(shard.draws)
    steps = config.sampler.steps
    evaluations = steps if config.sampler.solver == "euler" else 2 * steps - 1
    return Plan(
        shards, window_steps(config) // evaluations, evaluations, disk_of(dict(draws), config), dict(tasks), dict(draws)
    )


def disk_bytes(sheet: Sheet, config: Config) -> int:
    """Bytes that a run writes at most."""
    return plan_of(sheet, config).disk_bytes
