"""Ensembl ids and former gene names, brought to the symbols that a model knows.

The table (resources/genes) holds for each human gene its approved symbol, Ensembl id, previous
symbols and aliases, as the HGNC states them.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from mupd.modalities.gene_names import ENSEMBL
from mupd.modalities.profiles import RnaProfile, collapse_genes

_HERE = Path(__file__).resolve().parents[1]
_TABLE = "human_genes.tsv.gz"
_AMBIGUOUS = ""


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


def _add(names: dict[str, str], name: str, symbol: str) -> None:
    names[name] = symbol if names.get(name, symbol) == symbol else _AMBIGUOUS


@cache
def gene_table() -> GeneTable:
    """The table of human genes, from the installed package or from the repository; read once a process."""
    folders = (_HERE / "_genes", _HERE.parent / "resources" / "genes")
    path = next((folder / _TABLE for folder in folders if (folder / _TABLE).exists()), None)
    if path is None:
        raise FileNotFoundError(f"{_TABLE}: not in the package nor in resources/genes")
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
                _add(ids, ensembl_id, symbol)
            for names, field in ((previous, earlier), (aliases, other)):
                for name in filter(None, field.split("|")):
                    _add(names, name, symbol)
    return GeneTable(frozenset(symbols), ids, previous, aliases)


@lru_cache(maxsize=8)
def _known_by_symbol(known: frozenset[str]) -> dict[str, str]:
    """The model's own name for each approved symbol; symbols that the model has under two names left out."""
    table = gene_table()
    found: dict[str, str] = {}
    for name in sorted(known):
        if symbol := table.symbol_of(name):
            _add(found, symbol, name)
    return {symbol: name for symbol, name in found.items() if name != _AMBIGUOUS}


@dataclass(frozen=True)
class GeneMapping:
    """How many names of a profile became genes of the model, and how.

    Attributes
    ----------
    same, by_id, by_former_name
        Names that the model has as they are; Ensembl ids; previous symbols and aliases, either way
        round (the model's own names may be the older ones).
    ambiguous
        Ids or names that several genes bear: not used.
    shadowed
        Former names of a gene that the profile also has under the model's name: not used, since the
        file itself tells the two apart.
    unknown
        No gene of the model.
    """

    same: int = 0
    by_id: int = 0
    by_former_name: int = 0
    ambiguous: int = 0
    shadowed: int = 0
    unknown: int = 0

    def facts(self) -> dict[str, int]:
        """Plain values for an inventory."""
        return dict(vars(self))

    def words(self) -> str:
        """What was mapped and what was not used, in words; "" where every name of the model's was there as it is."""
        parts = (
            (self.by_id, "Ensembl ids mapped to symbols"),
            (self.by_former_name, "former names mapped to the model's"),
            (self.ambiguous, "names of several genes not used"),
            (self.shadowed, "former names beside the current one not used"),
        )
        return ", ".join(f"{count} {what}" for count, what in parts if count)


def map_names(names: Sequence[str], known: Collection[str]) -> tuple[list[str], GeneMapping]:
    """Each name as the model has it; what maps to no gene of the model stays as it is.

    Two names may come out alike (two Ensembl ids of one symbol, ``_PAR_Y`` copies).
    """
    mapped, mapping = _mapped(tuple(names), frozenset(known))
    return list(mapped), mapping


@lru_cache(maxsize=16)
def _mapped(names: tuple[str, ...], known: frozenset[str]) -> tuple[tuple[str, ...], GeneMapping]:
    """As :func:`map_names`; thousands of rows of one table have the same names, which are mapped once."""
    if known.issuperset(names):
        return names, GeneMapping(same=len(names))
    table, by_symbol, present = gene_table(), _known_by_symbol(known), known.intersection(names)
    mapped: list[str] = []
    count: Counter[str] = Counter()
    for name in names:
        if name in known:
            count["same"] += 1
            mapped.append(name)
            continue
        symbol = table.symbol_of(name)
        target = by_symbol.get(symbol) if symbol else None
        is_id = bool(ENSEMBL.match(name))
        if target is None:
            count["ambiguous" if symbol == _AMBIGUOUS else "unknown"] += 1
        elif not is_id and target in present:
            count["shadowed"] += 1
            target = None
        else:
            count["by_id" if is_id else "by_former_name"] += 1
        mapped.append(name if target is None else target)
    return tuple(mapped), GeneMapping(**count)


def to_model_genes(profile: RnaProfile, known: Collection[str]) -> tuple[RnaProfile, GeneMapping]:
    """A profile under the model's gene names, and how many were mapped.

    Counts of names that come out alike are added up: a read was counted for one of the ids, so their
    sum is the gene's count. Of logarithms the row with the higher mean is kept.
    """
    names, mapping = map_names(profile.genes, known)
    if names == profile.genes:
        return profile, mapping
    genes, matrix, collapsed = collapse_genes(names, profile.matrix, profile.values)
    evidence = "; ".join(filter(None, (profile.evidence, mapping.words(), collapsed)))
    changed: dict[str, Any] = {"genes": genes, "matrix": matrix, "evidence": evidence}
    return replace(profile, **changed), mapping
