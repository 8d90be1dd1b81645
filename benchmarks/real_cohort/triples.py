"""Six TCGA patients with H&E, RNA and report, each under every pattern of what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.real_cohort.pattern import Case, reports_of
from mupd.base.ids import MODALITIES, Modality
from mupd.training.public.labels import tcga_records
from mupd.training.public.splits import TEST_PATIENTS


@dataclass(frozen=True)
class Triple:
    """A patient with all three.

    Attributes
    ----------
    table
        TCGA cohort.
    begins
        How the names of the patient's pictures in ``tcga/he`` begin.
    mpp
        Micrometres per pixel as their source states it; None where it does not, and none is made up.
    """

    source: str
    table: str
    begins: str
    mpp: float | None


TRIPLES = (
    Triple("TCGA-DK-A2I6", "blca", "TCGA-DK-A2I6-01A-01-TS1", 0.25),
    Triple("TCGA-G2-A2EK", "blca", "TCGA-G2-A2EK-01A-02-TSB", 0.25),
    Triple("TCGA-ZF-A9R5", "blca", "TCGA-ZF-A9R5-01A-01-TS1", 0.25),
    Triple("TCGA-BL-A3JM", "blca", "TCGA-BL-A3JM-01Z", 0.5),
    Triple("TCGA-AD-6964", "coadread", "TCGA-AD-6964-01Z", 0.5),
    Triple("TCGA-3M-AB46", "stad", "TCGA-3M-AB46-01Z", None),
)
"""Those of :data:`~mupd.training.public.read.TEST_PATIENTS`, which no training reads anything of."""

MISSING: tuple[tuple[Modality, ...], ...] = (
    ("he",),
    ("rna",),
    ("text",),
    ("he", "rna"),
    ("he", "text"),
    ("rna", "text"),
)
"""Every pattern in which a case can lack one or two of the three."""


def case_name(source: str, missing: tuple[Modality, ...]) -> str:
    """E.g. ``TCGA-BL-A3JM-no-he-rna``."""
    return f"{source}-no-{'-'.join(missing)}"


def cases_of(patient: Triple, pictures: tuple[str, ...], report: str, record: dict[str, str]) -> list[Case]:
    """The patient's six cases. A picture without a scale has to be refused in each of them.

    Raises
    ------
    ValueError
        If the patient is none of those that are kept from training by name.
    """
    if patient.source not in TEST_PATIENTS:
        raise ValueError(f"{patient.source}: expected one of {sorted(TEST_PATIENTS)}, which no training reads")
    cases = []
    for missing in MISSING:
        given = tuple(modality for modality in MODALITIES if modality not in missing)
        cases.append(
            Case(
                case_name(patient.source, missing),
                patient.source,
                patient.table,
                given,
                missing,
                "held out",
                record,
                pictures,
                patient.mpp,
                report,
                ("he",) if patient.mpp is None and "he" in given else (),
            )
        )
    return cases


def triples(data: Path) -> list[Case]:
    """The 36 cases of the six patients: six patterns each.

    Raises
    ------
    FileNotFoundError
        If a patient has no picture or no report.
    """
    cases = []
    for patient in TRIPLES:
        pictures = tuple(sorted(path.name for path in (data / "tcga" / "he").glob(f"{patient.begins}*")))
        report = reports_of(data / "tcga", patient.table).get(patient.source, "")
        for name, rows in (("picture in tcga/he", pictures), (f"row in tcga/{patient.table}_reports.csv.gz", report)):
            if not rows:
                raise FileNotFoundError(f"{patient.source}: found no {name}")
        record = tcga_records(data / "tcga", patient.table)[patient.source]
        cases += cases_of(patient, pictures, report, record)
    return cases
