"""Digests of the cohort tables' rows that a shard depends on: a row added to a table reruns its own shard alone.

The workflow needs them at parse time. A table is read once after each change, by a process of its own
(:mod:`mupd.run.table_digests`). The digests are kept in ``.snakemake``, together with the table's size, times and
inode. A table without a digest for every row stays an input of every shard.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mupd.base.files import write_json
from mupd.base.ids import MODALITIES, Modality
from mupd.base.near_ids import IdIndex
from mupd.base.package_files import PACKAGE_PARENT
from mupd.config import Config
from mupd.sheet import SheetCase
from mupd.sheet.sources import sources_of

INDEX_NAME = "mupd-table-rows.json"
_FORMAT = 2
_MOST_SECONDS = 300

Key = tuple[Modality, str]


@dataclass(frozen=True)
class TableRows:
    """Digests of the rows of tables.

    Attributes
    ----------
    whole
        What all rows of a table depend on, by modality and path.
    rows
        {id: digest} of each of these tables.
    """

    whole: Mapping[Key, str] = field(default_factory=dict)
    rows: Mapping[Key, Mapping[str, str]] = field(default_factory=dict)

    def knows(self, modality: Modality, path: str) -> bool:
        """Whether every row of the table has a digest."""
        return (modality, path) in self.rows

    def case_ids(self, config: Config) -> dict[Modality, frozenset[str]]:
        """Case ids of the configured cohort tables that have a digest for every row."""
        named: dict[Modality, str | None] = {"rna": config.tables.rna, "text": config.tables.text}
        return {
            modality: frozenset(self.rows[modality, path])
            for modality, path in named.items()
            if path is not None and self.knows(modality, path)
        }

    def digest(self, cases: Sequence[SheetCase], config: Config) -> str:
        """Digest of the rows of some cases in these tables, and of what these rows depend on."""
        digest = hashlib.sha256()
        ids = {key: IdIndex(rows) for key, rows in self.rows.items()} if config.tables.match_ids == "near" else {}
        for case in cases:
            for modality, path, row_id in table_rows_of(case, config):
                if self.knows(modality, path):
                    key = (modality, path)
                    row = (ids[key].row_of(row_id, "near") if ids else None) or row_id
                    digest.update(repr((modality, row, self.whole[key], self.rows[key].get(row, ""))).encode())
        return digest.hexdigest()[:16]


def table_rows_of(case: SheetCase, config: Config) -> list[tuple[Modality, str, str]]:
    """(modality, table, row id) of each row that a case is read from."""
    return [
        (modality, str(source.path), source.row)
        for modality in MODALITIES
        for source in sources_of(case, modality, config)
        if source.is_table
    ]


def _signature(path: str) -> list[int]:
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _read_index(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return dict(held["tables"]) if held["format"] == _FORMAT else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _examined(modality: Modality, path: str) -> dict[str, Any] | None:
    """The answer of :mod:`mupd.run.table_digests`; None if it gives none."""
    search = os.pathsep.join(filter(None, [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mupd.run.table_digests", modality, path],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
            timeout=_MOST_SECONDS,
            check=False,
        )
        return json.loads(done.stdout) if done.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        return None


def table_rows(cases: Iterable[SheetCase], config: Config, folder: Path, examine: bool) -> TableRows:
    """Digests of the rows of all tables that some cases are read from.

    Parameters
    ----------
    folder
        Folder of the index: the workflow's ``.snakemake``.
    examine
        Whether to read tables that have changed since the index was written, and to write it again. Jobs of a cluster
        do not.
    """
    index_path = folder / INDEX_NAME
    wanted = dict.fromkeys((modality, path) for case in cases for modality, path, _ in table_rows_of(case, config))
    held = _read_index(index_path) if wanted else {}
    kept: dict[str, Any] = {}
    whole: dict[Key, str] = {}
    rows: dict[Key, dict[str, str]] = {}
    for modality, path in wanted:
        name = f"{modality} {os.path.abspath(path)}"
        try:
            signature = _signature(path)
        except OSError:
            continue
        entry = held.get(name)
        if not entry or entry.get("signature") != signature:
            if not examine:
                continue
            entry = {"signature": signature, "digests": _examined(modality, path)}
        kept[name] = entry
        if (digests := entry["digests"]) is not None:
            whole[modality, path] = str(digests["whole"])
            rows[modality, path] = digests["rows"]
    if examine and kept != {name: held.get(name) for name in kept}:
        write_json(index_path, {"format": _FORMAT, "tables": kept})
    return TableRows(whole, rows)
