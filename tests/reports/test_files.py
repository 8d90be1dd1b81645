from __future__ import annotations

import contextlib
import gzip
import io
import json
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.config import IntakeLimits
from mupd.errors import SyntheticInputError, UnusableError
from mupd.inputs.readers import check_report
from mupd.reports.files import dicom_sr as text_sr
from mupd.reports.files import docx as text_docx
from mupd.reports.files import tables as text_tables
from mupd.reports.files.decode import decode
from mupd.reports.read import check_text, read_report, read_text, read_text_row, text_row_index
from mupd.synthetic.statement import BANNER
from mupd.synthetic.verify.recognise import synthetic_marks
from tests.fixtures.reports import (
    REPORT,
    attachment,
    docx_bytes,
    fhir_bundle,
    fhir_report,
    pdf_bytes,
    write_fhir,
    write_sr,
)

LIMITS = IntakeLimits(0.05, 3, 0.1, "auto", ())
GERMAN_LETTERS = "Tumour near the Müller muscle, 5 µm, 37 °C, “free” margins \u2013 no invasion of the façade. " * 3


def test_the_text_layer_of_a_pdf(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf_bytes([f"Patient: Okonkwo, Chidi\n{REPORT}", "Comment: none of the nodes is large."]))
    read = read_report(path)
    assert "[NAME]" in read.text
    assert "Okonkwo" not in read.text
    assert "pT3 pN1 [3/12]" in read.text
    assert read.facts == {"format": "pdf", "pages": 2}
    assert check_text(read.text, LIMITS, organ="colon", read=read.facts)["pages"] == 2


def test_a_partly_scanned_pdf_tells_its_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf_bytes([REPORT, "", ""]))
    assert read_report(path).facts["pages_without_text"] == [2, 3]


def test_a_pdf_for_which_only_changes_need_a_password_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf_bytes([REPORT], password="owner", user_password=""))
    assert "adenocarcinoma" in read_text(path)


def test_a_pdf_whose_page_tree_explodes_is_refused(tmp_path: Path) -> None:
    """40 levels that each name the next one twice are 2**40 pages in 4 kB."""
    from pypdf import PdfWriter
    from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject

    writer = PdfWriter()
    node = writer.add_blank_page(100, 100).indirect_reference
    for _ in range(40):
        level = {"/Type": NameObject("/Pages"), "/Count": NumberObject(1), "/Kids": ArrayObject([node, node])}
        node = writer._add_object(DictionaryObject({NameObject(key): value for key, value in level.items()}))
    writer.root_object[NameObject("/Pages")] = node
    path = tmp_path / "a.pdf"
    writer.write(path)
    with pytest.raises(UnusableError, match=r"damaged PDF.*page tree"):
        read_report(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: pdf_bytes(["", ""]), "any of its 2 pages: scanned; run OCR"),
        (lambda: pdf_bytes([""]), "its page: scanned; run OCR"),
        (lambda: pdf_bytes([REPORT], password="secret"), "encrypted PDF"),
        (lambda: pdf_bytes([""] * 301), "301 pages"),
        (lambda: pdf_bytes([]), "without pages"),
        (lambda: b"%PDF-1.7\nnothing else", "damaged PDF"),
        (lambda: pdf_bytes([REPORT * 80_000]), "drawing commands"),
        (lambda: docx_bytes(REPORT), "first bytes are those of .docx"),
        (lambda: b"plain words", "not those of .pdf"),
        (lambda: b"", "0 bytes"),
    ],
)
def test_pdfs_that_are_refused(tmp_path: Path, content: object, words: str) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(content())  # type: ignore[operator]
    with pytest.raises(UnusableError, match=words):
        read_text(path)


def test_a_word_document_with_tables_header_and_a_text_box(tmp_path: Path) -> None:
    box = (
        '<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><mc:Choice>'
        "<w:p><w:r><w:t>boxed words</w:t></w:r></w:p></mc:Choice><mc:Fallback>"
        "<w:p><w:r><w:t>boxed words</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent>"
    )
    cell = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    body = (
        f"<w:p><w:r><w:t>{REPORT}</w:t></w:r><w:del><w:r><w:delText>struck out</w:delText></w:r></w:del></w:p>"
        f"<w:tbl><w:tr>{cell.format('pT')}{cell.format('pT3')}</w:tr></w:tbl>{box}"
    )
    path = tmp_path / "a.docx"
    path.write_bytes(docx_bytes(body, header="Patient: Okonkwo, Chidi MRN: 778812"))
    text = read_text(path)
    assert text.startswith("Patient: [NAME] MRN: [ID]")
    assert "pT\tpT3" in text
    assert text.count("boxed words") == 1
    assert "struck" not in text


