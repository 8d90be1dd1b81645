"""Hostile RNA inputs."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from tests.fixtures.basic import GENES, counts_matrix
from tests.fixtures.rna_inputs import cells, write_tenx_folder, write_tenx_h5
from tests.hostile.item import TENTHS, Hostile, bytes_of, data, flipped, part

_ANY = "."


def _lines(values: Any = None, genes: tuple[str, ...] = GENES) -> list[str]:
    numbers = counts_matrix()[0] if values is None else values
    return ["gene,value", *(f"{gene},{value}" for gene, value in zip(genes, numbers, strict=False))]


def table(values: Any = None, genes: tuple[str, ...] = GENES) -> bytes:
    """A two-column table."""
    return ("\n".join(_lines(values, genes)) + "\n").encode()


def h5ad(path: Path) -> None:
    """A small bulk profile."""
    ad.AnnData(counts_matrix().astype(np.float32), var=pd.DataFrame(index=list(GENES))).write_h5ad(path)


def _changed_h5ad(change: Callable[[h5py.File], object]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        h5ad(path)
        with h5py.File(path, "r+") as file:
            change(file)

    return write


def _objects(file: h5py.File) -> None:
    del file["X"]
    file.create_dataset("X", (1, len(GENES)), dtype=h5py.string_dtype())
    file["X"][...] = "cos\nsystem\n(S'true'\ntR."
    file["X"].attrs["encoding-type"] = "array"
    file["X"].attrs["encoding-version"] = "0.2.0"


def _external_link(file: h5py.File) -> None:
    del file["X"]
    file["X"] = h5py.ExternalLink("/etc/passwd", "X")


def _external_storage(file: h5py.File) -> None:
    del file["X"]
    shape = (1, len(GENES))
    file.create_dataset("X", shape, "f4", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)])
    file["X"].attrs["encoding-type"] = "array"
    file["X"].attrs["encoding-version"] = "0.2.0"


def _soft_loop(file: h5py.File) -> None:
    del file["X"]
    file["X"] = h5py.SoftLink("/X")


def _huge(file: h5py.File) -> None:
    del file["X"]
    file.create_dataset("X", (2**31, 2**31), "f4", chunks=(1024, 1024), compression="gzip")
    file["X"].attrs["encoding-type"] = "array"
    file["X"].attrs["encoding-version"] = "0.2.0"


def _other_shape(file: h5py.File) -> None:
    del file["X"]
    file["X"] = np.ones((1, len(GENES) + 5), np.float32)
    file["X"].attrs["encoding-type"] = "array"
    file["X"].attrs["encoding-version"] = "0.2.0"


def _lying_sparse(file: h5py.File) -> None:
    del file["X"]
    group = file.create_group("X")
    group["data"], group["indices"] = np.ones(3, np.float32), np.array([0, 5, 2**30])
    group["indptr"] = np.array([0, 3])
    group.attrs["encoding-type"], group.attrs["encoding-version"] = "csr_matrix", "0.1.0"
    group.attrs["shape"] = np.array([1, len(GENES)])


def _zip(path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("rna.csv", table())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner.zip", inner.getvalue())


def _npy(path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    path.write_bytes(buffer.getvalue())


def hostile_profiles(folder: Path) -> list[Hostile]:
    """All items. `folder` is for the valid files from which they are made."""
    items: list[Hostile] = []

    def add(what: str, suffix: str, write: Callable[[Path], object], word: str = _ANY, **more: Any) -> None:
        items.append(Hostile(what, "rna", suffix, write, word=word, **more))

    def ten(path: Path) -> None:
        write_tenx_h5(path, cells())

    whole = {
        ".csv.gz": gzip.compress(table(np.arange(12) * 1234567)),
        ".h5ad": bytes_of(h5ad, ".h5ad", folder),
        ".h5": bytes_of(ten, ".h5", folder),
    }
    for suffix, content in whole.items():
        for tenths in TENTHS:
            add(f"{suffix} cut off after {tenths} tenths", suffix, part(content, tenths))
        add(f"{suffix} of zero bytes", suffix, data(b""))
        add(f"{suffix} of 4,096 NUL bytes", suffix, data(bytes(4096)))
    add(".h5ad with the bytes of its first part inverted", ".h5ad", data(flipped(whole[".h5ad"][:8000], 7, 512)))
    add("a table of zero bytes", ".csv", data(b""))
    add("a header alone", ".csv", data(b"gene,value\n"))
    add("NUL bytes in a table", ".csv", data(table().replace(b"GAPDH", b"GA\0DH")))
    add("a table in UTF-16", ".csv", data(table().decode().encode("utf-16")), status="measured", word="")
    add("a table with a byte order mark", ".csv", data(b"\xef\xbb\xbf" + table()), status="measured", word="")
    add("an .h5ad named .csv", ".csv", data(whole[".h5ad"]))
    add("a table named .h5ad", ".h5ad", data(table()))
    add("plain text named .csv.gz", ".csv.gz", data(b"not zipped at all\n" * 10))
    add("a PNG named .tsv", ".tsv", data(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20))
    add("a zip inside a zip", ".zip", _zip)
    add("a pickled array", ".npy", _npy)
    add("values that are words", ".csv", data(table(["high", "low"] * 6)))
    add("values with NaN", ".csv", data(table([*counts_matrix()[0][:-1], "nan"])), "NaN|empty|number")
    add("values with infinity", ".csv", data(table([*counts_matrix()[0][:-1], "inf"])), "infinit|number")
    add("negative counts", ".csv", data(table([-5, *([10] * 6), 3, 8, 9, 7, 500])))
    add("z-scores", ".csv", data(table(np.linspace(-3, 3, 12).round(3))))
    add("all zero", ".csv", data(table([0] * 12)), "zero|count|expression")
    add("the same value everywhere", ".csv", data(table([7] * 12)))
    add("genes of a mouse", ".csv", data(table(genes=tuple(f"Gm{n}" for n in range(12)))), "gene")
    add("numbers instead of genes", ".csv", data(table(genes=tuple(str(n) for n in range(12)))), "gene")
    add("probes of an array", ".csv", data(table(genes=tuple(f"{n}_at" for n in range(1007, 1019)))), "gene")
    add("rows that are ragged", ".csv", data(table() + b"TP53,1,2,3,4\nEGFR\n"))
    add("a quote that is not closed", ".csv", data(b'gene,value\n"ACTB,5\n' + table()[11:]))
    add("values above any count", ".csv", data(table([1e300] * 11 + ["1e400"])))
    add("a decompression bomb", ".csv.gz", data(gzip.compress(b"gene,value\n" + b"0" * 600_000_000, 9)))
    add("a gzip in a gzip", ".csv.gz", data(gzip.compress(gzip.compress(table()))))
    add("object arrays in an .h5ad", ".h5ad", _changed_h5ad(_objects))
    add("a link out of an .h5ad", ".h5ad", _changed_h5ad(_external_link))
    add("values stored outside of an .h5ad", ".h5ad", _changed_h5ad(_external_storage))
    add("a link in a circle in an .h5ad", ".h5ad", _changed_h5ad(_soft_loop))
    add("an .h5ad that declares 2^62 values", ".h5ad", _changed_h5ad(_huge))
    add("an .h5ad whose values and genes differ in number", ".h5ad", _changed_h5ad(_other_shape))
    add("a sparse .h5ad with columns out of range", ".h5ad", _changed_h5ad(_lying_sparse))
    add("an .h5ad without genes", ".h5ad", _changed_h5ad(lambda file: file.__delitem__("var")))
    add("an .h5ad without values", ".h5ad", _changed_h5ad(lambda file: file.__delitem__("X")))
    many = (2**31, 2**31, 2**60)
    add("a 10x folder that declares 2^60 values", "", lambda path: write_tenx_folder(path, cells(), sizes=many))
    add(
        "a 10x folder with fewer genes than its matrix",
        "",
        lambda path: write_tenx_folder(path, cells(), genes=GENES[:5]),
    )
    add("an empty folder as RNA", "", lambda path: path.mkdir())
    return items
