"""Makers of RNA inputs as programs write them, small; used by the tests of RNA readers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from conftest import GENES, counts_matrix
from scipy import sparse

IDS = tuple(f"ENSG{number:011d}" for number in range(1, len(GENES) + 1))
"""Well-formed, of no gene: symbols have to tell."""


def barcodes_of(number: int, seed: int = 1) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("ACGT"), 16)) + "-1" for _ in range(number)]


def cells(number: int = 30, genes: int = len(GENES)) -> np.ndarray:
    counts = counts_matrix(number, genes)
    counts[np.random.default_rng(2).random(counts.shape) < 0.5] = 0
    return counts


def write_tenx_folder(
    folder: Path,
    counts: np.ndarray,
    barcodes: Sequence[str] = (),
    genes: Sequence[str] = GENES,
    packed: bool = True,
    types: Sequence[str] | None = None,
    sizes: tuple[int, int, int] | None = None,
    ids: Sequence[str] = IDS,
    prefix: str = "",
) -> Path:
    """A matrix folder; `counts` (barcodes, genes), `sizes` what the header declares instead of the truth."""
    folder.mkdir(parents=True, exist_ok=True)
    barcodes = barcodes or barcodes_of(len(counts))
    kinds = types or ["Gene Expression"] * len(genes)
    features = "".join(f"{own}\t{gene}\t{kind}\n" for own, gene, kind in zip(ids, genes, kinds, strict=False))
    barcode, gene = np.nonzero(counts)
    rows, columns, entries = sizes or (counts.shape[1], counts.shape[0], len(gene))
    lines = [f"%%MatrixMarket matrix coordinate integer general\n%made by a test\n{rows} {columns} {entries}\n"]
    lines += [f"{g + 1} {b + 1} {counts[b, g]}\n" for b, g in zip(barcode, gene, strict=True)]
    texts = {
        "matrix.mtx": "".join(lines),
        "barcodes.tsv": "".join(f"{b}\n" for b in barcodes),
        "features.tsv": features,
    }
    for name, text in texts.items():
        if packed:
            (folder / f"{prefix}{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / f"{prefix}{name}").write_text(text)
    return folder


def write_tenx_h5(
    path: Path,
    counts: np.ndarray,
    genomes: Sequence[str] = ("GRCh38",),
    version: int = 3,
    barcodes: Sequence[str] = (),
    genes: Sequence[str] = GENES,
    ids: Sequence[str] = IDS,
    **more: Any,
) -> Path:
    """A 10x .h5; of several genomes the genes carry them in turn (v3), or each has a group (v2)."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    names = np.array(list(barcodes) or barcodes_of(len(counts)), "S")
    matrix = sparse.csr_matrix(counts)

    def put(group: Any) -> None:
        for name, values in (
            ("barcodes", names),
            ("data", matrix.data.astype(np.int32)),
            ("indices", matrix.indices.astype(np.int64)),
            ("indptr", matrix.indptr.astype(np.int64)),
            ("shape", np.array(counts.shape[::-1], np.int32)),
        ):
            group.create_dataset(name, data=values, compression="gzip")

    with h5py.File(path, "w") as file:
        if version == 2:
            for genome in genomes:
                group = file.create_group(genome)
                put(group)
                group["genes"], group["gene_names"] = np.array(ids, "S"), np.array(genes, "S")
            return path
        group = file.create_group("matrix")
        put(group)
        features = group.create_group("features")
        columns = {
            "id": ids,
            "name": genes,
            "feature_type": ["Gene Expression"] * len(genes),
            "genome": [genomes[index % len(genomes)] for index in range(len(genes))],
        }
        for name, values in (columns | more).items():
            features[name] = np.array(values) if isinstance(values[0], bool) else np.array(values, "S")
    return path


def write_spatial(
    folder: Path,
    barcodes: Sequence[str],
    in_tissue: Sequence[int] | None = None,
    name: str = "tissue_positions.csv",
    factors: dict[str, float] | None = None,
    array: Sequence[tuple[int, int]] | None = None,
) -> Path:
    """``spatial/``: barcode n lies at row 100 + 10 n, column 200 + 20 n of the full picture."""
    folder.mkdir(parents=True, exist_ok=True)
    inside = in_tissue or [1] * len(barcodes)
    places = array or [(n, n) for n in range(len(barcodes))]
    rows = [
        f"{barcode},{kept},{place[0]},{place[1]},{100 + 10 * n}.5,{200 + 20 * n}"
        for n, (barcode, kept, place) in enumerate(zip(barcodes, inside, places, strict=True))
    ]
    header = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"
    text = "\n".join(rows if name == "tissue_positions_list.csv" else [header, *rows]) + "\n"
    if name.endswith(".parquet"):
        import io

        import pandas as pd

        pd.read_csv(io.StringIO(text)).to_parquet(folder / name)
    else:
        (folder / name).write_text(text)
    (folder / "scalefactors_json.json").write_text(json.dumps(factors or {"spot_diameter_fullres": 130.0}))
    return folder
