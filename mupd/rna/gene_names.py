"""How much a list of names looks like genes, which tells the layout of a table."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from mupd.rna.gene_table import ENSEMBL, gene_table

# Genes in nearly every human expression table, whose names mean nothing else: RPL13A, MT-CO1, ACTB.
_COMMON = re.compile(r"^(RP[LS]\d+[A-Z]?\d*|MT-\w+|ACTB|GAPDH|B2M|EEF1A1|TMSB4X|FTL|FTH1|TP53|EGFR|MYC|VIM|COL1A[12])$")
# The form of a human gene symbol: TP53, HLA-DRA, C9orf72, AC011043.1.
_SYMBOL = re.compile(r"^(C\d{1,2}orf\d+|[A-Z][A-Z0-9]{1,9}(-[A-Z0-9]{1,5})?(\.\d+)?)$")
_MOST_SAMPLED = 4000


def _sample(names: Sequence[str]) -> Sequence[str]:
    return names[:: max(1, len(names) // _MOST_SAMPLED)]


def share_of(pattern: re.Pattern[str], names: Sequence[str]) -> float:
    """Share (0-1) of names that match."""
    part = _sample(names)
    return sum(bool(pattern.match(name)) for name in part) / len(part) if part else 0.0


def _share_of_human(names: Sequence[str]) -> float:
    """Share (0-1) of names that the HGNC has: approved or former symbols, aliases, Ensembl ids, in any mixture."""
    table, part = gene_table(), _sample(names)
    # Names of two characters are aliases of some gene, but also names of samples.
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
    # Barcodes and patient ids may have the form of symbols, but are not named as common genes.
    score = share * (1.0 if common >= 3 else 0.5)
    return score, f"{share:.0%} have the form of gene symbols, {common} are common genes"


def rows_are_genes(
    rows: Sequence[str], columns: Sequence[str], known: Collection[str] | None = None
) -> tuple[bool, str]:
    """Whether row names look like genes, and column names clearly less so, and the evidence in words."""
    of_rows, why = gene_score(rows, known)
    # Ids such as TCGA-1234 have the form of symbols and score 0.5.
    return of_rows >= 0.5 and of_rows - gene_score(columns, known)[0] >= 0.25, why


def naming_hint(genes: Sequence[str]) -> str:
    """What kind of names a profile has, in words for a message.

    The names are not quoted. In a table with an unexpected layout they may be names of patients.
    """
    if share_of(ENSEMBL, genes) > 0.5:
        return "; they look like Ensembl ids, of genes that the model does not know"
    return f"; {share_of(_SYMBOL, genes):.0%} of them have the form of gene symbols" if genes else ""
