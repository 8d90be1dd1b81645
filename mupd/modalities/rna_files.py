"""Reading the RNA profile of one case from its own file (.h5ad, .csv, .tsv, gzipped or not)."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.modalities.gene_names import ENSEMBL, gene_score, share_of
from mupd.modalities.given import GivenValues, Values2D, as_stored, dense_float32
from mupd.modalities.profiles import Kind, RnaProfile, collapse_genes, scale_of
from mupd.modalities.reasons import reason_of

if TYPE_CHECKING:
    import pandas as pd

TEXT_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
_MOST_VALUES = 1_000_000_000
_SPOT = re.compile(r"^\d+(\.\d+)?x\d+(\.\d+)?$")
_SYMBOL_COLUMNS = (
    "gene_name",
    "gene_symbol",
    "gene_symbols",
    "feature_name",
    "symbol",
    "hugo_symbol",
    "gene_short_name",
)
_MEASURE = re.compile(r"(?i)tpm|fpkm|rpkm|count|length|strand|_fpk|expression|value|reads")
# Bookkeeping rows of STAR and HTSeq, which stand among the genes.
_BOOKKEEPING = re.compile(r"^(N_(unmapped|multimapping|noFeature|ambiguous)|__\w+)$")
READ_ERRORS = (OSError, EOFError, zlib.error, ValueError, KeyError)


def separator_of(path: Path) -> str:
    """The delimiter that a file's suffix stands for."""
    return "," if ".csv" in [suffix.lower() for suffix in path.suffixes] else "\t"


