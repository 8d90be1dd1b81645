"""A shard's rows of the sample sheet become its inventory."""

from __future__ import annotations

import json
from pathlib import Path

from mupd.config import Config
from mupd.errors import ModelError
from mupd.ids import shard_name
from mupd.intake.entries import inventory_of
from mupd.inventory import CaseInventory, write_inventory
from mupd.progress import track
from mupd.sheet import cases_of_shard, read_sheet


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


def run_shard(config: Config, shard: int) -> Path:
    """Examine the inputs of one shard's cases and write ``intake/SHARD.parquet``.

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
    inventories = [inventory_of(case, config, genes) for case in track(cases, f"intake {shard_name(shard)}")]
    path = config.out / "intake" / f"{shard_name(shard)}.parquet"
    write_inventory(path, inventories)
    return path


def status_rows(config: Config) -> list[CaseInventory]:
    """Every case of the sheet, in its order, examined as intake would; nothing is written."""
    genes = model_genes(config)
    return [inventory_of(case, config, genes) for case in track(read_sheet(config).cases, "examining cases")]
