"""The one reader of inputs: a source in, its values out, for intake, generation, cohort and training."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd.base.ids import Modality
from mupd.base.near_ids import IdIndex
from mupd.config import IntakeLimits
from mupd.errors import SyntheticInputError
from mupd.sheet.sources import Source

if TYPE_CHECKING:
    from mupd.reports.read import ReadText
    from mupd.rna.profiles import RnaProfile


def read_profile(source: Source, genes: Collection[str], keep_stored: bool = False) -> RnaProfile:
    """The RNA profile of a source, under the names that it has there.

    Parameters
    ----------
    genes
        The model's gene symbols: they tell a table's layout.
    keep_stored
        Whether the values are kept as they stand in the input, too.

    Raises
    ------
    UnusableError
        If it does not read.
    """
    from mupd.rna.cohort_tables import read_rna_row
    from mupd.rna.files import read_rna

    if source.is_table:
        return read_rna_row(source.path, source.row, source.rna_values, keep_stored=keep_stored)
    return read_rna(source.path, source.rna_values, genes, keep_stored=keep_stored)


def read_model_profile(source: Source, genes: Collection[str]) -> RnaProfile:
    """:func:`read_profile` under the model's gene names."""
    from mupd.rna.gene_ids import to_model_genes

    return to_model_genes(read_profile(source, genes), genes)[0]


def profile_sha256(profile: RnaProfile) -> str:
    """Hash of the names and values (float32) of a profile: what a table's row is known by."""
    names = "\n".join(profile.genes).encode()
    return hashlib.sha256(names + b"\0" + profile.matrix.astype("<f4").tobytes()).hexdigest()


def read_report_text(source: Source) -> ReadText:
    """The report of a source, identifiers masked.

    Raises
    ------
    UnusableError
        If it does not read.
    """
    from mupd.reports.read import ReadText, read_report, read_text_row

    return ReadText(read_text_row(source.path, source.row)) if source.is_table else read_report(source.path)


def row_index(modality: Modality, table: Path) -> IdIndex:
    """The ids that a table of RNA profiles or reports has rows of.

    Raises
    ------
    UnusableError
        If the table cannot be read.
    """
    from mupd.reports.read import text_row_index
    from mupd.rna.cohort_tables import rna_row_index

    return rna_row_index(table) if modality == "rna" else text_row_index(table)


def check_report(
    report: ReadText, limits: IntakeLimits, *, organ: str = "", case_id: str = "", allow_synthetic: bool = False
) -> dict[str, Any]:
    """Facts of a report that can condition the model (:func:`mupd.reports.read.check_text`).

    Marks of synthetic text are searched for in the words themselves: in a PDF, in a Word document or far down in a
    table no look at the file shows them.

    Parameters
    ----------
    allow_synthetic
        Whether a marked text is let in (intake.allow_synthetic names its file): its marks are then the fact
        ``synthetic_input``.

    Raises
    ------
    UnusableError
        If the text cannot be used; its subclass SyntheticInputError if it is marked as synthetic.
    """
    from mupd.reports.read import check_text
    from mupd.synthetic.text.marks import text_marks
    from mupd.synthetic.verify.recognise import text_tells

    marks = text_marks(report.text) or text_tells(report.text)
    if marks and not allow_synthetic:
        raise SyntheticInputError(
            f"it is synthetic ({marks[0]}): never read as measured, unless intake.allow_synthetic names the file"
        )
    facts = check_text(report.text, limits, organ=organ, case_id=case_id, read=report.facts)
    if marks:
        facts["synthetic_input"] = f"it is synthetic ({marks[0]}): let in by intake.allow_synthetic"
    return facts


def slide_rank(facts: Mapping[str, Any]) -> float:
    """Of several usable slides the one with the most tissue (mm2) stands for the case."""
    return float(facts.get("tissue_mm2") or 0.0)
