"""Large synthetic cohorts: 10,000 rows of tables, 1,000 slides that differ in one byte."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np

from mupd.config import Config, parse_config

GENES = 2000
_SITES = ("breast", "colon", "stomach", "lung", "bladder")
_FINDINGS = {
    "breast": "Invasive ductal carcinoma of the breast, grade 2, pT2 pN0.",
    "colon": "Adenocarcinoma of the sigmoid colon, moderately differentiated, pT3.",
    "stomach": "Poorly cohesive gastric carcinoma with signet ring cells, pT4a.",
    "lung": "Adenocarcinoma of the lung, acinar pattern, pT1b.",
    "bladder": "Papillary urothelial carcinoma of the bladder, invading the lamina propria.",
}
_SENTENCES = (
    "The margins are free of tumour.",
    "Lymphovascular invasion is not identified.",
    "Two of fourteen lymph nodes contain metastatic carcinoma.",
    "The adjacent mucosa shows chronic inflammation without dysplasia.",
    "Perineural invasion is present.",
)


def model_folder(folder: Path) -> tuple[Path, list[str]]:
    """A model folder with nothing but the approved symbols of some genes."""
    from mupd.rna.gene_table import gene_table

    genes = sorted(gene_table().symbols)[: 10 * GENES : 10]
    model = folder / "model"
    model.mkdir()
    (model / "genes.json").write_text(json.dumps(genes))
    return model, genes


def table_cohort(folder: Path, kind: str, cases: int, shards: int) -> Config:
    """A cohort of rows: RNA counts in ``matrix.h5ad`` or ``matrix.csv.gz``, reports in ``reports.csv``."""
    folder.mkdir()
    model, genes = model_folder(folder)
    ids = [f"CASE-{number:05d}" for number in range(cases)]
    matrix = np.random.default_rng(0).negative_binomial(1, 0.05, (cases, len(genes)))
    table = folder / f"matrix.{kind}"
    if kind == "h5ad":
        import anndata
        import pandas as pd

        obs, var = pd.DataFrame(index=ids), pd.DataFrame(index=genes)
        anndata.AnnData(matrix.astype(np.float32), obs=obs, var=var).write_h5ad(table)
    else:
        import gzip

        with gzip.open(table, "wt", compresslevel=1) as stream:
            stream.write(",".join(["case_id", *genes]) + "\n")
            for case_id, row in zip(ids, matrix, strict=True):
                stream.write(f"{case_id}," + ",".join(map(str, row)) + "\n")
    draw = random.Random(0)
    lines = ["case_id,text"]
    for number, case_id in enumerate(ids):
        words = [_FINDINGS[_SITES[number % 5]], *draw.choices(_SENTENCES, k=12), f"Block {number}."]
        lines.append(f'{case_id},"{" ".join(words)}"')
    (folder / "reports.csv").write_text("\n".join(lines) + "\n")
    sheet = ["case_id\torgan", *(f"{case_id}\t{_SITES[number % 5]}" for number, case_id in enumerate(ids))]
    (folder / "cases.tsv").write_text("\n".join(sheet) + "\n")
    tables = {"rna": str(table), "text": str(folder / "reports.csv")}
    return _config(folder, model, shards, tables=tables)


def slide_cohort(folder: Path, slide: Path, cases: int, shards: int) -> Config:
    """A cohort of copies of one slide; a byte appended to each file makes its content unique."""
    folder.mkdir()
    model, _ = model_folder(folder)
    data = slide.read_bytes()
    for number in range(cases):
        (folder / f"{number:04d}{slide.suffix}").write_bytes(data + number.to_bytes(4, "big"))
    sheet = ["case_id\the", *(f"S{number:04d}\t{number:04d}{slide.suffix}" for number in range(cases))]
    (folder / "cases.tsv").write_text("\n".join(sheet) + "\n")
    return _config(folder, model, shards)


def _config(folder: Path, model: Path, shards: int, **sections: object) -> Config:
    values = {"cases": str(folder / "cases.tsv"), "outdir": str(folder / "out"), "model": str(model), "shards": shards}
    return parse_config(values | sections, "benchmark")
