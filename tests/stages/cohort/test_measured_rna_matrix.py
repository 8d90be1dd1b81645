"""Measured RNA stands in the cohort file bit for bit as in its input."""

from __future__ import annotations

import string
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from mupd.base.ids import MODALITIES
from mupd.contracts.inventory import CaseInventory, Entry
from mupd.errors import UnusableError
from mupd.inputs.runners import in_place
from mupd.rna.cohort_tables import original_ids
from mupd.rna.stored_values import StoredValues, summed
from mupd.sheet.sources import Source
from mupd.stages.cohort.join_shards import CohortCase, Part
from mupd.stages.cohort.measured_rna_matrix import measured_matrix, unique_names
from mupd.stages.cohort.mudata import build, write_cohort
from mupd.stages.cohort.read_case_values import read_case_values
from tests.fixtures.cohort import make_config

POOL = ("ACTB", "GAPDH", "KRT8", "ERBB2", "MKI67", "CD3E", "VIM", "EPCAM")
ENSEMBL = {symbol: f"ENSG{index:011d}" for index, symbol in enumerate(POOL)}
FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


def numbers(kind: str, size: int) -> st.SearchStrategy[np.ndarray]:
    """One row (1, size) of a type; zeros often, so that sparse ones are sparse; negative zeros too."""
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        width = dtype.itemsize * 8
        some = st.one_of(st.just(0.0), st.just(-0.0), st.floats(0, 1e4, width=width))
    else:
        # float64 takes integers up to 2^53 exactly.
        some = st.one_of(st.just(0), st.integers(0, min(np.iinfo(dtype).max, 2**53)))
    return arrays(dtype, (1, size), elements=some)


@st.composite
def inputs(draw: st.DrawFn, kinds: tuple[str, ...] = (*FLOATS, *INTEGERS), twice: bool = True) -> StoredValues:
    names = draw(st.lists(st.sampled_from(POOL), min_size=1, max_size=8, unique=not twice))
    row = draw(numbers(draw(st.sampled_from(kinds)), len(names)))
    matrix = sparse.csr_matrix(row) if draw(st.booleans()) else row
    ids = tuple(ENSEMBL[name] for name in names) if draw(st.booleans()) else tuple(names)
    return StoredValues(ids, tuple(names), matrix)


def dense(matrix: Any) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


@given(st.lists(inputs(), min_size=1, max_size=4))
@settings(max_examples=200)
def test_every_number_comes_back_and_nothing_else_is_there(given_values: list[StoredValues]) -> None:
    found = measured_matrix(given_values)
    whole = dense(found.matrix)
    assert len(set(found.names)) == len(found.names) == whole.shape[1] == len(found.ids)
    assert found.exact == (True,) * len(given_values)
    for row, item in enumerate(given_values):
        columns = [found.names.index(name) for name in unique_names(item.symbols)]
        values = dense(item.matrix)[0]
        if isinstance(item.matrix, np.ndarray) or not isinstance(found.matrix, np.ndarray):
            assert whole[row, columns].astype(values.dtype).tobytes() == values.tobytes()
        # Negative zeros that a sparse input does not store are plain zeros in a dense matrix of mixed inputs.
        assert np.array_equal(whole[row, columns].astype(values.dtype), values)
        others = np.delete(whole[row], columns)
        assert np.isnan(others.astype(float)).all()
        for column, own in zip(columns, item.names, strict=True):
            assert own in found.ids[column].split(";")


@given(st.sampled_from((*FLOATS, *INTEGERS)), st.integers(1, 4), st.booleans(), st.data())
def test_inputs_of_one_layout_keep_type_order_and_sparsity(
    kind: str, rows: int, thin: bool, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(POOL)))
    stack = [data.draw(numbers(kind, size)) for _ in range(rows)]
    symbols = tuple(data.draw(st.permutations(POOL)))[:size]
    found = measured_matrix([StoredValues(symbols, symbols, sparse.csr_matrix(x) if thin else x) for x in stack])
    assert found.names == found.ids == symbols
    assert found.matrix.dtype == np.dtype(kind)
    assert sparse.issparse(found.matrix) == thin
    assert (
        dense(found.matrix).tobytes()
        == dense(sparse.csr_matrix(np.concatenate(stack)) if thin else np.concatenate(stack)).tobytes()
    )


