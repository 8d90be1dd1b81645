"""Sheets made from a GDC download and from a folder; what they write has to read."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mupd.cli import app
from mupd.config import parse_config
from mupd.errors import InputFaults
from mupd.sheet import SheetCase, read_sheet
from mupd.sheet.make.folder import expression_of, ids_of

OLD = "File ID\tFile Name\tData Category\tData Type\tProject ID\tCase ID\tSample ID\tSample Type"
NEW = OLD.replace("Sample Type", "Tissue Type\tTumor Descriptor\tSpecimen Type\tPreservation Method")
SLIDE, RNA, REPORT = "Slide Image", "Gene Expression Quantification", "Pathology Report"
STAR = "rna_seq.augmented_star_gene_counts.tsv"


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in ("cases", *arguments)], env={"COLUMNS": "200"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def cases_of(path: Path) -> dict[str, SheetCase]:
    return {case.case_id: case for case in read_sheet(parse_config({"cases": str(path)}, "test")).cases}


def row(file_id: str, name: str, kind: str, case: str, sample: str, *tail: str, project: str = "TCGA-BLCA") -> str:
    return "\t".join([file_id, name, "x", kind, project, case, sample, *tail])


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """A sample sheet of two patients, and the files that gdc-client would have put beside it."""
    one, two = "TCGA-AA-0001", "TCGA-AA-0002"
    rows = [
        row("f1", f"{one}-01A-01-TS1.u.svs", SLIDE, one, f"{one}-01A", "Primary Tumor"),
        row("f2", f"{one}-01Z-00-DX2.u.svs", SLIDE, one, f"{one}-01Z", "Primary Tumor"),
        row("f3", f"{one}-01Z-00-DX1.u.svs", SLIDE, one, f"{one}-01Z", "Primary Tumor"),
        row("f4", f"{one}-11A-01-TS1.u.svs", SLIDE, one, f"{one}-11A", "Solid Tissue Normal"),
        row("f5", f"b.{STAR}", RNA, one, f"{one}-01A", "Primary Tumor"),
        row("f6", f"a.{STAR}", RNA, one, f"{one}-11A", "Solid Tissue Normal"),
        row("f7", f"{one}.PDF", REPORT, f"{one}, {one}", "", "Primary Tumor"),
        row("f8", f"c.{STAR}", RNA, two, f"{two}-01A", "Primary Tumor", project="TCGA-COAD"),
        row("f9", f"{two}-01A-01-BS1.u.svs", SLIDE, two, f"{two}-01A", "Primary Tumor", project="TCGA-COAD"),
        row("f10", "x.maf.gz", "Masked Somatic Mutation", f"{one}, {two}", "", "Primary Tumor"),
        row("f11", f"d.{STAR}", RNA, f"{one}, {two}", f"{one}-01A", "Primary Tumor"),
    ]
    (tmp_path / "sheet.tsv").write_text("\n".join([OLD, *rows]) + "\n")
    names = [line.split("\t")[:2] for line in rows]
    put(tmp_path / "gdc", *(f"{key}/{name}" for key, name in names if key not in ("f8", "f9")))
    put(tmp_path / "gdc", names[8][1])
    return tmp_path


def test_a_gdc_download_becomes_cases(download: Path) -> None:
    out = run("from-gdc", download / "sheet.tsv", "--files", download / "gdc", "-o", download / "cases.tsv")
    cases = cases_of(download / "cases.tsv")
    assert sorted(cases) == ["TCGA-AA-0001", "TCGA-AA-0002"]
    one, two = cases["TCGA-AA-0001"], cases["TCGA-AA-0002"]
    assert one.he == download / "gdc/f3/TCGA-AA-0001-01Z-00-DX1.u.svs"
    assert one.further_he == ()
    assert one.rna == download / f"gdc/f5/b.{STAR}"
    assert one.text == download / "gdc/f7/TCGA-AA-0001.PDF"
    assert (one.organ, two.organ, two.diagnosis) == ("bladder", "colorectum", "colon adenocarcinoma")
    assert (two.he, two.rna) == (download / "gdc/TCGA-AA-0002-01A-01-BS1.u.svs", None)
    for words in (
        "TCGA-AA-0001-01Z-00-DX1.u.svs is preferred",
        "no primary tumour (Solid Tissue Normal)",
        "not on disk",
        "a file of 2 cases",
        "diagnostic (DX) before frozen",
        "2 cases: 2 with he, 1 with rna, 1 with text; 1 with all three",
    ):
        assert words in out, out
    sheet = (download / "cases.tsv").read_text()
    assert str(download) not in sheet


def test_all_diagnostic_slides_on_request_and_clinical_diagnoses(download: Path) -> None:
    clinical = download / "clinical.tsv"
    clinical.write_text(
        "case_submitter_id\tprimary_diagnosis\nTCGA-AA-0001\t'--\nTCGA-AA-0001\tPapillary carcinoma\n"
        "TCGA-AA-0002\t=1+1\n"
    )
    out = download / "cases.csv"
    run(
        "from-gdc",
        download / "sheet.tsv",
        "--files",
        download / "gdc",
        "--clinical",
        clinical,
        "--all-slides",
        "-o",
        out,
    )
    one = cases_of(out)["TCGA-AA-0001"]
    assert [path.name[-9:] for path in (one.he, *one.further_he) if path] == ["DX1.u.svs", "DX2.u.svs"]
    assert one.diagnosis == "Papillary carcinoma"
    assert cases_of(out)["TCGA-AA-0002"].diagnosis == "'=1+1"


def test_the_newer_columns_of_the_gdc(tmp_path: Path) -> None:
    case = "TCGA-AA-0003"
    rows = [
        row("a", "m.svs", SLIDE, case, f"{case}-06A", "Tumor", "Metastatic", "Solid", "FFPE"),
        row("b", "p.svs", SLIDE, case, f"{case}-01A", "Tumor", "Primary", "Solid", "FFPE"),
        row("c", "n.svs", SLIDE, case, f"{case}-11A", "Normal", "Not Applicable", "Solid", "FFPE"),
    ]
    (tmp_path / "s.tsv").write_text("\n".join([NEW, *rows]))
    put(tmp_path, "a/m.svs", "b/p.svs", "c/n.svs")
    run("from-gdc", tmp_path / "s.tsv", "--files", tmp_path, "-o", tmp_path / "cases.tsv")
    assert cases_of(tmp_path / "cases.tsv")[case].he == tmp_path / "b/p.svs"


def test_what_is_no_gdc_sheet_and_what_is_there_already(download: Path) -> None:
    (download / "bad.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(InputFaults, match="a column File ID"):
        run("from-gdc", download / "bad.tsv", "--files", download)
    arguments = ("from-gdc", download / "sheet.tsv", "--files", download / "gdc", "-o", download / "cases.tsv")
    (download / "cases.tsv").write_text("mine")
    with pytest.raises(InputFaults, match="--force"):
        run(*arguments)
    assert (download / "cases.tsv").read_text() == "mine"
    run(*arguments, "--force")
    assert len(cases_of(download / "cases.tsv")) == 2


def test_a_folder_becomes_cases(tmp_path: Path) -> None:
    root = tmp_path / "cohort"
    put(root, "slides/P-1_a.svs", "slides/P-1_b.svs", "slides/P-2_a.svs", "slides/.P-3_a.svs", "rna/P-1/counts.tsv")
    put(root, "text/P-2.txt", "text/P-2.md", "text/P-4.txt")
    put(tmp_path, "store/real.svs")
    (root / "slides/P-5_x.svs").symlink_to(tmp_path / "store/real.svs")
    patterns = (
        "--he",
        "slides/{case}_*.svs",
        "--rna",
        "rna/{case}/*.tsv",
        "--text",
        "text/{case}.*",
        "--he-mpp",
        "0.5",
    )
    out = run("from-folder", root, *patterns, "-o", root / "cases.tsv")
    cases = cases_of(root / "cases.tsv")
    assert sorted(cases) == ["P-1", "P-2", "P-4", "P-5"]
    assert (cases["P-1"].he, cases["P-1"].further_he) == (root / "slides/P-1_a.svs", (root / "slides/P-1_b.svs",))
    assert (cases["P-1"].rna, cases["P-1"].he_mpp, cases["P-4"].he_mpp) == (root / "rna/P-1/counts.tsv", 0.5, None)
    assert (cases["P-2"].text, cases["P-5"].he) == (None, tmp_path / "store/real.svs")
    assert "2 files of one case match --text: 1 can be taken" in out
    assert "1 links lead out" in out


@pytest.mark.parametrize("pattern", ["slides/*.svs", "../{case}.svs", "/x/{case}", "{case}/{other}", "**/{case}.svs"])
def test_patterns_that_say_too_little_or_lead_out(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputFaults, match=r"--he: found"):
        run("from-folder", tmp_path, "--he", pattern, "-o", tmp_path / "cases.tsv")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_where_nothing_or_nothing_good_is_found(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match="no case"):
        run("from-folder", tmp_path, "--he", "{case}.svs", "-o", tmp_path / "cases.tsv")
    put(tmp_path, "=A.svs")
    with pytest.raises(InputFaults, match="begins like a formula"):
        run("from-folder", tmp_path, "--he", "{case}.svs", "-o", tmp_path / "cases.tsv")
    put(tmp_path / "b", "A.svs", "a.svs")
    with pytest.raises(InputFaults, match=r"cases\.tsv:3 \[case_id\]"):
        run("from-folder", tmp_path / "b", "--he", "{case}.svs", "-o", tmp_path / "cases.tsv")
    assert not [path for path in tmp_path.iterdir() if "cases" in path.name]


@given(st.text(alphabet="ab.*?[]+-_ ", max_size=6), st.text(alphabet="ab._- ", min_size=1, max_size=6))
def test_a_pattern_finds_the_id_that_it_was_made_with(around: str, case: str) -> None:
    name = f"x{around.replace('*', '').replace('?', 'q')}{case}.svs"
    match = expression_of(f"x{around}{{case}}.svs").fullmatch(name)
    assert match is not None
    if "*" not in around:
        assert match["case"] == case


@pytest.mark.parametrize("pattern", ["{case}*.svs", "slides/{case}?", "*{case}.svs", "?{case}_a.svs", "{case}*/a.svs"])
def test_a_wildcard_beside_the_id_is_refused(tmp_path: Path, pattern: str) -> None:
    put(tmp_path, "TCGA-AA-0001-01Z.svs")
    with pytest.raises(InputFaults, match=r"one letter can be the id; expected what separates the id"):
        run("from-folder", tmp_path, "--he", pattern, "-o", tmp_path / "cases.tsv")
    assert not (tmp_path / "cases.tsv").exists()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{case}_*.svs", ("P_1_a.svs", "P_2_a.svs")),
        ("{case}-*.svs", ("TCGA-AA-0001-01Z.svs", "TCGA-BB-0002-01Z.svs")),
        ("{case}.*", ("P1.v2.svs", "P2.svs")),
    ],
)
def test_names_that_fit_several_ids_are_named(tmp_path: Path, pattern: str, names: tuple[str, ...]) -> None:
    put(tmp_path, *names)
    with pytest.raises(InputFaults, match=rf"names that fit several ids: '{names[0]}' \("):
        run("from-folder", tmp_path, "--he", pattern, "-o", tmp_path / "cases.tsv")


def test_names_of_another_modality_decide_which_id_is_meant(tmp_path: Path) -> None:
    put(tmp_path, "he/P_1_a.svs", "he/P_1_b_c.svs", "he/P_2_a.svs", "rna/P_1.tsv", "rna/P_2.tsv")
    run("from-folder", tmp_path, "--he", "he/{case}_*.svs", "--rna", "rna/{case}.tsv", "-o", tmp_path / "cases.tsv")
    cases = cases_of(tmp_path / "cases.tsv")
    assert sorted(cases) == ["P_1", "P_2"]
    assert [path.name for path in cases["P_1"].further_he] == ["P_1_b_c.svs"]


def test_ids_of_one_name_in_two_encodings_are_one_case(tmp_path: Path) -> None:
    put(tmp_path, f"he/{unicodedata.normalize('NFD', 'Zoë')}.svs", "rna/Zoë.tsv")
    run("from-folder", tmp_path, "--he", "he/{case}.svs", "--rna", "rna/{case}.tsv", "-o", tmp_path / "cases.tsv")
    (case,) = cases_of(tmp_path / "cases.tsv").values()
    assert case.he is not None
    assert case.rna is not None


@given(st.text(alphabet="ab._-", min_size=1, max_size=6), st.text(alphabet="ab._-", min_size=1, max_size=6))
def test_every_id_that_a_name_can_have_is_found(case: str, rest: str) -> None:
    ids = ids_of(f"{case}_{rest}.svs", "{case}_*.svs")
    assert case in ids
    assert all(f"{case}_{rest}.svs".startswith(f"{name}_") for name in ids)
