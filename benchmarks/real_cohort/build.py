"""Writes the run's inputs: a sample sheet, cohort tables, spatial .h5ad files and the configuration.

Nothing of a withheld modality goes in. Slides are named where they lie and not copied.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.real_cohort.pattern import Case
from mupd.files import sha256_file, write_json, write_text
from mupd.modalities.records import render_record
from mupd.model.training.sources import HER2ST_MPP, read_her2st_counts

RNA_TABLE = "rna_table.tsv.gz"
TEXT_TABLE = "reports.csv"


def write_spots(path: Path, her2st: Path, section: str) -> None:
    """Counts of a section's selected spots as .h5ad with obsm["spatial"] in pixels of its picture."""
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    xy_px, counts = read_her2st_counts(her2st, section)
    adata = AnnData(
        X=sparse.csr_matrix(counts.to_numpy(np.float32)),
        obs=pd.DataFrame(index=pd.Index([str(name) for name in counts.index])),
        var=pd.DataFrame(index=pd.Index([str(name) for name in counts.columns])),
    )
    adata.obsm["spatial"] = xy_px
    adata.write_h5ad(path, compression="gzip")


def _rna_table(cases: list[Case], tcga: Path) -> bytes:
    """Rows of the patients whose RNA is given, as they stand in the public tables: log2(TPM + 0.001)."""
    import pandas as pd

    wanted = [case for case in cases if not case.is_section and "rna" in case.given]
    rows = []
    for table in sorted({case.table for case in wanted}):
        values = pd.read_csv(tcga / f"{table}_log2tpm.csv.gz", index_col=0)
        ids = {case.source: case.case_id for case in wanted if case.table == table}
        rows.append(values.loc[list(ids)].rename(index=ids))
    merged = pd.concat(rows, join="inner").sort_index()
    merged.index.name = "case_id"
    return gzip.compress(merged.to_csv(sep="\t").encode(), mtime=0)


def _text_table(cases: list[Case]) -> str:
    """Sentences made from the clinical fields of the cases whose text is given."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["case_id", "text"])
    writer.writerows([case.case_id, render_record(case.record)] for case in cases if "text" in case.given)
    return stream.getvalue()


def _sheet(cases: list[Case], images: Path) -> str:
    rows = [["case_id", "he", "rna", "text", "he_mpp", "x_source"]]
    for case in cases:
        he = str((images / f"{case.source}.jpg").resolve()) if "he" in case.given else ""
        rna = f"{case.case_id}.h5ad" if case.is_section and "rna" in case.given else ""
        # Where the slide is withheld, its scale still says how far apart the spots are.
        mpp = str(HER2ST_MPP) if case.is_section else ""
        rows.append([case.case_id, he, rna, "", mpp, case.source])
    return "".join("\t".join(row) + "\n" for row in rows)


def settings(model: Path, *, small: bool, slide_px: int, draws: int) -> dict[str, Any]:
    """The configuration of the run, paths relative to the benchmark's folder."""
    return {
        "cases": "inputs/cases.tsv",
        "tables": {"rna": f"inputs/{RNA_TABLE}", "text": f"inputs/{TEXT_TABLE}"},
        "outdir": "results",
        "model": str(model.resolve()),
        "shards": 1 if small else 4,
        "draws": {"he": 1, "rna": draws, "text": draws},
        "slide": {"width_px": slide_px, "height_px": slide_px, "mpp": HER2ST_MPP},
        "sampler": {"steps": 4 if small else 20},
        "report": {"title": "Real cohort with modalities withheld"},
    }


def _replace_changed(fresh: Path, folder: Path) -> None:
    """Make `folder` hold what `fresh` holds; files that are the same keep their times, so nothing reruns for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if not (fresh / path.name).exists():
            path.unlink()
    for path in fresh.iterdir():
        there = folder / path.name
        if not there.exists() or sha256_file(there) != sha256_file(path):
            os.replace(path, there)


def build(out: Path, data: Path, cases: list[Case], config: dict[str, Any], withheld: dict[str, Any]) -> Path:
    """Write ``inputs/``, ``config.yaml`` and ``withheld.json`` into `out`; returns the configuration's path."""
    out.mkdir(parents=True, exist_ok=True)
    # Beside the final folder, so that files can be moved there.
    fresh = Path(tempfile.mkdtemp(prefix=".inputs-", dir=out))
    try:
        for case in cases:
            if case.is_section and "rna" in case.given:
                write_spots(fresh / f"{case.case_id}.h5ad", data / "her2st", case.source)
        (fresh / RNA_TABLE).write_bytes(_rna_table(cases, data / "tcga"))
        (fresh / TEXT_TABLE).write_text(_text_table(cases), encoding="utf-8")
        (fresh / "cases.tsv").write_text(_sheet(cases, data / "her2st" / "images"), encoding="utf-8")
        _replace_changed(fresh, out / "inputs")
    finally:
        shutil.rmtree(fresh)
    path = out / "config.yaml"
    write_text(path, yaml.safe_dump(config, sort_keys=False))
    write_json(out / "withheld.json", withheld)
    return path
