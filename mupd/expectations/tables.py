"""Rows of the tables that expectation suites are evaluated on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mupd.base.ids import MODALITIES
from mupd.config.suite_columns import COLUMNS, Table
from mupd.contracts.inventory import CaseInventory
from mupd.sheet import SheetCase

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


def sheet_rows(cases: Iterable[SheetCase]) -> list[Row]:
    """Rows of ``sheet``, without paths and without the sheet's own ids."""
    return [
        {
            "case_id": case.case_id,
            "organ": case.organ,
            "diagnosis": case.diagnosis,
            "he_mpp": case.he_mpp,
            "slides": (case.he is not None) + len(case.further_he),
            "has_he": case.he is not None,
            "has_rna": case.rna is not None,
            "has_text": case.text is not None,
        }
        for case in cases
    ]


def inventory_rows(cases: Iterable[CaseInventory]) -> list[Row]:
    """Rows of ``inventory``, one for each modality of a case."""
    rows = []
    for case in cases:
        for modality in MODALITIES:
            entry = case.entries[modality]
            facts = entry.facts
            masked = facts.get("masked")
            rows.append(
                {
                    "case_id": case.case_id,
                    "modality": modality,
                    "status": entry.status,
                    "reason": entry.reason,
                    "source_sha256": entry.source_sha256,
                    "let_in": "synthetic_input" in facts,
                    "mpp": facts.get("mpp"),
                    "tissue_mm2": facts.get("tissue_mm2"),
                    "words": facts.get("words"),
                    "masked": sum(masked.values()) if isinstance(masked, Mapping) else None,
                }
            )
    return rows


def rna_rows(cases: Iterable[CaseInventory]) -> list[Row]:
    """Rows of ``rna_profiles``: facts of each measured matrix from the inventory; no matrix is read again."""
    rows = []
    for case in cases:
        entry = case.entries["rna"]
        if entry.status == "measured":
            row = {name: entry.facts.get(name) for name in COLUMNS["rna_profiles"]} | {"case_id": case.case_id}
            observations, empty = row["observations"], row["empty_observations"]
            row["empty_fraction"] = empty / observations if observations and empty is not None else None
            rows.append(row)
    return rows


def frame_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows as a data frame with exactly the table's columns; empty texts are null."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name, kind in COLUMNS[table].items():
        values = [row.get(name) for row in rows]
        if kind == "number":
            columns[name] = pd.array([None if value is None else float(value) for value in values], dtype="float64")
        elif kind == "flag":
            columns[name] = pd.array([bool(value) for value in values], dtype=bool)
        else:
            columns[name] = pd.Series(
                [str(value) if value not in (None, "") else None for value in values], dtype=object
            )
    return pd.DataFrame(columns, columns=list(COLUMNS[table]))
