"""Names in RNA inputs: composite gene names taken apart, transcripts, other species, barcodes and spots."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mupd.errors import UnusableError
from mupd.rna.gene_names import share_of
from mupd.rna.gene_table import ENSEMBL

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
_SPOT = re.compile(r"^\d+(\.\d+)?x\d+(\.\d+)?$")
_BARCODE = re.compile(r"^([\w.]+[_#:-])?[ACGT]{8,}([-_.:+]\w+)*$|^s_\d{3}um_\d+_\d+(-\d+)?$")
_TRANSCRIPT = re.compile(r"^(ENS[A-Z]{0,4}T\d{11}(\.\d+)?|[NX][MR]_\d{6,9}(\.\d+)?)(\||$)")
# Bookkeeping rows of STAR and HTSeq, which stand among the genes.
BOOKKEEPING = re.compile(r"^(N_(unmapped|multimapping|noFeature|ambiguous)|__\w+)$")
_DATE = re.compile(r"^(\d{1,2}-(Mar|Sep|Dec|Oct|Nov)|(Mar|Sep|Dec)-\d{2})$", re.IGNORECASE)
_MOUSE_IDS = re.compile(r"^(DEPRECATED_)?ENSMUSG\d{11}")
_OTHER_IDS = re.compile(r"^(DEPRECATED_)?ENS[A-Z]{3,4}G\d{11}")
_MOUSE_SYMBOL = re.compile(r"^([A-Z][a-z][a-z0-9]{1,9}|mt-[A-Z]\w+)(\||$)")
_HUMAN_GENOME = re.compile(r"(?i)grch3[678]|hg(18|19|38)|human|homo|b37|chm13|t2t")
_OTHER_GENOME = re.compile(r"(?i)grcm3[89]|mm(9|10|39)|mouse|mus_?musc|rn[4-7]|mratbn|rat\b|dan|zebra|macaca|pig|sscr")
_COMPOSITE = re.compile(
    r"^(?:(?:GRCh3\d|hg\d\d)_+)?"
    r"(?:(?P<id>ENSG\d{11}(?:\.\d+)?(?:_PAR_Y)?)[|_:](?P<symbol>[A-Za-z][\w.-]*)"
    r"|(?P<first>[A-Za-z][\w.-]*)\|(?:\d+|ENSG\d{11}(?:\.\d+)?)|(?P<bare>[A-Za-z][\w.-]*))$"
)


def are_spots(names: Sequence[str]) -> bool:
    """Whether observations are named by their place in an array, ``XxY``."""
    return bool(names) and share_of(_SPOT, names) > 0.9


def are_barcodes(names: Sequence[str]) -> bool:
    """Whether observations are named by barcodes: cells, or spots whose places are not in the file."""
    return len(names) > 1 and share_of(_BARCODE, names) > 0.9


def genome_species(genome: str) -> str:
    """``human``, ``other`` or "" (not known) for the name of a reference genome."""
    if _HUMAN_GENOME.search(genome):
        return "human"
    return "other" if _OTHER_GENOME.search(genome) else ""


def refuse_other_species(symbols: Sequence[str], ids: Sequence[str] = (), genome: str = "") -> None:
    """Refuse genes of another species than human, with what tells it."""
    if genome and genome_species(genome) == "other":
        raise UnusableError(f"not human: the reference genome is {genome}, and the model knows human genes")
    for names in (ids, symbols):
        for pattern, what in (
            (_MOUSE_IDS, "are Ensembl ids of another species, mouse (ENSMUSG)"),
            (_OTHER_IDS, "are Ensembl ids of another species"),
            (_MOUSE_SYMBOL, "are written as mouse symbols are (Actb, not ACTB)"),
        ):
            if names and (share := share_of(pattern, names)) > 0.5:
                raise UnusableError(
                    f"not human: {share:.0%} of the gene names {what}: no gene in common with the model, "
                    "which knows human genes"
                )


def best_names(ids: Sequence[str], symbols: Sequence[str]) -> list[str]:
    """For each gene its symbol, or its id where the symbol is empty or leads to no one gene and the id does."""
    from mupd.rna.gene_table import gene_table

    table = gene_table()
    return [
        symbol if symbol and (table.symbol_of(symbol) or not table.symbol_of(own)) else own
        for own, symbol in zip(ids, symbols, strict=True)
    ]


def are_transcripts(names: Sequence[str]) -> bool:
    """Whether the rows of a table are transcripts."""
    return share_of(_TRANSCRIPT, names) > 0.5


def genes_of_transcripts(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Gene id and symbol of each transcript, from names as in GENCODE's FASTA (``ENST|ENSG|..|..|NAME|SYMBOL|..``).

    Raises
    ------
    UnusableError
        If names carry no gene.
    """
    ids, symbols = [], []
    for name in names:
        parts = name.split("|")
        if len(parts) < 6 or not ENSEMBL.match(parts[1]):
            raise UnusableError(
                "values of transcripts, whose names do not carry the gene: give the gene level "
                "(Salmon's quant.genes.sf, RSEM's genes.results, tximport's genes)"
            )
        ids.append(parts[1])
        symbols.append(parts[5])
    return ids, symbols


def simple_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Gene names without what some pipelines add to them, and what was done in words.

    ``ENSG..|TP53``, ``ENSG.._TP53`` (RSEM) and ``TP53|7157`` (Firehose) become the symbol, ``GRCh38_TP53`` too.
    """
    found, split = [], 0
    for name in names:
        if "|" in name or "_" in name or ":" in name:
            match = None if ENSEMBL.match(name) else _COMPOSITE.match(name)
            plain = (match["symbol"] or match["first"] or match["bare"]) if match else name
            if match and match["symbol"] == "PAR_Y":
                plain = name
            split += plain != name
            name = plain
        found.append(name)
    dates = sum(bool(_DATE.match(name)) for name in found)
    words = [f"{split} composite names reduced to their symbol"] if split else []
    words += [f"{dates} names that a spreadsheet made dates of are lost"] if dates else []
    return found, "; ".join(words)
