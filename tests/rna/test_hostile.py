"""Broken and hostile RNA inputs: refused with the reason, before memory is spent, and never read as something else."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from mupd.config import IntakeLimits
from mupd.errors import UnusableError
from mupd.rna import size_limits as rna_guard
from mupd.rna.checks import check_rna
from mupd.rna.cohort_tables import read_rna_row, rna_row_index
from mupd.rna.files import read_rna
from tests.fixtures.basic import GENES, counts_matrix
from tests.fixtures.rna_inputs import barcodes_of, cells, write_spatial, write_tenx_folder, write_tenx_h5

LIMITS = IntakeLimits(0.05, 3, 0.5, "auto", ())
TABLE = "gene,value\n" + "".join(f"{gene},{n + 30}\n" for n, gene in enumerate(GENES))


def h5ad(path: Path, dense: bool = True) -> Path:
    counts = counts_matrix(4).astype(np.float32)
    data = ad.AnnData(counts if dense else sparse.csr_matrix(counts), var=pd.DataFrame(index=list(GENES)))
    data.obs_names = [f"c{n}" for n in range(4)]
    data.write_h5ad(path)
    return path


def peak_of(call: Callable[[], Any], words: str) -> int:
    """Bytes that a refused call allocates at most."""
    tracemalloc.start()
    with pytest.raises(UnusableError, match=words):
        call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def replaced(path: Path, name: str, **new: Any) -> Path:
    """The file with another array under `name`, its attributes kept."""
    with h5py.File(path, "a") as file:
        attributes = dict(file[name].attrs)
        del file[name]
        array = file.create_dataset(name, **new)
        for key, value in attributes.items():
            array.attrs[key] = value
    return path


@pytest.mark.parametrize(
    ("name", "new", "words"),
    [
        ("X", {"shape": (10**6, 10**6), "dtype": "f4", "chunks": (1000, 1000)}, "declares 4,000,000,000,000 bytes"),
        ("X", {"shape": (4, 12), "dtype": "f4", "chunks": (4, 12)}, "4 samples"),
        ("X", {"shape": (2**15, 2**15), "dtype": "f4", "chunks": (2**15, 2**15)}, "chunks of 4,096 MiB"),
        ("X", {"shape": (4, 12, 1), "dtype": "f4"}, "observations x genes"),
        ("X", {"shape": (12,), "dtype": "f4"}, "observations x genes"),
        ("X", {"shape": (5, 12), "dtype": "f4"}, "5 x 12, with 4 obs_names"),
        ("X", {"shape": (4, 13), "dtype": "f4"}, "4 x 13, with 4 obs_names"),
        ("X", {"shape": (4, 12), "dtype": "c8"}, "complex64"),
        ("X", {"shape": (4, 12), "dtype": h5py.string_dtype()}, "plain numbers"),
        ("X", {"shape": (4, 12), "dtype": h5py.vlen_dtype(np.int32)}, "plain numbers"),
        ("var/_index", {"shape": (10**9,), "dtype": "S20", "chunks": (1000,)}, "declares 20,000,000,000 bytes"),
        ("var/_index", {"shape": (12,), "dtype": "f4"}, "expected names"),
        ("var/_index", {"shape": (3, 4), "dtype": "S4"}, "a list of names"),
    ],
)
def test_what_hdf5_declares(tmp_path: Path, name: str, new: dict[str, Any], words: str) -> None:
    path = replaced(h5ad(tmp_path / "a.h5ad"), name, **new)
    assert peak_of(lambda: check_rna(read_rna(path, "counts"), GENES, LIMITS), words) < 30 << 20


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("indices", [10**6] * 48, "a column beyond"),
        ("indices", [-1] * 48, "a column beyond"),
        ("indptr", [0, 48, 12, 24, 48], "row pointers"),
        ("indptr", [0, 12, 24, 36, 10**9], "row pointers"),
        ("indptr", [-5, 12, 24, 36, 48], "row pointers"),
        ("indptr", [0, 12, 48], "do not fit"),
        ("data", [1.0] * 7, "do not fit"),
    ],
)
def test_sparse_matrices_that_contradict_themselves(tmp_path: Path, name: str, values: list[Any], words: str) -> None:
    path = h5ad(tmp_path / "a.h5ad", dense=False)
    with h5py.File(path) as file:
        assert file["X/data"].shape == (48,)
    replaced(path, f"X/{name}", data=np.array(values))
    for call in (lambda: read_rna(path), lambda: read_rna_row(path, "c1")):
        with pytest.raises(UnusableError, match=words):
            call()


@pytest.mark.parametrize("where", ["X", "obsm/spatial", "uns/extra"])
@pytest.mark.parametrize("kind", ["link", "virtual", "storage"])
def test_data_outside_the_file(tmp_path: Path, where: str, kind: str) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.ones((4, 12), np.float32)
    path = h5ad(tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        if where in file:
            del file[where]
        if kind == "link":
            file[where] = h5py.ExternalLink("other.h5", "secret")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((4, 12), np.float32)
            layout[:] = h5py.VirtualSource(other, "secret", (4, 12))
            file.create_virtual_dataset(where, layout)
        else:
            (tmp_path / "raw.bin").write_bytes(bytes(192))
            file.create_dataset(where, (4, 12), "f4", external=[(tmp_path / "raw.bin", 0, 192)])
    if where == "uns/extra" and kind != "link":
        # Not read, so not looked at.
        assert read_rna(path).matrix.shape == (4, 12)
        return
    calls = [lambda: read_rna(path)]
    # A row of a table has no positions: they are not looked at.
    calls += [lambda: read_rna_row(path, "c1")] if kind == "link" or where == "X" else []
    for call in calls:
        with pytest.raises(UnusableError, match=r"other file|another file"):
            call()


def test_links_in_circles_and_filters_of_plugins(tmp_path: Path) -> None:
    path = h5ad(tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        del file["X"]
        file["X"] = h5py.SoftLink("/X")
    with pytest.raises(UnusableError):
        read_rna(path)
    path = h5ad(tmp_path / "b.h5ad")
    with h5py.File(path, "a") as file:
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_chunk((4, 12))
        layout.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
        del file["X"]
        h5py.h5d.create(file.id, b"X", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((4, 12)), layout)
    with pytest.raises(UnusableError, match="plugin 32015"):
        read_rna(path)


@pytest.mark.parametrize("name", [b"features", b"feature_type", b"barcodes"])
def test_names_that_are_not_utf8(tmp_path: Path, name: bytes) -> None:
    path = write_tenx_h5(tmp_path / "a.h5", cells())
    content = path.read_bytes()
    assert name in content
    path.write_bytes(content.replace(name, name[:-1] + b"\x80"))
    with pytest.raises(UnusableError, match="not UTF-8"):
        read_rna(path)


def test_gzip_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rna_guard, "RATIO_COUNTS_FROM", 1 << 22)
    bomb = gzip.compress(TABLE.encode() + b"ACTB,0\n" * (4 << 20))
    for name in ("a.csv", "a.csv.gz"):
        (tmp_path / name).write_bytes(bomb)
        with pytest.raises(UnusableError, match="bytes unpack to over"):
            read_rna(tmp_path / name)
        with pytest.raises(UnusableError, match="bytes unpack to over"):
            rna_row_index(tmp_path / name)
    folder = write_tenx_folder(tmp_path / "m", cells())
    (folder / "barcodes.tsv.gz").write_bytes(gzip.compress(b"A\n" * (8 << 20)))
    with pytest.raises(UnusableError, match="bytes unpack to over"):
        read_rna(folder)
    (tmp_path / "line.csv.gz").write_bytes(gzip.compress(b"a," * (40 << 20)))
    assert peak_of(lambda: read_rna(tmp_path / "line.csv.gz"), "bytes unpack to over") < 64 << 20


def test_text_over_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rna_guard, "MOST_HEADER_BYTES", 1 << 12)
    (tmp_path / "a.csv").write_text("gene," + "x" * 9999 + "\nACTB,1\n")
    with pytest.raises(UnusableError, match="a first line of over"):
        read_rna(tmp_path / "a.csv")
    with pytest.raises(UnusableError, match="unpacks to over 0 MiB"):
        rna_guard.open_text(tmp_path / "a.csv", 99).read()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = TABLE.replace("value", "välue")
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    if encoding in ("utf-16-le", "latin-1"):
        with pytest.raises(UnusableError, match=r"NUL bytes|utf-8"):
            read_rna(tmp_path / "a.csv", genes=GENES)
    else:
        assert read_rna(tmp_path / "a.csv", genes=GENES).genes == list(GENES)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "one column"),
        ("a.csv", b"\n\n\n", "one column"),
        ("a.csv", b"\0" * 999, "NUL"),
        ("a.csv", TABLE.encode()[:40] + b"\0" + TABLE.encode()[40:], "NUL"),
        ("a.csv", b"#" * 99, "one column"),
        ("a.csv", b"gene,value\n", "empty|numbers"),
        ("a.csv", TABLE.replace(",", ";").encode(), "separated by semicolons"),
        ("a.csv", TABLE.replace("30", "3,0").encode(), "does not read|more cells|words|numbers"),
        ("a.csv", TABLE.replace("30", "=1+1").encode(), "numbers|word"),
        ("a.csv", TABLE.replace("30", "").encode(), "empty, NaN"),
        ("a.csv", TABLE.replace("30", "NaN").encode(), "empty, NaN"),
        ("a.csv", TABLE.replace("30", "inf").encode(), "infinite|values"),
        ("a.csv", TABLE.replace("30", "-1").encode(), "below 0"),
        ("a.csv", TABLE.replace("30", "1e400").encode(), "infinite|numbers"),
        ("a.csv", b"PK\x03\x04" + bytes(99), "NUL"),
        ("a.csv.gz", b"\x1f\x8b\x08" + bytes(99), "does not read"),
        ("a.csv.gz", b"BZh91AY&SY" + bytes(range(1, 99)), "does not read|one column|utf-8"),
        ("a.h5ad", b"", "does not read"),
        ("a.h5ad", TABLE.encode(), "does not read"),
        ("a.h5mu", b"MuData (format-version=0.1.0)" + bytes(600), "does not read"),
        ("a.h5", TABLE.encode(), "does not read"),
        ("a.parquet", b"PAR1", "another suffix"),
        ("a.rds", b"RDX3", "another suffix"),
    ],
)
def test_odd_files(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableError, match=words) as caught:
        check_rna(read_rna(tmp_path / name, genes=GENES), GENES, LIMITS)
    assert str(tmp_path) not in str(caught.value)


def test_other_hdf5_files(tmp_path: Path) -> None:
    for name, words in (("a.h5", "no 10x matrix"), ("a.h5ad", "no AnnData"), ("molecule_info.h5", "molecule_info")):
        with h5py.File(tmp_path / name, "w") as file:
            file["x"] = 1
        with pytest.raises(UnusableError, match=words):
            read_rna(tmp_path / name)
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        file["obs"], file["var"], file["X"] = np.zeros(2), np.zeros(2), np.ones((2, 2))
    with pytest.raises(UnusableError, match=r"before AnnData 0\.7"):
        read_rna(tmp_path / "old.h5ad")


@pytest.mark.parametrize("tenth", range(10))
@pytest.mark.parametrize("name", ["a.h5ad", "a.csv.gz", "a.csv"])
def test_cut_off_files(tmp_path: Path, name: str, tenth: int) -> None:
    path = tmp_path / name
    if name == "a.h5ad":
        h5ad(path)
    else:
        path.write_bytes(gzip.compress(TABLE.encode()) if name.endswith("gz") else TABLE.encode())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * tenth // 10])
    if name != "a.csv":
        with pytest.raises(UnusableError):
            read_rna(path, genes=GENES)
        return
    # Text cut off at a line's end is a shorter table: what is read of it was in it.
    try:
        read = read_rna(path, genes=GENES)
    except UnusableError:
        return
    assert set(read.genes[:-1]) <= set(GENES)


def changed(content: bytes, edits: list[tuple[float, int]]) -> bytes:
    new = bytearray(content)
    for place, value in edits:
        new[int(place * (len(new) - 1))] = value
    return bytes(new)


def outcome(path: Path) -> tuple[str, dict[str, Any]]:
    """The reason that a file is refused for, else its facts; any other error fails the test."""
    try:
        return "", check_rna(read_rna(path, genes=GENES), GENES, LIMITS)
    except UnusableError as error:
        return str(error), {}


edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=12)
fuzz = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("kind", ["csv", "h5ad", "sparse", "tenx", "matrix", "features", "positions"])
@fuzz
@given(edits=edits)
def test_changed_bytes_end_in_a_reason_or_a_profile(tmp_path: Path, kind: str, edits: list[tuple[float, int]]) -> None:
    if kind in ("matrix", "features", "positions"):
        names = barcodes_of(30)
        path = write_tenx_folder(tmp_path / "m", cells(), names, packed=False)
        write_spatial(path / "spatial", names)
        target = path / {
            "matrix": "matrix.mtx",
            "features": "features.tsv",
            "positions": "spatial/tissue_positions.csv",
        }.get(kind, "")
    elif kind == "csv":
        path = target = tmp_path / "a.csv"
        path.write_text(TABLE)
    elif kind == "tenx":
        path = target = write_tenx_h5(tmp_path / "a.h5", cells())
    else:
        path = target = h5ad(tmp_path / "a.h5ad", dense=kind == "h5ad")
    target.write_bytes(changed(target.read_bytes(), edits))
    reason, facts = outcome(path)
    assert str(tmp_path) not in reason
    assert reason or (facts["evidence"] and facts["genes_in_model"] >= 6)


@fuzz
@given(text=st.text(max_size=400), suffix=st.sampled_from([".csv", ".tsv", ".sf", ".genes.results"]))
def test_any_text_ends_in_a_reason_or_a_profile(tmp_path: Path, text: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    reason, facts = outcome(path)
    assert reason or facts["evidence"]
    with contextlib.suppress(UnusableError):
        rna_row_index(path)
