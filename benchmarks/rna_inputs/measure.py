"""Inputs of the benchmark, and their measurement in processes of their own.

Made-up values of the real sizes: rows of cohort tables of 1,577 and 20,000 genes, a section of 4,992 spots and 36,000
genes, 50,000 cells. Each figure comes from a process of its own; its memory is that process's peak.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import MODEL, REPOSITORY
from benchmarks.process import peak_memory_mb
from mupd.config import parse_config

_LIMITS = parse_config({"cases": "none.tsv"}, "benchmark").intake


def _genes(number: int) -> tuple[list[str], list[str]]:
    from mupd.rna.gene_table import gene_table

    ids = {own: symbol for own, symbol in gene_table().ids.items() if symbol}
    # First the model's, so that a short list shares genes with it.
    known = set(json.loads((REPOSITORY / MODEL / "genes.json").read_text(encoding="utf-8")))
    ordered = sorted(ids, key=lambda own: ids[own] not in known)[:number]
    return ordered, [ids[own] for own in ordered]


def write_table(path: Path, cases: int, genes: int) -> None:
    """A cohort table of log2(TPM + 0.001), as .h5ad or text."""
    import anndata as ad
    import pandas as pd

    values = np.round(np.log2(np.random.default_rng(0).gamma(0.5, 40, (cases, genes)) + 0.001), 4).astype(np.float32)
    values[0, 0] = -9.9658
    ids = [f"CASE-{number:05d}" for number in range(cases)]
    _, symbols = _genes(genes)
    if path.suffix == ".h5ad":
        ad.AnnData(values, obs=pd.DataFrame(index=ids), var=pd.DataFrame(index=symbols)).write_h5ad(path)
    else:
        pd.DataFrame(values, index=ids, columns=symbols).to_csv(path, float_format="%.4f")


def write_tenx(folder: Path, barcodes: int, genes: int, each: int, placed: bool) -> None:
    """A 10x output folder, `each` genes in every barcode; with positions in a square."""
    import h5py

    rng = np.random.default_rng(0)
    ids, symbols = _genes(genes)
    names = ["".join(letters) + "-1" for letters in rng.choice(list("ACGT"), (barcodes, 16))]
    outs = folder / "outs"
    (outs / "spatial").mkdir(parents=True)
    with h5py.File(outs / "filtered_feature_bc_matrix.h5", "w") as file:
        columns = np.sort(rng.integers(0, genes, (barcodes, each)).astype(np.int32), axis=1).ravel()
        parts: dict[str, Any] = {
            "barcodes": np.array(names, "S"),
            "data": rng.geometric(0.4, columns.size).astype(np.int32),
            "indices": columns,
            "indptr": np.arange(barcodes + 1) * each,
            "shape": np.array([genes, barcodes], np.int32),
            "features/id": np.array(ids, "S"),
            "features/name": np.array(symbols, "S"),
            "features/feature_type": np.array(["Gene Expression"] * genes, "S"),
            "features/genome": np.array(["GRCh38"] * genes, "S"),
        }
        for name, values in parts.items():
            file.create_dataset(f"matrix/{name}", data=values, compression="gzip")
    if placed:
        side = int(np.ceil(barcodes**0.5))
        rows = [f"{n},1,{i // side},{i % side},{130 * (i // side)},{130 * (i % side)}" for i, n in enumerate(names)]
        (outs / "spatial" / "tissue_positions_list.csv").write_text("\n".join(rows) + "\n")


def _measured(send: Any, path: Path, cases: int) -> None:
    from mupd.rna.checks import check_rna
    from mupd.rna.cohort_tables import read_rna_row, rna_row_index
    from mupd.rna.files import read_rna
    from mupd.rna.gene_ids import to_model_genes

    genes = tuple(json.loads((REPOSITORY / MODEL / "genes.json").read_text(encoding="utf-8")))
    start, facts = time.perf_counter(), {}
    if cases:
        for number in range(cases):
            row = f"CASE-{number:05d}"
            if row not in rna_row_index(path):
                raise RuntimeError(f"{path.name}: no row {row}")
            facts = check_rna(to_model_genes(read_rna_row(path, row), genes)[0], genes, _LIMITS)
    else:
        facts = check_rna(to_model_genes(read_rna(path, genes=genes), genes)[0], genes, _LIMITS)
    seconds = time.perf_counter() - start
    send.send((seconds, peak_memory_mb(), facts["evidence"]))


def measure(what: str, path: Path, cases: int = 0) -> None:
    """Print seconds and peak memory of reading and checking one input, or every row of a table."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(send, path, cases))
    process.start()
    # If it dies, nobody else holds the pipe open, and this ends.
    send.close()
    seconds, megabytes, evidence = receive.recv()
    process.join()
    print(f"| {what} | {seconds:.1f} | {megabytes:.0f} | {evidence} |", flush=True)
