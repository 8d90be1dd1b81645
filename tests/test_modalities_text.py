from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.config import IntakeLimits
from mupd.errors import UnusableError
from mupd.modalities.records import FIELDS, extract_record, render_record
from mupd.modalities.text import check_text, has_text_row, read_text, read_text_row

LIMITS = IntakeLimits(0.05, 3, 0.1, "auto", ())


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_reads_utf8_with_or_without_mark(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes("\ufeffTumour of 5 µm, Grading: G2.".encode())
    assert read_text(tmp_path / name) == "Tumour of 5 µm, Grading: G2."


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "Tumour".encode("utf-16"), "UTF-16"),
        ("a.txt", "größer".encode("latin-1"), "not UTF-8"),
        ("a.txt", b"%PDF\0\1\2", "binary"),
        ("a.pdf", b"%PDF", "suffix"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableError, match=words):
        read_text(tmp_path / name)
    with pytest.raises(UnusableError, match="cannot be read"):
        read_text(tmp_path / "gone.txt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("12 34 -- 56 / 7", "no words"),
        ("Colon cancer", "2 words"),
        ("breast " * 400_000, "2800000 characters"),
        ("cancer of the \x01\x02\x03\x04", "binary"),
    ],
)
def test_texts_that_cannot_condition(text: str, words: str) -> None:
    with pytest.raises(UnusableError, match=words):
        check_text(text, LIMITS)


def test_facts() -> None:
    facts = check_text("Invasive ductal carcinoma of the breast, G2, pT1c.", LIMITS)
    assert (facts["words"], facts["characters"]) == (7, 50)
    assert facts["record"] == {
        "organ": "breast",
        "diagnosis": "invasive breast carcinoma",
        "subtype": "ductal",
        "grade": "G2",
        "t_category": "T1",
    }


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.tsv"])
def test_rows_of_a_reports_table(tmp_path: Path, name: str) -> None:
    separator = "\t" if "tsv" in name else ","
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator)
    writer.writerows([["case_id", "site", "text"], ["A", "x", 'a, "b"\nc'], ["B", "x", "b"], ["B", "x", "b2"]])
    content = buffer.getvalue().encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert read_text_row(tmp_path / name, "A") == 'a, "b"\nc'
    assert has_text_row(tmp_path / name, "B")
    assert not has_text_row(tmp_path / name, "C")
    with pytest.raises(UnusableError, match="2 rows"):
        read_text_row(tmp_path / name, "B")
    with pytest.raises(UnusableError, match="no row"):
        read_text_row(tmp_path / name, "C")


def test_tables_that_do_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\nA,b\n")
    with pytest.raises(UnusableError, match="no column case_id"):
        has_text_row(tmp_path / "a.csv", "A")
    (tmp_path / "b.csv").write_bytes(b"case_id,text\nA,\xff\n")
    with pytest.raises(UnusableError, match="does not read"):
        has_text_row(tmp_path / "b.csv", "A")
    with pytest.raises(UnusableError, match="does not read"):
        has_text_row(tmp_path / "gone.csv", "A")


records = st.fixed_dictionaries({}, optional={field: st.sampled_from(values) for field, values in FIELDS.items()})


