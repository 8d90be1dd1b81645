"""Tables of quantifiers, cohort tables either way round, and names as pipelines write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from mupd.config import IntakeLimits
from mupd.errors import UnusableError
from mupd.rna.checks import check_rna
from mupd.rna.cohort_tables import original_ids, read_rna_row, rna_row_index
from mupd.rna.files import read_rna
from mupd.rna.gene_ids import to_model_genes
from mupd.rna.gene_table import gene_table
from tests.fixtures.basic import GENES, counts_matrix

LIMITS = IntakeLimits(0.05, 3, 0.5, "auto", ())
COUNTS = counts_matrix()[0] * 1000
TPM = COUNTS / COUNTS.sum() * 1e6


def ids_of(genes: tuple[str, ...] = GENES) -> list[str]:
    by_symbol = {symbol: own for own, symbol in gene_table().ids.items()}
    return [by_symbol[gene] for gene in genes]


IDS = ids_of()


def write(path: Path, lines: list[list[object]], separator: str = "\t", head: str = "") -> Path:
    path.write_text(head + "".join(separator.join(str(cell) for cell in line) + "\n" for line in lines))
    return path


def gdc(path: Path) -> Path:
    """GDC's augmented STAR counts: a comment, the header, four N_ rows with empty names, the genes."""
    header = ["gene_id", "gene_name", "gene_type", "unstranded", "stranded_first", "stranded_second"]
    header += ["tpm_unstranded", "fpkm_unstranded", "fpkm_uq_unstranded"]
    noise = ["N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous"]
    lines: list[list[object]] = [header, *([name, "", "", 10**6, 1, 2, "", "", ""] for name in noise)]
    for own, gene, count, tpm in zip(IDS, GENES, COUNTS, TPM, strict=True):
        lines.append([f"{own}.14", gene, "protein_coding", count, count // 2, count // 2, tpm, tpm / 3, tpm / 2])
    return write(path, lines, head="# gene-model: GENCODE v36\n")


def rsem(path: Path) -> Path:
    header = ["gene_id", "transcript_id(s)", "length", "effective_length", "expected_count", "TPM", "FPKM"]
    rows = [
        [f"{own}_{gene}", "ENST00000000001.1,ENST00000000002.1", 1500.5, 1300.2, count + 0.5, tpm, tpm / 3]
        for own, gene, count, tpm in zip(IDS, GENES, COUNTS, TPM, strict=True)
    ]
    return write(path, [header, *rows])


def salmon(path: Path, names: list[str], parts: int = 1) -> Path:
    rows: list[list[object]] = [["Name", "Length", "EffectiveLength", "TPM", "NumReads"]]
    for name, count, tpm in zip(names, np.repeat(COUNTS, parts), np.repeat(TPM, parts), strict=True):
        rows.append([name, 1500, 1300.5, tpm / parts, count / parts])
    return write(path, rows)


@pytest.mark.parametrize(
    ("make", "name", "program", "column", "reads"),
    [
        (gdc, "a.rna_seq.augmented_star_gene_counts.tsv", "GDC STAR counts", "tpm_unstranded", "unstranded"),
        (rsem, "a.genes.results", "RSEM genes.results", "TPM", "expected_count"),
        (lambda path: salmon(path, [f"{own}.7" for own in IDS]), "quant.genes.sf", "Salmon", "TPM", "NumReads"),
    ],
)
def test_tables_of_quantifiers(
    tmp_path: Path, make: Callable[[Path], Path], name: str, program: str, column: str, reads: str
) -> None:
    path = make(tmp_path / name)
    for values in ("auto", "tpm", "log"):
        read = read_rna(path, values, GENES, keep_stored=True)
        mapped, mapping = to_model_genes(read, GENES)
        assert (read.kind, read.values, mapped.genes) == ("bulk", "tpm", list(GENES))
        assert np.allclose(mapped.matrix[0], TPM, rtol=1e-6)
        assert mapping.same + mapping.by_id == len(GENES)
        assert f"{program}, column {column}" in read.evidence
        assert "adding up to 1,000,000" in read.evidence
        assert read.stored is not None
        assert read.stored.matrix.dtype == np.float64
        assert np.array_equal(np.asarray(read.stored.matrix)[0], TPM)
    half = 0.5 * len(GENES) if program.startswith("RSEM") else 0
    facts = check_rna(mapped, GENES, LIMITS)
    assert facts["library_size"] == COUNTS.sum() + half
    assert facts["column"] == column
    counted = to_model_genes(read_rna(path, "counts", GENES), GENES)[0]
    assert counted.values == "counts"
    assert np.allclose(counted.matrix[0], COUNTS + half / len(GENES))
    assert f"column {reads} (as intake.rna_values is counts)" in counted.evidence


def test_transcripts_are_added_up_where_their_names_carry_the_gene(tmp_path: Path) -> None:
    names = [
        f"ENST{n * 10 + part:011d}.2|{own}.9|OTTHUMG1|OTTHUMT1|{gene}-20{part}|{gene}|1500|protein_coding|"
        for n, (own, gene) in enumerate(zip(IDS, GENES, strict=True))
        for part in (1, 2)
    ]
    read = read_rna(salmon(tmp_path / "quant.sf", names, parts=2), genes=GENES)
    assert read.genes == list(GENES)
    assert np.allclose(read.matrix[0], TPM, rtol=1e-6)
    assert "24 transcripts added up to 12 genes" in read.evidence
    bare = [name.partition("|")[0] for name in names]
    with pytest.raises(UnusableError, match=r"give values of genes \(Salmon's quant\.genes\.sf"):
        read_rna(salmon(tmp_path / "bare.sf", bare, parts=2), genes=GENES)


def test_tables_without_a_header_and_with_annotation(tmp_path: Path) -> None:
    star = [["N_unmapped", 5, 5, 5], *([own, count, 1, 2] for own, count in zip(IDS, COUNTS, strict=True))]
    read = read_rna(write(tmp_path / "ReadsPerGene.out.tab", star), genes=GENES)
    assert np.array_equal(read.matrix[0], COUNTS)
    assert "its first column (unstranded) of three" in read.evidence
    htseq = [*([own, count] for own, count in zip(IDS, COUNTS, strict=True)), ["__no_feature", 9]]
    assert np.array_equal(read_rna(write(tmp_path / "h.txt", htseq)).matrix[0], COUNTS)
    header = ["Geneid", "Chr", "Start", "End", "Strand", "Length", "sample.bam"]
    rows = [[own, "chr1", 1, 900, "+", 900, count] for own, count in zip(IDS, COUNTS, strict=True)]
    table = write(tmp_path / "f.txt", [header, *rows], head="# Program:featureCounts v2\n")
    read = read_rna(table)
    assert np.array_equal(read.matrix, [COUNTS])
    assert "featureCounts" in read.evidence


def test_a_header_one_cell_short_is_rs(tmp_path: Path) -> None:
    lines = [["s1", "s2"], *([gene, count, count + 1] for gene, count in zip(GENES, COUNTS, strict=True))]
    read = read_rna(write(tmp_path / "a.tsv", lines), genes=GENES)
    assert (read.genes, read.matrix.tolist()) == (list(GENES), [COUNTS.tolist(), (COUNTS + 1).tolist()])
    lines[5].append(7)
    with pytest.raises(UnusableError):
        read_rna(write(tmp_path / "b.tsv", lines), genes=GENES)
    with pytest.raises(UnusableError, match=r"more cells than the header|Expected 2 fields"):
        read_rna(write(tmp_path / "c.tsv", [["gene", "s1"], ["ACTB", 1], ["B2M", 2, 3]]), genes=GENES)


@pytest.mark.parametrize(
    "names",
    [
        [own if n % 2 else gene for n, (own, gene) in enumerate(zip(IDS, GENES, strict=True))],
        [f"{own}.3|{gene}" for own, gene in zip(IDS, GENES, strict=True)],
        [f"{gene}|{n}" for n, gene in enumerate(GENES)],
        [f"{own}.12" for own in IDS],
        [f"GRCh38_{gene}" for gene in GENES],
    ],
    ids=["mixed", "id|symbol", "symbol|entrez", "versions", "genome"],
)
@pytest.mark.parametrize("suffix", [".tsv", ".csv.gz", ".h5ad"])
def test_names_as_pipelines_write_them(tmp_path: Path, names: list[str], suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".h5ad":
        ad.AnnData(COUNTS[None].astype(np.float32), var=pd.DataFrame(index=names)).write_h5ad(path)
    else:
        pd.DataFrame({"x": COUNTS}, index=names).to_csv(path, sep="\t" if suffix == ".tsv" else ",")
    mapped, _ = to_model_genes(read_rna(path, genes=GENES), GENES)
    assert mapped.genes == list(GENES)
    assert np.array_equal(mapped.matrix[0], COUNTS)


def test_dates_of_spreadsheets_are_counted(tmp_path: Path) -> None:
    lines = [["gene", "x"], *([gene, 5 + n] for n, gene in enumerate([*GENES, "1-Mar", "2-Sep"]))]
    read = read_rna(write(tmp_path / "a.csv", lines, ","), genes=GENES)
    assert "2 names were lost: a spreadsheet turned them into dates" in read.evidence


@pytest.mark.parametrize("values", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_swapped_axes_are_named(tmp_path: Path, values: Callable[..., object]) -> None:
    genes = sorted(gene_table().symbols)[:400]
    counts = counts_matrix(len(genes), 30).astype(np.float32)
    cases = [f"TCGA-{n:04d}" for n in range(30)]
    data = ad.AnnData(values(counts), obs=pd.DataFrame(index=genes), var=pd.DataFrame(index=cases))
    data.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(UnusableError, match="swapped axes"):
        read_rna(tmp_path / "a.h5ad")
    with pytest.raises(UnusableError, match="swapped axes"):
        rna_row_index(tmp_path / "a.h5ad")


@pytest.mark.parametrize("name", ["t.tsv", "t.csv.gz"])
def test_a_cohort_table_of_genes_in_rows(tmp_path: Path, name: str) -> None:
    cases = [f"TCGA-{n:04d}" for n in range(40)]
    counts = counts_matrix(40)
    frame = pd.DataFrame(counts.T, columns=cases, index=pd.Index([f"{own}.3" for own in IDS], name="gene_id"))
    frame.insert(0, "gene_name", GENES)
    path = tmp_path / name
    frame.to_csv(path, sep="\t" if name.endswith("tsv") else ",")
    assert cases[7] in rna_row_index(path)
    assert "gene_name" not in rna_row_index(path)
    for keep in (False, True):
        read = read_rna_row(path, cases[7], keep_stored=keep)
        assert (read.genes, read.matrix.tolist()) == (list(GENES), [counts[7].tolist()])
        assert "genes in rows, cases in columns" in read.evidence
    assert read.stored is not None
    assert read.stored.matrix.dtype == np.int64
    assert original_ids(path, GENES) == {gene: f"{own}.3" for gene, own in zip(GENES, IDS, strict=True)}


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_large_tables_are_read_row_by_row(
    tmp_path: Path, kind: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mupd.rna import cohort_tables as rna_tables

    monkeypatch.setattr(rna_tables, "KEPT_BYTES", 10)
    counts = counts_matrix(50).astype(np.float32)
    cases = [f"c{n}" for n in range(50)]
    data = ad.AnnData(kind(counts), obs=pd.DataFrame(index=cases), var=pd.DataFrame(index=list(GENES)))
    data.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    for row in (0, 31, 49):
        read = read_rna_row(tmp_path / "a.h5ad", cases[row], keep_stored=True)
        assert read.matrix.tolist() == [counts[row].tolist()]
        assert read.stored is not None
        assert read.stored.matrix.dtype == np.float32


def test_a_cohort_table_is_no_case(tmp_path: Path) -> None:
    frame = pd.DataFrame(counts_matrix(60), columns=list(GENES), index=[f"TCGA-{n:02}" for n in range(60)])
    frame.to_csv(tmp_path / "a.csv")
    with pytest.raises(UnusableError, match="TABLE::SAMPLE"):
        check_rna(read_rna(tmp_path / "a.csv", genes=GENES), GENES, LIMITS)


def test_empty_libraries(tmp_path: Path) -> None:
    few = write(tmp_path / "a.csv", [["gene", "x"], *([gene, n % 2] for n, gene in enumerate(GENES))], ",")
    with pytest.raises(UnusableError, match=r"6 counts in all, under intake\.min_library_size = 100"):
        check_rna(read_rna(few, genes=GENES), GENES, LIMITS)
    one = np.zeros((1, 2000), np.float32)
    one[0, 3] = 5000
    names = sorted(gene_table().symbols)[:2000]
    ad.AnnData(one, var=pd.DataFrame(index=names)).write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(UnusableError, match=r"1 of 2000 genes detected \(0\.1%\)"):
        check_rna(read_rna(tmp_path / "a.h5ad"), names, LIMITS)


def test_facts_of_depth() -> None:
    from dataclasses import replace

    from mupd.rna.profiles import RnaProfile

    counts = counts_matrix(5).astype(np.float32)
    profile = RnaProfile(list(GENES), counts, "spot", "counts", "test")
    facts = check_rna(profile, GENES, LIMITS)
    assert facts["library_size"] == counts.sum()
    assert facts["median_library_size"] == np.median(counts.sum(1))
    logs = replace(profile, matrix=np.log2(counts + np.float32(0.001)), values="log2(x+0.001)")
    assert check_rna(logs, GENES, LIMITS)["genes_detected"] == facts["genes_detected"]
    zero = counts.copy()
    zero[:, 2] = 0
    assert check_rna(replace(profile, matrix=zero), GENES, LIMITS)["genes_detected"] == facts["genes_detected"] - 1
    logs = replace(profile, matrix=np.log2(zero + np.float32(0.001)), values="log2(x+0.001)")
    assert check_rna(logs, GENES, LIMITS)["genes_detected"] == facts["genes_detected"] - 1
