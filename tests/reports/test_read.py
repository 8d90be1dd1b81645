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
from mupd.reports.read import check_text, read_text, read_text_row, text_row_index
from mupd.reports.record.fields import FIELDS, extract_record, render_record
from mupd.reports.record.subtypes import find_subtype, find_tissue
from mupd.training.public.labels import tcga_records

LIMITS = IntakeLimits(0.05, 3, 0.1, "auto", ())


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_reads_utf8_with_or_without_mark(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes("\ufeffTumour of 5 µm, Grading: G2.".encode())
    assert read_text(tmp_path / name) == "Tumour of 5 µm, Grading: G2."


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "Tumour".encode("utf-16-le"), "UTF-16"),
        ("a.txt", "größer".encode() + b"\xfc", "not UTF-8"),
        ("a.txt", b"\0\1\2", "binary"),
        ("a.txt", b"%PDF\0\1\2", "first bytes are those of .pdf"),
        ("a.jpg", b"abc", "suffix"),
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
    assert "B" in text_row_index(tmp_path / name)
    assert "C" not in text_row_index(tmp_path / name)
    with pytest.raises(UnusableError, match="2 rows"):
        read_text_row(tmp_path / name, "B")
    with pytest.raises(UnusableError, match="no row"):
        read_text_row(tmp_path / name, "C")


def test_tables_that_do_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\nA,b\n")
    with pytest.raises(UnusableError, match="no column case_id"):
        text_row_index(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(b"case_id,text\nA,\xff\n")
    with pytest.raises(UnusableError, match="does not read"):
        text_row_index(tmp_path / "b.csv")
    with pytest.raises(UnusableError, match="does not read"):
        text_row_index(tmp_path / "gone.csv")


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
        (
            "The organ is breast. The predominant tissue is adipose tissue.",
            {"organ": "breast", "tissue": "adipose tissue"},
        ),
        # Stated fields are no evidence of others: no organ follows from the sentence of the diagnosis.
        ("The diagnosis is osteosarcoma.", {"diagnosis": "osteosarcoma"}),
        ("", {}),
    ],
)
def test_rules(text: str, expected: dict[str, str]) -> None:
    assert extract_record(text) == expected


@pytest.mark.parametrize(
    ("organ", "text", "expected"),
    [
        ("stomach", "tubular moderately differentiated adenocarcinoma", "tubular"),
        ("stomach", "adenocarcinoma tubulare partim mucocellulare", "tubular"),
        ("stomach", "histological pattern(s) observed: tubular. histological grade: ii", "tubular"),
        ("stomach", "adenocarcinoma arising in a tubular adenoma", None),
        ("stomach", "diffuse type poorly differentiated adenocarcinoma", "diffuse"),
        ("stomach", "adenocarcinoma. lauren's classification: diffuse type", "diffuse"),
        ("stomach", "adenocarcinoma with diffuse infiltration of the serosa", None),
        ("stomach", "poorly differentiated signet-ring. cell carcinoma", "signet ring cell"),
        ("stomach", "adenocarcinoma, nos", "not otherwise specified"),
        ("stomach", "adenocarcinoma, intestinal type", None),
        ("stomach", "metastasis of a mucinous adenocarcinoma", None),
        ("colorectum", "adenocarcinoma, mucinous type", "mucinous"),
        ("colorectum", "partially mucinous adenocarcinoma", None),
        ("colorectum", "adenocarcinoma with focal mucinous component", None),
        ("colorectum", "this does not qualify as a mucinous adenocarcinoma", None),
        ("colorectum", "tubular adenocarcinoma", None),
        ("bladder", "high grade papillary urothelial carcinoma", "papillary"),
        ("bladder", "non-papillary urothelial carcinoma", None),
        ("bladder", "micropapillary urothelial carcinoma", None),
        ("breast", "invasive ductal carcinoma, nos", "ductal"),
        ("breast", "infiltrating lobular carcinoma", "lobular"),
        ("breast", "invasive ductal carcinoma with papillary and focal. mucinous features", "ductal"),
        ("breast", "invasive ductal carcinoma, nottingham grade 2 (tubular formation 3)", "ductal"),
        ("breast", "ductal carcinoma in situ", None),
        ("brain", "glioblastoma", "glioblastoma"),
        ("brain", "oligodendroglioma", "lower-grade glioma"),
        (None, "signet ring cell carcinoma", None),
    ],
)
def test_subtypes(organ: str | None, text: str, expected: str | None) -> None:
    assert find_subtype(text, organ) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("predominant tissue: smooth muscle.", "smooth muscle"),
        ("h&e section of necrotic tumor", "necrosis"),
        ("h&e histology of non-tumor bone and soft tissue", None),
        ("h&e histology of gastric carcinoma specimen", None),
        ("80% tumor nuclei. 5% necrosis.", "tumour"),
        ("80% tumor nuclei. 30% tumor nuclei.", None),
        ("specimen consists of adipose tissue", None),
        ("the tumour infiltrates the adipose tissue", None),
    ],
)
def test_tissues(text: str, expected: str | None) -> None:
    assert find_tissue(text) == expected


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


def test_subtypes_of_real_reports_agree_with_the_tables(shared_data: Path) -> None:
    """Tables and reports disagree themselves: some reports say mucinous where the table does not, and the other way."""
    for name, least, enough in (("stad", 0.85, 75), ("coadread", 0.6, 15)):
        truth = tcga_records(shared_data / "tcga", name)
        pairs = []
        for row in rows(shared_data / "tcga" / f"{name}_reports.csv.gz"):
            found = extract_record(row["text"]).get("subtype")
            if found and row["case_id"] in truth:
                pairs.append(found == truth[row["case_id"]]["subtype"])
        assert len(pairs) >= enough
        assert sum(pairs) >= least * len(pairs)


def test_real_reports_rarely_state_a_tissue(shared_data: Path) -> None:
    """They describe many parts; a lymph node in fat is no sample of fat."""
    for name in ("coadread", "stad", "blca"):
        reports = rows(shared_data / "tcga" / f"{name}_reports.csv.gz")[::3]
        stated = [
            record["tissue"] for record in map(extract_record, (row["text"] for row in reports)) if "tissue" in record
        ]
        assert set(stated) <= {"tumour"}
        assert len(stated) <= 0.02 * len(reports)
