"""A user's own cohort as training data: which of its cases can be learned from, for what, and why not the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from mupd.base.ids import MODALITIES, Modality
from mupd.base.progress import track
from mupd.config import Config, load_config
from mupd.errors import MupdError, UnusableError
from mupd.rna.profiles import RnaProfile
from mupd.sheet import SheetCase, read_sheet
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


Value = TypeVar("Value")


def _tried(read: Callable[[], Value | None], case: SheetCase, modality: Modality, whys: list[str]) -> Value | None:
    """What `read` gives; where it fails, None and the reason in `whys`."""
    from mupd.base.messages import reason_of

    try:
        return read()
    except UnusableError as error:
        whys.append(f"{modality}: {reason_of(error, getattr(case, modality) or Path(modality))}")
    except _READ_ERRORS as error:
        whys.append(f"{modality}: cannot be read ({type(error).__name__})")
    return None


def _slide(case: SheetCase, config: Config) -> tuple[Path, float] | None:
    from mupd.slides.checks import check_he

    if case.he is None:
        return None
    return case.he, float(check_he(case.he, case.he_mpp, config.intake)["mpp"])


def _profile(case: SheetCase, config: Config, genes: Collection[str]) -> RnaProfile | None:
    from mupd.rna.checks import check_rna
    from mupd.rna.cohort_tables import has_rna_row, read_rna_row
    from mupd.rna.files import read_rna
    from mupd.rna.gene_ids import to_model_genes

    table, values = config.tables.rna, config.intake.rna_values
    if case.rna is not None:
        profile = read_rna(case.rna, values, genes)
    elif table is not None and has_rna_row(Path(table), case.case_id):
        profile = read_rna_row(Path(table), case.case_id, values)
    else:
        return None
    profile, _ = to_model_genes(profile, genes)
    check_rna(profile, sorted(genes), config.intake)
    return profile


def _text(case: SheetCase, config: Config) -> tuple[str, dict[str, Any]] | None:
    """The text and what is read out of it."""
    from mupd.reports.read import check_text, has_text_row, read_text, read_text_row

    table = config.tables.text
    if case.text is not None:
        text = read_text(case.text)
    elif table is not None and has_text_row(Path(table), case.case_id):
        text = read_text_row(Path(table), case.case_id)
    else:
        return None
    return text, check_text(text, config.intake)


def _marked(case: SheetCase, config: Config) -> str:
    """Which inputs of a case carry synthetic marks, "" if none does."""
    from mupd.synthetic.verify.recognise import synthetic_marks

    tables = {"rna": config.tables.rna, "text": config.tables.text}
    for modality in MODALITIES:
        own: Path | None = getattr(case, modality)
        table = tables.get(modality)
        path = own if own is not None else Path(table) if table is not None else None
        if path is not None and path.exists() and (marks := synthetic_marks(path)):
            return f"{modality} is synthetic ({marks[0]}): never trained on"
    return ""


def _read_case(case: SheetCase, config: Config, genes: Collection[str]) -> tuple[TrainingCase | None, CaseReport]:
    from mupd.base.organs import organ_term
    from mupd.reports.record.organs import organ_of_report

    whys: list[str] = []
    try:
        marked = _marked(case, config)
    except _READ_ERRORS as error:
        marked = f"cannot be told from synthetic data ({type(error).__name__})"
    if marked:
        return None, CaseReport(case.case_id, "left out", (), marked)
    if is_held_out(case.case_id):
        return None, CaseReport(case.case_id, "held out", (), "one of the tenth that is never trained on")
    slide = _tried(lambda: _slide(case, config), case, "he", whys)
    profile = _tried(lambda: _profile(case, config, genes), case, "rna", whys)
    if profile is not None and profile.kind == "spot" and profile.xy_px is None:
        whys.append("rna: spots without positions (expected obsm['spatial'])")
        profile = None
    text, facts = _tried(lambda: _text(case, config), case, "text", whys) or (None, {})
    he, mpp = slide or (None, None)
    organ = organ_term(case.organ) or organ_of_report(facts)
    read = TrainingCase(case.case_id, he, mpp, profile, text, facts.get("record", {}), organ)
    if not read.pairs:
        whys.append("fewer than two usable modalities: nothing to pair")
        return None, CaseReport(case.case_id, "left out", (), "; ".join(whys))
    return read, CaseReport(case.case_id, "train", read.pairs, "; ".join(whys))


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
    read = [_read_case(case, config, genes) for case in track(sheet.cases, "cases", len(sheet.cases))]
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
