"""Text tables of one case: genes in rows or in columns, and the tables of quantifiers."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.rna.assemble import RawRna, assemble
from mupd.rna.gene_names import gene_score
from mupd.rna.input_names import (
    BOOKKEEPING,
    SYMBOL_COLUMNS,
    are_transcripts,
    best_names,
    refuse_other_species,
)
from mupd.rna.profiles import RnaProfile
from mupd.rna.quantifiers import chosen_column, is_star_genes, layout_of, without_annotation
from mupd.rna.size_limits import MOST_CASE_BYTES, first_line, open_text, refuse_if_large

if TYPE_CHECKING:
    import pandas as pd

_PLAIN_SUFFIXES = (".csv", ".tsv", ".txt", ".sf", ".tab", ".genes.results", ".isoforms.results")
TEXT_SUFFIXES = tuple(f"{suffix}{packed}" for suffix in _PLAIN_SUFFIXES for packed in ("", ".gz"))
_MEASURE = re.compile(r"(?i)tpm|fpkm|rpkm|count|length|strand|_fpk|expression|value|reads")
_MOST_COLUMNS = 1_000_000


def has_suffix(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a file's name ends in one of `suffixes`, in any case."""
    return path.name.lower().endswith(suffixes)


def separator_of(path: Path) -> str:
    """The delimiter that a file's suffix stands for."""
    return "," if ".csv" in [suffix.lower() for suffix in path.suffixes] else "\t"


def is_number(text: str) -> bool:
    """Whether a cell reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class TextLayout:
    """Cells of a table's header (made-up ones where it has none), and what pandas has to be told of it."""

    cells: list[str]
    options: dict[str, Any]

    def read(self, stream: Any, **more: Any) -> Any:
        """:func:`pandas.read_csv` of the table: its first column as strings, so that names such as 0012 stay words.

        Raises
        ------
        UnusableError
            If rows have more cells than the header: pandas would cut them, and shift what stands in them.
        """
        import pandas as pd

        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            try:
                # A row with one cell more must not make the first column an index.
                return pd.read_csv(stream, **({"converters": {0: str}, "index_col": False} | self.options | more))
            except pd.errors.ParserWarning as error:
                raise UnusableError("rows with more cells than the header: expected as many") from error


def layout_of_text(path: Path, most_bytes: int) -> TextLayout:
    """How a text table is laid out, from its first lines.

    Lines before the header that begin with # are comments. There is no header if the first line already holds a name
    and numbers (HTSeq, STAR), and one without a name for the first column if it is a cell shorter than the rows (R).

    Raises
    ------
    UnusableError
        If the table has one column only, or absurdly many.
    """
    separator = separator_of(path)
    with open_text(path, most_bytes) as stream:
        comments = 0
        # A comment is a whole line; a column that is named #gene is not.
        while (line := first_line(stream)).startswith("#") and separator not in line:
            comments += 1
        cells, second = (next(csv.reader([text], delimiter=separator), []) for text in (line, first_line(stream)))
    if len(cells) < 2 and len(second) != 2:
        other = next((mark for mark in (",", "\t", ";") if mark != separator and mark in line), None)
        hint = "; it looks like the other delimiter: fix the suffix" if other else ""
        raise UnusableError(f"a table of one column{hint}")
    if len(cells) > _MOST_COLUMNS:
        raise UnusableError(f"a table of {len(cells):,} columns: expected at most {_MOST_COLUMNS:,}")
    options: dict[str, Any] = {"sep": separator, "skiprows": comments, "header": 0}
    if len(cells) in (2, 4) and all(is_number(cell) for cell in cells[1:]):
        options["header"] = None
    elif len(second) == len(cells) + 1 and second[-1] != "":
        cells = ["", *cells]
        options |= {"header": None, "skiprows": comments + 1, "names": ["row", *cells[1:]]}
    return TextLayout(cells, options)


def read_frame(path: Path) -> pd.DataFrame:
    """A text table of one case, its first column as strings."""
    layout = layout_of_text(path, MOST_CASE_BYTES)
    with open_text(path) as stream:
        # The default is quicker and may miss the nearest number by a bit.
        return layout.read(stream, low_memory=False, float_precision="round_trip")


def as_read(body: pd.DataFrame) -> NDArray[Any]:
    """Columns of numbers as one matrix: integers if all of it is, else float64."""
    matrix = body.to_numpy()
    return matrix if matrix.dtype.kind in "iuf" else body.to_numpy(np.float64)