def _zip(**parts: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _lying() -> bytes:
    """A document whose directory declares ten bytes of a part of a hundred megabytes."""
    data = bytearray(docx_bytes("<w:p>" + " " * (100 << 20) + "</w:p>"))
    name = data.rindex(b"word/document.xml")
    data[name - 22 : name - 18] = (10).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: docx_bytes("<w:p>" + " " * (30 << 20) + "</w:p>"), "decompression bomb"),
        (lambda: docx_bytes("<w:p>" + " " * (70 << 20) + "</w:p>"), "decompression bomb"),
        (_lying, "damaged|bomb"),
        (lambda: _zip(**{"inner.zip": _zip(a=b"x")}), "without word/document.xml"),
        (lambda: _zip(**{f"p{n}": b"" for n in range(5_001)}), "5001 parts"),
        (
            lambda: _zip(
                **{"word/document.xml": b'<!DOCTYPE d [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><document>&c;</document>'}
            ),
            "XML with entities",
        ),
        (lambda: _zip(**{"word/document.xml": b"<w:document"}), "damaged Word"),
        (lambda: docx_bytes("<w:p></w:p>"), "without text"),
        (lambda: docx_bytes(REPORT)[:200], "damaged Word"),
        (lambda: b"\xd0\xcf\x11\xe0" + bytes(600), "first bytes are those of .doc"),
    ],
)
def test_word_documents_that_are_refused(tmp_path: Path, content: object, words: str) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(content())  # type: ignore[operator]
    begun = time.perf_counter()
    with pytest.raises(UnusableError, match=words):
        read_text(path)
    assert time.perf_counter() - begun < 5


def test_deeply_nested_xml_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(docx_bytes("<w:p>" + "<w:r>" * 20_000 + "<w:t>deep words</w:t>" + "</w:r>" * 20_000 + "</w:p>"))
    assert read_text(path) == "deep words"
    assert text_docx.MOST_XML_BYTES < 1 << 30


def test_fhir_with_text_observations_and_a_patient(tmp_path: Path) -> None:
    observation = {
        "resourceType": "Observation",
        "code": {"text": "Tumor size"},
        "valueQuantity": {"value": 4.2, "unit": "cm"},
        "component": [{"code": {"coding": [{"display": "Ki-67"}]}, "valueString": "20%"}],
    }
    report = fhir_report(presentedForm=[attachment(f"OKONKWO born 1950-02-03, ZZ81. {REPORT}", "text/plain")])
    report["conclusion"] = "Chidi has colon cancer."
    report["contained"].append(observation)
    read = read_report(write_fhir(tmp_path / "a.json", report))
    assert "Tumor size: 4.2 cm" in read.text
    assert "Ki-67: 20%" in read.text
    assert "[NAME] born [DATE], [ID]." in read.text
    assert "[NAME] has colon cancer." in read.text
    assert read.facts == {"format": "fhir"}
    facts = check_text(read.text, LIMITS, organ="colon")
    assert facts["record"]["t_category"] == "T3"
    assert facts["masked"] == {"NAME": 2, "DATE": 1, "ID": 1}


def test_fhir_with_an_attached_pdf_in_a_bundle(tmp_path: Path) -> None:
    report = fhir_report(presentedForm=[attachment(pdf_bytes([REPORT, ""]), "application/pdf")], contained=[])
    patient = {"resourceType": "Patient", "name": [{"text": "Chidi Okonkwo"}]}
    read = read_report(write_fhir(tmp_path / "a.json", fhir_bundle(patient, report)))
    assert "adenocarcinoma" in read.text
    assert read.facts == {"format": "fhir", "pages": 2, "pages_without_text": [2]}


def test_the_narrative_of_fhir_where_nothing_else_has_words(tmp_path: Path) -> None:
    div = f"<div xmlns='http://www.w3.org/1999/xhtml'><style>p{{}}</style><p>{REPORT}</p><p>Grade 2 &amp; 3</p></div>"
    text = read_text(write_fhir(tmp_path / "a.json", fhir_report(text={"status": "generated", "div": div})))
    assert text == f"Surgical pathology report\n{REPORT}\nGrade 2 & 3"


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ({"a": 1}, "without resourceType"),
        ([], "without resourceType"),
        ({"resourceType": "Patient"}, "without a DiagnosticReport"),
        (fhir_report(conclusion="x", status="entered-in-error"), "entered-in-error"),
        (fhir_report(), "without words"),
        (fhir_report(presentedForm=[{"url": "https://example.org/r.pdf"}]), "links are not fetched"),
        (fhir_report(presentedForm=[{"contentType": "text/plain", "data": "***"}]), "not base64"),
        (
            fhir_bundle(
                fhir_report(conclusion="x", subject={"reference": "Patient/1"}),
                fhir_report(conclusion="y", subject={"reference": "Patient/2"}),
            ),
            "several patients",
        ),
    ],
)
def test_fhir_that_is_refused(tmp_path: Path, root: object, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(root))
    with pytest.raises(UnusableError, match=words):
        read_text(path)


