"""10x HDF5 and folders, Visium outputs, MuData: read as what they are, or refused with the reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from mupd.config import Config, IntakeLimits
from mupd.errors import UnusableError
from mupd.inputs.examine import content_hash
from mupd.rna.checks import check_rna
from mupd.rna.files import read_rna, source_files
from mupd.sheet import read_sheet
from mupd.synthetic.verify.recognise import synthetic_marks
from tests.fixtures.basic import GENES, counts_matrix
from tests.fixtures.intake import inventory_of
from tests.fixtures.rna_inputs import IDS, barcodes_of, cells, write_spatial, write_tenx_folder, write_tenx_h5

LIMITS = IntakeLimits(0.05, 3, 0.5, "auto", ())


@pytest.mark.parametrize("kind", ["folder", "plain", "geo", "v2", "v3", "outs"])
def test_barcodes_without_positions_are_one_profile(tmp_path: Path, kind: str) -> None:
    counts = cells()
    path = tmp_path / "in"
    if kind in ("folder", "plain", "geo"):
        write_tenx_folder(path, counts, packed=kind != "plain", prefix="GSM1_s1_" if kind == "geo" else "")
    elif kind == "outs":
        write_tenx_h5(path / "outs" / "filtered_feature_bc_matrix.h5", counts)
        write_tenx_h5(path / "outs" / "raw_feature_bc_matrix.h5", counts * 2)
    else:
        path = write_tenx_h5(tmp_path / "in.h5", counts, version=int(kind[1]))
    read = read_rna(path, genes=GENES, keep_stored=True)
    assert (read.kind, read.values, read.genes) == ("bulk", "counts", list(GENES))
    assert np.array_equal(read.matrix, counts.sum(0, keepdims=True))
    assert "30 barcodes without positions added up" in read.evidence
    assert read.stored is not None
    stored = read.stored.matrix
    assert not isinstance(stored, np.ndarray)
    assert stored.dtype == np.int64
    assert np.array_equal(stored.toarray(), counts.sum(0, keepdims=True))
    assert read.stored.names == IDS
    facts = check_rna(read, GENES, LIMITS)
    assert facts["barcodes"] == 30
    assert facts["library_size"] == counts.sum()
    assert facts["format"].startswith("10x")


@pytest.mark.parametrize("name", ["tissue_positions.csv", "tissue_positions_list.csv", "tissue_positions.parquet"])
@pytest.mark.parametrize("shape", ["outs", "h5", "folder"])
def test_visium_spots_in_tissue(tmp_path: Path, name: str, shape: str) -> None:
    counts, barcodes = cells(6), barcodes_of(6)
    outs = tmp_path / "outs"
    path = outs
    if shape == "folder":
        path = write_tenx_folder(outs / "filtered_feature_bc_matrix", counts, barcodes)
    else:
        written = write_tenx_h5(outs / "filtered_feature_bc_matrix.h5", counts, barcodes=barcodes)
        path = written if shape == "h5" else outs
    # In another order than the matrix, one spot out of tissue.
    order = [3, 1, 0, 2, 5, 4]
    write_spatial(outs / "spatial", [barcodes[n] for n in order], [1, 0, 1, 1, 1, 1], name)
    read = read_rna(path, keep_stored=True)
    kept = [0, 2, 3, 4, 5]
    assert (read.kind, read.values) == ("spot", "counts")
    assert np.array_equal(read.matrix, counts[kept])
    assert read.xy_px is not None
    at = np.array([order.index(n) for n in kept])
    assert read.xy_px.tolist() == np.stack([200 + 20 * at, 100.5 + 10 * at], axis=1).tolist()
    assert f"5 spots in tissue, in full-resolution pixels (spatial/{name})" in read.evidence
    assert read.details["mpp_of_spots"] == 0.5
    assert read.details["out_of_tissue"] == 1
    assert read.stored is not None
    assert read.stored.matrix.shape == (5, len(GENES))
    named = {file.name for file in source_files(path)}
    assert {name, "scalefactors_json.json"} < named
    assert not any("raw" in file for file in named)


def test_bins_of_visium_hd_become_squares_of_100_um(tmp_path: Path) -> None:
    array = [(row, column) for row in range(12) for column in range(13)]
    counts = cells(len(array))
    names = [f"s_016um_{row:05d}_{column:05d}-1" for row, column in array]
    outs = tmp_path / "binned_outputs" / "square_016um"
    write_tenx_h5(outs / "filtered_feature_bc_matrix.h5", counts, barcodes=names)
    factors = {"bin_size_um": 16.0, "microns_per_pixel": 0.2738}
    write_spatial(outs / "spatial", names, factors=factors, array=array)
    read = read_rna(tmp_path)
    assert read.kind == "spot"
    assert read.matrix.shape == (2 * 3, len(GENES))
    first = [n for n, (row, column) in enumerate(array) if row < 6 and column < 6]
    assert np.array_equal(read.matrix[0], counts[first].sum(0))
    assert read.xy_px is not None
    assert np.allclose(
        read.xy_px[0], [np.mean([200 + 20 * n for n in first]), np.mean([100.5 + 10 * n for n in first])]
    )
    assert "156 bins of 16 um added up to 6 squares of 96 um" in read.evidence
    assert read.details["mpp_of_spots"] == 0.2738


def test_positions_of_another_matrix_are_refused(tmp_path: Path) -> None:
    write_tenx_folder(tmp_path / "m", cells(6), barcodes_of(6))
    write_spatial(tmp_path / "spatial", barcodes_of(6, seed=9))
    with pytest.raises(UnusableError, match="it is of another one"):
        read_rna(tmp_path / "m")


def test_positions_that_a_link_takes_from_elsewhere_are_refused(tmp_path: Path) -> None:
    write_tenx_folder(tmp_path / "case" / "m", cells(6), barcodes_of(6))
    write_spatial(tmp_path / "elsewhere", barcodes_of(6))
    os.symlink(tmp_path / "elsewhere", tmp_path / "case" / "spatial")
    with pytest.raises(UnusableError, match="link to another folder"):
        read_rna(tmp_path / "case" / "m")


def test_no_barcode_in_tissue(tmp_path: Path) -> None:
    write_tenx_folder(tmp_path / "m", cells(6), barcodes_of(6))
    write_spatial(tmp_path / "spatial", barcodes_of(6), [0] * 6)
    with pytest.raises(UnusableError, match="no barcode of the matrix is in tissue"):
        read_rna(tmp_path / "m")


@pytest.mark.parametrize("version", [2, 3])
def test_of_several_genomes_the_human_one(tmp_path: Path, version: int) -> None:
    path = write_tenx_h5(tmp_path / "a.h5", cells(), ("GRCh38", "mm10"), version)
    read = read_rna(path)
    assert read.genes == list(GENES if version == 2 else GENES[::2])
    assert "mm10" in read.evidence or "other genomes" in read.evidence
    other = write_tenx_h5(tmp_path / "b.h5", cells(), ("one", "two"), version)
    with pytest.raises(UnusableError, match="human"):
        read_rna(other)


@pytest.mark.parametrize("version", [2, 3])
def test_mouse_is_not_human(tmp_path: Path, version: int) -> None:
    with pytest.raises(UnusableError, match=r"not human.*mm10"):
        read_rna(write_tenx_h5(tmp_path / "a.h5", cells(), ("mm10",), version))
    mouse = [f"ENSMUSG{number:011d}" for number in range(len(GENES))]
    with pytest.raises(UnusableError, match=r"not human.*ENSMUSG"):
        read_rna(write_tenx_folder(tmp_path / "m", cells(), ids=mouse))


def test_probes_are_added_up_by_gene(tmp_path: Path) -> None:
    genes = [GENES[0], GENES[0], *GENES[1:11]]
    passed = [True] * 11 + [False]
    counts = cells()
    path = write_tenx_h5(
        tmp_path / "raw_probe_bc_matrix.h5",
        counts,
        genes=[f"{gene}|{n}" for n, gene in enumerate(genes)],
        gene_id=[IDS[GENES.index(gene)] for gene in genes],
        gene_name=genes,
        filtered_probes=passed,
    )
    read = read_rna(path)
    assert read.genes == list(GENES[:10])
    assert read.matrix[0, 0] == counts[:, :2].sum()
    assert "11 of 12 that pass the filter" in read.evidence


def test_antibodies_are_left_out(tmp_path: Path) -> None:
    types = ["Gene Expression"] * 10 + ["Antibody Capture"] * 2
    read = read_rna(write_tenx_folder(tmp_path / "m", cells(), types=types))
    assert read.genes == list(GENES[:10])
    assert "2 features of other types" in read.evidence
    with pytest.raises(UnusableError, match="no feature of type Gene Expression"):
        read_rna(write_tenx_folder(tmp_path / "n", cells(), types=["Peaks"] * 12))


def test_corrected_counts_are_not_called_counts(tmp_path: Path) -> None:
    folder = write_tenx_folder(tmp_path / "m", cells(), packed=False)
    text = (folder / "matrix.mtx").read_text().replace("integer", "real")
    head, *entries = text.splitlines()[:3], *text.splitlines()[3:]
    (folder / "matrix.mtx").write_text("\n".join([*head, *(f"{line}.25" for line in entries)]) + "\n")
    read = read_rna(folder)
    assert read.values == "tpm"
    assert "fractions" in read.evidence


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((12, 30, 999), "declares 999 entries and has"),
        ((12, 30, 3), "declares 3 entries and has more"),
        ((30, 12, 100), "swapped"),
        ((10**9, 10**9, 10**9), "12 features and 30 barcodes"),
        ((12, 30, 10**10), "stored values"),
        ((12, 30, 10**15), "line of sizes"),
    ],
)
def test_a_header_that_lies(tmp_path: Path, sizes: tuple[int, int, int], words: str) -> None:
    with pytest.raises(UnusableError, match=words):
        read_rna(write_tenx_folder(tmp_path / "m", cells(), sizes=sizes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with"),
        ("%%MatrixMarket matrix array real general\n12 30\n", "begins with"),
        ("%%MatrixMarket matrix coordinate pattern general\n12 30 1\n1 1\n", "without numbers"),
        ("%%MatrixMarket matrix coordinate integer general\n%\n", "sizes"),
        ("%%MatrixMarket matrix coordinate integer general\n12 30 1\n13 1 5\n", "beyond its sizes"),
        ("%%MatrixMarket matrix coordinate integer general\n12 30 1\n0 1 5\n", "beyond its sizes"),
        ("%%MatrixMarket matrix coordinate integer general\n12 30 1\n1 1 x\n", "does not read"),
        ("%%MatrixMarket matrix coordinate integer general\n12 30 1\n1 1\n", "does not read"),
        ("%%MatrixMarket matrix coordinate integer general\n12 30 0\n", "fraction|empty|detected|zero"),
    ],
)
def test_matrix_files_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    folder = write_tenx_folder(tmp_path / "m", cells(), packed=False)
    (folder / "matrix.mtx").write_text(text)
    with pytest.raises(UnusableError, match=words):
        check_rna(read_rna(folder), GENES, LIMITS)


def test_folders_that_hold_no_matrix(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnusableError, match="without a 10x matrix"):
        read_rna(tmp_path / "empty")
    with pytest.raises(UnusableError, match="without a 10x matrix"):
        source_files(tmp_path / "empty")
    folder = write_tenx_folder(tmp_path / "m", cells())
    (folder / "barcodes.tsv.gz").unlink()
    with pytest.raises(UnusableError, match=r"no file barcodes\.tsv"):
        read_rna(folder)
    write_tenx_folder(tmp_path / "two", cells(), prefix="a_")
    write_tenx_folder(tmp_path / "two", cells(), prefix="b_")
    with pytest.raises(UnusableError, match="2 files"):
        read_rna(tmp_path / "two")
    # The matrix itself says which.
    assert read_rna(tmp_path / "two" / "b_matrix.mtx.gz").details["barcodes"] == 30
    named = [file.name for file in source_files(tmp_path / "two" / "b_matrix.mtx.gz")]
    assert named == ["b_barcodes.tsv.gz", "b_features.tsv.gz", "b_matrix.mtx.gz"]


@pytest.mark.parametrize("tenth", range(10))
@pytest.mark.parametrize("kind", ["h5", "matrix", "barcodes", "features"])
def test_cut_off_files_never_pass_as_whole(tmp_path: Path, kind: str, tenth: int) -> None:
    counts = cells(200)
    if kind == "h5":
        path = cut = write_tenx_h5(tmp_path / "a.h5", counts)
    else:
        path = write_tenx_folder(tmp_path / "m", counts)
        cut = path / {"matrix": "matrix.mtx.gz", "barcodes": "barcodes.tsv.gz", "features": "features.tsv.gz"}[kind]
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) * tenth // 10])
    with pytest.raises(UnusableError):
        read_rna(path)


def test_marks_are_found_in_10x(tmp_path: Path) -> None:
    names = [f"SYN-{name}" for name in barcodes_of(30)]
    folder = write_tenx_folder(tmp_path / "run" / "outs" / "filtered_feature_bc_matrix", cells(), names)
    assert synthetic_marks(folder)
    assert synthetic_marks(tmp_path / "run")
    assert synthetic_marks(write_tenx_h5(tmp_path / "a.h5", cells(), barcodes=names))
    assert synthetic_marks(write_tenx_h5(tmp_path / "b.h5", cells(), barcodes=names, version=2))
    assert not synthetic_marks(write_tenx_h5(tmp_path / "c.h5", cells()))
    assert not synthetic_marks(write_tenx_folder(tmp_path / "clean", cells()))


def _mudata(path: Path, names: tuple[str, ...]) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        for number, name in enumerate(names):
            data = ad.AnnData(
                sparse.csr_matrix((counts_matrix(2) + number).astype(np.float32)),
                obs=pd.DataFrame(index=["s1", "s2"]),
                var=pd.DataFrame(index=list(GENES)),
            )
            ad.io.write_elem(file, f"mod/{name}", data)
    return path


def test_mudata_by_its_modality(tmp_path: Path) -> None:
    read = read_rna(_mudata(tmp_path / "a.h5mu", ("atac", "rna")))
    assert np.array_equal(read.matrix, counts_matrix(2) + 1)
    assert "modality rna" in read.evidence
    assert "modality gex2" in read_rna(_mudata(tmp_path / "b.h5mu", ("gex2",))).evidence
    with pytest.raises(UnusableError, match="without a modality named rna"):
        read_rna(_mudata(tmp_path / "c.h5mu", ("atac", "protein")))
    with pytest.raises(UnusableError, match="several RNA modalities"):
        read_rna(_mudata(tmp_path / "d.h5mu", ("gex", "transcriptome")))


def test_cells_and_spots_of_h5ad(tmp_path: Path) -> None:
    counts = cells(30)
    obs = pd.DataFrame({"in_tissue": [0] * 10 + [1] * 20}, index=barcodes_of(30))
    data = ad.AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=list(GENES)))
    data.write_h5ad(tmp_path / "cells.h5ad")
    read = read_rna(tmp_path / "cells.h5ad")
    assert (read.kind, len(read.matrix)) == ("bulk", 1)
    assert np.array_equal(read.matrix[0], counts.sum(0))
    logs = data.copy()
    logs.X = sparse.csr_matrix(np.log1p(counts / 7))
    logs.uns["log1p"] = {"base": None}
    logs.write_h5ad(tmp_path / "logs.h5ad")
    read = read_rna(tmp_path / "logs.h5ad")
    assert read.values == "tpm"
    assert np.allclose(read.matrix[0], counts.mean(0) / 7, rtol=1e-5)
    data.obsm["spatial"] = np.arange(60.0).reshape(30, 2)
    data.write_h5ad(tmp_path / "spots.h5ad")
    read = read_rna(tmp_path / "spots.h5ad")
    assert (read.kind, len(read.matrix), read.details["out_of_tissue"]) == ("spot", 20, 10)
    assert read.xy_px is not None
    assert read.xy_px[0].tolist() == [20, 21]


def test_intake_knows_the_scale_of_spots(
    tmp_path: Path,
    write_sheet: Callable[..., Path],
    write_he: Callable[..., Path],
    make_config: Callable[..., Config],
) -> None:
    counts, barcodes = cells(6) + 10, barcodes_of(6)
    write_tenx_h5(tmp_path / "v" / "filtered_feature_bc_matrix.h5", counts, barcodes=barcodes)
    write_spatial(tmp_path / "v" / "spatial", barcodes)
    write_he()
    rows = [
        {"case_id": case, "he": he, "he_mpp": mpp, "rna": "v/filtered_feature_bc_matrix.h5"}
        for case, he, mpp in (("none", "", ""), ("same", "slide.png", 0.51), ("other", "slide.png", 0.8))
    ]
    sheet = write_sheet(rows)
    config = make_config(sheet)
    facts = {case.case_id: inventory_of(case, config, GENES).entries["rna"].facts for case in read_sheet(config).cases}
    assert {case: found["he_mpp"] for case, found in facts.items()} == {"none": 0.5, "same": 0.51, "other": 0.5}
    assert "the case's slide 0.8" in facts["other"]["other_picture"]
    assert "other_picture" not in facts["same"]


def test_the_hash_covers_positions(tmp_path: Path) -> None:
    names = barcodes_of(6)
    path = write_tenx_h5(tmp_path / "filtered_feature_bc_matrix.h5", cells(6), barcodes=names)
    (tmp_path / "possorted_genome_bam.bam").write_bytes(b"not read")
    before = content_hash("rna", tmp_path)
    assert content_hash("rna", path) == before
    (tmp_path / "possorted_genome_bam.bam").write_bytes(b"other")
    assert content_hash("rna", tmp_path) == before
    write_spatial(tmp_path / "spatial", names)
    assert content_hash("rna", tmp_path) != before


def test_real_10x_matrices(shared_data: Path) -> None:
    formats = shared_data / "formats"
    read = read_rna(formats / "scanpy_10x" / "10x_data" / "3.0.0" / "filtered_feature_bc_matrix.h5")
    assert (read.kind, read.matrix.shape, read.matrix.sum()) == ("bulk", (1, 507), 41549)
    old = read_rna(formats / "scanpy_10x" / "10x_data" / "1.2.0" / "multiple_genomes.h5")
    assert "hg19_chr21" in old.evidence
    assert "APP" in old.genes
    spots = read_rna(formats / "scanpy_10x" / "visium_data" / "1.0.0")
    assert (spots.kind, spots.matrix.shape) == ("spot", (100, 100))


@pytest.mark.parametrize(
    "name",
    [
        "visium_mouse_embryo_cytassist",
        "visium_mouse_embryo_cytassist/filtered_feature_bc_matrix",
        "visium_mouse_brain_visiumio/10xVisium/section1",
        "visium_mouse_brain_visiumio/10xVisium/section2/outs/raw_feature_bc_matrix",
        "visium_mouse_brain_visiumio",
        "visium_mouse_brain_visiumio/binned_outputs/square_002um/filtered_feature_bc_matrix",
        "scanpy_10x/visium_data/2.1.0/raw_probe_bc_matrix.h5",
    ],
)
def test_real_mouse_is_refused(shared_data: Path, name: str) -> None:
    with pytest.raises(UnusableError, match="not human"):
        read_rna(shared_data / "formats" / name)
