"""Where each modality of a case comes from: its files, a row that its cell names, or its row of a cohort table."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mupd.base.ids import Modality
from mupd.config import Config
from mupd.errors import UnusableError
from mupd.sheet.cases import SheetCase

MOST_BYTES: dict[Modality, int] = {"he": 1 << 40, "rna": 1 << 38, "text": 1 << 30}
"""No input of a modality is larger; hashing one that claims to be would take hours."""

MOST_FILES = 10_000
"""Files of a folder that is one input: a MIRAX or DICOM slide has some hundred."""

_SPARSE_LEAST_BYTES = 1 << 26
_SPARSE_SHARE = 1000
_BLOCK_BYTES = 512


ROW_SEPARATOR = "::"
"""Between the path of a table and the id of a row."""


@dataclass(frozen=True)
class Source:
    """What one modality of a case is read from.

    Attributes
    ----------
    path
        A file, a folder, or the table that the row stands in.
    row
        Id of the row; "" where the input is the whole file.
    named
        Whether the sheet itself names that row (``TABLE::ROW``): its absence is then a fault, not a hole.
    rna_values
        The scale of RNA values, as sheet or configuration state it (:func:`mupd.base.rna_scales.check_stated`).
    """

    path: Path
    row: str = ""
    named: bool = False
    rna_values: str = "auto"

    @property
    def is_table(self) -> bool:
        """Whether the input is one row of a table."""
        return bool(self.row)

    @property
    def name(self) -> str:
        """As people read and write it: ``PATH``, or ``PATH::ROW`` (:func:`split_cell` takes it apart)."""
        return f"{self.path}{ROW_SEPARATOR}{self.row}" if self.row else str(self.path)


def split_cell(cell: str, table_suffixes: tuple[str, ...]) -> tuple[str, str] | None:
    """Path and row id of a cell of the sheet; the row is "" for a plain path.

    The last ``::`` separates a row where a table's path stands before it; a folder may have ``::`` in its name.

    Returns
    -------
    None for a cell that names a row of what is no table.

    >>> split_cell("a::b/m.h5ad::P1", (".h5ad",)), split_cell("a::b/P1.tsv", (".h5ad",)), split_cell("m.svs::P1", ())
    (('a::b/m.h5ad', 'P1'), ('a::b/P1.tsv', ''), None)
    """
    path, separator, row = cell.rpartition(ROW_SEPARATOR)
    if separator and row and path.lower().endswith(table_suffixes):
        return path, row
    # What looks like a path behind the separator is the rest of one.
    return (cell, "") if not separator or "/" in row or "\\" in row else None


def sources_of(case: SheetCase, modality: Modality, config: Config) -> tuple[Source, ...]:
    """All inputs of one modality of a case: several only for slides, none where the sheet has no file and no table."""
    own: Path | None = getattr(case, modality)
    if modality == "he":
        return () if own is None else (Source(own), *(Source(path) for path in case.further_he))
    table = own or getattr(config.tables, modality)
    if table is None:
        return ()
    row = case.row_id if own is None else case.rna_row if modality == "rna" else case.text_row
    source = Source(Path(table), row, named=own is not None and bool(row))
    if modality == "text":
        return (source,)
    of_table = config.tables.rna_values if own is None else None
    return (replace(source, rna_values=case.rna_values or of_table or config.intake.rna_values),)


def usable_sources(
    case: SheetCase, modality: Modality, config: Config, tables: Mapping[Modality, Collection[str]]
) -> list[Source]:
    """The inputs of a modality as far as the sheet tells; a cohort table counts only if it has a row of the case.

    Parameters
    ----------
    tables
        Ids that the cohort tables have a row of.
    """
    rows = tables.get(modality, ())
    return [
        source
        for source in sources_of(case, modality, config)
        if source.named or not source.is_table or source.row in rows
    ]


def _files_in(folder: Path) -> list[str]:
    """Every file below a folder; links to folders are not followed, so that none leads in a circle."""
    files: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        files += [os.path.join(parent, name) for name in sorted(names)]
        if len(files) > MOST_FILES:
            raise UnusableError(f"a folder of more than {MOST_FILES} files: expected one slide or one profile")
    return files


@dataclass(frozen=True)
class Signature:
    """Digest of name, size, inode and times of every file of an input: the same as long as nobody wrote to any.

    Attributes
    ----------
    newest_ns
        The latest of these times, in nanoseconds.
    """

    digest: str
    newest_ns: int


def signature_of(paths: list[Path], modality: Modality) -> Signature:
    """The signature of the files and folders that make up an input.

    Raises
    ------
    UnusableError
        For what is neither a file nor a folder (a pipe or device would never end), what is larger than any such
        input, and files of holes.
    OSError
        If it is not there or may not be looked at.
    """
    digest, newest_ns = hashlib.sha256(), 0
    for path in paths:
        # os.path instead of Path: it answers for links that lead in a circle.
        files = _files_in(path) if os.path.isdir(path) else [str(path)]
        for file in files:
            stat = os.stat(file)
            if not os.path.isfile(file):
                if file == str(path):
                    raise UnusableError("neither a file nor a folder: expected one with data in it")
                continue
            if stat.st_size > MOST_BYTES[modality]:
                raise UnusableError(f"{stat.st_size} bytes, more than any such input has ({MOST_BYTES[modality]})")
            stored = getattr(stat, "st_blocks", stat.st_size) * _BLOCK_BYTES
            if stat.st_size > _SPARSE_LEAST_BYTES and stored * _SPARSE_SHARE < stat.st_size:
                raise UnusableError(f"{stored} bytes stored of {stat.st_size}: the rest are holes, as of a broken copy")
            inside = os.path.relpath(file, path.parent)
            numbers = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
            digest.update(os.fsencode(inside) + repr(numbers).encode())
            newest_ns = max(newest_ns, stat.st_mtime_ns, stat.st_ctime_ns)
    return Signature(digest.hexdigest()[:32], newest_ns)
