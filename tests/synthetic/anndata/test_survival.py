"""What is done to AnnData in a day's work leaves a synthetic profile recognisable."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mupd.synthetic.anndata.marks import OBS_COLUMN, OBS_NAMES, UNS, GeneColumns, mark_anndata
from mupd.synthetic.anndata.peek import look_at_zarr
from mupd.synthetic.verify.recognise import synthetic_marks
from tests.fixtures.synthetic import meta_of

GENES = ["ERBB2", "MKI67", "CD3D", "KRT19"]
MERGES = (None, "same", "unique", "first", "only")
pytestmark = pytest.mark.filterwarnings("ignore")  # of anndata, on names and formats of its own


def profile(case_id: str = "CASE-01", tiles: int = 3) -> ad.AnnData:
    random = np.random.default_rng(7)
    return mark_anndata(
        {draw: random.random((tiles, len(GENES)), dtype=np.float32) for draw in (0, 1)},
        GeneColumns(GENES, [0.5, 0.25, np.nan, 0.1]),
        [meta_of("rna", draw, case_id=case_id) for draw in (0, 1)],
        artifact_key="k" * 64,
        xy_px=random.random((tiles, 2)) if tiles > 1 else None,
    )


def measured(genes: tuple[str, ...] = ("ERBB2", "MKI67", "ACTB"), names: tuple[str, ...] = ("P1", "P2")) -> ad.AnnData:
    """Real data as others have it: fewer columns, other ones, a layer and ``uns`` of its own."""
    values = np.arange(len(names) * len(genes), dtype=np.float32).reshape(len(names), -1)
    obs = pd.DataFrame({"batch": "a"}, index=list(names))
    made = ad.AnnData(values, obs, pd.DataFrame({"length": 1}, index=list(genes)))
    made.uns["pipeline"] = "v1"
    made.layers["counts"] = values
    return made


def share(marks: list[str] | tuple[str, ...]) -> tuple[int, int] | None:
    """(synthetic, all) observations as the mark of names says; (1, 1) if all are."""
    for mark in marks:
        if mark == OBS_NAMES:
            return 1, 1
        if mark.startswith(f"{OBS_NAMES} ("):
            part, whole = mark.rpartition("(")[2].rstrip(")").split(" of ")
            return int(part), int(whole)
    return None


def seen_in(adata: ad.AnnData, path: Path) -> list[tuple[int, int] | None]:
    """What is recognised of it as .h5ad and as zarr."""
    # Not the artifact's name: that one is a mark of its own.
    adata.write_h5ad(path / "x.h5ad")
    adata.write_zarr(path / "x.zarr")
    return [share(synthetic_marks(path / "x.h5ad")), share(look_at_zarr(path / "x.zarr").marks)]


@pytest.mark.parametrize("axis", ["obs", "var"])
@pytest.mark.parametrize("join", ["inner", "outer"])
@pytest.mark.parametrize("first", ["measured", "synthetic"])
def test_names_survive_concat_in_every_mode(axis: str, join: str, first: str) -> None:
    for merge, uns_merge in itertools.product(MERGES, MERGES):
        tables = [measured(), profile()]
        if first == "synthetic":
            tables.reverse()
        mixed = ad.concat(tables, axis=axis, join=join, merge=merge, uns_merge=uns_merge)
        synthetic = {name for name in mixed.obs_names if name.startswith("SYN-")}
        if axis == "var" and join == "inner":
            # No observation is in both: none of the synthetic values is left either.
            assert mixed.n_obs == 0
        else:
            assert synthetic == set(profile().obs_names)
            assert set(mixed.obs_names) - synthetic == {"P1", "P2"}


@pytest.mark.parametrize("join", ["inner", "outer"])
@pytest.mark.parametrize("axis", ["obs", "var"])
def test_what_concat_leaves_is_recognised_in_files(tmp_path: Path, axis: str, join: str) -> None:
    if axis == "var":
        # Something measured about the very observations that were generated, as an annotation would be.
        other = measured(("NEW1", "NEW2"), tuple(profile().obs_names))
        mixed, expected = ad.concat([profile(), other], axis=axis, join=join), (1, 1)
    else:
        mixed, expected = ad.concat([measured(), profile()], axis=axis, join=join), (3, 5)
    assert seen_in(mixed, tmp_path) == [expected] * 2


@pytest.mark.parametrize(
    "keywords",
    [{"label": "source", "keys": ["a", "b"]}, {"index_unique": "-", "keys": ["a", "b"]}, {"pairwise": True}],
)
def test_names_survive_labels_and_suffixes(tmp_path: Path, keywords: dict[str, Any]) -> None:
    assert seen_in(ad.concat([measured(), profile()], **keywords), tmp_path) == [(3, 5)] * 2


def test_two_synthetic_cases_stay_wholly_synthetic(tmp_path: Path) -> None:
    both = ad.concat([profile("A", 1), profile("B", 1)], join="outer", merge="same", uns_merge="same")
    assert seen_in(both, tmp_path) == [(1, 1)] * 2
    assert OBS_COLUMN in synthetic_marks(tmp_path / "x.h5ad")


@pytest.mark.parametrize(
    ("kind", "join", "merge"),
    [*itertools.product(["h5ad"], ["inner", "outer"], MERGES), ("zarr", "inner", None), ("zarr", "outer", "first")],
)
def test_names_survive_concat_on_disk(tmp_path: Path, kind: str, join: str, merge: str | None) -> None:
    pytest.importorskip("dask", reason="dask, which concat_on_disk of dense matrices needs, IS NOT INSTALLED")
    inputs = []
    for name, table in (("real", measured()), ("other", profile())):
        inputs.append(tmp_path / f"{name}.{kind}")
        table.write_h5ad(inputs[-1]) if kind == "h5ad" else table.write_zarr(inputs[-1])
    out = tmp_path / f"mixed.{kind}"
    ad.experimental.concat_on_disk(inputs, out, join=join, merge=merge, uns_merge=merge)
    marks = synthetic_marks(out) if kind == "h5ad" else look_at_zarr(out).marks
    assert share(marks) == (3, 5)


SUBSETS: dict[str, Callable[[ad.AnnData], ad.AnnData]] = {
    "one observation": lambda adata: adata[1],
    "one gene": lambda adata: adata[:, "CD3D"],
    "both": lambda adata: adata[adata.obs_names[:2], ["ERBB2", "KRT19"]],
    "by value": lambda adata: adata[np.asarray(adata.X)[:, 0] >= 0],
    "by column": lambda adata: adata[:, adata.var["reliability"] > 0.2],
    "copy": lambda adata: adata.copy(),
    "copy of a view": lambda adata: adata[:2].copy(),
    "view of a view": lambda adata: adata[:2][:1],
}


@pytest.mark.parametrize("how", SUBSETS)
def test_all_marks_survive_subsets_and_copies(tmp_path: Path, how: str) -> None:
    part = SUBSETS[how](profile())
    assert part.n_obs >= 1
    part.write_h5ad(tmp_path / "x.h5ad")
    assert {OBS_NAMES, OBS_COLUMN, UNS} <= set(synthetic_marks(tmp_path / "x.h5ad"))
    assert part.obs["synthetic"].all()
    assert set(part.var["units"]) == {"natural log of 1 + counts per 10,000"}
    assert part.uns["mupd"]["statement"].startswith("SYNTHETIC")


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_everything_survives_a_round_trip(tmp_path: Path, kind: str) -> None:
    before, path = profile(), tmp_path / f"x.{kind}"
    if kind == "h5ad":
        before.write_h5ad(path)
        after, marks = ad.read_h5ad(path), synthetic_marks(path)
    else:
        before.write_zarr(path)
        after, marks = ad.read_zarr(path), list(look_at_zarr(path).marks)
    assert {OBS_NAMES, OBS_COLUMN, UNS} <= set(marks)
    pd.testing.assert_frame_equal(after.var, before.var)
    assert list(after.obs_names) == list(before.obs_names)
    for layer in before.layers:
        np.testing.assert_array_equal(after.layers[layer], before.layers[layer])
    assert after.uns["mupd"]["content_sha256"] == before.uns["mupd"]["content_sha256"]
    assert list(after.uns["mupd"]["draws"]) == [0, 1]


def test_marks_survive_reading_a_part_from_disk(tmp_path: Path) -> None:
    profile().write_h5ad(tmp_path / "x.h5ad")
    part = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")[:2].to_memory()
    assert seen_in(part, tmp_path) == [(1, 1)] * 2


@pytest.mark.parametrize("layer", [None, "mean", "sd", "draw_1"])
def test_names_survive_a_data_frame(tmp_path: Path, layer: str | None) -> None:
    frame = profile().to_df(layer)
    assert seen_in(ad.AnnData(frame), tmp_path) == [(1, 1)] * 2
    for name, separator in (("x.csv", ","), ("x.tsv", "\t")):
        frame.to_csv(tmp_path / name, sep=separator)
        assert any("begins with SYN-" in mark for mark in synthetic_marks(tmp_path / name))


def test_names_alone_are_enough(tmp_path: Path) -> None:
    bare = profile()
    del bare.uns["mupd"]
    bare.obs = bare.obs[[]]
    bare.var = bare.var[[]]
    bare.layers.clear()
    assert seen_in(bare, tmp_path) == [(1, 1)] * 2


@given(st.sets(st.integers(0, 4), min_size=1))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_part_of_a_mixed_table_says_how_much_of_it_is_synthetic(tmp_path: Path, rows: set[int]) -> None:
    part = ad.concat([measured(), profile()])[sorted(rows)]
    part.write_h5ad(tmp_path / "x.h5ad")
    synthetic = len(rows & {2, 3, 4})
    expected = {0: None, len(rows): (1, 1)}.get(synthetic, (synthetic, len(rows)))
    assert share(synthetic_marks(tmp_path / "x.h5ad")) == expected


@pytest.mark.parametrize("kind", ["h5mu", "zarr"])
def test_mudata_keeps_them_in_its_modality(tmp_path: Path, kind: str) -> None:
    joined = mudata.MuData({"rna": ad.concat([measured(), profile()]), "other": measured(("Q1",), ("P1", "P2"))})
    part = joined[["P1", *profile().obs_names[:2]]].copy()
    for number, (table, expected) in enumerate(((joined, (3, 5)), (part, (2, 3)))):
        path = tmp_path / f"cohort{number}.{kind}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table.write(path) if kind == "h5mu" else table.write_zarr(path)
        marks = synthetic_marks(path) if kind == "h5mu" else list(look_at_zarr(path).marks)
        assert f"{OBS_NAMES} ({expected[0]} of {expected[1]})" in marks


@pytest.mark.parametrize("join", ["inner", "outer"])
def test_concatenated_mudata_keeps_them(tmp_path: Path, join: str) -> None:
    one = mudata.MuData({"rna": measured()})
    other = mudata.MuData({"rna": profile()})
    mixed = mudata.concat([one, other], join=join)
    mixed.write(tmp_path / "x.h5mu")
    assert f"{OBS_NAMES} (3 of 5)" in synthetic_marks(tmp_path / "x.h5mu")
