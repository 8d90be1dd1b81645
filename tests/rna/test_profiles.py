from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from mupd.base.rna_scales import ScaleName
from mupd.config import IntakeLimits
from mupd.errors import UnusableError
from mupd.rna.checks import check_rna
from mupd.rna.cohort_tables import read_rna_row, rna_row_index
from mupd.rna.files import read_rna
from mupd.rna.profiles import RnaProfile, to_linear, to_log_cp10k
from tests.fixtures.basic import GENES, counts_matrix

LIMITS = IntakeLimits(0.05, 3, 0.5, "auto", ())
Write = Callable[..., Path]


def profile(matrix: np.ndarray, values: ScaleName = "counts", genes: tuple[str, ...] = GENES) -> RnaProfile:
    return RnaProfile(list(genes), np.asarray(matrix, np.float32), "bulk", values, "test")


def write_frame(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path, sep="," if ".csv" in path.name else "\t")
    return path


def test_two_columns_with_and_without_header(write_rna: Write, tmp_path: Path) -> None:
    read = read_rna(write_rna())
    assert (read.genes, read.kind, read.values) == (list(GENES), "bulk", "counts")
    assert np.array_equal(read.matrix, counts_matrix())
    assert "counts" in read.evidence
    (tmp_path / "bare.tsv").write_text("".join(f"{gene}\t{index + 1}\n" for index, gene in enumerate(GENES)))
    assert read_rna(tmp_path / "bare.tsv").matrix.tolist() == [list(range(1, 13))]


@pytest.mark.parametrize("known", [None, GENES])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.tsv.gz"])
@pytest.mark.parametrize("transposed", [False, True])
def test_both_orientations(tmp_path: Path, name: str, transposed: bool, known: tuple[str, ...] | None) -> None:
    frame = pd.DataFrame(counts_matrix(3), columns=list(GENES), index=["s1", "s2", "s3"])
    read = read_rna(write_frame(tmp_path / name, frame.T if transposed else frame), genes=known)
    assert read.genes == list(GENES)
    assert np.array_equal(read.matrix, frame.to_numpy())
    assert f"genes in {'rows' if transposed else 'columns'}" in read.evidence


def test_more_samples_than_genes_are_still_told_apart(tmp_path: Path) -> None:
    frame = pd.DataFrame(counts_matrix(60), columns=list(GENES), index=[f"TCGA-{n:02}" for n in range(60)])
    assert read_rna(write_frame(tmp_path / "a.tsv", frame)).matrix.shape == (60, 12)


def test_spots_by_name_have_no_positions(tmp_path: Path) -> None:
    frame = pd.DataFrame(counts_matrix(4), columns=list(GENES), index=["10x11", "10x12", "11x11", "9x30"])
    read = read_rna(write_frame(tmp_path / "B4.tsv.gz", frame))
    assert (read.kind, read.xy_px) == ("spot", None)
    assert read_rna(write_frame(tmp_path / "t.tsv", frame.T)).kind == "spot"


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_h5ad_with_positions(tmp_path: Path, kind: Callable[..., object]) -> None:
    counts = counts_matrix(5)
    data = ad.AnnData(kind(counts.astype(np.float32)), var=pd.DataFrame(index=list(GENES)))
    data.obsm["spatial"] = np.arange(10.0).reshape(5, 2)
    data.write_h5ad(tmp_path / "a.h5ad")
    read = read_rna(tmp_path / "a.h5ad")
    assert (read.kind, read.values, read.genes) == ("spot", "counts", list(GENES))
    assert np.array_equal(read.matrix, counts)
    assert read.xy_px is not None
    assert read.xy_px.tolist() == np.arange(10.0).reshape(5, 2).tolist()


def test_h5ad_counts_layer_and_symbol_column(tmp_path: Path) -> None:
    ensembl = [f"ENSG{number:011d}" for number in range(len(GENES))]
    counts = counts_matrix(2)
    data = ad.AnnData(np.log1p(counts).astype(np.float32) - 1, var=pd.DataFrame({"gene_name": GENES}, index=ensembl))
    data.layers["counts"] = sparse.csr_matrix(counts)
    data.write_h5ad(tmp_path / "a.h5ad")
    read = read_rna(tmp_path / "a.h5ad")
    assert (read.kind, read.values, read.genes) == ("bulk", "counts", list(GENES))
    assert "layers/counts" in read.evidence


def test_names_come_from_the_symbol_column_of_a_table(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"gene_name": ["", *GENES], "gene_type": "protein_coding", "tpm": range(13)},
        index=["N_unmapped", *(f"ENSG{number:011d}.3" for number in range(12))],
    )
    path = write_frame(tmp_path / "star.tsv", frame)
    path.write_text("# gene-model: v36\n" + path.read_text())
    read = read_rna(path)
    assert read.genes == list(GENES)
    assert read.matrix.tolist() == [list(range(1, 13))]


