"""A cohort table in which no id of the sheet has a row is a fault, not a cohort of holes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mupd.base.ids import Modality
from mupd.config import Config
from mupd.contracts.inventory import CaseInventory, Entry
from mupd.errors import UnusableError
from mupd.inputs.examine import NOT_IN_TABLE
from mupd.sheet import SheetCase

_TABLES: tuple[Modality, ...] = ("rna", "text")


def _ids_of(modality: Modality, table: Path) -> frozenset[str] | None:
    """Ids of a table; None if it does not read, which each of its cases already says."""
    from mupd.reports.files.tables import texts_of
    from mupd.rna.cohort_tables import rna_row_ids

    try:
        return rna_row_ids(table) if modality == "rna" else frozenset(texts_of(table))
    except UnusableError:
        return None


def with_unmatched_tables(
    inventories: Sequence[CaseInventory], sheet: Iterable[SheetCase], config: Config
) -> list[CaseInventory]:
    """The inventories; entries of a table without any row of the sheet's cases are unusable and say so.

    Parameters
    ----------
    inventories
        Of one shard, or of all cases.
    sheet
        All cases of the sheet.
    """
    checked = list(inventories)
    for modality in _TABLES:
        table: str | None = getattr(config.tables, modality)
        entries = [case.entries[modality] for case in checked]
        without_row = any(entry.reason == NOT_IN_TABLE for entry in entries)
        if table is None or not without_row or any(entry.source == table for entry in entries):
            continue
        ids = _ids_of(modality, Path(table))
        if ids is None or any(case.row_id in ids for case in sheet):
            continue
        reason = (
            f"none of the sheet's cases has a row in the cohort table, which has {len(ids):,} other ids: expected the "
            f"sheet's case_id as {'obs_names, first column or header' if modality == 'rna' else 'column case_id'}"
        )
        checked = [_with_reason(case, modality, reason) for case in checked]
    return checked


def _with_reason(case: CaseInventory, modality: Modality, reason: str) -> CaseInventory:
    entry = case.entries[modality]
    if entry.reason != NOT_IN_TABLE:
        return case
    unusable: Entry = replace(entry, status="unusable", reason=reason)
    return replace(case, entries=case.entries | {modality: unusable})
