"""Records behind the public tables: small tables of our own, and the real ones where they are."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from mupd.base.organs import flatten
from mupd.reports.record.fields import FIELDS
from mupd.reports.record.subtypes import find_tissue
from mupd.training.public.labels import (
    HER2ST_RECORD,
    LABELLED_SECTIONS,
    labelled_counts,
    spot_tissue,
    tcga_records,
    tile_record,
)
from mupd.training.public.read import HELD_OUT_SECTION, read_her2st_counts


def in_vocabulary(record: dict[str, str]) -> bool:
    return all(value in FIELDS[field] for field, value in record.items())


def test_tables_become_records(tmp_path: Path) -> None:
    rows = ["case_id,stage,grade,subtype", "A,II,G3,DSTAD", "B,,GX,XYZ", "C,I,G1,STAD", "C,II,G1,STAD", "D,0,,SSRCC"]
    (tmp_path / "stad_clinical.csv").write_text("\n".join(rows) + "\n")
    records = tcga_records(tmp_path, "stad")
    assert records == {
        "A": {
            "organ": "stomach",
            "diagnosis": "gastric adenocarcinoma",
            "subtype": "diffuse",
            "grade": "G3",
            "t_category": "T2",
            "tissue": "tumour",
        },
        "B": {"organ": "stomach", "tissue": "tumour"},
        "D": {
            "organ": "stomach",
            "diagnosis": "gastric adenocarcinoma",
            "subtype": "signet ring cell",
            "t_category": "T0",
            "tissue": "tumour",
        },
    }


def test_bladder_tables_say_nothing_of_the_variant(tmp_path: Path) -> None:
    (tmp_path / "blca_clinical.csv").write_text("case_id,stage,grade,subtype\nA,II,G2,BLCA\n")
    assert "subtype" not in tcga_records(tmp_path, "blca")["A"]


@pytest.mark.parametrize(
    ("organ", "diagnosis", "expected"),
    [
        ("colon", "benign", {"organ": "colorectum", "diagnosis": "benign tissue", "tissue": "normal parenchyma"}),
        ("colorectum", "mucus", {"organ": "colorectum", "tissue": "mucus"}),
        (
            "breast",
            "mucinous carcinoma",
            {
                "organ": "breast",
                "diagnosis": "invasive breast carcinoma",
                "subtype": "mucinous",
                "tissue": "tumour",
            },
        ),
        ("breast", "fibroadenoma", {"organ": "breast", "diagnosis": "benign tissue"}),
        ("kidney", "clear cell carcinoma", {"organ": "kidney"}),
    ],
)
def test_classes_become_records(organ: str, diagnosis: str, expected: dict[str, str]) -> None:
    assert tile_record(organ, diagnosis) == expected


def small_section(folder: Path, labels: str) -> None:
    for name in ("labels", "counts", "spots"):
        (folder / name).mkdir()
    (folder / "labels" / "A1_labeled_coordinates.tsv").write_text(labels)
    with gzip.open(folder / "counts" / "A1.tsv.gz", "wt") as stream:
        stream.write("\tACTB\tERBB2\n9x21\t1\t2\n10x20\t3\t4\n11x20\t5\t6\n")
    lines = [f"{x}\t{y}\t{x}.0\t{y}.0\t{100 * x}\t{100 * y}\t1" for x, y in ((9, 21), (10, 20), (11, 20))]
    header = "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected"
    (folder / "spots" / "A1_selection.tsv").write_text("\n".join([header, *lines]) + "\n")


HEADER = "Row.names\tx\ty\tpixel_x\tpixel_y\tlabel\n"


def test_labels_belong_to_the_spot_they_are_near(tmp_path: Path) -> None:
    rows = (
        "a\t9.02\t20.994\t1\t1\tinvasive cancer\n"
        "b\t9.98\t20.01\t1\t1\tbreast glands\n"
        "c\t11.0\t20.0\t1\t1\tundetermined\n"
        "d\t30.0\t30.0\t1\t1\tadipose tissue\n"
        "e\t\t\t\t\tcancer in situ\n"
    )
    small_section(tmp_path, HEADER + rows)
    assert spot_tissue(tmp_path, "A1") == {"9x21": "tumour", "10x20": "normal parenchyma", "30x30": "adipose tissue"}
    counts, tissue = labelled_counts(tmp_path, "A1")
    assert list(counts.index) == ["9x21", "10x20"]
    assert counts.loc["10x20", "ERBB2"] == 4
    assert tissue == ["tumour", "normal parenchyma"]
    with pytest.raises(FileNotFoundError):
        spot_tissue(tmp_path, "B1")


def test_an_unknown_label_is_an_error(tmp_path: Path) -> None:
    small_section(tmp_path, HEADER + "a\t9\t21\t1\t1\tcartilage\n")
    with pytest.raises(ValueError, match=r"A1_labeled_coordinates.*\['cartilage'\]"):
        spot_tissue(tmp_path, "A1")


def test_real_tables_and_classes_are_of_the_vocabulary(shared_data: Path) -> None:
    import pandas as pd

    assert in_vocabulary(HER2ST_RECORD)
    subtypes: Counter[str] = Counter()
    for cohort in ("blca", "coadread", "stad"):
        records = tcga_records(shared_data / "tcga", cohort).values()
        assert all(in_vocabulary(record) for record in records)
        assert all("diagnosis" in record for record in records)
        subtypes.update(record.get("subtype", "") for record in records)
    assert set(subtypes) == {
        "",
        "not otherwise specified",
        "mucinous",
        "tubular",
        "diffuse",
        "papillary",
        "signet ring cell",
    }
    tiles = pd.read_csv(shared_data / "he_tiles" / "tiles.csv")
    kinds = {(row.organ, row.diagnosis, row.text) for row in tiles.itertuples()}
    for organ, diagnosis, text in kinds:
        record = tile_record(organ, diagnosis)
        assert in_vocabulary({field: value for field, value in record.items() if field != "organ"})
        # What a class says of the tissue, its text says too.
        assert "tissue" not in record or find_tissue(flatten(text)) == record["tissue"], text


def test_real_labels_lie_on_spots_with_counts(shared_data: Path) -> None:
    folder = shared_data / "her2st"
    found: Counter[str] = Counter()
    for section in LABELLED_SECTIONS:
        assert not (folder / "images" / f"{section}.jpg").exists()
        counts, tissue = labelled_counts(folder, section)
        assert len(counts) == len(tissue) >= 0.98 * len(spot_tissue(folder, section))
        found.update(tissue)
    assert HELD_OUT_SECTION not in LABELLED_SECTIONS
    assert sum(found.values()) == 2225
    assert set(found) == {"tumour", "connective tissue", "adipose tissue", "immune infiltrate", "normal parenchyma"}
    assert len(read_her2st_counts(folder, "F1")[1]) == 691