def test_repeated_genes_are_added_or_the_highest_kept(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("gene,value\nACTB,1\nB2M,2\nACTB,4\n")
    read = read_rna(tmp_path / "a.csv", genes=GENES)
    assert (read.genes, read.matrix.tolist()) == (["ACTB", "B2M"], [[5, 2]])
    assert "repeated" in read.evidence
    (tmp_path / "b.csv").write_text("gene,value\nACTB,1.5\nB2M,2\nACTB,4\n")
    assert read_rna(tmp_path / "b.csv", "log1p", GENES).matrix.tolist() == [[4, 2]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pkl", b"\x80\x04", "suffix"),
        ("a.csv", b"", "one column"),
        ("a.csv", b"gene\tvalue\nACTB\t1\n", "separated by tabs"),
        ("a.csv", b"gene,value\n", "empty table|no column of numbers"),
        ("a.csv", b"gene,value\nACTB,high\n", "no column of numbers"),
        ("a.tsv", b"\t\tEGFR\t4", "empty table|no column of numbers"),
        ("a.csv", b"spot,EGFR\n1x1,99999999999999999999999\n2x2,0\n", "more than 64 bits"),
        ("a.csv", b"sample,ACTB,B2M,VIM,EGFR\ns1,1,2,3,x\ns2,1,2,3,4\n", "'EGFR'|no gene|numbers"),
        ("a.tsv", b"gene\ttpm\tfpkm\nACTB\t1.5\t2\nGAPDH\t1\t2\nEGFR\t1\t3\n", "several value columns"),
        ("a.tsv", b"gene\tvalue\nACTB\xff\t1\n", "utf-8"),
        ("a.h5ad", b"\x89HDF\r\n\x1a\nrest", "does not read"),
        ("a.tsv.gz", gzip.compress(b"gene\tvalue\n" + b"ACTB\t1\n" * 999, mtime=0)[:30], "does not read"),
    ],
)
def test_files_that_are_no_expression_table(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableError, match=words) as caught:
        read_rna(tmp_path / name, genes=(*GENES, "EGFR"))
    assert str(tmp_path) not in str(caught.value)


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    import h5py

    ad.AnnData(counts_matrix().astype(np.float32), var=pd.DataFrame(index=list(GENES))).write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        del file["X"]
        file.create_dataset("X", data=np.array([["x"] * 12], dtype=object), dtype=h5py.string_dtype())
        file["X"].attrs["encoding-type"] = "array"
    with pytest.raises(UnusableError, match="plain numbers"):
        read_rna(tmp_path / "a.h5ad")


positive = arrays(np.float64, (3, 12), elements=st.floats(0, 1e5)).filter(lambda a: (a.sum(1) > 1).all())


@settings(max_examples=60, deadline=None)
@given(positive)
def test_every_scale_leads_to_the_same_values(counts: np.ndarray) -> None:
    tpm = counts / counts.sum(1, keepdims=True) * 1e6
    expected = np.log1p(tpm / 100)
    scales: dict[ScaleName, np.ndarray] = {
        "counts": counts,
        "tpm": tpm,
        "log2(x+0.001)": np.log2(tpm + 0.001),
        "log2p1": np.log2(tpm + 1),
        "log1p": np.log1p(tpm / 100),
    }
    for values, matrix in scales.items():
        got = to_log_cp10k(profile(matrix, values))
        assert got.dtype == np.float32
        assert np.allclose(got, expected, atol=2e-2), values
        assert np.allclose(np.expm1(got).sum(1), 1e4, rtol=1e-3)


def test_rows_without_expression_stay_zero() -> None:
    assert not to_log_cp10k(profile(np.zeros((2, 12)))).any()
    assert to_linear(profile([[-9.9658] * 12], "log2(x+0.001)")).max() == 0


def test_facts() -> None:
    facts = check_rna(replace(profile(counts_matrix(4)), kind="spot"), [*GENES[:6], "X1", "X2"], LIMITS)
    assert facts["genes_in_model"] == 6
    assert facts["gene_overlap"] == 0.75
    assert (facts["observations"], facts["genes"], facts["model_genes"]) == (4, 12, 8)
    assert facts["has_positions"] is False


MATRIX = counts_matrix().astype(np.float32)
WITH_NAN = np.where(np.arange(12) == 3, np.nan, MATRIX)


