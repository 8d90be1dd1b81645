from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mupd.config import IntakeLimits
from mupd.errors import UnusableError
from mupd.rna.checks import check_rna
from mupd.rna.cohort_tables import read_rna_row, rna_row_ids
from mupd.rna.files import read_rna
from mupd.rna.gene_table import gene_table
from mupd.rna.non_genes import is_annotation, non_genes

LIMITS = IntakeLimits(0.05, 3, 0.5, "auto", ())
GENES = sorted(gene_table().symbols)[500:800]


def reads(cases: int) -> np.ndarray:
    return np.random.default_rng(7).poisson(30, (cases, len(GENES)))


CLINICAL = (
    "age AGE OS_days OS.time DFS_MONTHS tumor_purity TumorPurity Stage sex n_genes batch nCount_RNA days_to_death "
    "vital_status height_cm treatment_arm size_factor grade"
)


@pytest.mark.parametrize("column", CLINICAL.split())
def test_columns_beside_genes_that_are_none(column: str) -> None:
    assert non_genes(["TP53", column, "ENSG00000141510.18"]) == [1]


@pytest.mark.parametrize("gene", ["MSI1", "OS9", "GC", "PVALB", "HLA-DRA", "C9orf72", "AC011043.1", "MIR21", "Y_RNA"])
def test_genes_that_look_like_such_columns(gene: str) -> None:
    assert non_genes([gene]) == []


@pytest.mark.parametrize(
    "column",
    ["Entrez_Gene_Id", "Length", "EffectiveLength", "start", "end", "Chr", "scaled_estimate", "log2FoldChange"],
)
def test_columns_that_describe_genes(column: str) -> None:
    assert is_annotation(column)
    assert not is_annotation("TCGA-AA-0001-01")


def test_clinical_columns_change_neither_scale_nor_values(tmp_path: Path) -> None:
    logs = np.log1p(reads(3) / reads(3).sum(1, keepdims=True) * 1e4)
    table = pd.DataFrame(logs.round(4), columns=GENES, index=["P1", "P2", "P3"])
    table.to_csv(tmp_path / "plain.csv")
    clinical = pd.DataFrame({"age": [61, 62, 70], "OS_days": [800, 1000, 12], "TumorPurity": [0.3, 0.9, 0.5]})
    pd.concat([clinical.set_index(table.index), table], axis=1).to_csv(tmp_path / "both.csv")
    plain, both = (read_rna_row(tmp_path / name, "P2") for name in ("plain.csv", "both.csv"))
    assert both.values == plain.values == "log1p"
    assert both.genes == plain.genes
    assert np.array_equal(both.matrix, plain.matrix)
    assert "left out: age, OS_days, TumorPurity" in both.evidence


def test_annotation_beside_samples(tmp_path: Path) -> None:
    frame = pd.DataFrame({"gene": GENES, "Entrez_Gene_Id": range(len(GENES)), "Length": 900, "P1": reads(1)[0]})
    frame.to_csv(tmp_path / "one.tsv", sep="\t", index=False)
    read = read_rna(tmp_path / "one.tsv", genes=GENES)
    assert read.matrix.shape == (1, len(GENES))
    assert check_rna(read, GENES, LIMITS)["library_size"] == reads(1).sum()
    frame.assign(P2=reads(2)[1]).to_csv(tmp_path / "table.tsv", sep="\t", index=False)
    assert np.array_equal(read_rna_row(tmp_path / "table.tsv", "P1").matrix, read.matrix)


def test_of_two_samples_one_has_to_be_named(tmp_path: Path) -> None:
    frame = pd.DataFrame(reads(2).T, index=GENES, columns=["tumour", "normal"])
    frame.to_csv(tmp_path / "two.tsv", sep="\t")
    with pytest.raises(UnusableError, match=r"2 samples.*name it in the sheet"):
        check_rna(read_rna(tmp_path / "two.tsv", genes=GENES), GENES, LIMITS)
    assert np.array_equal(read_rna_row(tmp_path / "two.tsv", "tumour").matrix[0], reads(2)[0])


def test_a_case_twice_as_columns_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame(reads(3).T, index=GENES, columns=["P1", "P1", "P2"])
    frame.to_csv(tmp_path / "twice.tsv", sep="\t")
    with pytest.raises(UnusableError, match="2 rows or columns of this case"):
        read_rna_row(tmp_path / "twice.tsv", "P1")
    assert rna_row_ids(tmp_path / "twice.tsv") == {"P1", "P2"}
    assert np.array_equal(read_rna_row(tmp_path / "twice.tsv", "P2").matrix[0], reads(3)[2])


def test_a_gene_twice_as_columns_is_added_up(tmp_path: Path) -> None:
    columns = [GENES[1], *GENES[1:]]
    pd.DataFrame(reads(1), index=["P1"], columns=columns).to_csv(tmp_path / "a.csv")
    for read in (read_rna(tmp_path / "a.csv", genes=GENES), read_rna_row(tmp_path / "a.csv", "P1")):
        assert read.genes == GENES[1:]
        assert read.matrix[0, 0] == reads(1)[0, :2].sum()


@pytest.mark.parametrize(
    ("names", "reason"),
    [([str(n) for n in range(7000, 7300)], "Entrez"), ([f"{n}_s_at" for n in range(300)], "microarray")],
)
def test_names_of_other_kinds_are_named(tmp_path: Path, names: list[str], reason: str) -> None:
    frame = pd.DataFrame(reads(2).T, index=names, columns=["P1", "P2"])
    frame.to_csv(tmp_path / "table.tsv", sep="\t")
    frame[["P1"]].to_csv(tmp_path / "one.tsv", sep="\t")
    with pytest.raises(UnusableError, match=reason):
        read_rna(tmp_path / "one.tsv", genes=GENES)
    with pytest.raises(UnusableError, match=reason):
        read_rna_row(tmp_path / "table.tsv", "P1")


def test_decimal_commas_are_named(tmp_path: Path) -> None:
    rows = "\n".join(f"{gene}\t{n},5\t0,25" for n, gene in enumerate(GENES))
    (tmp_path / "a.tsv").write_text(f"gene\tP1\tP2\n{rows}\n")
    for read in (lambda: read_rna(tmp_path / "a.tsv", genes=GENES), lambda: read_rna_row(tmp_path / "a.tsv", "P1")):
        with pytest.raises(UnusableError, match="decimal commas"):
            read()
