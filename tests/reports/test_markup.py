"""Content that is no plain text is refused, in a file and in a table's cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from mupd.errors import UnusableError
from mupd.reports.read import read_report, read_text_row

REPORT = "Right breast, mastectomy: invasive ductal carcinoma, grade 3, pT2 pN0. Margins < 1 mm, p < 0.05."
FORMS = {
    "HL7 v2": f"MSH|^~\\&|LAB|H|||2026||ORU^R01|1|P|2.5\rPID|1||1||Doe^Jane\rOBX|1|TX|1||{REPORT}",
    "segments": f"PID|1||12345||Doe^Jane\rOBX|1|TX|1||{REPORT}",
    "CDA": f"<?xml version='1.0'?><ClinicalDocument xmlns='urn:hl7-org:v3'>{REPORT}</ClinicalDocument>",
    "RTF": rf"{{\rtf1\ansi {REPORT}\par}}",
    "HTML": f"<p>{REPORT}</p>",
    "path": "reports/P1.pdf",
    "base64": "U3VyZ2ljYWwgcGF0aG9sb2d5" * 8,
}


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_are_refused_in_files_and_cells(form: str, tmp_path: Path) -> None:
    report, table = tmp_path / "r.txt", tmp_path / "t.csv"
    report.write_text(FORMS[form], newline="")
    table.write_text(f'case_id,text\nP1,"{FORMS[form]}"\nP2,"{REPORT}"\n', newline="")
    with pytest.raises(UnusableError, match=f"(?i){form}"):
        read_report(report)
    with pytest.raises(UnusableError, match=f"(?i){form}"):
        read_text_row(table, "P1")
    assert read_text_row(table, "P2") == REPORT


@pytest.mark.parametrize("cell", [REPORT, f'"{REPORT}', f'"{REPORT}" and more'])
def test_a_table_that_is_cut_or_has_an_open_quote_is_refused(cell: str, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f'case_id,text\nP1,{cell}\nP2,"{REPORT}"\n')
    with pytest.raises(UnusableError, match="text table"):
        read_text_row(table, "P2")
