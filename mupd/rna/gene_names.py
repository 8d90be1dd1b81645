"""Telling gene names from other words, so that a table's layout can be told."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from mupd.rna.gene_table import ENSEMBL, gene_table

_OTHER_SPECIES = re.compile(r"^ENS[A-Z]{1,4}G\d{11}")

# Names that nearly every human expression table has, and that name nothing else.
_COMMON = re.compile(r"^(RP[LS]\d+[A-Z]?\d*|MT-\w+|ACTB|GAPDH|B2M|EEF1A1|TMSB4X|FTL|FTH1|TP53|EGFR|MYC|VIM|COL1A[12])$")
_SYMBOL = re.compile(r"^(C\d{1,2}orf\d+|[A-Z][A-Z0-9]{1,9}(-[A-Z0-9]{1,5})?(\.\d+)?)$")
_MOUSE = re.compile(r"^([A-Z][a-z][a-z0-9]{1,9}|mt-[A-Z]\w+)$")
_MOST_LOOKED_AT = 4000


def _sample(names: Sequence[str]) -> Sequence[str]:
    return names[:: max(1, len(names) // _MOST_LOOKED_AT)]


def share_of(pattern: re.Pattern[str], names: Sequence[str]) -> float:
    """Share (0-1) of names that match."""
    part = _sample(names)
    return sum(bool(pattern.match(name)) for name in part) / len(part) if part else 0.0


def _share_of_human(names: Sequence[str]) -> float:
    """Share of names that the HGNC knows: approved or former symbols, aliases, Ensembl ids, mixed as they may be."""
    table, part = gene_table(), _sample(names)
    # Two letters or digits are somebody's alias, and a sample's name as well.
    return sum(len(name) > 2 and table.symbol_of(name) is not None for name in part) / len(part) if part else 0.0


def gene_score(names: Sequence[str], known: Collection[str] | None) -> tuple[float, str]:
    """How much a list of names looks like genes (0-1), and the evidence in words."""
    if known:
        share = sum(name in known for name in names) / max(1, min(len(names), len(known)))
        if share > 0.02:
            return min(1.0, share), f"{share:.0%} are genes of the model"
    if (share := share_of(ENSEMBL, names)) > 0.5:
        return share, f"{share:.0%} are Ensembl gene ids"
    if (share := _share_of_human(names)) > 0.5:
        return share, f"{share:.0%} are names of human genes"
    common = sum(bool(_COMMON.match(name)) for name in names)
    share = share_of(_SYMBOL, names)
    # Barcodes and patient ids can have the form of symbols; common gene names among them settle it.
    score = share * (1.0 if common >= 3 else 0.5)
    return score, f"{share:.0%} have the form of gene symbols, {common} are common genes"


def rows_are_genes(
    rows: Sequence[str], columns: Sequence[str], known: Collection[str] | None = None
) -> tuple[bool, str]:
    """Whether rows are named as genes and columns clearly less so, and the evidence in words."""
    of_rows, why = gene_score(rows, known)
    # Ids such as TCGA-1234 have the form of symbols, and score a half.
    return of_rows >= 0.5 and of_rows - gene_score(columns, known)[0] >= 0.25, why


def naming_hint(genes: Sequence[str]) -> str:
    """What kind of names these are, where they are not human symbols: words for a message.

    The names themselves are not quoted: of a table laid out otherwise than thought they may be patients'.
    """
    if share_of(_OTHER_SPECIES, genes) > 0.5:
        return "; they are Ensembl ids of another species, and the model knows human genes"
    if share_of(ENSEMBL, genes) > 0.5:
        return "; they look like Ensembl ids, of genes that the model does not know"
    if share_of(_MOUSE, genes) > 0.5:
        return "; they look like mouse symbols, and the model knows human genes"
    return f"; {share_of(_SYMBOL, genes):.0%} of them have the form of gene symbols" if genes else ""