def _numbers_of(frame: pd.DataFrame, known: Collection[str] | None) -> tuple[list[str], list[str], pd.DataFrame, str]:
    """Row names as given, as symbols (of a column of symbols where there is one), and the numeric columns."""
    given = list(frame.iloc[:, 0].astype(str))
    body = frame.iloc[:, 1:]
    words = [column for column in body.columns if body[column].dtype.kind not in "iufb"]
    for column in words:
        if known and str(column) in known and len(body):
            row = next((row for row, cell in enumerate(body[column], start=1) if not is_number(str(cell))), 0)
            what = f"a word in row {row}" if row else "a whole number of more than 64 bits"
            raise UnusableError(f"column {column!r} holds {what}: expected a number")
    if len(words) == len(body.columns):
        raise UnusableError("no column of numbers")
    names = given
    symbols = [column for column in words if str(column).lower() in SYMBOL_COLUMNS]
    if symbols:
        names = best_names(given, list(body[symbols[0]].fillna("").astype(str)))
        names = ["" if BOOKKEEPING.match(own) else name for own, name in zip(given, names, strict=True)]
    evidence = f"{len(words)} columns without numbers left out" if words else ""
    return given, names, body.drop(columns=words), evidence


def _without_bookkeeping(raw: RawRna) -> RawRna:
    kept = [index for index, name in enumerate(raw.symbols) if name and not BOOKKEEPING.match(name)]
    if len(kept) == len(raw.symbols):
        return raw
    names, symbols = ([part[index] for index in kept] for part in (raw.names, raw.symbols))
    return RawRna(
        names, symbols, raw.matrix[:, kept], raw.observations, raw.evidence, raw.xy_px, raw.values, raw.details
    )


def _column(frame: pd.DataFrame, name: str) -> NDArray[Any]:
    if frame[name].dtype.kind not in "iuf":
        raise UnusableError(f"column {name!r} holds words: expected numbers")
    return frame[name].to_numpy()


def _read_quant(frame: pd.DataFrame, values: str) -> RawRna | None:
    """The one sample in a quantifier's table; None for any other table."""
    layout = layout_of([str(column) for column in frame.columns])
    if layout is None:
        return None
    chosen, scale, evidence = chosen_column(layout, values)
    names = [str(name) for name in frame[layout.names]]
    if layout.program.startswith("RSEM isoforms"):
        names = [str(name) for name in frame["gene_id"]]
        evidence += "; isoforms added up by gene_id"
    # Before anything that a row of no gene, or one more sample, would change.
    genes = [index for index, name in enumerate(names) if name and not BOOKKEEPING.match(name)]
    stored = _column(frame, chosen)[genes]
    names = [names[index] for index in genes]
    symbols = names
    if layout.symbols:
        symbols = best_names(names, [str(frame[layout.symbols].iloc[index]) for index in genes])
    details: dict[str, Any] = {"format": layout.program, "column": chosen}
    if layout.counts:
        details["library_size"] = float(np.nansum(_column(frame, layout.counts)[genes]))
    if scale == "tpm":
        total = float(np.nansum(stored))
        evidence += f", adding up to {total:,.0f}"
    return RawRna(names, symbols, stored.reshape(1, -1), ["sample"], evidence, None, scale, details)


def _read_table(frame: pd.DataFrame, known: Collection[str] | None) -> RawRna:
    """A table of observations x genes or genes x observations."""
    frame, program = without_annotation(frame)
    row_names, rows, body, left_out = _numbers_of(frame, known)
    if is_star_genes(frame, row_names):
        body, program = body.iloc[:, :1], "STAR ReadsPerGene, its first column (unstranded) of three"
    columns = [str(column) for column in body.columns]
    row_score, row_evidence = gene_score(rows, known)
    column_score, column_evidence = gene_score(columns, known)
    if are_transcripts(rows):
        genes_in_rows, layout = True, "transcripts in rows"
    elif row_score == column_score:
        genes_in_rows = len(rows) >= len(columns)
        layout = f"neither axis is more like genes; the longer one ({'rows' if genes_in_rows else 'columns'}) is taken"
    else:
        genes_in_rows = row_score > column_score
        layout = f"genes in rows: {row_evidence}" if genes_in_rows else f"genes in columns: {column_evidence}"
    refuse_if_large(*body.shape)
    stored = as_read(body)
    names, observations = (rows, columns) if genes_in_rows else (columns, rows)
    if genes_in_rows:
        stored = np.ascontiguousarray(stored.T)
        measures = [name for name in columns if _MEASURE.search(name)]
        if len(columns) > 1 and len(measures) > len(columns) / 2:
            raise UnusableError(f"several value columns ({len(measures)}): keep the one to be used")
    evidence = "; ".join(filter(None, (program, layout, left_out)))
    given = row_names if genes_in_rows else columns
    raw = RawRna(given, names, stored, observations, evidence, details={"format": program.split(",")[0] or "table"})
    return _without_bookkeeping(raw) if genes_in_rows else raw


def read_text_profile(path: Path, values: str, known: Collection[str] | None, keep_given: bool) -> RnaProfile:
    """The profile in a text table; see :func:`mupd.rna.read_rna`."""
    frame = read_frame(path)
    raw = _read_quant(frame, values) or _read_table(frame, known)
    refuse_other_species(raw.symbols, raw.names)
    return assemble(raw, values, keep_given)