def test_integers_beyond_what_a_float_holds_are_said_to_be_rounded() -> None:
    large = StoredValues(("A",), ("A",), np.array([[2**53 + 1]]))
    small = StoredValues(("B",), ("B",), np.array([[1.5]]))
    assert measured_matrix([large]).exact == (True,)
    assert measured_matrix([large, small]).exact == (False, True)


def test_stored_zeros_of_a_sparse_input_stay_stored() -> None:
    row = sparse.csr_matrix((np.array([0, 3]), np.array([2, 0]), np.array([0, 2])), shape=(1, 3))
    found = measured_matrix([StoredValues(("A", "B", "C"), ("A", "B", "C"), row)])
    assert found.matrix.nnz == 2
    assert list(found.matrix.indices) == [0, 2]


def test_no_input_gives_an_empty_matrix() -> None:
    found = measured_matrix([])
    assert found.matrix.shape == (0, 0)
    assert found.names == ()


@given(st.lists(st.sampled_from(["A", "A-1", "A-2", "B", "B-1"]), max_size=12))
def test_names_are_unique_and_the_first_of_each_keeps_its_own(symbols: list[str]) -> None:
    names = unique_names(symbols)
    assert len(set(names)) == len(symbols)
    for symbol, name in zip(symbols, names, strict=True):
        assert name == symbol or name.startswith(f"{symbol}-")
    if len(set(symbols)) == len(symbols):
        assert list(names) == symbols


@given(arrays(np.int64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.integers(0, 2**40)), st.booleans())
def test_sums_of_counts_are_exact(matrix: np.ndarray, thin: bool) -> None:
    names = tuple(string.ascii_uppercase[: matrix.shape[1]])
    total = summed(StoredValues(names, names, sparse.csr_matrix(matrix) if thin else matrix), mean=False)
    assert sparse.issparse(total.matrix) == thin
    assert dense(total.matrix).dtype == np.int64
    assert dense(total.matrix).tolist() == [[sum(int(x) for x in column) for column in matrix.T]]


def write_input(folder: Path, case_id: str, item: StoredValues, how: str) -> Source:
    """Write an input; returns its source as the inventory states it."""
    path = folder / f"{case_id}.{'h5ad' if 'h5ad' in how else 'tsv'}"
    if how == "tsv":
        lines = [
            f"{symbol}\t{value!r}" for symbol, value in zip(item.symbols, dense(item.matrix)[0].tolist(), strict=True)
        ]
        path.write_text("\n".join(["gene\tvalue", *lines]) + "\n")
        return Source(path)
    if how == "table-tsv":
        path.write_text(
            "\t".join(["", *item.symbols])
            + "\n"
            + "\t".join([case_id, *map(repr, dense(item.matrix)[0].tolist())])
            + "\n"
        )
        return Source(path, case_id)
    var = pd.DataFrame({"gene_name": list(item.symbols)}, index=list(item.names))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that stand there twice
        ad.AnnData(item.matrix, obs=pd.DataFrame(index=[case_id]), var=var).write_h5ad(path)
    return Source(path, case_id if how.startswith("table") else "")


