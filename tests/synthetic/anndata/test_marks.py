from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.synthetic.anndata.marks import (
    ANNDATA_MARKS,
    OBS_NAMES,
    GeneColumns,
    mark_anndata,
    values_digest,
    write_anndata,
)
from mupd.synthetic.anndata.peek import look_at_hdf5
from mupd.synthetic.verify.recognise import synthetic_marks
from tests.fixtures.synthetic import meta_of

GENES = ["ERBB2", "MKI67", "CD3D", "KRT19"]


def profile(observations: int = 3, draws: tuple[int, ...] = (0, 2)) -> ad.AnnData:
    random = np.random.default_rng(5)
    values = {draw: random.random((observations, len(GENES)), dtype=np.float32) * 4 for draw in draws}
    xy = random.random((observations, 2)) * 1000 if observations > 1 else None
    return mark_anndata(
        values,
        GeneColumns(GENES, [0.5, 0.25, np.nan, 0.1]),
        [meta_of("rna", draw) for draw in draws],
        artifact_key="k" * 64,
        xy_px=xy,
    )


def measured(observations: int = 2) -> ad.AnnData:
    values = np.ones((observations, len(GENES)), dtype=np.float32)
    names = [f"SPOT{index}" for index in range(observations)]
    return ad.AnnData(values, obs=pd.DataFrame(index=names), var=pd.DataFrame(index=GENES))


def test_marks_layers_and_units(tmp_path: Path) -> None:
    write_anndata(profile(), tmp_path / "rna.synthetic.h5ad")
    read = ad.read_h5ad(tmp_path / "rna.synthetic.h5ad")
    assert list(read.obs_names) == ["SYN-CASE-01-T0001", "SYN-CASE-01-T0002", "SYN-CASE-01-T0003"]
    assert read.obs["synthetic"].all()
    assert set(read.layers) == {"mean", "sd", "draw_0", "draw_2"}
    draws = np.stack([read.layers["draw_0"], read.layers["draw_2"]]).astype(float)
    assert np.allclose(read.X, draws.mean(axis=0), atol=1e-6)
    assert np.allclose(read.layers["sd"], draws.std(axis=0, ddof=1), atol=1e-6)
    assert np.array_equal(read.X, read.layers["mean"])
    assert set(read.var["units"]) == {"natural log of 1 + counts per 10,000"}
    assert np.allclose(read.var["reliability"], [0.5, 0.25, np.nan, 0.1], equal_nan=True)
    assert read.raw is None
    assert read.obsm["spatial"].shape == (3, 2)
    said = read.uns["mupd"]
    assert said["statement"].startswith("SYNTHETIC - NOT FOR DIAGNOSIS. This RNA profile was not measured.")
    assert list(said["given"]) == ["he"]
    assert said["given_sha256"] == {"he": "c" * 64}
    assert (said["model_id"], said["model_sha256"]) == ("mupd-test", "d" * 64)
    assert list(said["seeds"]) == [(1 << 62), (1 << 62) + 2]
    assert list(said["draws"]) == [0, 2]
    assert said["content_sha256"] == {"0": "0" * 64, "2": "2" * 64}
    assert list(said["created"]) == ["2025-03-04T05:06:00+01:00", "2025-03-04T05:06:02+01:00"]
    assert "level 0" in said["spatial"]
    assert said["values_sha256"] == values_digest(read)


def test_one_observation_one_draw() -> None:
    adata = profile(1, (0,))
    assert list(adata.obs_names) == ["SYN-CASE-01"]
    assert "spatial" not in adata.obsm
    assert np.isnan(adata.layers["sd"]).all()


@pytest.mark.parametrize("of", [(), (0,), (0, 2)])
def test_the_mean_is_of_what_draws_expect_where_they_say_it(of: tuple[int, ...]) -> None:
    random = np.random.default_rng(2)
    values = {draw: random.random((1, len(GENES)), dtype=np.float32) for draw in (0, 2)}
    expected = {draw: values[draw] + np.float32(1) for draw in of}
    adata = mark_anndata(
        values,
        GeneColumns(GENES, [0.0] * len(GENES)),
        [meta_of("rna", draw) for draw in (0, 2)],
        artifact_key="k",
        expected=expected,
    )
    noisy = (values[0].astype(float) + values[2]) / 2
    assert np.allclose(adata.X, noisy + len(of) / 2, atol=1e-6)
    assert np.array_equal(adata.X, adata.layers["mean"])
    assert np.array_equal(adata.layers["draw_2"], values[2])
    assert np.allclose(adata.layers["sd"], np.std([values[0], values[2]], axis=0, ddof=1), atol=1e-6)
    assert ("without the noise" in adata.uns["mupd"]["mean"]) == bool(of)
    assert ("those of 0 without" in adata.uns["mupd"]["mean"]) == (of == (0,))