def has_suffix(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a file's name ends in one of `suffixes`, in any case."""
    return path.name.lower().endswith(suffixes)


def numeric(values: Any, where: str) -> Any:
    """Refuse anything but plain numbers: object arrays are how pickles get in."""
    if values.dtype.kind not in "iufb":
        raise UnusableError(f"{where} holds values of type {values.dtype}: expected plain numbers")
    return values


def read_h5ad_names(group: Any) -> list[str]:
    """Index of an ``obs`` or ``var`` group of an AnnData file."""
    from anndata.io import read_elem

    return [str(name) for name in np.asarray(read_elem(group[group.attrs["_index"]]), dtype=object)]


def h5ad_genes(file: Any) -> tuple[list[str], str]:
    """Gene names of an AnnData file: symbols from a column of `var` where the index holds Ensembl ids."""
    from anndata.io import read_elem

    names = read_h5ad_names(file["var"])
    if share_of(ENSEMBL, names) <= 0.5:
        return names, "genes are var_names"
    for column in _SYMBOL_COLUMNS:
        if column in file["var"]:
            return [
                str(name) for name in np.asarray(read_elem(file["var"][column]), dtype=object)
            ], f"genes are var[{column!r}]"
    return names, "genes are var_names (Ensembl ids)"


def h5ad_matrix(file: Any) -> tuple[Any, str]:
    """The expression matrix of an open AnnData file, still on disk: raw counts where a layer of that name has them."""
    from anndata.io import sparse_dataset

    name = "layers/counts" if "layers" in file and "counts" in file["layers"] else "X"
    if name not in file:
        raise UnusableError("no X in the .h5ad file")
    item = file[name]
    encoding = item.attrs.get("encoding-type", "array")
    if encoding in ("csr_matrix", "csc_matrix"):
        numeric(item["data"], name)
        return sparse_dataset(item), name
    if encoding != "array" or not hasattr(item, "shape") or len(item.shape) != 2:
        raise UnusableError(f"{name} of the .h5ad file is a {encoding}: expected a matrix of numbers")
    return numeric(item, name), name


def stored_rows(matrix: Any, rows: slice) -> Values2D:
    """Rows of a matrix on disk, (rows, genes), as they are stored."""
    return as_stored(matrix[rows])


def _read_h5ad(path: Path, values: str, keep_given: bool) -> RnaProfile:
    import h5py
    from anndata.io import read_elem

    with h5py.File(path, "r") as file:
        if "obs" not in file or "var" not in file:
            raise UnusableError("an HDF5 file that is no AnnData (.h5ad): obs or var is not there")
        matrix, name = h5ad_matrix(file)
        observations, genes_count = matrix.shape
        _refuse_if_large(observations, genes_count)
        names, names_from = h5ad_genes(file)
        stored = stored_rows(matrix, slice(0, observations))
        given = GivenValues(tuple(read_h5ad_names(file["var"])), tuple(names), stored) if keep_given else None
        spatial = "obsm" in file and "spatial" in file["obsm"]
        xy = (
            np.asarray(numeric(read_elem(file["obsm"]["spatial"]), "obsm['spatial']"), np.float64)[:, :2]
            if spatial
            else None
        )
    evidence = f"{name} of the .h5ad file, {names_from}"
    return profile_of(names, dense_float32(stored), "spot" if spatial else "bulk", values, evidence, xy, given)


def _refuse_if_large(observations: int, genes: int) -> None:
    if observations == 0 or genes == 0:
        raise UnusableError(f"an empty table: {observations} observations, {genes} genes")
    if observations * genes > _MOST_VALUES:
        raise UnusableError(f"{observations} observations of {genes} genes: bin the spots, or aggregate cells, first")


def profile_of(
    names: list[str],
    matrix: NDArray[np.float32],
    kind: Kind,
    values: str,
    evidence: str,
    xy: NDArray[np.float64] | None,
    given: GivenValues | None,
) -> RnaProfile:
    """A profile on a known scale with unique gene names; `evidence` is what is known so far."""
    scale, why = scale_of(matrix, values)
    names, matrix, collapsed = collapse_genes(names, matrix, scale)
    return RnaProfile(names, matrix, kind, scale, "; ".join(filter(None, (evidence, why, collapsed))), xy, given)


def _open_text(path: Path) -> IO[str]:
    return (
        cast(IO[str], gzip.open(path, "rt", encoding="utf-8-sig"))
        if path.suffix == ".gz"
        else path.open(encoding="utf-8-sig")
    )


def read_frame(path: Path) -> pd.DataFrame:
    """A text table, its first column as strings; lines before the header that begin with # are left out."""
    import pandas as pd

    with _open_text(path) as stream:
        comments = 0
        while (line := stream.readline()).startswith("#"):
            comments += 1
    separator = separator_of(path)
    cells = line.rstrip("\r\n").split(separator)
    if len(cells) < 2:
        other = "," if separator == "\t" else "\t"
        hint = "; it looks like the other delimiter: fix the suffix" if other in line else ""
        raise UnusableError(f"a table of one column{hint}")
    headless = len(cells) == 2 and _is_number(cells[1])
    return pd.read_csv(
        path,
        sep=separator,
        skiprows=comments,
        header=None if headless else 0,
        # Names such as 0012 stay words.
        converters={0: str},
        encoding="utf-8-sig",
        low_memory=False,
        # The default is quicker and may miss the nearest number by a bit.
        float_precision="round_trip",
    )


def as_read(body: pd.DataFrame) -> NDArray[Any]:
    """Columns of numbers as one matrix: integers if all of it is, else float64."""
    matrix = body.to_numpy()
    return matrix if matrix.dtype.kind in "iuf" else body.to_numpy(np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers_of(frame: pd.DataFrame, known: Collection[str] | None) -> tuple[list[str], list[str], pd.DataFrame, str]:
    """Row names as given, as symbols (of a column of symbols where there is one), and the numeric columns."""
    given = names = frame.iloc[:, 0].astype(str)
    body = frame.iloc[:, 1:]
    words = [column for column in body.columns if body[column].dtype.kind not in "iufb"]
    for column in words:
        if known and str(column) in known:
            row = next(row for row, cell in enumerate(body[column], start=1) if not _is_number(str(cell)))
            raise UnusableError(f"column {column!r} holds a word in row {row}: expected a number")
    if len(words) == len(body.columns):
        raise UnusableError("no column of numbers")
    symbols = [column for column in words if str(column).lower() in _SYMBOL_COLUMNS]
    if symbols:
        names = body[symbols[0]].fillna("").astype(str)
    evidence = f"{len(words)} columns without numbers left out" if words else ""
    return list(given), list(names), body.drop(columns=words), evidence


def _read_text(path: Path, values: str, known: Collection[str] | None, keep_given: bool) -> RnaProfile:
    frame = read_frame(path)
    row_names, rows, body, left_out = _numbers_of(frame, known)
    columns = [str(column) for column in body.columns]
    row_score, row_evidence = gene_score(rows, known)
    column_score, column_evidence = gene_score(columns, known)
    if row_score == column_score:
        genes_in_rows = len(rows) >= len(columns)
        layout = f"neither axis is more like genes; the longer one ({'rows' if genes_in_rows else 'columns'}) is taken"
    else:
        genes_in_rows = row_score > column_score
        layout = f"genes in rows: {row_evidence}" if genes_in_rows else f"genes in columns: {column_evidence}"
    _refuse_if_large(*body.shape)
    stored = as_read(body) if keep_given else body.to_numpy(np.float32)
    names, observations = (rows, columns) if genes_in_rows else (columns, rows)
    given_names = row_names if genes_in_rows else columns
    if genes_in_rows:
        stored = np.ascontiguousarray(stored.T)
        measures = [name for name in columns if _MEASURE.search(name)]
        if len(columns) > 1 and len(measures) > len(columns) / 2:
            raise UnusableError(f"several value columns ({len(measures)}): keep the one to be used")
        kept = [index for index, name in enumerate(names) if name and not _BOOKKEEPING.match(name)]
        names, stored = [names[index] for index in kept], stored[:, kept]
        given_names = [given_names[index] for index in kept]
    spots = sum(bool(_SPOT.match(name)) for name in observations) > 0.9 * len(observations)
    evidence = "; ".join(filter(None, (layout, left_out)))
    given = GivenValues(tuple(given_names), tuple(names), stored) if keep_given else None
    return profile_of(names, dense_float32(stored), "spot" if spots else "bulk", values, evidence, None, given)


def read_rna(
    path: Path, values: str = "auto", genes: Collection[str] | None = None, keep_given: bool = False
) -> RnaProfile:
    """Read the profile of one case.

    Parameters
    ----------
    path
        ``.h5ad`` (spots if ``obsm["spatial"]`` is there: x and y in pixels of the slide's level 0;
        ``layers["counts"]`` goes before X), or a table ``.csv``/``.tsv``/``.txt``, gzipped or not:
        genes in rows or in columns, gene and value, or spots named ``XxY`` in rows (their positions
        on the slide are then not known).
    values
        Scale: ``auto``, ``log`` or one of :data:`mupd.modalities.profiles.Values`.
    genes
        Gene symbols of the model, to tell which axis holds genes; without them their form tells.
    keep_given
        Whether the profile also holds the values as they stand in the file.

    Raises
    ------
    UnusableError
        If the file does not read as such a table.
    """
    try:
        if has_suffix(path, (".h5ad",)):
            return _read_h5ad(path, values, keep_given)
        if has_suffix(path, TEXT_SUFFIXES):
            return _read_text(path, values, None if genes is None else frozenset(genes), keep_given)
    except READ_ERRORS as error:
        raise UnusableError(f"does not read as an expression table: {reason_of(error, path)}") from error
    raise UnusableError("another suffix: expected .h5ad, .csv, .tsv or .txt (.gz)")
