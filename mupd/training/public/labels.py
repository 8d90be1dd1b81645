"""Record values behind the public tables: TCGA's clinical columns and the classes of H&E tiles."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mupd.base.organs import organ_term
from mupd.training.public.read import read_her2st_counts

TCGA_ORGAN = {"blca": "bladder", "coadread": "colorectum", "stad": "stomach"}
"""{cohort: organ of its patients}."""
_NOS = "not otherwise specified"
# OncoTree codes of the column `subtype`: diagnosis and variant. All BLCA patients have the same code, whatever
# variant their reports state, so it does not tell the variant.
_TCGA_HISTOLOGY: dict[str, tuple[str, str | None]] = {
    "BLCA": ("urothelial carcinoma", None),
    "COAD": ("colorectal adenocarcinoma", _NOS),
    "READ": ("colorectal adenocarcinoma", _NOS),
    "COADREAD": ("colorectal adenocarcinoma", _NOS),
    "MACR": ("colorectal adenocarcinoma", "mucinous"),
    "STAD": ("gastric adenocarcinoma", _NOS),
    "PSTAD": ("gastric adenocarcinoma", "papillary"),
    "TSTAD": ("gastric adenocarcinoma", "tubular"),
    "DSTAD": ("gastric adenocarcinoma", "diffuse"),
    "MSTAD": ("gastric adenocarcinoma", "mucinous"),
    "SSRCC": ("gastric adenocarcinoma", "signet ring cell"),
}
# The tables' column `stage` follows the T category of the reports, not the AJCC stage group.
_T_CATEGORY_COLUMN = "stage"
_T_CATEGORY = {"0": "T0", "I": "T1", "II": "T2", "III": "T3", "IV": "T4"}
# Organ and class of a tile -> diagnosis, subtype and tissue; None where the class does not state it. Benign lesions of
# the breast are mixtures of glands and stroma, and "non-tumor bone and soft tissue" is several tissues.
_TILE_CLASS: dict[tuple[str, str], tuple[str | None, str | None, str | None]] = {
    ("lung", "adenocarcinoma"): ("lung adenocarcinoma", None, "tumour"),
    ("lung", "squamous cell carcinoma"): ("lung squamous cell carcinoma", None, "tumour"),
    ("lung", "benign"): ("benign tissue", None, "normal parenchyma"),
    ("colon", "adenocarcinoma"): ("colorectal adenocarcinoma", None, "tumour"),
    ("colon", "benign"): ("benign tissue", None, "normal parenchyma"),
    ("colorectum", "adenocarcinoma epithelium"): ("colorectal adenocarcinoma", None, "tumour"),
    ("colorectum", "normal colon mucosa"): ("benign tissue", None, "normal parenchyma"),
    ("colorectum", "cancer-associated stroma"): (None, None, "connective tissue"),
    ("colorectum", "adipose tissue"): (None, None, "adipose tissue"),
    ("colorectum", "smooth muscle"): (None, None, "smooth muscle"),
    ("colorectum", "lymphocytes"): (None, None, "immune infiltrate"),
    ("colorectum", "mucus"): (None, None, "mucus"),
    ("bone", "viable osteosarcoma"): ("osteosarcoma", None, "tumour"),
    ("bone", "non-viable (necrotic) osteosarcoma"): ("osteosarcoma", None, "necrosis"),
    ("bone", "non-tumor bone and soft tissue"): ("benign tissue", None, None),
    ("breast", "breast carcinoma"): ("invasive breast carcinoma", None, "tumour"),
    ("breast", "ductal carcinoma"): ("invasive breast carcinoma", "ductal", "tumour"),
    ("breast", "papillary carcinoma"): ("invasive breast carcinoma", "papillary", "tumour"),
    ("breast", "mucinous carcinoma"): ("invasive breast carcinoma", "mucinous", "tumour"),
    ("breast", "adenosis"): ("benign tissue", None, None),
    ("breast", "fibroadenoma"): ("benign tissue", None, None),
    ("breast", "tubular adenoma"): ("benign tissue", None, None),
    ("breast", "phyllodes tumor"): ("benign tissue", None, None),
    ("brain", "glioblastoma"): ("glioma", "glioblastoma", "tumour"),
    ("brain", "lower grade glioma"): ("glioma", "lower-grade glioma", "tumour"),
}
HER2ST_RECORD = {"organ": "breast", "diagnosis": "invasive breast carcinoma"}
"""Record of every HER2ST section (HER2-positive breast cancers; the variant is not stated)."""

_SPOT_TISSUE = {
    "invasive cancer": "tumour",
    "cancer in situ": "tumour",
    "connective tissue": "connective tissue",
    "adipose tissue": "adipose tissue",
    "immune infiltrate": "immune infiltrate",
    "breast glands": "normal parenchyma",
}
_UNDETERMINED = "undetermined"
LABELLED_SECTIONS = ("A1", "B1", "C1", "D1", "E1", "F1")
"""HER2ST sections with counts and labels; none of them has a picture here."""


def tcga_records(folder: Path, cohort: str) -> dict[str, dict[str, str]]:
    """Record of each patient of a cohort; repeated patients left out, unknown fields absent.

    The tissue is tumour throughout: these are TCGA's primary tumour samples, of which TCGA required most to be
    tumour nuclei.
    """
    table = pd.read_csv(folder / f"{cohort}_clinical.csv", dtype=str, keep_default_na=False)
    table = table.rename(columns={_T_CATEGORY_COLUMN: "t_category"})
    table = table[~table["case_id"].duplicated(keep=False)]
    records = {}
    for row in table.to_dict("records"):
        diagnosis, subtype = _TCGA_HISTOLOGY.get(row["subtype"], (None, None))
        stated = {
            "organ": TCGA_ORGAN[cohort],
            "diagnosis": diagnosis,
            "subtype": subtype,
            "grade": row["grade"] if row["grade"] in ("G1", "G2", "G3") else None,
            "t_category": _T_CATEGORY.get(row["t_category"]),
            "tissue": "tumour",
        }
        records[row["case_id"]] = _known(stated)
    return records


def _known(record: dict[str, str | None]) -> dict[str, str]:
    return {field: value for field, value in record.items() if value is not None}


def organ_of_tile(organ: str) -> str:
    """Organ of a tile as records name it, e.g. ``colon`` -> ``colorectum``."""
    return organ_term(organ) or organ


def tile_record(organ: str, diagnosis: str) -> dict[str, str]:
    """Record of an H&E tile by its class; fields that the class does not state are absent."""
    named, subtype, tissue = _TILE_CLASS.get((organ, diagnosis), (None, None, None))
    record = {"organ": organ_of_tile(organ), "diagnosis": named, "subtype": subtype, "tissue": tissue}
    return _known(record)


def spot_tissue(folder: Path, section: str) -> dict[str, str]:
    """Tissue of the labelled spots of a HER2ST section, {spot id (``9x21``, as in its counts): tissue}.

    A pathologist's labels (Andersson et al. 2021), of which there are some for :data:`LABELLED_SECTIONS`; spots
    that are undetermined or lack coordinates are left out. The tables hold array coordinates to three decimals;
    rounded, they are the spot's.

    Raises
    ------
    FileNotFoundError
        If the section has no labels.
    ValueError
        If a label is none of the known ones.
    """
    path = folder / "labels" / f"{section}_labeled_coordinates.tsv"
    table = pd.read_csv(path, sep="\t").dropna(subset=["x", "y", "label"])
    unknown = set(table["label"]) - set(_SPOT_TISSUE) - {_UNDETERMINED}
    if unknown:
        raise ValueError(f"{path.name} [label]: found {sorted(unknown)}; expected one of {sorted(_SPOT_TISSUE)}")
    ids = table["x"].round().astype(int).astype(str) + "x" + table["y"].round().astype(int).astype(str)
    return {spot: _SPOT_TISSUE[label] for spot, label in zip(ids, table["label"], strict=True) if label in _SPOT_TISSUE}


def labelled_counts(folder: Path, section: str) -> tuple[pd.DataFrame, list[str]]:
    """Pairs of RNA and tissue of a section: counts (spots x genes, index the spot ids) and each spot's tissue.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`spot_tissue`.
    """
    tissue = spot_tissue(folder, section)
    counts = read_her2st_counts(folder, section)[1]
    known = counts.loc[[spot for spot in counts.index if spot in tissue]]
    return known, [tissue[spot] for spot in known.index]
