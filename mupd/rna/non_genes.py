"""Numeric columns of expression tables that are no gene and no sample: clinical columns, and annotation of genes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mupd.errors import UnusableError
from mupd.rna.gene_names import gene_score, share_of
from mupd.rna.gene_table import ENSEMBL, gene_table

# Beside genes in columns: age, OS_days, DFS.MONTHS, days_to_death, tumor_purity, Stage, n_genes, nCount_RNA, batch
_CLINICAL = re.compile(
    r"(?i)^(age|sex|gender|race|stage|grade|purity|ploidy|tmb|bmi|weight|height|batch|plate|lane|rin|cluster|label|"
    r"class|group|fold|split|target|response|treatment|vital|surviv\w*|necrosis|stroma|percent|pct|n_?(genes|counts|"
    r"features|cells)|total_?counts|ncount|nfeature|library_?size|size_?factors?|tumou?r\w*|patient|sample|days_to|"
    r"year|date|time|status|event|(os|dfs|pfs|dss|pfi|dfi|rfs|efs|msi|tnm|pt|pn|pm|ct))"
    r"([ ._-]\w+)*([ ._-]?(days|months|years|status|event|time|score|rna|at_diagnosis))?$"
    r"|[ ._](days|months|years|status|event|score|percent|pct|fraction|ratio|date|time|index|mm|cm|kg)$"
)
# A word in small letters, as no gene is named: treatment_arm, cea_preop
_WORD = re.compile(r"^(?!uc_|mir|let|hsa)[a-z][a-z_. ]{2,}\d*$")
# Beside genes in rows: Entrez_Gene_Id, Length, EffectiveLength, start, Chr, gc_content, scaled_estimate, log2FoldChange
_ANNOTATION = re.compile(
    r"(?i)^(entrez\w*|\w*entrez\w*id|ncbi\w*|hgnc\w*|gene_?(id|type|length|start|end|index)|ensembl\w*|"
    r"chr(omosome)?|seqnames?|start\w*|end|stop|strand|width|bp|\w*length|eff\w*_?len\w*|"
    r"gc([._ ]?(content|percent|pct|fraction))?|exons?\w*|biotype|scaled_estimate|cytoband|locus\w*|band|"
    r"description|p[._ ]?val\w*|padj|fdr|q[._ ]?val\w*|log2?_?fc|log2?_?fold_?change|basemean|lfcse|stat|logcpm|"
    r"mean|sd|variance|rank|unnamed: \d+)$"
)
# 7157
_ENTREZ = re.compile(r"^\d{1,9}(\.0)?$")
# 1007_s_at, ILMN_1343291, A_23_P100001
_PROBE = re.compile(r"^(\d+(_[a-z]+)?_at|ILMN_\d+|A_\d\d_P\d+)$")
_MOST_NAMED = 5
_LEAST_ROWS_OF_GENES = 100
_MOST_STRANGERS = 50
_MOST_SHARE_OF_STRANGERS = 0.02


def is_annotation(column: str) -> bool:
    """Whether a column beside genes in rows describes genes, and is no sample.

    >>> is_annotation("Entrez_Gene_Id"), is_annotation("Length"), is_annotation("TCGA-AA-0001-01")
    (True, True, False)
    """
    return bool(_ANNOTATION.match(column.strip()))


def non_genes(columns: Sequence[str]) -> list[int]:
    """Positions of the columns beside genes that are no gene.

    >>> non_genes(["TP53", "age", "OS_days", "MSI1", "ENSG00000141510.18", "HLA-DRA"])
    [1, 2]
    """
    table = gene_table()
    return [
        position
        for position, name in enumerate(columns)
        if name not in table.symbols
        and name not in table.previous
        and not ENSEMBL.match(name)
        and (_CLINICAL.search(name) or is_annotation(name) or (_WORD.match(name) and table.symbol_of(name) is None))
    ]


@lru_cache(maxsize=16)
def columns_for_scale(symbols: tuple[str, ...]) -> NDArray[np.intp] | None:
    """Positions of the genes that the HGNC knows, if only few others are among them; None: all of `symbols`.

    A single number that is no expression (a laboratory value with the name of a gene's alias) would else decide the
    scale of the whole table.
    """
    table = gene_table()
    known = np.array([index for index, name in enumerate(symbols) if table.symbol_of(name) is not None], np.intp)
    others = len(symbols) - len(known)
    return known if 0 < others <= min(_MOST_STRANGERS, len(symbols) * _MOST_SHARE_OF_STRANGERS) else None


def left_out(columns: Sequence[str], what: str) -> str:
    """What was left out, in words; "" for nothing."""
    if not columns:
        return ""
    more = f" and {len(columns) - _MOST_NAMED} more" if len(columns) > _MOST_NAMED else ""
    return f"{what} left out: {', '.join(columns[:_MOST_NAMED])}{more}"


def refuse_other_ids(names: Sequence[str]) -> None:
    """Raise UnusableError if genes are named by Entrez ids or are probes of a microarray."""
    if not names:
        return
    if (share := share_of(_ENTREZ, names)) > 0.8:
        raise UnusableError(
            f"{share:.0%} of the gene names are numbers, as Entrez gene ids are: give gene symbols or Ensembl ids"
        )
    if (share := share_of(_PROBE, names)) > 0.5:
        raise UnusableError(
            f"{share:.0%} of the gene names are probes of a microarray, whose values cannot be turned back into "
            "expression: give counts or TPM of RNA sequencing"
        )


def refuse_unnamed_genes(rows: Sequence[str], columns: Sequence[str]) -> None:
    """Raise UnusableError if the rows of a table are Entrez ids or probes, and its columns are no genes either."""
    if len(rows) >= _LEAST_ROWS_OF_GENES and gene_score(columns, None)[0] <= 0.5:
        refuse_other_ids(rows)
