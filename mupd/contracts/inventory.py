"""The inventory: what each case has, and the tasks that follow. Stages meet in this table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mupd.base.files import atomic_path
from mupd.base.ids import MODALITIES, Modality, Target, seed_of, stain_name, stain_target
from mupd.config import Config
from mupd.errors import MupdError
from mupd.sheet.sources import Source

Status = Literal["measured", "missing", "unusable"]
RNA_VALUES = "rna_values_stated"
"""The fact of an RNA input that holds the scale as sheet or configuration state it; absent for ``auto``."""

MATCHED_ROW = "matched_row"
"""The fact that holds the id of a table's row that nearly matches the case's id (``tables.match_ids``)."""

NOTHING_GIVEN = "nothing to condition on: no modality of this case is measured"


@dataclass(frozen=True)
class Entry:
    """One modality of one case.

    Attributes
    ----------
    status, reason
        ``measured``, ``missing`` or ``unusable``; the reason says why, with the fix.
    source, source_row
        Path of the input ("" = none); of a row of a table also its id.
    source_sha256
        Content hash of the input ("" = none); for a cohort table that of the case's own row.
    facts
        Plain JSON values found on the way (sizes, mpp, genes, words, evidence, ...).
    """

    case_id: str
    modality: Modality
    status: Status
    reason: str = ""
    source: str = ""
    source_sha256: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    source_row: str = ""

    @property
    def origin(self) -> Source:
        """The input as a source, to be read again.

        Raises
        ------
        MupdError
            If the entry has none.
        """
        if not self.source:
            raise MupdError(f"{self.case_id} [{self.modality}]: the inventory names no input; expected its path")
        row = self.facts.get(MATCHED_ROW, self.source_row)
        return Source(Path(self.source), row, rna_values=self.facts.get(RNA_VALUES, "auto"))

    @property
    def source_name(self) -> str:
        """The input as people read it: ``PATH``, ``PATH::ROW``, or "" for none."""
        return self.origin.name if self.source else ""

    @property
    def public_reason(self) -> str:
        """The reason without the path of the input: that one is the user's own and is not published."""
        reason = self.reason.replace(self.source, "the input") if self.source else self.reason
        return reason.removeprefix("the input: ")


@dataclass(frozen=True)
class CaseInventory:
    """One case: its three entries and what the sheet says beside them.

    Attributes
    ----------
    sheet_id
        The id in the sheet, where `case_id` had to be another (:func:`mupd.base.ids.artifact_name`); else empty.
    """

    case_id: str
    entries: dict[Modality, Entry]
    organ: str = ""
    diagnosis: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    sheet_id: str = ""

    @property
    def given(self) -> tuple[Modality, ...]:
        """The measured modalities, in the order he, rna, text."""
        return tuple(m for m in MODALITIES if self.entries[m].status == "measured")


@dataclass(frozen=True)
class Task:
    """Impute `target` of one case from `given`; one seed a draw."""

    case_id: str
    target: Target
    given: tuple[Modality, ...]
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """E.g. ``rna+text->he``, or ``he->mif`` for a stain."""
        return f"{'+'.join(self.given)}->{stain_name(self.target) or self.target}"


def tasks_of(case: CaseInventory, config: Config) -> list[Task]:
    """The tasks that follow from a case's statuses: one for each modality that is not measured, then its stains.

    A case with nothing measured has none: it is recorded as failed (:data:`NOTHING_GIVEN`).
    """
    if not case.given:
        return []
    tasks = []
    for target in MODALITIES:
        if target not in case.given:
            draws: int = getattr(config.draws, target)
            seeds = tuple(seed_of(config.seed, case.case_id, target, draw) for draw in range(draws))
            tasks.append(Task(case.case_id, target, case.given, seeds))
    return tasks + stain_tasks_of(case, config)


def why_not_stained(case: CaseInventory) -> str:
    """Why a case's slide is not stained; "" for one that is measured.

    A synthetic slide is none, also where it was let in as an input: a stain of a guess would pass as one of tissue.
    """
    entry = case.entries["he"]
    if "synthetic_input" in entry.facts:
        return "not stained: the slide carries synthetic marks, and only a measured slide is stained"
    return "" if entry.status == "measured" else f"not stained: the slide is {entry.status}"


def stain_tasks_of(case: CaseInventory, config: Config) -> list[Task]:
    """A task for each configured stain of a case whose slide is measured; none for any other."""
    if why_not_stained(case):
        return []
    tasks = []
    for stain in config.stains:
        target = stain_target(stain.name)
        seeds = tuple(seed_of(config.seed, case.case_id, target, draw) for draw in range(stain.draws))
        tasks.append(Task(case.case_id, target, ("he",), seeds))
    return tasks


_COLUMNS = (
    "case_id",
    "sheet_id",
    "organ",
    "diagnosis",
    "extra",
    "modality",
    "status",
    "reason",
    "source",
    "source_row",
    "source_sha256",
    "facts",
)


def write_inventory(path: Path, cases: list[CaseInventory]) -> None:
    """Write three rows a case as parquet, atomically; `facts` and `extra` are JSON strings."""
    import pandas as pd

    rows = []
    for case in cases:
        shared = {
            "sheet_id": case.sheet_id,
            "organ": case.organ,
            "diagnosis": case.diagnosis,
            "extra": json.dumps(case.extra, sort_keys=True),
        }
        for modality in MODALITIES:
            row = asdict(case.entries[modality]) | shared
            row["facts"] = json.dumps(row["facts"], sort_keys=True)
            rows.append(row)
    with atomic_path(path) as temporary:
        pd.DataFrame(rows, columns=list(_COLUMNS)).astype(str).to_parquet(temporary, index=False)


def read_inventory(path: Path) -> list[CaseInventory]:
    """Read what :func:`write_inventory` wrote, cases in the order written.

    Raises
    ------
    MupdError
        If it is not there.
    """
    import pandas as pd

    if not path.is_file():
        raise MupdError(f"{path}: not there; run `mupd intake` on this shard first")

    cases = []
    for case_id, rows in pd.read_parquet(path).groupby("case_id", sort=False):
        entries: dict[Modality, Entry] = {}
        for row in rows.to_dict("records"):
            facts = json.loads(row["facts"])
            entries[row["modality"]] = Entry(
                str(case_id),
                row["modality"],
                row["status"],
                row["reason"],
                row["source"],
                row["source_sha256"],
                facts,
                row["source_row"],
            )
        first = rows.iloc[0]
        extra = json.loads(first["extra"])
        cases.append(CaseInventory(str(case_id), entries, first["organ"], first["diagnosis"], extra, first["sheet_id"]))
    return cases
