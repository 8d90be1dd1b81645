"""The table of human genes (resources/genes) of the HGNC: symbols, Ensembl ids, former names, aliases."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from functools import cache

from mupd.base.package_files import shipped_file

# ENSG00000141510.18, ENSMUSG00000059552, ENSG00000002586.20_PAR_Y
ENSEMBL = re.compile(r"^ENS[A-Z]{0,4}G\d{11}(\.\d+)?(_PAR_Y)?$")

_TABLE = "human_genes.tsv.gz"
AMBIGUOUS = ""
"""In place of a symbol, for a name of several genes."""


@dataclass(frozen=True)
class GeneTable:
    """Approved symbols, and {name: symbol} of Ensembl ids, previous symbols and aliases."""

    symbols: frozenset[str]
    ids: dict[str, str]
    previous: dict[str, str]
    aliases: dict[str, str]

    def symbol_of(self, name: str) -> str | None:
        """The approved symbol of a name or id; :data:`AMBIGUOUS` if several genes have it, None if none has.

        A previous symbol takes precedence over an alias, because it was the official name of one gene.
        """
        if ENSEMBL.match(name):
            return self.ids.get(base_id(name))
        if name in self.symbols:
            return name
        return self.previous.get(name, self.aliases.get(name))


def base_id(ensembl_id: str) -> str:
    """An Ensembl id without its version and without ``_PAR_Y``."""
    return ensembl_id.partition(".")[0].removesuffix("_PAR_Y")


def add_name(names: dict[str, str], name: str, symbol: str) -> None:
    """Set the symbol of a name, or :data:`AMBIGUOUS` if the name already has another symbol."""
    names[name] = symbol if names.get(name, symbol) == symbol else AMBIGUOUS


@cache
def gene_table() -> GeneTable:
    """The table of human genes, read once per process."""
    symbols: list[str] = []
    ids: dict[str, str] = {}
    previous: dict[str, str] = {}
    aliases: dict[str, str] = {}
    with gzip.open(shipped_file("genes", _TABLE), "rt", encoding="utf-8") as stream:
        next(stream)
        for line in stream:
            symbol, ensembl_id, earlier, other = line.rstrip("\n").split("\t")
            symbols.append(symbol)
            if ensembl_id:
                add_name(ids, ensembl_id, symbol)
            for names, field in ((previous, earlier), (aliases, other)):
                for name in filter(None, field.split("|")):
                    add_name(names, name, symbol)
    return GeneTable(frozenset(symbols), ids, previous, aliases)
