from __future__ import annotations

import json
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from mupd.base.zarr_store import open_zarr
from mupd.errors import UnusableError
from mupd.inputs.examine import content_hash
from mupd.rna.files import read_rna
from mupd.rna.gene_table import gene_table

GENES = sorted(gene_table().symbols)[500:560]


def spots(rows: int = 40) -> ad.AnnData:
    rng = np.random.default_rng(3)
    matrix = sparse.csr_matrix(rng.poisson(3, (rows, len(GENES))).astype(np.float32))
    names = ["".join(rng.choice(list("ACGT"), 14)) + "-1" for _ in range(rows)]
    obs = pd.DataFrame({"in_tissue": [1] * (rows - 5) + [0] * 5, "region": pd.Categorical(["a"] * rows)}, index=names)
    data = ad.AnnData(matrix, obs, pd.DataFrame({"n": range(len(GENES))}, index=GENES))
    data.obsm["spatial"] = np.indices((8, rows // 8)).reshape(2, -1).T * 100.0
    data.layers["counts"] = matrix
    data.uns["log1p"] = {"base": None}
    return data


def written(data: ad.AnnData, path: Path, version: int = 3) -> Path:
    with warnings.catch_warnings(), ad.settings.override(zarr_write_format=version):
        warnings.simplefilter("ignore")
        data.write_zarr(path)
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_store_reads_as_its_h5ad(tmp_path: Path, version: int) -> None:
    data = spots()
    store = written(data, tmp_path / "a.zarr", version)
    data.write_h5ad(tmp_path / "a.h5ad")
    zarr, h5ad = read_rna(store, keep_stored=True), read_rna(tmp_path / "a.h5ad", keep_stored=True)
    assert np.array_equal(zarr.matrix, h5ad.matrix)
    assert (zarr.genes, zarr.kind, zarr.values, len(zarr.matrix)) == (h5ad.genes, "spot", "counts", 35)
    assert zarr.xy_px is not None
    assert np.array_equal(zarr.xy_px, h5ad.xy_px)
    assert zarr.details == h5ad.details | {"format": "zarr"}
    assert content_hash("rna", store) == content_hash("rna", store)


def test_without_x_the_layers_are_named(tmp_path: Path) -> None:
    data = spots()
    data.layers["raw"] = data.layers.pop("counts")
    data.X = None
    with pytest.raises(UnusableError, match=r"no X.*layers: raw"):
        read_rna(written(data, tmp_path / "a.zarr"))


def test_a_store_that_is_no_anndata(tmp_path: Path) -> None:
    import zarr

    zarr.open_group(str(tmp_path / "a.zarr"), mode="w").create_group("images")
    with pytest.raises(UnusableError, match="no AnnData"):
        read_rna(tmp_path / "a.zarr")


@pytest.mark.parametrize("codec", ["pickle", "msgpack2", "other"])
def test_no_codec_that_may_run_code_is_opened(tmp_path: Path, codec: str) -> None:
    store = written(spots(), tmp_path / "a.zarr", 2)
    metadata = json.loads((store / "obs" / "_index" / ".zarray").read_text())
    metadata["filters"] = [{"id": codec}]
    (store / "obs" / "_index" / ".zarray").write_text(json.dumps(metadata))
    with pytest.raises(UnusableError, match=f"packed with {codec}"):
        read_rna(store)


def test_links_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    store = written(spots(), tmp_path / "a.zarr")
    (tmp_path / "secret").mkdir()
    (store / "uns" / "extra").symlink_to(tmp_path / "secret")
    with pytest.raises(UnusableError, match="leads elsewhere"):
        open_zarr(store)


def test_what_is_only_declared_takes_no_memory(tmp_path: Path) -> None:
    store = written(spots(), tmp_path / "a.zarr", 2)
    for name in ("layers/counts/data",):
        metadata = json.loads((store / name / ".zarray").read_text())
        metadata["shape"] = [10**12]
        (store / name / ".zarray").write_text(json.dumps(metadata))
    (store / ".zmetadata").unlink(missing_ok=True)
    with pytest.raises(UnusableError, match="declares over"):
        read_rna(store)
