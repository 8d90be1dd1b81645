"""Which case is given what, and what is withheld from it: fixed, so that runs can be compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mupd.base.ids import Modality
from mupd.training.public.labels import HER2ST_RECORD, tcga_records
from mupd.training.public.read import TCGA_COHORTS
from mupd.training.public.splits import TEST_PATIENTS, is_held_out

Seen = Literal["held out", "in training", "codec only"]
"""Whether the model was trained on the case; ``codec only``: its spots helped to choose genes and axes alone."""


Part = Literal["her2st", "tcga"]
"""The cohort is run in two parts, each a run of the workflow of its own."""


@dataclass(frozen=True)
class Case:
    """One case of the cohort.

    Attributes
    ----------
    source
        Name of a HER2ST section, or id of a TCGA patient.
    table
        TCGA cohort of the patient ("" for a section).
    given, withheld
        Modalities in the run's inputs, and those whose truth is kept for the comparison. A modality in
        neither has no truth here; it is imputed and not compared.
    record
        What the public tables state, {field: value}.
    pictures, mpp
        File names of the patient's H&E and their micrometres per pixel; None where no one states it.
    report
        The patient's real pathology report; "" where there is none.
    unusable
        Given modalities that the pipeline has to refuse.
    """

    case_id: str
    source: str
    table: str
    given: tuple[Modality, ...]
    withheld: tuple[Modality, ...]
    seen: Seen
    record: dict[str, str]
    pictures: tuple[str, ...] = ()
    mpp: float | None = None
    report: str = field(default="", repr=False)
    unusable: tuple[Modality, ...] = ()

    @property
    def used(self) -> tuple[Modality, ...]:
        """What the pipeline can work with: the given modalities that it does not have to refuse."""
        return tuple(modality for modality in self.given if modality not in self.unusable)

    @property
    def is_section(self) -> bool:
        """Whether it is a HER2ST section with spots, and not a patient with a bulk profile."""
        return not self.table

    def place_of(self, modality: Modality) -> str:
        """Where a modality of this case is, relative to the data folder."""
        if self.is_section:
            places: dict[Modality, str] = {
                "he": f"her2st/images/{self.source}.jpg",
                "rna": f"her2st/counts/{self.source}.tsv.gz and her2st/spots/{self.source}_selection.tsv",
                "text": "HER2ST holds HER2-positive invasive breast carcinomas only (Andersson et al. 2021)",
            }
            return places[modality]
        if modality == "he":
            return "; ".join(f"tcga/he/{name}" for name in self.pictures)
        tables = f"{self.table}_log2tpm.csv.gz" if modality == "rna" else f"{self.table}_clinical.csv"
        if modality == "text" and self.report:
            tables += f" and {self.table}_reports.csv.gz"
        return f"tcga/{tables} [{self.source}]"


SECTIONS: tuple[tuple[str, str, tuple[Modality, ...], tuple[Modality, ...]], ...] = (
    ("RC-01", "C5", ("he",), ("rna", "text")),
    ("RC-02", "C5", ("rna",), ("he", "text")),
    ("RC-03", "B4", ("he",), ("rna", "text")),
    ("RC-04", "C2", ("rna",), ("he", "text")),
    ("RC-05", "C3", ("he", "text"), ("rna",)),
    ("RC-06", "C4", ("rna", "text"), ("he",)),
    ("RC-07", "D1", ("rna",), ("text",)),
)
PATIENTS: tuple[tuple[str, str, int, tuple[Modality, ...], tuple[Modality, ...]], ...] = (
    ("RC-08", "blca", 0, ("rna",), ("text",)),
    ("RC-09", "coadread", 0, ("rna",), ("text",)),
    ("RC-10", "stad", 0, ("rna",), ("text",)),
    ("RC-11", "coadread", 1, ("text",), ("rna",)),
    ("RC-12", "stad", 1, ("text",), ("rna",)),
)
"""The third entry counts the patients of the held-out tenth of a cohort by id, of those whose T category is known."""

PARTS: tuple[Part, ...] = ("her2st", "tcga")
SMALL = ("RC-01", "RC-02", "TCGA-ZF-A9R5-no-he-rna", "RC-10", "RC-12")
"""Cases of the small form: one of each direction, and one of the patients with all three."""


def reports_of(tcga: Path, table: str) -> dict[str, str]:
    """Real pathology report of each patient of a TCGA cohort that has one."""
    import pandas as pd

    rows = pd.read_csv(tcga / f"{table}_reports.csv.gz", dtype=str, keep_default_na=False)
    return dict(zip(rows["case_id"], rows["text"], strict=True))


def _patients(tcga: Path) -> dict[str, list[tuple[str, dict[str, str]]]]:
    import pandas as pd

    patients = {}
    for table in TCGA_COHORTS:
        ids = pd.read_csv(tcga / f"{table}_log2tpm.csv.gz", usecols=[0]).iloc[:, 0]
        once = set(ids[~ids.duplicated(keep=False)])
        records = tcga_records(tcga, table)
        known = sorted(
            case
            for case in (once & records.keys()) - TEST_PATIENTS
            if is_held_out(case) and {"diagnosis", "t_category"} <= records[case].keys()
        )
        patients[table] = [(case, records[case]) for case in known]
    return patients


def sections(data: Path, trained_sections: tuple[str, ...]) -> list[Case]:
    """The seven HER2ST cases.

    Parameters
    ----------
    trained_sections
        Sections that the model says it was trained on.
    """
    cases = []
    for case_id, section, given, withheld in SECTIONS:
        has_picture = (data / "her2st" / "images" / f"{section}.jpg").exists()
        seen: Seen = "in training" if section in trained_sections else "held out" if has_picture else "codec only"
        cases.append(Case(case_id, section, "", given, withheld, seen, dict(HER2ST_RECORD)))
    return cases


def pairs(data: Path) -> list[Case]:
    """The five patients of the held-out tenth, with RNA and report and no picture."""
    people = _patients(data / "tcga")
    reports = {table: reports_of(data / "tcga", table) for table in TCGA_COHORTS}
    return [
        Case(case_id, source, table, given, withheld, "held out", record, report=reports[table].get(source, ""))
        for case_id, table, number, given, withheld in PATIENTS
        for source, record in (people[table][number],)
    ]


def chosen(cases: list[Case], small: bool) -> list[Case]:
    """All cases, or those of the small form."""
    return [case for case in cases if not small or case.case_id in SMALL]


def withheld_record(cases: list[Case], data: str, model: dict[str, Any]) -> dict[str, Any]:
    """What OUT/withheld.json says: for each case what is given, what is withheld and where the truth is."""
    return {
        "data": data,
        "model": model,
        "cases": [
            {
                "case_id": case.case_id,
                "source": case.source,
                "model_has_seen_it": case.seen,
                "given": {modality: case.place_of(modality) for modality in case.given},
                "withheld": {modality: case.place_of(modality) for modality in case.withheld},
            }
            for case in cases
        ],
    }
