"""What a shard's job depends on: its own rows and files, so that a change elsewhere reruns nothing here."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

from mupd.config import Config
from mupd.errors import Fault, InputFaults
from mupd.sheet import Sheet, cases_of_shard


def inputs_of_shard(sheet: Sheet, config: Config, index: int) -> list[str]:
    """Files named in the shard's rows, then the cohort tables."""
    files: list[str] = []
    for case in cases_of_shard(sheet, index, config.shards):
        files += [str(path) for path in (case.he, case.rna, case.text) if path is not None]
    tables = [path for path in (config.tables.rna, config.tables.text) if path is not None]
    return sorted(set(files)) + tables


def model_files(config: Config) -> list[str]:
    """Index and weights of the model: training one part anew reruns what it makes.

    Raises
    ------
    InputFaults
        If there is no model.
    """
    folder = Path(config.model)
    index = folder / "model_index.json"
    if not index.is_file():
        fault = Fault("configuration [model]", f"{config.model!r} without a model_index.json", "a model's folder")
        raise InputFaults("configuration", [fault])
    return [str(index), *sorted(str(path) for path in folder.glob("*/*.safetensors"))]


def rows_digest(sheet: Sheet, config: Config, index: int | None) -> str:
    """Short SHA-256 of the rows of a shard, or of the whole sheet (None); line numbers do not count."""
    cases = sheet.cases if index is None else cases_of_shard(sheet, index, config.shards)
    digest = hashlib.sha256()
    for case in cases:
        values = asdict(case)
        values.pop("line")
        digest.update(repr(sorted((key, str(value)) for key, value in values.items())).encode())
    return digest.hexdigest()[:16]
