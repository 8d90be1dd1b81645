"""Record values behind the public tables: TCGA's clinical columns and the classes of H&E tiles."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

_TCGA_ORGAN = {"blca": "bladder", "coadread": "colorectum", "stad": "stomach"}
_TCGA_DIAGNOSIS = {
    "BLCA": "urothelial carcinoma",
    "COAD": "colorectal adenocarcinoma",
    "READ": "colorectal adenocarcinoma",
    "COADREAD": "colorectal adenocarcinoma",
    "MACR": "mucinous adenocarcinoma",
    "STAD": "gastric adenocarcinoma",
    "PSTAD": "gastric adenocarcinoma",
    "TSTAD": "tubular adenocarcinoma",
    "DSTAD": "diffuse-type gastric carcinoma",
    "MSTAD": "mucinous adenocarcinoma",
    "SSRCC": "signet ring cell carcinoma",
}
# The tables' column `stage` follows the T category of the reports, not the AJCC stage group.
_T_CATEGORY = {"0": "T0", "I": "T1", "II": "T2", "III": "T3", "IV": "T4"}
_TILE_ORGAN = {"colon": "colorectum"}
_TILE_DIAGNOSIS = {
    ("lung", "adenocarcinoma"): "lung adenocarcinoma",
    ("lung", "squamous cell carcinoma"): "lung squamous cell carcinoma",
    ("colon", "adenocarcinoma"): "colorectal adenocarcinoma",
    ("colorectum", "adenocarcinoma epithelium"): "colorectal adenocarcinoma",
    ("colorectum", "normal colon mucosa"): "benign tissue",
    ("bone", "viable osteosarcoma"): "osteosarcoma",
    ("bone", "non-viable (necrotic) osteosarcoma"): "osteosarcoma",
    ("bone", "non-tumor bone and soft tissue"): "benign tissue",
    ("breast", "breast carcinoma"): "invasive breast carcinoma",
    ("breast", "ductal carcinoma"): "invasive breast carcinoma",
    ("breast", "papillary carcinoma"): "invasive breast carcinoma",
    ("breast", "mucinous carcinoma"): "invasive breast carcinoma",
    ("breast", "adenosis"): "benign tissue",
    ("breast", "fibroadenoma"): "benign tissue",
    ("breast", "tubular adenoma"): "benign tissue",
}
HER2ST_RECORD = {"organ": "breast", "diagnosis": "invasive breast carcinoma"}


def tcga_records(folder: Path, cohort: str) -> dict[str, dict[str, str]]:
    """Record of each patient of a cohort; repeated patients left out, unknown fields absent."""
    table = pd.read_csv(folder / f"{cohort}_clinical.csv", dtype=str, keep_default_na=False)
    table = table[~table["case_id"].duplicated(keep=False)]
    records = {}
    for row in table.to_dict("records"):
        record = {"organ": _TCGA_ORGAN[cohort]}
        if row["subtype"] in _TCGA_DIAGNOSIS:
            record["diagnosis"] = _TCGA_DIAGNOSIS[row["subtype"]]
        if row["grade"] in ("G1", "G2", "G3"):
            record["grade"] = row["grade"]
        if row["stage"] in _T_CATEGORY:
            record["t_category"] = _T_CATEGORY[row["stage"]]
        records[row["case_id"]] = record
    return records


def tile_record(organ: str, diagnosis: str) -> dict[str, str]:
    """Record of an H&E tile by its class; the diagnosis is absent where the class names a tissue."""
    record = {"organ": _TILE_ORGAN.get(organ, organ)}
    if diagnosis == "benign":
        record["diagnosis"] = "benign tissue"
    elif (organ, diagnosis) in _TILE_DIAGNOSIS:
        record["diagnosis"] = _TILE_DIAGNOSIS[organ, diagnosis]
    return record
