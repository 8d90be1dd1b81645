"""Text tables of one case: genes in rows or columns, or the output of a quantifier."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.rna.assemble import RawRna, ReadOptions, assemble
from mupd.rna.gene_names import gene_score
from mupd.rna.input_names import (
    BOOKKEEPING,
    SYMBOL_COLUMNS,
    are_transcripts,
    best_names,
    refuse_other_species,
)
from mupd.rna.non_genes import is_annotation, left_out, non_genes, refuse_unnamed_genes
from mupd.rna.profiles import RnaProfile
from mupd.rna.quantifiers import chosen_column, is_star_genes, layout_of, without_annotation
from mupd.rna.size_limits import MOST_CASE_BYTES, first_line, open_text, refuse_if_large

if TYPE_CHECKING:
    import pandas as pd

_PLAIN_SUFFIXES = (".csv", ".tsv", ".txt", ".sf", ".tab", ".genes.results", ".isoforms.results")
TEXT_SUFFIXES = tuple(f"{suffix}{packed}" for suffix in _PLAIN_SUFFIXES for packed in ("", ".gz"))
# TPM, FPKM, expected_count, reads_fwd
_MEASURE = re.compile(r"(?i)tpm|fpkm|rpkm|count|length|strand|_fpk|expression|value|reads")
_MOST_COLUMNS = 1_000_000
_OTHER_DELIMITER = {
    "\t": ": its cells are separated by tabs, so name it .tsv",
    ",": ": its cells are separated by commas, so name it .csv",
    ";": ": its cells are separated by semicolons; save it with commas (.csv) or tabs (.tsv), and with decimal points",
}
# 27,4129
_DECIMAL_COMMA = re.compile(r"^-?\d+,\d+$")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class TextLayout:
    """The cells of a table's header (made up if it has none), and the options with which pandas reads the table."""

    cells: list[str]
    options: dict[str, Any]

    def read(self, stream: Any, **more: Any) -> Any:
        """:func:`pandas.read_csv` of the table. The first column is read as strings, to keep names such as 0012.

        Raises
        ------
        UnusableError
            If rows have more cells than the header. pandas would shift or drop cells.
        """
        import pandas as pd

        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            try:
                # Else pandas makes the first column an index if a row has one more cell.
                return pd.read_csv(stream, **({"converters": {0: str}, "index_col": False} | self.options | more))
            except pd.errors.ParserWarning as error:
                raise UnusableError("rows with more cells than the header: expected as many") from error


def layout_of_text(path: Path, most_bytes: int) -> TextLayout:
    """The layout of a text table, from its first lines.

    Lines before the header that begin with # are comments. There is no header if the first line holds a name and
    numbers (HTSeq, STAR). A header with one cell less than the rows lacks the name of the first column (R).

    Raises
    ------
    UnusableError
        If the table has only one column, or over a million.
    """
    separator = "," if ".csv" in [suffix.lower() for suffix in path.suffixes] else "\t"
    with open_text(path, most_bytes) as stream:
        comments = 0
        # A line with a separator is no comment: a column may be named #gene.
        while (line := first_line(stream)).startswith("#") and separator not in line:
            comments += 1
        cells, second = (next(csv.reader([text], delimiter=separator), []) for text in (line, first_line(stream)))
    if len(cells) < 2 and len(second) != 2:
        other = next((mark for mark in ("\t", ";", ",") if mark != separator and mark in line), "")
        raise UnusableError(f"a table of one column{_OTHER_DELIMITER.get(other, '')}")
    if len(cells) > _MOST_COLUMNS:
        raise UnusableError(f"a table of {len(cells):,} columns: expected at most {_MOST_COLUMNS:,}")
    options: dict[str, Any] = {"sep": separator, "skiprows": comments, "header": 0}
    if len(cells) in (2, 4) and all(_is_number(cell) for cell in cells[1:]):
        options["header"] = None
    elif len(second) == len(cells) + 1 and second[-1] != "":
        cells = ["", *cells]
        options |= {"header": None, "skiprows": comments + 1, "names": ["row", *cells[1:]]}
    return TextLayout(cells, options)


