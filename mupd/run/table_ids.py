"""Case ids in the cohort tables, read without values. Only intake decides whether a row is usable."""

from __future__ import annotations

from pathlib import Path

from mupd.base.ids import Modality
from mupd.config import Config
from mupd.errors import Fault, InputFaults, UnusableError
from mupd.sheet.columns import is_anndata

TableIds = dict[Modality, frozenset[str]]

QUICK_BYTES = 50_000_000
"""A text table up to this size is read in a second or two. The index of an .h5ad is short at any size."""


def table_ids(modality: Modality, path: Path) -> frozenset[str]:
    """Case ids of a cohort table.

    Raises
    ------
    InputFaults
        If it cannot be read.
    """
    from mupd.reports.files.tables import texts_of
    from mupd.rna.cohort_tables import rna_row_ids

    try:
        return rna_row_ids(path) if modality == "rna" else frozenset(texts_of(path))
    except (UnusableError, OSError) as error:
        raise InputFaults("cohort tables", [Fault(path.name, str(error), "a cohort table")]) from error


def _is_long(path: Path, max_bytes: int) -> bool:
    if is_anndata(path):
        return False
    expansion = 4 if path.suffix.lower() == ".gz" else 1
    return path.stat().st_size * expansion > max_bytes


def in_tables(config: Config, max_bytes: int | None = None) -> TableIds:
    """Case ids in the configured tables, by modality.

    Parameters
    ----------
    max_bytes
        Leave out larger text tables, and tables that cannot be read; None reads all and raises.

    Raises
    ------
    InputFaults
        If a table cannot be read and `max_bytes` is None.
    """
    ids: TableIds = {}
    named: dict[Modality, str | None] = {"rna": config.tables.rna, "text": config.tables.text}
    for modality, name in named.items():
        if name is None:
            continue
        try:
            if max_bytes is None or not _is_long(Path(name), max_bytes):
                ids[modality] = table_ids(modality, Path(name))
        except (InputFaults, OSError):
            if max_bytes is None:
                raise
    return ids