def test_original_ids_stand_beside_the_symbols() -> None:
    values = {0: np.zeros((1, len(GENES)), np.float32)}
    plain = GeneColumns(GENES, [0.0] * len(GENES))
    named = replace(plain, original_ids={"ERBB2": "ENSG00000141736.14"})
    metas = [meta_of("rna")]
    known = mark_anndata(values, named, metas, artifact_key="k")
    assert list(known.var_names) == GENES
    assert list(known.var["original_id"]) == ["ENSG00000141736.14", "", "", ""]
    assert "original_id" not in mark_anndata(values, plain, metas, artifact_key="k").var


def test_same_draws_give_the_same_bytes(tmp_path: Path) -> None:
    hashes = []
    for name in ("a.synthetic.h5ad", "b.synthetic.h5ad"):
        write_anndata(profile(), tmp_path / name)
        hashes.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
        time.sleep(1.1)  # HDF5 keeps object times to the second, if it keeps them
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("keywords", [{}, {"join": "outer"}, {"join": "outer", "uns_merge": "first"}])
def test_names_survive_every_concat_with_unmarked_data(tmp_path: Path, keywords: dict[str, str]) -> None:
    mixed = ad.concat([measured(), profile()], **keywords)
    assert [name.startswith("SYN-") for name in mixed.obs_names] == [False, False, True, True, True]
    mixed.write_h5ad(tmp_path / "mixed.h5ad")
    assert f"{OBS_NAMES} (3 of 5)" in synthetic_marks(tmp_path / "mixed.h5ad")


def test_peek_reads_marks_and_provenance(tmp_path: Path) -> None:
    write_anndata(profile(), tmp_path / "x.h5ad")
    shown = look_at_hdf5(tmp_path / "x.h5ad")
    marks, said = list(shown.marks), shown.provenance
    assert tuple(marks) == ANNDATA_MARKS
    assert said["case_id"] == "CASE-01"
    assert said["draws"] == [0, 2]
    assert said["given"] == ["he"]


@pytest.mark.parametrize("kind", ["bool", "category", "string", "nullable"])
def test_peek_reads_flags_of_any_kind(tmp_path: Path, kind: str) -> None:
    adata = measured(3)
    flags = pd.Series([True, False, True], index=adata.obs_names)
    adata.obs["synthetic"] = {
        "bool": flags,
        "category": flags.astype(str).astype("category"),
        "string": flags.astype(str),
        "nullable": flags.astype("boolean"),
    }[kind]
    adata.write_h5ad(tmp_path / "x.h5ad")
    assert list(look_at_hdf5(tmp_path / "x.h5ad").marks) == ['obs["synthetic"] is true (2 of 3)']


def test_measured_data_with_a_column_of_no_is_not_synthetic(tmp_path: Path) -> None:
    adata = measured()
    adata.obs["synthetic"] = False
    adata.write_h5ad(tmp_path / "x.h5ad")
    assert synthetic_marks(tmp_path / "x.h5ad") == []


@pytest.mark.filterwarnings("ignore")
def test_mudata_is_recognised(tmp_path: Path) -> None:
    import mudata

    mudata.MuData({"rna": ad.concat([measured(), profile()]), "other": measured()}).write(tmp_path / "cohort.h5mu")
    assert f"{OBS_NAMES} (3 of 5)" in synthetic_marks(tmp_path / "cohort.h5mu")


@pytest.mark.parametrize("fault", ["draws", "genes", "positions", "reliability", "expected", "other expected"])
def test_what_does_not_fit_is_refused(fault: str) -> None:
    values = {0: np.zeros((2, 4), np.float32)}
    metas = [meta_of("rna", 1 if fault == "draws" else 0)]
    symbols = GENES[:3] if fault == "genes" else GENES
    xy = None if fault == "positions" else np.zeros((2, 2))
    genes = GeneColumns(symbols, [0.0] * (3 if fault == "reliability" else len(symbols)))
    expected = {
        "expected": {0: np.zeros((1, 4), np.float32)},
        "other expected": {5: np.zeros((2, 4), np.float32)},
    }.get(fault)
    with pytest.raises(ValueError, match="found"):
        mark_anndata(values, genes, metas, artifact_key="k", xy_px=xy, expected=expected)


@given(st.integers(0, 2), st.integers(0, 3), st.floats(0.125, 5, width=32))
@settings(max_examples=30, deadline=None)
def test_any_edit_of_a_value_changes_the_digest(row: int, column: int, by: float) -> None:
    adata = profile()
    before = values_digest(adata)
    adata.layers["draw_0"][row, column] += np.float32(by)
    assert values_digest(adata) != before