def test_json_that_is_nested_too_deeply(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 200_000)
    with pytest.raises(UnusableError, match="nested too deeply"):
        read_text(tmp_path / "a.json")
    with pytest.raises(UnusableError, match="nested too deeply"):
        text_row_index(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["a.dcm", "IM0001"])
def test_a_structured_report(tmp_path: Path, name: str) -> None:
    read = read_report(write_sr(tmp_path / name))
    assert read.text.splitlines()[:2] == ["Pathology report", "Findings"]
    assert "Finding: Sigmoid colon" in read.text
    assert "Patient [NAME] was told." in read.text
    assert "Greatest dimension: 42 mm" in read.text
    assert "Procedure: Sigmoidectomy" in read.text
    assert "Kowalczyk" not in read.text
    assert check_text(read.text, LIMITS, organ="colorectum")["record"]["t_category"] == "T3"


def test_structured_reports_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnusableError, match=r"modality SM|expected a structured report"):
        read_text(write_sr(tmp_path / "a.dcm", modality="SM"))
    monkeypatch.setattr(text_sr, "_MOST_ITEMS", 10)
    with pytest.raises(UnusableError, match="over 10 items"):
        read_text(write_sr(tmp_path / "b.dcm", items=11))
    (tmp_path / "c.dcm").write_bytes(bytes(128) + b"DICM" + b"\1" * 50)
    with pytest.raises(UnusableError, match=r"damaged DICOM|expected a structured"):
        read_text(tmp_path / "c.dcm")


def test_synthetic_reports_are_told_in_every_form(tmp_path: Path) -> None:
    assert synthetic_marks(write_sr(tmp_path / "a.dcm", synthetic=True))
    assert not synthetic_marks(write_sr(tmp_path / "b.dcm"))
    (tmp_path / "a.docx").write_bytes(docx_bytes(f"{BANNER}\n{REPORT}"))
    (tmp_path / "a.pdf").write_bytes(pdf_bytes([f"{BANNER}\n{REPORT}"]))
    for name in ("a.docx", "a.pdf"):
        report = read_report(tmp_path / name)
        with pytest.raises(SyntheticInputError, match="banner"):
            check_report(report, LIMITS)
        assert check_report(report, LIMITS, allow_synthetic=True)["words"] > 10


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (GERMAN_LETTERS.encode(), "UTF-8"),
        (b"\xef\xbb\xbf" + GERMAN_LETTERS.encode(), "UTF-8 with BOM"),
        (GERMAN_LETTERS.encode("utf-16"), "UTF-16"),
        (b"\xfe\xff" + GERMAN_LETTERS.encode("utf-16-be"), "UTF-16"),
        (GERMAN_LETTERS.encode("utf-32"), "UTF-32"),
        (GERMAN_LETTERS.encode("cp1252"), "cp1252"),
    ],
)
def test_encodings_that_are_evident(data: bytes, encoding: str) -> None:
    text, found = decode(data)
    assert text == GERMAN_LETTERS
    assert found.split(" (by")[0] == encoding


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (GERMAN_LETTERS.encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (GERMAN_LETTERS.encode() + "ü".encode()[:1], "UTF-8 elsewhere"),
        ("Опухоль желудка, умеренно дифференцированная аденокарцинома".encode("cp1251"), "save it as UTF-8"),
        (bytes(range(128, 256)) * 4, "save it as UTF-8"),
        (GERMAN_LETTERS.encode("utf-16")[:-1], "cut off"),
    ],
)
def test_encodings_that_are_not(data: bytes, words: str) -> None:
    with pytest.raises(UnusableError, match=words):
        decode(data)


