"""Mapping of Ensembl ids and former gene names to the symbols that a model uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from mupd.rna.gene_table import AMBIGUOUS, ENSEMBL, add_name, gene_table
from mupd.rna.profiles import RnaProfile, collapse_genes


@lru_cache(maxsize=8)
def _known_by_symbol(known: frozenset[str]) -> dict[str, str]:
    """{approved symbol: the model's name}, without symbols for which the model has two names."""
    table = gene_table()
    by_symbol: dict[str, str] = {}
    for name in sorted(known):
        if symbol := table.symbol_of(name):
            add_name(by_symbol, symbol, name)
    return {symbol: name for symbol, name in by_symbol.items() if name != AMBIGUOUS}


@dataclass(frozen=True)
class GeneMapping:
    """Number of a profile's names that were mapped to genes of the model, and how.

    Attributes
    ----------
    same, by_id, by_former_name
        Names that the model has too; Ensembl ids; previous symbols and aliases. The model's name may be the older one.
    ambiguous
        Ids or names of several genes, which are not used.
    shadowed
        Former names of a gene that the profile also has under the model's name. They are not used, because the file
        distinguishes the two.
    unknown
        Names of no gene of the model.
    """

    same: int = 0
    by_id: int = 0
    by_former_name: int = 0
    ambiguous: int = 0
    shadowed: int = 0
    unknown: int = 0

    def facts(self) -> dict[str, int]:
        """The counts as plain values for an inventory."""
        return dict(vars(self))

    def words(self) -> str:
        """What was mapped and what was not used, in words; "" if nothing was."""
        parts = (
            (self.by_id, "Ensembl ids mapped to symbols"),
            (self.by_former_name, "former names mapped to the model's"),
            (self.ambiguous, "names of several genes not used"),
            (self.shadowed, "former names beside the current one not used"),
        )
        return ", ".join(f"{count} {what}" for count, what in parts if count)


def map_names(names: Sequence[str], known: Collection[str]) -> tuple[list[str], GeneMapping]:
    """The model's name for each name. Names of no gene of the model stay as they are.

    Two names may become the same (two Ensembl ids of one symbol, ``_PAR_Y`` copies).
    """
    mapped, mapping = _mapped(tuple(names), frozenset(known))
    return list(mapped), mapping


@lru_cache(maxsize=16)
def _mapped(names: tuple[str, ...], known: frozenset[str]) -> tuple[tuple[str, ...], GeneMapping]:
    """:func:`map_names`, cached because all rows of a table have the same names."""
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
            count["ambiguous" if symbol == AMBIGUOUS else "unknown"] += 1
        elif not is_id and target in present:
            count["shadowed"] += 1
            target = None
        else:
            count["by_id" if is_id else "by_former_name"] += 1
        mapped.append(name if target is None else target)
    return tuple(mapped), GeneMapping(**count)


def to_model_genes(profile: RnaProfile, known: Collection[str]) -> tuple[RnaProfile, GeneMapping]:
    """A profile under the model's gene names, and how many were mapped.

    Counts under names that become the same are added up: each read was counted for one of the ids, so that the sum is
    the gene's count. Of logarithms, the column with the higher mean is kept.
    """
    names, mapping = map_names(profile.genes, known)
    if names == profile.genes:
        return profile, mapping
    genes, matrix, collapsed = collapse_genes(names, profile.matrix, profile.values)
    evidence = "; ".join(filter(None, (profile.evidence, mapping.words(), collapsed)))
    return replace(profile, genes=genes, matrix=matrix, evidence=evidence), mapping