def cohort_of(tmp_path: Path, sources: list[Source]) -> Any:
    """The cohort file of cases that have nothing but measured RNA, read back."""
    config = make_config(tmp_path)
    cases = []
    for number, source in enumerate(sources):
        entries = {m: Entry(f"C{number}", m, "missing") for m in MODALITIES}
        entries["rna"] = Entry(f"C{number}", "rna", "measured", "", str(source.path), "0" * 64, source_row=source.row)
        inventory = CaseInventory(f"C{number}", entries)
        cases.append(CohortCase(inventory, {m: Part(entries[m]) for m in MODALITIES}))
    values = read_case_values(cases, config, POOL, in_place(config, POOL), most_pictured=0)
    assert [value.problems for value in values] == [()] * len(cases)
    path = tmp_path / "cohort.h5mu"
    write_cohort(path, build(cases, values, POOL, ("", ""), [{"case_id": "C0"}]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mudata.read_h5mu(path)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # arbitrary numbers have no sensible logarithm
@given(st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_cohort_file_gives_every_input_back(tmp_path: Path, data: st.DataObject) -> None:
    made, sources = [], []
    for _ in range(data.draw(st.integers(1, 3))):
        how = data.draw(st.sampled_from(["h5ad", "tsv", "table-h5ad", "table-tsv"]))
        # A text stores no type of its own; it holds symbols only, and pandas renames a repeated column.
        text = how.endswith("tsv")
        kind = data.draw(inputs(("int64", "float64") if text else (*FLOATS, *INTEGERS), twice=not text))
        item = StoredValues(kind.symbols, kind.symbols, dense(kind.matrix)) if text else kind
        if text and len(item.symbols) < 2:
            continue  # a table of one column is refused
        made.append(item)
        sources.append(write_input(tmp_path, f"C{len(made) - 1}", item, how))
    if not made:
        return
    table = cohort_of(tmp_path, sources)["rna_measured"]
    assert list(table.obs_names) == [f"C{number}" for number in range(len(made))]
    assert not table.obs.synthetic.any()
    for number, item in enumerate(made):
        values = dense(item.matrix)[0]
        row = table[f"C{number}", list(unique_names(item.symbols))].X
        back = dense(row)[0].astype(table.obs.stored_as.iloc[number])
        assert table.obs.exact.iloc[number]
        assert back.dtype == values.dtype
        assert np.array_equal(back, values)
        if isinstance(item.matrix, np.ndarray):
            assert back.tobytes() == values.tobytes()
        assert table.obs.stored_sparse.iloc[number] == sparse.issparse(item.matrix)
        ids = table.var.original_id[list(unique_names(item.symbols))]
        assert all(own in joined.split(";") for own, joined in zip(item.names, ids, strict=True))


def test_ensembl_ids_stand_beside_the_symbols_in_both_tables(tmp_path: Path) -> None:
    item = StoredValues(tuple(ENSEMBL[s] for s in POOL[:3]), POOL[:3], np.array([[5, 0, 7]], np.int32))
    cohort = cohort_of(tmp_path, [write_input(tmp_path, "C0", item, "h5ad")])
    assert list(cohort["rna_measured"].var_names) == list(POOL[:3])
    assert list(cohort["rna_measured"].var.original_id) == list(item.names)
    assert cohort["rna_measured"].X.dtype == np.int32
    assert list(cohort["rna"].var.original_id) == [*item.names, *[""] * (len(POOL) - 3)]


def test_ensembl_ids_alone_become_symbols_and_are_kept(tmp_path: Path) -> None:
    ids = ("ENSG00000141736.14", "ENSG00000075624", "ENSG99999999999")
    path = tmp_path / "C0.h5ad"
    adata = ad.AnnData(np.array([[4, 9, 2]], np.int16), pd.DataFrame(index=["C0"]), pd.DataFrame(index=list(ids)))
    adata.write_h5ad(path)
    cohort = cohort_of(tmp_path, [Source(path)])
    table = cohort["rna_measured"]
    assert list(table.var_names) == ["ERBB2", "ACTB", "ENSG99999999999"]
    assert list(table.var.original_id) == list(ids)
    assert table.X.tolist() == [[4, 9, 2]]
    row = dict(zip(POOL, cohort["rna"].X[0], strict=True))
    assert row["ERBB2"] == pytest.approx(np.log1p(1e4 * 4 / 13), rel=1e-5)
    assert np.isnan(row["VIM"])


@pytest.mark.parametrize("how", ["h5ad", "tsv"])
def test_a_table_tells_its_own_ids_without_its_values(tmp_path: Path, how: str) -> None:
    names = ["ENSG00000141736.14", "ACTB", "NOTHING"]
    frame = pd.DataFrame([[1, 2, 3]], index=["C0"], columns=names)
    path = tmp_path / f"table.{how}"
    if how == "h5ad":
        ad.AnnData(frame.to_numpy(), pd.DataFrame(index=["C0"]), pd.DataFrame(index=names)).write_h5ad(path)
    else:
        frame.to_csv(path, sep="\t")
    assert original_ids(path, POOL) == {"ERBB2": "ENSG00000141736.14"}
    with pytest.raises(UnusableError, match="does not read"):
        original_ids(tmp_path / "none.h5ad", POOL)
