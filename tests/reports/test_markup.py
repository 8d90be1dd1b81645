from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path

import pytest

from mupd.errors import UnusableError
from mupd.reports.files.docx import docx_text
from mupd.reports.files.markup import EXCEL_CELL, plain_words
from mupd.reports.read import read_report, read_text_row, text_row_index

REPORT = "Right breast, mastectomy: invasive ductal carcinoma, grade 3, pT2 pN0. Margins are free of tumor."
OTHER_FORMS = {
    "rtf": r"{\rtf1\ansi\deff0 " + REPORT + "}",
    "html": f"<html><body><p>{REPORT}</p></body></html>",
    "html without a head": f"<p>{REPORT}</p>",
    "doctype": f"<!DOCTYPE html>\n<html><body>{REPORT}</body></html>",
    "hl7": f"MSH|^~\\&|LAB|HOSP|||202601011200||ORU^R01|1|P|2.5\rOBX|1|TX|22637-3||{REPORT}||||||F",
    "hl7 in MLLP": f"\x0bMSH|^~\\&|LAB|HOSP|||2026||ORU^R01|1|P|2.5\rOBX|1|TX|1||{REPORT}",
    "hl7 segments": f"PID|1||12345678||Mueller^Hannelore\rOBX|1|TX|22637-3||{REPORT}||||||F",
    "hl7 batch": f"FHS|^~\\&|LAB\rBHS|^~\\&|LAB\rMSH|^~\\&|LAB\rOBX|1|TX|1||{REPORT}",
    "cda": f'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><text>{REPORT}</text></ClinicalDocument>',
    "xml": f'<?xml version="1.0"?><report><text>{REPORT}</text></report>',
    "fhir": '{"resourceType": "DiagnosticReport", "conclusion": "' + REPORT + '"}',
    "base64": base64.b64encode(REPORT.encode() * 4).decode(),
    "data url": "data:application/pdf;base64," + base64.b64encode(b"%PDF" + bytes(400)).decode(),
    "path": "/data/reports/breast/P1_surgical_pathology_report.pdf",
    "relative path": "reports/P1.txt",
    "windows path": r"C:\reports\final\P1.docx",
    "url": "https://host.example/reports/P1?format=pdf",
}


@pytest.mark.parametrize("text", OTHER_FORMS.values(), ids=OTHER_FORMS)
def test_other_forms_are_refused_as_files_and_in_cells(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnusableError, match=r"not plain text|not a report|RTF|rtf"):
        plain_words(text)
    (tmp_path / "r.txt").write_text(text)
    with pytest.raises(UnusableError):
        read_report(tmp_path / "r.txt")
    quoted = text.replace('"', '""')
    (tmp_path / "t.csv").write_text(f'case_id,text\nP1,"{quoted}"\nP2,{REPORT.replace(",", ";")}\n', newline="")
    with pytest.raises(UnusableError):
        read_text_row(tmp_path / "t.csv", "P1")
    assert "ductal" in read_text_row(tmp_path / "t.csv", "P2")


@pytest.mark.parametrize(
    "text",
    [REPORT, "Tumor size < 3 cm, grade > 1.", "See report.txt of 2019: carcinoma", "pT2/pN0/M0", "A/B.pdf x" * 20],
)
def test_words_stay_words(text: str) -> None:
    assert plain_words(text) == text


def test_light_markup_is_taken_off_and_struck_out_words_go() -> None:
    assert plain_words("Carcinoma<br>grade <b>3</b>") == "Carcinoma\ngrade 3"
    assert "grade 1" not in plain_words("Carcinoma ~~grade 1~~ grade 2")
    assert "grade 1" not in plain_words("Carcinoma, <s>grade 1</s> grade 2<br>")


def test_struck_out_words_of_word_go() -> None:
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    runs = [
        "<w:r><w:t>Carcinoma </w:t></w:r>",
        "<w:r><w:rPr><w:strike/></w:rPr><w:t>grade 1 </w:t></w:r>",
        '<w:r><w:rPr><w:dstrike w:val="true"/></w:rPr><w:t>pT1 </w:t></w:r>',
        '<w:r><w:rPr><w:strike w:val="false"/></w:rPr><w:t>grade 3</w:t></w:r>',
    ]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        body = f'<w:document xmlns:w="{space}"><w:body><w:p>{"".join(runs)}</w:p></w:body></w:document>'
        archive.writestr("word/document.xml", body)
    assert docx_text(stream.getvalue(), Path("r.docx"))[0] == "Carcinoma grade 3"


TABLES = {
    "unquoted commas": (f"case_id,text\nP1,{REPORT}\nP2,short text\n", "cells, the header 2"),
    "too few cells": ("case_id,organ,text\nP1,breast\nP2,breast,short text\n", "2 cells, the header 3"),
    "open quote, next row quoted": (f'case_id,text\nP1,"{REPORT}\nP2,"{REPORT}"\n', "closed quotes"),
    "open quote, next row plain": ('case_id,text\nP1,"carcinoma\nP2,benign"\nP3,short text\n', "quote was opened"),
    "open quote to the end": ('case_id,text\nP2,short text\nP1,"carcinoma\n', "closed quotes"),
    "cut by a spreadsheet": ("case_id,text\nP1," + "word " * (EXCEL_CELL // 5) + "wo\nP2,short text\n", "was cut"),
}


@pytest.mark.parametrize(("table", "reason"), TABLES.values(), ids=TABLES)
def test_tables_that_are_cut_or_joined(tmp_path: Path, table: str, reason: str) -> None:
    (tmp_path / "t.csv").write_text(table, newline="")
    with pytest.raises(UnusableError, match=reason):
        read_text_row(tmp_path / "t.csv", "P1")


def test_one_bad_row_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f'case_id,text\nP1,{REPORT}\nP2,"{REPORT}"\nP3,"two\nlines"\n', newline="")
    assert "ductal" in read_text_row(tmp_path / "t.csv", "P2")
    assert "lines" in read_text_row(tmp_path / "t.csv", "P3")
    assert "P1" in text_row_index(tmp_path / "t.csv")


def test_a_missing_column_names_those_there(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("patient,report\nP1,x\n")
    with pytest.raises(UnusableError, match="no column case_id and text; its columns are patient, report"):
        text_row_index(tmp_path / "t.csv")
