"""A shard's rows of the sample sheet become its inventory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mupd.base.ids import shard_name, shard_of
from mupd.config import Config
from mupd.contracts.inventory import CaseInventory, write_inventory
from mupd.errors import ModelError
from mupd.inputs.examine import Outcome
from mupd.inputs.pool import pool_of
from mupd.sheet import SheetCase, cases_of_shard, read_sheet
from mupd.stages.intake.answers import Numbered, Runner
from mupd.stages.intake.cache import Cache, cache_path, checker_digest
from mupd.stages.intake.entries import inventories_of

_SAVE_SECONDS = 30.0


def model_genes(config: Config) -> tuple[str, ...]:
    """Gene symbols of the model, from ``genes.json`` of its folder; nothing else of the model is opened.

    Raises
    ------
    ModelError
        If the file is not there or is not a list of names.
    """
    path = Path(config.model) / "genes.json"
    try:
        genes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: {error}; expected the model's gene symbols as a JSON list") from error
    if not isinstance(genes, list) or not genes or not all(isinstance(gene, str) for gene in genes):
        raise ModelError(f"{path}: expected a JSON list of gene symbols")
    return tuple(genes)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_workers(config: Config, genes: tuple[str, ...], jobs: int) -> Runner:
    """A runner in up to `jobs` processes, each input under the limits of intake.file_seconds and intake.file_mb."""

    def run(requests: Sequence[Numbered]) -> Iterator[tuple[int, Outcome]]:
        return pool_of(jobs).run(requests, config, genes)

    return run


def _every_so_often(save: Callable[[], None]) -> Callable[[], None]:
    last = time.monotonic()

    def step() -> None:
        nonlocal last
        if time.monotonic() - last > _SAVE_SECONDS:
            save()
            last = time.monotonic()

    return step


def run_shard(config: Config, shard: int, jobs: int = 1) -> Path:
    """Examine the inputs of one shard's cases and write ``intake/SHARD.parquet``.

    What was found is remembered in ``intake/cache``: an input that has not changed is not read again.

    Parameters
    ----------
    jobs
        How many inputs are read at a time, each in a process of its own.

    Returns
    -------
    The path written.

    Raises
    ------
    InputFaults
        If the sheet cannot be used.
    ModelError
        If the model folder has no list of genes.
    """
    cases = cases_of_shard(read_sheet(config), shard, config.shards)
    genes = model_genes(config)
    cache = Cache(cache_path(config, shard), checker_digest(config, genes))
    try:
        inventories = inventories_of(
            cases,
            config,
            in_workers(config, genes, jobs),
            lambda _: cache,
            description=f"intake {shard_name(shard)}",
            between=_every_so_often(cache.save),
        )
    finally:
        # What was read before an interruption need not be read after it.
        cache.save()
    path = config.out / "intake" / f"{shard_name(shard)}.parquet"
    write_inventory(path, inventories)
    return path


def _caches_read(config: Config, genes: tuple[str, ...]) -> Callable[[SheetCase], Cache]:
    """The shards' caches, to be looked into and never saved."""
    checker = checker_digest(config, genes)
    opened: dict[int, Cache] = {}

    def cache_of(case: SheetCase) -> Cache:
        shard = shard_of(case.case_id, config.shards)
        if shard not in opened:
            opened[shard] = Cache(cache_path(config, shard), checker)
        return opened[shard]

    return cache_of


def status_rows(config: Config, jobs: int | None = None) -> list[CaseInventory]:
    """Every case of the sheet, in its order, examined as intake would; nothing is written.

    Parameters
    ----------
    jobs
        How many inputs are read at a time; all cores if None.
    """
    genes = model_genes(config)
    # What a run has remembered is used where there is one; a table is hashed only to look up its rows there.
    caches = _caches_read(config, genes) if (config.out / "intake" / "cache").is_dir() else None
    run = in_workers(config, genes, jobs or cores())
    return inventories_of(read_sheet(config).cases, config, run, caches, description="examining cases")
