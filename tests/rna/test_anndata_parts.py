from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest

from mupd.errors import UnusableError
from mupd.rna.cohort_tables import read_rna_row
from mupd.rna.files import read_rna
from mupd.rna.gene_table import gene_table

GENES = sorted(gene_table().symbols)[500:560]
CELLS = 40


def cells() -> ad.AnnData:
    rng = np.random.default_rng(3)
    names = ["".join(rng.choice(list("ACGT"), 14)) + "-1" for _ in range(CELLS)]
    matrix = rng.poisson(3, (CELLS, len(GENES))).astype(np.float32)
    return ad.AnnData(matrix, pd.DataFrame(index=names), pd.DataFrame(index=GENES))


def written(data: ad.AnnData, path: Path, **options: Any) -> Path:
    data.write_h5ad(path, **options)
    return path


@pytest.mark.parametrize(("base", "name"), [(None, "log1p"), (2, "log2p1"), (10, "log10p1"), (np.e, "log1p")])
def test_the_base_that_scanpy_notes_is_honoured(tmp_path: Path, base: float | None, name: str) -> None:
    data = cells()
    linear = data.X / data.X.sum(1, keepdims=True) * 1e4
    data.X = (np.log1p(linear) / np.log(base or np.e)).astype(np.float32)
    data.uns["log1p"] = {"base": base}
    read = read_rna(written(data, tmp_path / "a.h5ad"))
    assert read.details["values_in_file"] == name
    assert np.allclose(read.matrix[0], linear.mean(0), rtol=1e-4)
    assert read_rna_row(tmp_path / "a.h5ad", data.obs_names[0]).values == name


def test_a_base_that_nobody_uses_is_refused(tmp_path: Path) -> None:
    data = cells()
    data.X = np.log1p(data.X)
    data.uns["log1p"] = {"base": 3}
    with pytest.raises(UnusableError, match="expected 2, e or 10"):
        read_rna(written(data, tmp_path / "a.h5ad"))


def test_counts_stay_counts_whatever_uns_says(tmp_path: Path) -> None:
    data = cells()
    data.uns["log1p"] = {"base": 2}
    assert read_rna(written(data, tmp_path / "a.h5ad")).values == "counts"


@pytest.mark.parametrize("column", ["gene", "gene_symbols", "feature_name", "gene_ids"])
def test_gene_names_in_a_column_of_var(tmp_path: Path, column: str) -> None:
    data = cells()
    data.var = pd.DataFrame({column: GENES}, index=[str(n) for n in range(len(GENES))])
    assert read_rna(written(data, tmp_path / "a.h5ad")).genes == GENES
    data.var = data.var.rename(columns={column: "highly_variable"})
    with pytest.raises(UnusableError, match=r"var_names are numbers.*highly_variable"):
        read_rna(written(data, tmp_path / "b.h5ad"))


def test_lzf_is_read(tmp_path: Path) -> None:
    data = cells()
    read = read_rna(written(data, tmp_path / "a.h5ad", compression="lzf"))
    assert np.array_equal(read.matrix[0], data.X.sum(0))


@pytest.mark.parametrize("prefix", ["Patient-01_", "TCGA-AA-0001:", "lib.1-"])
def test_cells_with_a_prefix_are_cells(tmp_path: Path, prefix: str) -> None:
    data = cells()
    data.obs_names = [prefix + name for name in data.obs_names]
    assert read_rna(written(data, tmp_path / "a.h5ad")).details["barcodes"] == CELLS


def test_without_x_the_layers_are_named(tmp_path: Path) -> None:
    data = cells()
    data.layers["raw"] = data.X
    path = written(data, tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        del file["X"]
    with pytest.raises(UnusableError, match=r"no X.*layers: raw"):
        read_rna(path)


@pytest.mark.parametrize(
    ("column", "names", "shown", "hidden"),
    [
        ("library_id", ["A", "B"], "2 libraries or samples.*A, B", "-"),
        ("sample", ["S1", "S2", "S3"], "3 libraries or samples.*S1, S2, S3", "-"),
        ("donor_id", ["Mary", "John"], "2 donors in one input, by obs", "Mary"),
    ],
)
def test_several_donors_are_refused(tmp_path: Path, column: str, names: list[str], shown: str, hidden: str) -> None:
    data = cells()
    data.obs[column] = [names[n % len(names)] for n in range(CELLS)]
    with pytest.raises(UnusableError, match=shown) as refused:
        read_rna(written(data, tmp_path / "a.h5ad"))
    assert hidden == "-" or hidden not in str(refused.value)
    data.obs[column] = names[0]
    assert read_rna(written(data, tmp_path / "b.h5ad")).details["barcodes"] == CELLS


def test_two_sections_of_visium_are_refused(tmp_path: Path) -> None:
    data = cells()
    data.obsm["spatial"] = np.indices((8, 5)).reshape(2, -1).T * 100.0
    data.uns["spatial"] = {name: {"scalefactors": {"spot_diameter_fullres": 89.0}} for name in "AB"}
    with pytest.raises(UnusableError, match=r"2 libraries.*uns\['spatial'\].*A, B"):
        read_rna(written(data, tmp_path / "a.h5ad"))


def test_cells_are_no_spots(tmp_path: Path) -> None:
    data = cells()
    data.obsm["spatial"] = np.random.default_rng(1).uniform(0, 1000, (CELLS, 2))
    with pytest.raises(UnusableError, match=r"positions on no grid.*single cells"):
        read_rna(written(data, tmp_path / "cells.h5ad"))
    rows, columns = np.indices((8, 5)).reshape(2, -1)
    data.obsm["spatial"] = np.stack([columns + 0.5 * (rows % 2), rows * 0.866], 1) * 100
    data.obsm["spatial"] += np.random.default_rng(2).normal(0, 2, (CELLS, 2))
    assert read_rna(written(data, tmp_path / "spots.h5ad")).kind == "spot"