def read_frame(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """A text table of one case, its first column as strings, and the header's cell of each column.

    pandas renames a column whose name has occurred before (``TP53`` to ``TP53.1``).
    """
    layout = layout_of_text(path, MOST_CASE_BYTES)
    with open_text(path) as stream:
        # pandas' default precision is faster, but may miss the nearest float64.
        frame = layout.read(stream, low_memory=False, float_precision="round_trip")
    has_header = layout.options["header"] is not None or "names" in layout.options
    cells = layout.cells if has_header and len(layout.cells) == frame.shape[1] else [str(c) for c in frame.columns]
    return frame, dict(zip(map(str, frame.columns), cells, strict=True))


def refuse_decimal_commas(columns: Iterable[Any]) -> None:
    """Raise UnusableError if columns that hold words hold numbers with decimal commas."""
    for column in columns:
        words = [str(cell).strip() for cell in column[:50]]
        if words and sum(bool(_DECIMAL_COMMA.match(word)) for word in words) > len(words) / 2:
            raise UnusableError("numbers with decimal commas (27,4): expected decimal points (27.4)")


def as_read(body: pd.DataFrame) -> NDArray[Any]:
    """Columns of numbers as one matrix: integers if all of them are, else float64."""
    matrix = body.to_numpy()
    return matrix if matrix.dtype.kind in "iuf" else body.to_numpy(np.float64)


def _numbers_of(frame: pd.DataFrame, known: Collection[str] | None) -> tuple[list[str], list[str], pd.DataFrame, str]:
    """Row names, their symbols (from a column of symbols if there is one), the numeric columns, and words."""
    row_names = list(frame.iloc[:, 0].astype(str))
    body = frame.iloc[:, 1:]
    words = [column for column in body.columns if body[column].dtype.kind not in "iufb"]
    refuse_decimal_commas(body[column] for column in words)
    for column in words:
        if known and str(column) in known and len(body):
            row = next((row for row, cell in enumerate(body[column], start=1) if not _is_number(str(cell))), 0)
            what = f"a word in row {row}" if row else "a whole number of more than 64 bits"
            raise UnusableError(f"column {column!r} holds {what}: expected a number")
    if len(words) == len(body.columns):
        raise UnusableError("no column of numbers")
    names = row_names
    symbols = [column for column in words if str(column).lower() in SYMBOL_COLUMNS]
    if symbols:
        names = best_names(row_names, list(body[symbols[0]].fillna("").astype(str)))
        names = ["" if BOOKKEEPING.match(own) else name for own, name in zip(row_names, names, strict=True)]
    evidence = f"{len(words)} columns without numbers left out" if words else ""
    return row_names, names, body.drop(columns=words), evidence


def _without_bookkeeping(raw: RawRna) -> RawRna:
    kept = [index for index, name in enumerate(raw.symbols) if name and not BOOKKEEPING.match(name)]
    return raw if len(kept) == len(raw.symbols) else raw.of_columns(kept)


def _column(frame: pd.DataFrame, name: str) -> NDArray[Any]:
    if frame[name].dtype.kind not in "iuf":
        raise UnusableError(f"column {name!r} holds words: expected numbers")
    return frame[name].to_numpy()


def _read_quant(frame: pd.DataFrame, values: str) -> RawRna | None:
    """The sample in a quantifier's table; None for any other table."""
    layout = layout_of([str(column) for column in frame.columns])
    if layout is None:
        return None
    chosen, scale, evidence = chosen_column(layout, values)
    names = [str(name) for name in frame[layout.names]]
    if layout.program.startswith("RSEM isoforms"):
        names = [str(name) for name in frame["gene_id"]]
        evidence += "; isoforms added up by gene_id"
    # First of all: rows that are no genes would change the sums.
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


def _read_table(frame: pd.DataFrame, cells: Mapping[str, str], known: Collection[str] | None) -> RawRna:
    """A table of observations x genes or genes x observations.

    Parameters
    ----------
    cells
        The header's cell of each column, see :func:`read_frame`.
    """
    frame, program = without_annotation(frame)
    row_names, rows, body, left_out_words = _numbers_of(frame, known)
    if is_star_genes(frame, row_names):
        body, program = body.iloc[:, :1], "STAR ReadsPerGene, its first column (unstranded) of three"
    columns = [cells.get(str(column), str(column)) for column in body.columns]
    refuse_unnamed_genes(rows, columns)
    genes_in_rows, layout = _genes_in_rows(rows, columns, known)
    dropped = [n for n, name in enumerate(columns) if is_annotation(name)] if genes_in_rows else non_genes(columns)
    if len(dropped) == len(columns):
        raise UnusableError("no column of expression: all numbers describe genes or patients")
    names_of_dropped = [columns[n] for n in dropped]
    body = body.drop(columns=body.columns[dropped])
    columns = [name for n, name in enumerate(columns) if n not in set(dropped)]
    refuse_if_large(*body.shape)
    stored = as_read(body)
    if genes_in_rows:
        stored = np.ascontiguousarray(stored.T)
        measures = [name for name in columns if _MEASURE.search(name)]
        if len(columns) > 1 and len(measures) > len(columns) / 2:
            raise UnusableError(f"several value columns ({len(measures)}): keep the one to be used")
    evidence = "; ".join(
        filter(None, (program, layout, left_out_words, left_out(names_of_dropped, "columns that are no expression")))
    )
    raw = RawRna(
        row_names if genes_in_rows else columns,
        rows if genes_in_rows else columns,
        stored,
        columns if genes_in_rows else rows,
        evidence,
        details={"format": program.split(",")[0] or "table"},
    )
    return _without_bookkeeping(raw) if genes_in_rows else raw


def _genes_in_rows(rows: list[str], columns: list[str], known: Collection[str] | None) -> tuple[bool, str]:
    """Whether genes are in rows, and the evidence in words."""
    if are_transcripts(rows):
        return True, "transcripts in rows"
    row_score, row_evidence = gene_score(rows, known)
    column_score, column_evidence = gene_score(columns, known)
    if row_score == column_score:
        in_rows = len(rows) >= len(columns)
        return in_rows, f"neither axis is more like genes; the longer one ({'rows' if in_rows else 'columns'}) is used"
    if row_score > column_score:
        return True, f"genes in rows: {row_evidence}"
    return False, f"genes in columns: {column_evidence}"


def read_text_profile(path: Path, options: ReadOptions) -> RnaProfile:
    """The profile in a text table; see :func:`mupd.rna.files.read_rna`."""
    frame, cells = read_frame(path)
    raw = _read_quant(frame, options.scale) or _read_table(frame, cells, options.model_genes)
    refuse_other_species(raw.symbols, raw.names)
    return assemble(raw, options)