ROWS = [
    {"case_id": "A", "text": REPORT, "n": 1},
    {"case_id": "B", "text": "Dr. Okonkwo, MD"},
    {"case_id": "B", "text": ""},
]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.json", json.dumps(ROWS)),
        ("r.jsonl", "\n".join(map(json.dumps, ROWS))),
        ("r.ndjson", "\n\n".join(map(json.dumps, ROWS)) + "\n"),
        ("r.json", "\n".join(map(json.dumps, ROWS))),
        ("r.json", f'{{"A": {json.dumps(REPORT)}, "B": "x", "B": "y"}}'),
        ("r.tsv", f"text\tcase_id\n{REPORT}\tA\nx\tB\ny\tB\n"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_tables_of_reports(tmp_path: Path, name: str, content: str, packed: bool) -> None:
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert read_text_row(path, "A") == REPORT
    with pytest.raises(UnusableError, match="2 rows"):
        read_text_row(path, "B")
    assert "C" not in text_row_index(path)


def test_rows_are_masked(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("case_id,text\nA,Seen by Dr. Okonkwo on 03/14/2012.\n")
    assert read_text_row(tmp_path / "r.csv", "A") == "Seen by Dr. [NAME] on [DATE]."


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("r.csv", b"case_id,text,text\nA,b,c\n", "two columns text"),
        ("r.json", b'[{"case_id": "A"}]', "entry 1"),
        ("r.json", b"{", "not JSON"),
        ("r.json", b'{"A": {"x": 1}}', "another form"),
        ("r.xlsx", b"PK", "another suffix"),
        ("r.csv.gz", gzip.compress(b"case_id,text\nA,b\n", mtime=0)[:-9], "does not read"),
        ("r.csv", b'case_id,text\nA,"' + b"x" * 9_000_000 + b'"\n', "field larger"),
        ("r.csv", "case_id,text\nA,b\n".encode("utf-16-le"), "NUL bytes"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableError, match=words):
        text_row_index(tmp_path / name)


def test_gzip_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tables, "MOST_TABLE_BYTES", 1 << 20)
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(b"case_id,text\n" + b"A,x\n" * 1_000_000))
    with pytest.raises(UnusableError, match="decompression bomb"):
        text_row_index(tmp_path / "r.csv.gz")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.doc", "save it as .docx"),
        ("a.rtf", "save it as .docx"),
        ("a.csv", "PATH::CASE_ID"),
        ("a.html", "save it as text"),
        ("a.gz", "unpack it"),
        ("a.jpg", "another suffix"),
    ],
)
def test_other_forms_say_what_to_do(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_text(REPORT)
    with pytest.raises(UnusableError, match=words):
        read_text(tmp_path / name)


def test_a_folder_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(UnusableError, match="a folder"):
        read_text(tmp_path)


FORMS = {
    "a.pdf": pdf_bytes([REPORT]),
    "a.docx": docx_bytes(REPORT),
    "a.json": json.dumps(fhir_report(conclusion=REPORT)).encode(),
    "a.txt": REPORT.encode(),
}


@pytest.mark.parametrize("name", [*FORMS, "a.dcm"])
def test_a_file_cut_anywhere_reads_or_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    whole = FORMS[name] if name in FORMS else write_sr(path).read_bytes()
    for tenth in range(10):
        path.write_bytes(whole[: len(whole) * tenth // 10])
        try:
            text = read_text(path)
        except UnusableError:
            continue
        assert name in ("a.txt", "a.pdf", "a.dcm")
        assert len(text) <= len(REPORT) + 200


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(sorted(FORMS)),
    at=st.floats(0, 1),
    junk=st.binary(min_size=1, max_size=8),
    insert=st.booleans(),
)
def test_damaged_files_read_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, at: float, junk: bytes, insert: bool
) -> None:
    path = tmp_path_factory.mktemp("damaged") / name
    whole, place = FORMS[name], int(at * len(FORMS[name]))
    path.write_bytes(whole[:place] + junk + whole[place + (0 if insert else len(junk)) :])
    begun = time.perf_counter()
    message = ""
    try:
        read_text(path)
    except UnusableError as error:
        message = str(error)
    assert str(path.parent) not in message
    assert time.perf_counter() - begun < 5


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "text",
                        "div",
                        "conclusion",
                        "subject",
                        "contained",
                        "code",
                        "coding",
                        "presentedForm",
                        "data",
                        "name",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_fhir_of_any_shape_reads_or_is_refused(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    root = {"resourceType": "DiagnosticReport", "conclusion": REPORT}
    if isinstance(value, dict):
        root |= value
    root["contained"] = [
        value,
        {"resourceType": "Patient", "name": value},
        {"resourceType": "Observation", "code": value},
    ]
    path = write_fhir(tmp_path_factory.mktemp("fhir") / "a.json", root)
    with contextlib.suppress(UnusableError):
        assert isinstance(read_text(path), str)
