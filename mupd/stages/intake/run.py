"""A shard's rows of the sample sheet become its inventory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from mupd.base.ids import shard_name, shard_of
from mupd.config import Config
from mupd.contracts.inventory import CaseInventory, write_inventory
from mupd.inputs.runners import cores, in_workers
from mupd.model_folder.contents import model_genes
from mupd.sheet import SheetCase, cases_of_shard, read_sheet
from mupd.stages.intake.cache import Cache, cache_path, checker_digest
from mupd.stages.intake.entries import inventories_of

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
    genes = model_genes(Path(config.model))
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
    genes = model_genes(Path(config.model))
    # What a run has remembered is used where there is one; a table is hashed only to look up its rows there.
    caches = _caches_read(config, genes) if (config.out / "intake" / "cache").is_dir() else None
    run = in_workers(config, genes, jobs or cores())
    return inventories_of(read_sheet(config).cases, config, run, caches, description="examining cases")
