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

from benchmarks.real_cohort.pattern import Case, Part
from mupd.base.files import sha256_file, write_json, write_text
from mupd.reports.record.fields import render_record
from mupd.training.public.read import HER2ST_MPP, read_her2st_counts

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


def _rna_table(cases: list[Case], tcga: Path) -> bytes | None:
    """Rows of the patients whose RNA is given, as they stand in the public tables: log2(TPM + 0.001)."""
    import pandas as pd

    wanted = [case for case in cases if not case.is_section and "rna" in case.given]
    rows = []
    for table in sorted({case.table for case in wanted}):
        values = pd.read_csv(tcga / f"{table}_log2tpm.csv.gz", index_col=0)
        own = [case for case in wanted if case.table == table]
        rows.append(values.loc[[case.source for case in own]].set_axis([case.case_id for case in own]))
    if not rows:
        return None
    merged = pd.concat(rows, join="inner").sort_index()
    merged.index.name = "case_id"
    return gzip.compress(merged.to_csv(sep="\t").encode(), mtime=0)


def text_of_case(case: Case) -> str:
    """The patient's report; of a section, for which there is none, sentences made from what is known of it."""
    return case.report or render_record(case.record)


def _text_table(cases: list[Case]) -> str | None:
    """Texts of the cases whose text is given."""
    if not any("text" in case.given for case in cases):
        return None
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["case_id", "text"])
    writer.writerows([case.case_id, text_of_case(case)] for case in cases if "text" in case.given)
    return stream.getvalue()


def _slides_of(case: Case, data: Path) -> list[Path]:
    if case.is_section:
        return [data / "her2st" / "images" / f"{case.source}.jpg"]
    return [data / "tcga" / "he" / name for name in case.pictures]


def _sheet(cases: list[Case], data: Path) -> str:
    """The sample sheet. It names the organ, as whoever has a specimen knows it, also where the text is withheld.

    The organ is one of the fields that a withheld text is scored by, and conditions nothing: no draw depends on this
    column. By it draws of an organ that the model was not trained on are told.
    """
    rows = [["case_id", "he", "rna", "text", "he_mpp", "organ", "x_source"]]
    for case in cases:
        he = ";".join(str(path.resolve()) for path in _slides_of(case, data)) if "he" in case.given else ""
        rna = f"{case.case_id}.h5ad" if case.is_section and "rna" in case.given else ""
        # Where a section's slide is withheld, its scale still says how far apart the spots are.
        mpp = HER2ST_MPP if case.is_section else case.mpp if he else None
        rows.append([case.case_id, he, rna, "", "" if mpp is None else str(mpp), case.record["organ"], case.source])
    return "".join("\t".join(row) + "\n" for row in rows)


LEAST_TISSUE_MM2 = 0.04
"""Under the default of 0.05: some of these pictures are fields of a quarter of a millimetre, not slides."""


def settings(model: Path, part: Part, *, small: bool, slide_px: int, draws: int) -> dict[str, Any]:
    """The configuration of the run, paths relative to the benchmark's folder."""
    title = "HER2ST sections" if part == "her2st" else "TCGA patients"
    return {
        "cases": "inputs/cases.tsv",
        "tables": {"rna": f"inputs/{RNA_TABLE}", "text": f"inputs/{TEXT_TABLE}"},
        "outdir": "results",
        "model": str(model.resolve()),
        "shards": 1,
        "draws": {"he": 1, "rna": draws, "text": draws},
        "slide": {"width_px": slide_px, "height_px": slide_px, "mpp": HER2ST_MPP},
        "sampler": {"steps": 4 if small else 20},
        "intake": {"min_tissue_mm2": LEAST_TISSUE_MM2},
        "report": {"title": f"Real cohort with modalities withheld: {title}"},
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


def _without_table(config: dict[str, Any], name: str) -> dict[str, Any]:
    return config | {"tables": {key: path for key, path in config["tables"].items() if key != name}}


def build(out: Path, data: Path, cases: list[Case], config: dict[str, Any], withheld: dict[str, Any]) -> Path:
    """Write ``inputs/``, ``config.yaml`` and ``withheld.json`` into `out`; returns the configuration's path."""
    out.mkdir(parents=True, exist_ok=True)
    # Beside the final folder, so that files can be moved there.
    fresh = Path(tempfile.mkdtemp(prefix=".inputs-", dir=out))
    try:
        for case in cases:
            if case.is_section and "rna" in case.given:
                write_spots(fresh / f"{case.case_id}.h5ad", data / "her2st", case.source)
        # A table without a row would be refused.
        if (rna := _rna_table(cases, data / "tcga")) is not None:
            (fresh / RNA_TABLE).write_bytes(rna)
        else:
            config = _without_table(config, "rna")
        if (text := _text_table(cases)) is not None:
            (fresh / TEXT_TABLE).write_text(text, encoding="utf-8")
        else:
            config = _without_table(config, "text")
        (fresh / "cases.tsv").write_text(_sheet(cases, data), encoding="utf-8")
        _replace_changed(fresh, out / "inputs")
    finally:
        shutil.rmtree(fresh)
    path = out / "config.yaml"
    write_text(path, yaml.safe_dump(config, sort_keys=False))
    write_json(out / "withheld.json", withheld)
    return path