@settings(max_examples=300)
@given(records)
def test_a_rendered_record_is_read_back(record: dict[str, str]) -> None:
    assert extract_record(render_record(record)) == record


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No evidence of carcinoma in this breast biopsy.", {"organ": "breast", "diagnosis": "benign tissue"}),
        ("Ductal carcinoma in situ of the breast.", {"organ": "breast"}),
        (
            "High grade urothelial carcinoma of the bladder, pT3a N0.",
            {"organ": "bladder", "diagnosis": "urothelial carcinoma", "t_category": "T3"},
        ),
        (
            "Bladder: papillary tumour. 2. Grade of tumor: high grade. 3. Depth of invasion: pTa.",
            {"organ": "bladder"},
        ),
        (
            "Sigmoid colectomy: adenocarcinoma, moderately to poorly. differentiated. ypT2 N1.",
            {"organ": "colorectum", "diagnosis": "colorectal adenocarcinoma", "grade": "G3", "t_category": "T2"},
        ),
        (
            "Stomach, antrum. Mucinous. adenocarcinoma. Histologic grade: Poorly. differentiated. T4N1.",
            {
                "organ": "stomach",
                "diagnosis": "gastric adenocarcinoma",
                "subtype": "mucinous",
                "grade": "G3",
                "t_category": "T4",
            },
        ),
        (
            "Subtotal gastrectomy: adenocarcinoma with no mucinous adenocarcinoma component, grade II.",
            {"organ": "stomach", "diagnosis": "gastric adenocarcinoma", "grade": "G2"},
        ),
        ("Cholecystectomy. Gallbladder with stones, chronic inflammation.", {}),
        ("Hysterectomy: endometrial adenocarcinoma, FIGO.", {}),
        (
            "Left temporal lobe, craniotomy: glioblastoma.",
            {"organ": "brain", "diagnosis": "glioma", "subtype": "glioblastoma"},
        ),
        (
            "Cystoprostatectomy. PROSTATE: pT2c, Gleason grade 3. Bladder: pT3b.",
            {"organ": "bladder", "t_category": "T3"},
        ),
        ("MRI, T2 weighted, block G1: lung lobectomy", {"organ": "lung"}),
        ("", {}),
    ],
)
def test_rules(text: str, expected: dict[str, str]) -> None:
    assert extract_record(text) == expected


@given(st.text(max_size=300))
def test_any_text_gives_values_of_the_vocabulary(text: str) -> None:
    assert all(value in FIELDS[field] for field, value in extract_record(text).items())


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(("name", "organ"), [("blca", "bladder"), ("coadread", "colorectum"), ("stad", "stomach")])
def test_organ_of_real_reports(shared_data: Path, name: str, organ: str) -> None:
    reports = rows(shared_data / "tcga" / f"{name}_reports.csv.gz")[::4]
    found = [extract_record(row["text"]) for row in reports]
    assert sum(record.get("organ") == organ for record in found) >= 0.95 * len(found)
    assert sum(record.get("organ") not in (organ, None) for record in found) <= 0.01 * len(found)
    assert sum("diagnosis" in record for record in found) >= 0.93 * len(found)


@pytest.mark.parametrize("name", ["ucec", "hnsc"])
def test_organs_outside_the_vocabulary_are_left_out(shared_data: Path, name: str) -> None:
    reports = rows(shared_data / "tcga" / "other_reports" / f"{name}_reports.csv.gz")[::10]
    assert sum("organ" in extract_record(row["text"]) for row in reports) <= 0.02 * len(reports)


def test_t_category_and_grade_agree_with_the_tables(shared_data: Path) -> None:
    stage = {"I": "T1", "II": "T2", "III": "T3", "IV": "T4"}
    for name, least in (("coadread", 0.95), ("stad", 0.9), ("blca", 0.9)):
        with (shared_data / "tcga" / f"{name}_clinical.csv").open() as stream:
            clinical = {row["case_id"]: row for row in csv.DictReader(stream)}
        t_pairs, grade_pairs = [], []
        for row in rows(shared_data / "tcga" / f"{name}_reports.csv.gz")[::2]:
            record, truth = extract_record(row["text"]), clinical[row["case_id"]]
            if "t_category" in record and truth["stage"] in stage:
                t_pairs.append(record["t_category"] == stage[truth["stage"]])
            if name == "stad" and "grade" in record and truth["grade"] in FIELDS["grade"]:
                grade_pairs.append(record["grade"] == truth["grade"])
        assert sum(t_pairs) >= least * len(t_pairs)
        assert len(t_pairs) > 30
        assert name != "stad" or (sum(grade_pairs) >= 0.95 * len(grade_pairs) and len(grade_pairs) > 60)