@pytest.mark.parametrize(
    ("given_profile", "words"),
    [
        (profile(MATRIX, genes=tuple(f"Q{n}" for n in range(12))), "no gene in common"),
        (profile(MATRIX, genes=tuple(f"ENSG{n:011d}.2" for n in range(12))), "Ensembl"),
        (profile(MATRIX, genes=(*(gene.title() for gene in GENES[:-2]), "Xkr4", "Sox17")), "mouse"),
        (profile(MATRIX, genes=(*GENES[:2], *(f"Q{n}" for n in range(10)))), "2 of the model's 12 genes"),
        (profile(WITH_NAN), "first in gene 4 of 12"),
        (profile(np.full((1, 12), np.inf)), "infinite"),
        (profile(MATRIX - 50), "none below 0"),
        (profile(MATRIX / 10 - 2, "log1p"), "z-scores"),
        (profile(np.zeros((1, 12))), "zero"),
        (profile(np.full((1, 12), 7)), "same value in every gene"),
        (profile(MATRIX * 10, "log1p"), "at most 25"),
    ],
)
def test_profiles_that_cannot_condition(given_profile: RnaProfile, words: str) -> None:
    with pytest.raises(UnusableError, match=words):
        check_rna(given_profile, GENES, LIMITS)


def test_some_spots_may_be_empty() -> None:
    spots = counts_matrix(4)
    spots[0] = 0
    facts = check_rna(replace(profile(spots), kind="spot"), GENES, LIMITS)
    assert facts["empty_observations"] == 1


@pytest.fixture(params=["table.tsv.gz", "table.csv", "table.h5ad", "sparse.h5ad"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    ids = [f"{number:03d}" for number in range(300)] + ["twice", "twice"]
    frame = pd.DataFrame(counts_matrix(302), columns=list(GENES), index=ids)
    if path.suffix == ".h5ad":
        values = frame.to_numpy(np.float32)
        data = ad.AnnData(
            sparse.csr_matrix(values) if "sparse" in path.name else values,
            obs=pd.DataFrame(index=ids),
            var=pd.DataFrame(index=list(GENES)),
        )
        data.write_h5ad(path)
    else:
        write_frame(path, frame)
    return path


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_a_row_of_a_cohort_table(table: Path) -> None:
    expected = counts_matrix(302)
    for number in (0, 255, 256, 299):
        read = read_rna_row(table, f"{number:03d}")
        assert (read.genes, read.kind, read.values) == (list(GENES), "bulk", "counts")
        assert np.array_equal(read.matrix, expected[number : number + 1])
    assert "000" in rna_row_index(table)
    assert "0" not in rna_row_index(table)
    with pytest.raises(UnusableError, match="2 rows"):
        read_rna_row(table, "twice")
    with pytest.raises(UnusableError, match="no row"):
        read_rna_row(table, "gone")


def test_a_text_table_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame(counts_matrix(9), columns=list(GENES), index=list("abcdefghi"))
    path = write_frame(tmp_path / "once.tsv", frame)
    calls = []
    real = pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda *a, **k: calls.append(k.get("nrows")) or real(*a, **k))
    for name in "abcdefghi":
        read_rna_row(path, name)
    # Its first rows, to tell how it lies, and the whole.
    assert len(calls) == 2
    assert calls.count(None) == 1
    write_frame(path, frame * 2 + 100)
    assert read_rna_row(path, "a").matrix[0, 0] == 2 * counts_matrix(9)[0, 0] + 100


def test_the_scale_is_the_tables_not_the_rows(tmp_path: Path) -> None:
    values = np.log2(counts_matrix(6).astype(float) + 1 + 0.001)
    values[3, 0] = np.log2(0.001)
    path = write_frame(tmp_path / "log.tsv", pd.DataFrame(values, columns=list(GENES), index=list("abcdef")))
    assert {read_rna_row(path, name).values for name in "abcdef"} == {"log2(x+0.001)"}


def test_tables_that_do_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("case_id\tACTB\nx\thigh\n")
    with pytest.raises(UnusableError, match="column 2 of the table holds words"):
        read_rna_row(tmp_path / "a.tsv", "x")
    (tmp_path / "a.h5ad").write_bytes(b"nothing")
    with pytest.raises(UnusableError, match="does not read"):
        rna_row_index(tmp_path / "a.h5ad")


def test_real_spatial_counts(shared_data: Path) -> None:
    read = read_rna(shared_data / "her2st" / "counts" / "C5.tsv.gz")
    assert (read.kind, read.values, read.matrix.shape) == ("spot", "counts", (181, 15721))
    assert check_rna(read, ["ERBB2", "ACTB", "KRT8", "GRB7"], LIMITS)["gene_overlap"] == 1.0
    assert 2000 < np.median(read.matrix.sum(1)) < 20000


def test_real_cohort_table(shared_data: Path) -> None:
    table = shared_data / "tcga" / "coadread_log2tpm.csv.gz"
    read = read_rna_row(table, "TCGA-AA-3511")
    assert (read.values, read.matrix.shape) == ("log2(x+0.001)", (1, 1577))
    assert check_rna(read, read.genes, LIMITS)["gene_overlap"] == 1.0
    for twice in ("TCGA-G4-6317", "TCGA-NH-A8F7", "TCGA-G5-6572"):
        with pytest.raises(UnusableError, match="2 rows"):
            read_rna_row(table, twice)
    with pytest.raises(UnusableError, match="no gene in common"):
        check_rna(read, ["Xkr4", "Sox17"], LIMITS)
