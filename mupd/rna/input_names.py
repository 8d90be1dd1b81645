"""Names in RNA inputs: spots, barcodes, transcripts, genes of other species, composite gene names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mupd.errors import UnusableError
from mupd.rna.gene_names import share_of
from mupd.rna.gene_table import ENSEMBL, gene_table

SYMBOL_COLUMNS = (
    "gene_name",
    "gene_symbol",
    "gene_symbols",
    "feature_name",
    "symbol",
    "hugo_symbol",
    "gene_short_name",
    "gene name",
)
# 10x12, 10.02x12.5
_SPOT = re.compile(r"^\d+(\.\d+)?x\d+(\.\d+)?$")
# AAACATACAACCAC-1, sample1_AAACATACAACCAC-1, Patient-01_AAACATACAACCAC-1, s_016um_00012_00034-1
_BARCODE = re.compile(r"^([\w.-]+[_#:-])?[ACGT]{8,}([-_.:+]\w+)*$|^s_\d{3}um_\d+_\d+(-\d+)?$")
# ENST00000456328.2|ENSG00000223972.5|..., ENSMUST00000000001, NM_000546.6
_TRANSCRIPT = re.compile(r"^(ENS[A-Z]{0,4}T\d{11}(\.\d+)?|[NX][MR]_\d{6,9}(\.\d+)?)(\||$)")
# Rows of STAR and HTSeq that are no genes: N_unmapped, __no_feature
BOOKKEEPING = re.compile(r"^(N_(unmapped|multimapping|noFeature|ambiguous)|__\w+)$")
# MARCH1 after a spreadsheet: 1-Mar, Mar-01
_DATE = re.compile(r"^(\d{1,2}-(Mar|Sep|Dec|Oct|Nov)|(Mar|Sep|Dec)-\d{2})$", re.IGNORECASE)
# GRCh38, hg19, homo_sapiens
_HUMAN_GENOME = re.compile(r"(?i)grch3[678]|hg(18|19|38)|human|homo|b37|chm13|t2t")
# GRCm39, mm10, mRatBN7.2, GRCz11_danRer
_OTHER_GENOME = re.compile(r"(?i)grcm3[89]|mm(9|10|39)|mouse|mus_?musc|rn[4-7]|mratbn|rat\b|dan|zebra|macaca|pig|sscr")
_OTHER_SPECIES = (
    # ENSMUSG00000059552
    (re.compile(r"^(DEPRECATED_)?ENSMUSG\d{11}"), "are Ensembl ids of another species, mouse (ENSMUSG)"),
    # ENSRNOG00000010756
    (re.compile(r"^(DEPRECATED_)?ENS[A-Z]{3,4}G\d{11}"), "are Ensembl ids of another species"),
    # Trp53, mt-Co1
    (re.compile(r"^([A-Z][a-z][a-z0-9]{1,9}|mt-[A-Z]\w+)(\||$)"), "are written as mouse symbols are (Actb, not ACTB)"),
)
# ENSG00000141510.18|TP53, ENSG00000141510_TP53, TP53|7157, TP53|ENSG00000141510, GRCh38_TP53
_COMPOSITE = re.compile(
    r"^(?:(?:GRCh3\d|hg\d\d)_+)?"
    r"(?:(?P<id>ENSG\d{11}(?:\.\d+)?(?:_PAR_Y)?)[|_:](?P<symbol>[A-Za-z][\w.-]*)"
    r"|(?P<first>[A-Za-z][\w.-]*)\|(?:\d+|ENSG\d{11}(?:\.\d+)?)|(?P<bare>[A-Za-z][\w.-]*))$"
)


def are_spots(names: Sequence[str]) -> bool:
    """Whether observations are named by their position in an array, ``XxY``."""
    return bool(names) and share_of(_SPOT, names) > 0.9


def are_barcodes(names: Sequence[str]) -> bool:
    """Whether observations are named by barcodes: cells, or spots without positions in the file."""
    return len(names) > 1 and share_of(_BARCODE, names) > 0.9


def genome_species(genome: str) -> str:
    """``human``, ``other`` or "" (unknown) for the name of a reference genome."""
    if _HUMAN_GENOME.search(genome):
        return "human"
    return "other" if _OTHER_GENOME.search(genome) else ""


def refuse_other_species(symbols: Sequence[str], ids: Sequence[str] = (), genome: str = "") -> None:
    """Raise UnusableError if genes are of another species than human."""
    if genome and genome_species(genome) == "other":
        raise UnusableError(f"not human: the reference genome is {genome}, and the model knows human genes")
    for names in (ids, symbols):
        for pattern, what in _OTHER_SPECIES:
            if names and (share := share_of(pattern, names)) > 0.5:
                raise UnusableError(
                    f"not human: {share:.0%} of the gene names {what}: no gene in common with the model, "
                    "which knows human genes"
                )


def best_names(ids: Sequence[str], symbols: Sequence[str]) -> list[str]:
    """The symbol of each gene; its id where the symbol is empty, or where only the id identifies one gene."""
    table = gene_table()
    return [
        symbol if symbol and (table.symbol_of(symbol) or not table.symbol_of(own)) else own
        for own, symbol in zip(ids, symbols, strict=True)
    ]


def are_transcripts(names: Sequence[str]) -> bool:
    """Whether names are those of transcripts."""
    return share_of(_TRANSCRIPT, names) > 0.5


def genes_of_transcripts(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The gene id and symbol of each transcript, from names as in GENCODE's FASTA: ``ENST|ENSG|..|..|NAME|SYMBOL|..``.

    Raises
    ------
    UnusableError
        If the names do not state the gene.
    """
    ids, symbols = [], []
    for name in names:
        parts = name.split("|")
        if len(parts) < 6 or not ENSEMBL.match(parts[1]):
            raise UnusableError(
                "values of transcripts, whose names do not state the gene: give values of genes "
                "(Salmon's quant.genes.sf, RSEM's genes.results, tximport's genes)"
            )
        ids.append(parts[1])
        symbols.append(parts[5])
    return ids, symbols


def simple_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Gene names without the additions of some pipelines, and what was changed, in words.

    ``ENSG..|TP53``, ``ENSG.._TP53`` (RSEM), ``TP53|7157`` (Firehose) and ``GRCh38_TP53`` become ``TP53``.
    """
    simple, split = [], 0
    for name in names:
        if "|" in name or "_" in name or ":" in name:
            match = None if ENSEMBL.match(name) else _COMPOSITE.match(name)
            plain = (match["symbol"] or match["first"] or match["bare"]) if match else name
            if match and match["symbol"] == "PAR_Y":
                plain = name
            split += plain != name
            name = plain
        simple.append(name)
    dates = sum(bool(_DATE.match(name)) for name in simple)
    words = [f"{split} composite names reduced to their symbol"] if split else []
    words += [f"{dates} names were lost: a spreadsheet turned them into dates"] if dates else []
    return simple, "; ".join(words)
