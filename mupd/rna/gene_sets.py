"""Gene sets in the GMT format (Broad Institute), and the sets that come with mupd.

A line of a GMT file is a set: name, description and genes, separated by tabs.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mupd.base.package_files import shipped_file
from mupd.errors import Fault, InputFaults
from mupd.rna.gene_table import gene_table

# One name without separators: TP53, HLA-DRA
_GENE = re.compile(r"[^\s,;|]+")
_MOST_FAULTS = 20

GeneSets = dict[str, tuple[str, ...]]


def default_gmt() -> Path:
    """The gene sets that come with mupd."""
    return shipped_file("gene_sets", "mupd.gmt")


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.name.lower().endswith(".gz") else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputFaults(f"gene sets {path}", [Fault(str(path), reason.splitlines()[0], "a GMT file")]) from error
    # Not `splitlines`, which also splits at rare separators within a description.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _repeated(values: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [value for value in values if value in seen or seen.add(value)]  # type: ignore[func-returns-value]


def _line_faults(where: str, cells: list[str]) -> list[Fault]:
    if cells == [""]:
        return [Fault(where, "an empty line", "name, description and genes, separated by tabs")]
    if len(cells) < 3:
        words = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
        return [Fault(where, words, "name, description and at least one gene, separated by tabs")]
    faults = []
    if not cells[0].strip():
        faults.append(Fault(where, "a set without a name", "a name in the first column"))
    genes = cells[2:]
    if not any(genes):
        return [*faults, Fault(where, f"no gene in {cells[0]!r}", "at least one gene")]
    for column, gene in enumerate(genes, 3):
        if not _GENE.fullmatch(gene):
            faults.append(Fault(f"{where} column {column}", repr(gene) if gene else "an empty cell", "one gene name"))
    if repeated := _repeated(filter(None, genes)):
        faults.append(Fault(where, f"{', '.join(repeated[:3])} more than once in {cells[0]!r}", "each gene once"))
    return faults


def read_gmt(path: Path) -> GeneSets:
    """Read a GMT file, plain or gzipped (``.gz``): {name of the set: genes} in the file's order.

    Duplicate sets or genes, empty sets or cells, and spaces in names are refused. They would change scores silently.

    Raises
    ------
    InputFaults
        With the first 20 faults and their lines.
    """
    sets: GeneSets = {}
    first_line: dict[str, int] = {}
    faults: list[Fault] = []
    for number, line in enumerate(_lines(path), 1):
        where, cells = f"{path}:{number}", line.split("\t")
        faults_here = _line_faults(where, cells)
        if not faults_here and cells[0] in sets:
            words = f"set {cells[0]!r} again, as in line {first_line[cells[0]]}"
            faults_here = [Fault(where, words, "each name once")]
        faults += faults_here
        if not faults_here:
            sets[cells[0]], first_line[cells[0]] = tuple(cells[2:]), number
    if not sets and not faults:
        faults = [Fault(str(path), "no gene set", "a line for each gene set")]
    if faults:
        raise InputFaults(f"gene sets {path}", faults[:_MOST_FAULTS])
    return sets


def members_among(gene_sets: Mapping[str, Sequence[str]], genes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The members of each set that are among `genes`, under the names in `genes`, which may be older or newer."""
    table = gene_table()
    own = {table.symbol_of(gene) or gene: gene for gene in reversed(genes)}
    known = set(genes)
    return {
        name: tuple(
            dict.fromkeys(filter(None, (g if g in known else own.get(table.symbol_of(g) or g) for g in members)))
        )
        for name, members in gene_sets.items()
    }
