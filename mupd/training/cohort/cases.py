"""A user's own cohort as training data: which of its cases can be learned from, for what, and why not the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mupd.base.ids import MODALITIES, Modality
from mupd.base.organs import organ_term
from mupd.base.progress import track
from mupd.config import Config, load_config
from mupd.errors import MupdError
from mupd.inputs.examine import examine_request, request_of
from mupd.inputs.readers import read_model_profile, read_report_text, slide_rank
from mupd.reports.record.organs import organ_of_report
from mupd.rna.profiles import RnaProfile
from mupd.sheet import SheetCase, read_sheet
from mupd.sheet.sources import Source, sources_of
from mupd.slides.reader import READ_ERRORS
from mupd.training.public.splits import is_held_out

_READ_ERRORS = (*READ_ERRORS, MupdError, LookupError, RuntimeError)


@dataclass(frozen=True)
class TrainingCase:
    """One case of which at least two modalities are usable.

    Attributes
    ----------
    he, mpp
        Slide and its micrometres per pixel, as read.
    profile
        Under the model's gene names.
    text, record
        The report and what it states.
    organ
        The sheet's, else the report's, as :func:`mupd.base.organs.organ_term` names it; None if unknown.
    """

    case_id: str
    he: Path | None
    mpp: float | None
    profile: RnaProfile | None
    text: str | None
    record: dict[str, str]
    organ: str | None = None

    @property
    def pairs(self) -> tuple[str, ...]:
        """What is learned from it, as ``he+rna``."""
        given = [name for name, value in (("he", self.he), ("rna", self.profile), ("text", self.text)) if value]
        return tuple(f"{a}+{b}" for index, a in enumerate(given) for b in given[index + 1 :])


@dataclass(frozen=True)
class CaseReport:
    """What became of one case of the sheet.

    Attributes
    ----------
    use
        ``train``, ``held out`` or ``left out``.
    pairs
        What is learned from it.
    why
        Why it, or one of its modalities, is not used; without paths.
    """

    case_id: str
    use: str
    pairs: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class TrainingCohort:
    """The cases of a sheet that are trained on, and the report on all."""

    cases: tuple[TrainingCase, ...]
    report: tuple[CaseReport, ...]

    def counts(self) -> dict[str, int]:
        """How many cases are used, held out and left out."""
        return {use: sum(row.use == use for row in self.report) for use in ("train", "held out", "left out")}

    def pairs(self) -> dict[str, int]:
        """How many training cases hold each pair of modalities."""
        return dict(Counter(pair for case in self.cases for pair in case.pairs))


def _usable(
    case: SheetCase, modality: Modality, config: Config, genes: tuple[str, ...]
) -> tuple[Source, dict[str, Any]] | str:
    """The input of a modality with its facts, read and checked as intake does; else why there is none, "" if missing.

    Of several slides the usable one with the most tissue stands for the case, as in intake.
    """
    usable: list[tuple[Source, dict[str, Any]]] = []
    reasons: list[str] = []
    for source in sources_of(case, modality, config):
        outcome = examine_request(request_of(case, modality, source), config, genes)
        if outcome.status == "measured":
            usable.append((source, outcome.facts))
        elif outcome.status == "unusable":
            reasons.append(outcome.reason)
    return max(usable, key=lambda item: slide_rank(item[1])) if usable else "; ".join(reasons)


def _marked(case: SheetCase, config: Config) -> str:
    """Which input of a case carries synthetic marks; "" if none does."""
    from mupd.synthetic.verify.recognise import synthetic_marks

    for modality in MODALITIES:
        for source in sources_of(case, modality, config):
            if source.path.exists() and (marks := synthetic_marks(source.path)):
                return f"{modality} is synthetic ({marks[0]}): never trained on"
    return ""


def _read_case(case: SheetCase, config: Config, genes: tuple[str, ...]) -> tuple[TrainingCase | None, CaseReport]:
    if is_held_out(case.case_id):
        return None, CaseReport(case.case_id, "held out", (), "one of the tenth that is never trained on")
    try:
        marked = _marked(case, config)
    except _READ_ERRORS as error:
        marked = f"cannot be told from synthetic data ({type(error).__name__})"
    if marked:
        return None, CaseReport(case.case_id, "left out", (), marked)
    inputs: dict[Modality, tuple[Source, dict[str, Any]]] = {}
    whys: list[str] = []
    for modality in MODALITIES:
        usable = _usable(case, modality, config, genes)
        if isinstance(usable, tuple):
            inputs[modality] = usable
        elif usable:
            whys.append(f"{modality}: {usable}")
    training_case = _training_case(case, inputs, genes, whys)
    if not training_case.pairs:
        whys.append("fewer than two usable modalities: nothing to pair")
        return None, CaseReport(case.case_id, "left out", (), "; ".join(whys))
    return training_case, CaseReport(case.case_id, "train", training_case.pairs, "; ".join(whys))


def _training_case(
    case: SheetCase,
    inputs: Mapping[Modality, tuple[Source, Mapping[str, Any]]],
    genes: tuple[str, ...],
    whys: list[str],
) -> TrainingCase:
    """The values of the usable inputs; what they lack for training is added to `whys`."""
    slide, rna, report = (inputs.get(modality) for modality in MODALITIES)
    profile = read_model_profile(rna[0], genes) if rna else None
    if profile is not None and profile.kind == "spot" and profile.xy_px is None:
        whys.append("rna: spots without positions (expected obsm['spatial'])")
        profile = None
    facts = report[1] if report else {}
    return TrainingCase(
        case.case_id,
        slide[0].path if slide else None,
        float(slide[1]["mpp"]) if slide else None,
        profile,
        read_report_text(report[0]).text if report else None,
        facts.get("record", {}),
        organ_term(case.organ) or organ_of_report(facts),
    )


def read_cohort(configfile: Path, genes: Collection[str] | None) -> TrainingCohort:
    """Read all cases of a cohort.

    Inputs that carry synthetic marks are refused whatever ``intake.allow_synthetic`` says. Cases of
    the held-out tenth (by a hash of their id) are not opened.

    Parameters
    ----------
    configfile
        A run configuration: sheet, cohort tables and limits of intake are taken from it.
    genes
        The model's gene symbols; None before there are any: then names are brought to the approved
        symbols, and a profile may have any of them.

    Raises
    ------
    InputFaults
        If the configuration or the sheet is wrong, with every fault.
    """
    config = load_config(configfile)
    sheet = read_sheet(config)
    if genes is None:
        from mupd.rna.gene_table import gene_table

        genes = gene_table().symbols
        config = replace(config, intake=replace(config.intake, min_gene_overlap=0.0))
    # Whatever intake lets in for a run, nothing synthetic is trained on.
    config = replace(config, intake=replace(config.intake, allow_synthetic=()))
    symbols = tuple(sorted(genes))
    read = [_read_case(case, config, symbols) for case in track(sheet.cases, "cases", len(sheet.cases))]
    return TrainingCohort(tuple(case for case, _ in read if case is not None), tuple(row for _, row in read))


def print_cohort(cohort: TrainingCohort) -> None:
    """A table of what each case is used for, on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table("case", "use", "pairs", "why not more", title="Cohort for training")
    for row in cohort.report:
        table.add_row(row.case_id, row.use, ", ".join(row.pairs), row.why)
    console = Console()
    console.print(table)
    console.print(", ".join(f"{count} {use}" for use, count in cohort.counts().items()))


def cohort_facts(cohort: TrainingCohort) -> dict[str, Any]:
    """The same as plain values, for data.json of the work folder."""
    return {
        "counts": cohort.counts(),
        "pairs": cohort.pairs(),
        "cases": [vars(row) | {"pairs": list(row.pairs)} for row in cohort.report],
    }
