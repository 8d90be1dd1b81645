"""One modality of one case: where it comes from, whether it is usable, what is known of it."""

from __future__ import annotations

import csv
import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from mupd.config import Config
from mupd.errors import MupdError, SyntheticInputError, UnusableError
from mupd.files import sha256_path
from mupd.ids import MODALITIES, Modality
from mupd.inventory import CaseInventory, Entry
from mupd.modalities.reasons import reason_of
from mupd.sheet import SheetCase

# Whatever a damaged file makes a reader raise ends as a reason of this one modality; a case must not end its shard.
READER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    csv.Error,
    struct.error,
    zlib.error,
)

NOT_IN_SHEET = "no file in the sample sheet"
NOT_IN_TABLE = "no file in the sample sheet and no row in the cohort table"


@dataclass(frozen=True)
class Source:
    """Where a modality of a case is read from: a file or folder, or the case's row of a cohort table."""

    path: Path
    case_id: str
    is_table: bool = False

    @property
    def name(self) -> str:
        """As the inventory writes it: ``PATH``, or ``PATH::CASE_ID`` for a row."""
        return f"{self.path}::{self.case_id}" if self.is_table else str(self.path)


Examined = tuple[str, dict[str, Any]]
"""Content hash and facts of a usable input."""


@lru_cache(maxsize=16)
def _table_marks(path: Path, _modified_ns: int) -> tuple[str, ...]:
    from mupd.synthetic.recognise import synthetic_marks

    return tuple(synthetic_marks(path))


def refuse_synthetic(source: Source, config: Config) -> str:
    """Raise if an input carries synthetic marks and its file name matches no glob of intake.allow_synthetic.

    Returns
    -------
    str
        Of a marked input that is let in, its marks and the glob in words; "" for an unmarked input.
    """
    marks = _table_marks(source.path, source.path.stat().st_mtime_ns)
    if not marks:
        return ""
    what, shown = ("the cohort table" if source.is_table else "it"), "; ".join(marks[:3])
    for glob in config.intake.allow_synthetic:
        if fnmatchcase(source.path.name, glob):
            return f"{what} is synthetic ({shown}): let in by intake.allow_synthetic {glob!r}"
    raise SyntheticInputError(
        f"{what} is synthetic ({shown}): never read as measured, unless intake.allow_synthetic names the file"
    )


def _examine_he(source: Source, case: SheetCase, config: Config, _genes: tuple[str, ...]) -> Examined:
    from mupd.modalities.he import check_he
    from mupd.modalities.slides import source_files

    facts = check_he(source.path, case.he_mpp, config.intake)
    digests = [sha256_path(path) for path in source_files(source.path)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest(), facts


def _examine_rna(source: Source, case: SheetCase, config: Config, genes: tuple[str, ...]) -> Examined:
    from mupd.modalities.gene_ids import to_model_genes
    from mupd.modalities.rna import check_rna, read_rna, read_rna_row

    values = config.intake.rna_values
    if source.is_table:
        profile = read_rna_row(source.path, case.row_id, values)
    else:
        profile = read_rna(source.path, values, genes)
    mapped, mapping = to_model_genes(profile, genes)
    facts = check_rna(mapped, genes, config.intake) | {"gene_names": mapping.facts()}
    if not source.is_table:
        return sha256_path(source.path), facts
    names = "\n".join(profile.genes).encode()
    return hashlib.sha256(names + b"\0" + profile.matrix.astype("<f4").tobytes()).hexdigest(), facts


def _examine_text(source: Source, case: SheetCase, config: Config, _genes: tuple[str, ...]) -> Examined:
    from mupd.modalities.text import check_text, read_text, read_text_row

    text = read_text_row(source.path, case.row_id) if source.is_table else read_text(source.path)
    facts = check_text(text, config.intake)
    digest = hashlib.sha256(text.encode()).hexdigest() if source.is_table else sha256_path(source.path)
    return digest, facts


_EXAMINE: dict[Modality, Callable[[Source, SheetCase, Config, tuple[str, ...]], Examined]] = {
    "he": _examine_he,
    "rna": _examine_rna,
    "text": _examine_text,
}


def _has_row(modality: Modality, table: Path, case_id: str) -> bool:
    if modality == "rna":
        from mupd.modalities.rna import has_rna_row

        return has_rna_row(table, case_id)
    from mupd.modalities.text import has_text_row

    return has_text_row(table, case_id)


def examine(case: SheetCase, modality: Modality, config: Config, genes: tuple[str, ...]) -> Entry:
    """The entry of one modality; never raises for what is wrong with the input.

    Parameters
    ----------
    genes
        The model's gene symbols.
    """
    own: Path | None = getattr(case, modality)
    table: str | None = None if modality == "he" else getattr(config.tables, modality)
    if own is None and table is None:
        return Entry(case.case_id, modality, "missing", NOT_IN_SHEET)
    source = Source(own, case.row_id) if own is not None else Source(Path(str(table)), case.row_id, is_table=True)
    try:
        if source.is_table and not _has_row(modality, source.path, case.row_id):
            return Entry(case.case_id, modality, "missing", NOT_IN_TABLE)
        let_in = refuse_synthetic(source, config)
        digest, facts = _EXAMINE[modality](source, case, config, genes)
    except UnusableError as error:
        return Entry(case.case_id, modality, "unusable", reason_of(error, source.path), source.name)
    except (MupdError, *READER_ERRORS) as error:
        reason = f"cannot be read ({type(error).__name__}: {reason_of(error, source.path)})"
        return Entry(case.case_id, modality, "unusable", reason, source.name)
    if let_in:
        facts["synthetic_input"] = let_in
    return Entry(case.case_id, modality, "measured", let_in, source.name, digest, facts)


def _with_slide_scale(entries: dict[Modality, Entry], case: SheetCase) -> None:
    """Spot positions are pixels of the slide: their scale is the slide's, or what the sheet states of it."""
    scale = entries["he"].facts.get("mpp", case.he_mpp)
    facts = entries["rna"].facts
    if facts.get("has_positions") and scale is not None:
        facts["he_mpp"] = scale


def inventory_of(case: SheetCase, config: Config, genes: tuple[str, ...]) -> CaseInventory:
    """All three entries of a case, and what the sheet says beside them."""
    entries: dict[Modality, Entry] = {modality: examine(case, modality, config, genes) for modality in MODALITIES}
    _with_slide_scale(entries, case)
    return CaseInventory(case.case_id, entries, case.organ, case.diagnosis, case.extra, case.sheet_id)
