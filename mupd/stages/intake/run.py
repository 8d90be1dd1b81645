"""Makes the inventory of a shard from its rows of the sample sheet."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from mupd.base.ids import shard_name, shard_of
from mupd.config import Config
from mupd.contracts.inventory import CaseInventory, write_inventory
from mupd.contracts.layout import Layout
from mupd.inputs.runners import cores, in_workers
from mupd.model_folder.contents import model_genes
from mupd.sheet import SheetCase, cases_of_shard, read_sheet
from mupd.stages.intake.cache import Cache, cache_path, checker_digest
from mupd.stages.intake.entries import inventories_of
from mupd.stages.intake.unmatched import with_unmatched_tables

_SAVE_SECONDS = 30.0


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

    Outcomes are kept in ``intake/cache``: an input that has not changed is not read again.

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
    sheet = read_sheet(config)
    cases = cases_of_shard(sheet, shard, config.shards)
    genes = model_genes(Path(config.model))
    remembered = Cache(cache_path(config, shard), checker_digest(config, genes))
    try:
        inventories = inventories_of(
            cases,
            config,
            in_workers(config, genes, jobs),
            lambda _: remembered,
            description=f"intake {shard_name(shard)}",
            between=_every_so_often(remembered.save),
        )
    finally:
        # What was read before an interruption need not be read after it.
        remembered.save()
    path = Layout(config.out).inventory(shard_name(shard))
    write_inventory(path, with_unmatched_tables(inventories, sheet.cases, config))
    return path


def _caches_to_read(config: Config, genes: tuple[str, ...]) -> Callable[[SheetCase], Cache]:
    """The caches of all shards, each opened once and never saved."""
    checker = checker_digest(config, genes)
    of_shard = cache(lambda shard: Cache(cache_path(config, shard), checker))
    return lambda case: of_shard(shard_of(case.case_id, config.shards))


def status_rows(config: Config, jobs: int | None = None) -> list[CaseInventory]:
    """The inventory of every case, in the order of the sheet, examined as intake would; writes nothing.

    Parameters
    ----------
    jobs
        How many inputs are read at a time; all cores if None.
    """
    genes = model_genes(Path(config.model))
    # Without caches of an earlier run nothing is remembered: a table need not be hashed.
    caches = _caches_to_read(config, genes) if Layout(config.out).intake_cache.is_dir() else None
    run = in_workers(config, genes, jobs or cores())
    cases = read_sheet(config).cases
    inventories = inventories_of(cases, config, run, caches, description="examining cases")
    return with_unmatched_tables(inventories, cases, config)
