"""Cases of a sample sheet, and which shard each belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mupd.base.ids import shard_of


@dataclass(frozen=True)
class SheetCase:
    """One row of the sheet. Paths are ready to open; None if the cell is empty.

    Attributes
    ----------
    case_id
        The case's name in files and artifacts, see :func:`mupd.base.ids.artifact_name`.
    he_mpp
        Micrometres per pixel of the slide's level 0, if the sheet states it.
    extra
        Free columns (``x_...``), carried through.
    line
        Line of the sheet on which the row begins.
    sheet_id
        The id in the sheet and in cohort tables if it differs from `case_id`; else empty.
    further_he
        Slides of the case after the first one, `he`.
    rna_values
        Scale of the RNA values, as :func:`mupd.base.rna_scales.check_stated` names it; empty if the sheet states none.
    rna_row, text_row
        Id of the case's row if the cell reads ``TABLE::ROW``, with `rna` or `text` as that table; else empty.
    """

    case_id: str
    he: Path | None
    rna: Path | None
    text: Path | None
    he_mpp: float | None
    organ: str
    diagnosis: str
    extra: dict[str, str]
    line: int
    sheet_id: str = ""
    further_he: tuple[Path, ...] = ()
    rna_values: str = ""
    rna_row: str = ""
    text_row: str = ""

    @property
    def row_id(self) -> str:
        """The id by which a cohort table knows the case."""
        return self.sheet_id or self.case_id


@dataclass(frozen=True)
class Sheet:
    """All cases of a sheet, in its order."""

    path: Path
    cases: tuple[SheetCase, ...]


def cases_of_shard(sheet: Sheet, index: int, shards: int) -> tuple[SheetCase, ...]:
    """The cases of one of `shards` shards, in the order of the sheet."""
    return tuple(case for case in sheet.cases if shard_of(case.case_id, shards) == index)


def cases_by_shard(sheet: Sheet, shards: int) -> dict[int, list[SheetCase]]:
    """The cases of each shard that holds any, in the order of the sheet; shards ascending."""
    cases_of: dict[int, list[SheetCase]] = {}
    for case in sheet.cases:
        cases_of.setdefault(shard_of(case.case_id, shards), []).append(case)
    return dict(sorted(cases_of.items()))


def filled_shards(sheet: Sheet, shards: int) -> list[int]:
    """Indices of the shards that hold at least one case, ascending."""
    return sorted({shard_of(case.case_id, shards) for case in sheet.cases})
