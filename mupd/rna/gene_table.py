"""The table of human genes (resources/genes), as the HGNC states them: symbols, Ensembl ids, former names, aliases."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from functools import cache

from mupd.base.package_files import shipped_file

ENSEMBL = re.compile(r"^ENS[A-Z]{0,4}G\d{11}(\.\d+)?(_PAR_Y)?$")

_TABLE = "human_genes.tsv.gz"
AMBIGUOUS = ""
"""Stands where a name leads to several genes."""


@dataclass(frozen=True)
class GeneTable:
    """Approved symbols, and what else leads to one: Ensembl ids, previous symbols, aliases ("" = to several)."""

    symbols: frozenset[str]
    ids: dict[str, str]
    previous: dict[str, str]
    aliases: dict[str, str]

    def symbol_of(self, name: str) -> str | None:
        """The approved symbol that a name or id stands for, itself included; "" for several, None for none.

        A previous symbol goes before an alias: it was this gene's official name, an alias may be
        anybody's.
        """
        if ENSEMBL.match(name):
            return self.ids.get(base_id(name))
        if name in self.symbols:
            return name
        return self.previous.get(name, self.aliases.get(name))


def base_id(ensembl_id: str) -> str:
    """An Ensembl id without its version (``ENSG00000141510.18``), and without ``_PAR_Y``."""
    return ensembl_id.partition(".")[0].removesuffix("_PAR_Y")


def add_name(names: dict[str, str], name: str, symbol: str) -> None:
    """Note what a name leads to, or that it leads to several."""
    names[name] = symbol if names.get(name, symbol) == symbol else AMBIGUOUS


@cache
def gene_table() -> GeneTable:
    """The table of human genes, from the installed package or from the repository; read once a process."""
    path = shipped_file("genes", _TABLE)
    symbols: list[str] = []
    ids: dict[str, str] = {}
    previous: dict[str, str] = {}
    aliases: dict[str, str] = {}
    with gzip.open(path, "rt", encoding="utf-8") as stream:
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
