from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pydicom
import pytest
from PIL import Image

from mupd.base.files import sha256_path
from mupd.errors import InputFaults, UnusableError
from mupd.synthetic.anndata.marks import ANNDATA_MARKS, OBS_NAMES, write_anndata
from mupd.synthetic.dicom.marks import SERIES, SYNTHETIC_DATA, TELLING
from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi
from mupd.synthetic.picture.marks import is_picture
from mupd.synthetic.signature import read_private_key, sign_file, write_key_pair
from mupd.synthetic.text.marks import JSON_MARKS, TXT_MARKS, write_report
from mupd.synthetic.verify.recognise import FILE_NAME, content_marks, synthetic_marks
from mupd.synthetic.verify.verify import UNKNOWN, exit_code, paths_to_verify, verify_path
from mupd.synthetic.verify.words import render
from tests.fixtures.synthetic import SHARED, meta_of, need_shared, slide_pixels
from tests.synthetic.anndata.test_marks import measured, profile
from tests.synthetic.text.test_marks import report

HE, RNA = "artifacts/CASE-01/he/synthetic-draw0", "artifacts/CASE-01/rna.synthetic.h5ad"
JSON, TXT = "artifacts/CASE-01/report.synthetic.json", "artifacts/CASE-01/report.synthetic.txt"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "results"
    settings: dict[str, Any] = {"run_seed": 7, "mpp": 0.78, "jpeg_quality": 90, "artifact_key": "k"}
    write_wsi(slide_pixels(), out / HE, meta_of("he"), SlideSettings(**settings))
    write_anndata(profile(), out / RNA)
    write_report(report(), out / JSON, out / TXT)
    header = "case_id\tartifact\tsha256\tfurther_artifacts\tfurther_sha256"
    rows = [f"CASE-01\t{path}\t{sha256_path(out / path)}\t\t" for path in (HE, RNA)]
    rows.append(f"CASE-01\t{JSON}\t{sha256_path(out / JSON)}\t{TXT}\t{sha256_path(out / TXT)}")
    (out / "manifest.tsv").write_text("\n".join([header, *rows, "CASE-02\t\t\t\t", ""]))
    return out


@pytest.fixture
def out(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "results")
    return tmp_path / "results"


def edit_dicom(path: Path, **changes: Any) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("name", "kind", "given", "draws"),
    [
        (HE, "dicom-wsi", ("rna", "text"), (0,)),
        (f"{HE}/synthetic-level1.dcm", "dicom", ("rna", "text"), (0,)),
        (f"{HE}/synthetic-label.dcm", "dicom", ("rna", "text"), (0,)),
        (RNA, "anndata", ("he",), (0, 2)),
        (JSON, "report-json", ("he",), (0, 1, 2)),
        (TXT, "report-text", ("he",), (0, 1, 2)),
    ],
)
def test_intact_artifacts(pristine: Path, name: str, kind: str, given: tuple[str], draws: tuple[int]) -> None:
    found = verify_path(pristine / name)
    assert (found.kind, found.synthetic, found.hash_state) == (kind, True, "intact")
    assert found.marks_missing == ()
    assert FILE_NAME in found.marks_found
    assert (found.model_id, found.case, found.draw, found.given) == ("mupd-test", "CASE-01", draws, given)
    assert found.exit_code == 3


def test_a_renamed_artifact_has_lost_one_mark(pristine: Path, tmp_path: Path) -> None:
    shutil.copy(pristine / RNA, tmp_path / "x.h5ad")
    found = verify_path(tmp_path / "x.h5ad")
    assert (found.marks_missing, found.exit_code) == ((FILE_NAME,), 4)
    shutil.copytree(pristine / HE, tmp_path / "slide")
    assert verify_path(tmp_path / "slide").exit_code == 3


def test_without_a_manifest_the_state_is_not_known(pristine: Path, tmp_path: Path) -> None:
    for name in (HE, RNA, JSON, TXT):
        source, copied = pristine / name, tmp_path / Path(name).name
        shutil.copytree(source, copied) if source.is_dir() else shutil.copy(source, copied)
        found = verify_path(copied)
        assert (found.hash_state, found.exit_code) == ("unknown", 3)
        assert verify_path(copied, pristine / "manifest.tsv").hash_state == "intact"


@pytest.mark.parametrize("keyword", ["SyntheticData", "ContributingEquipmentSequence", "DerivationDescription"])
def test_a_slide_with_a_stripped_tag(out: Path, keyword: str) -> None:
    edit_dicom(out / HE / "synthetic-level1.dcm", **{keyword: None})
    found = verify_path(out / HE)
    assert found.hash_state == "altered"
    assert len(found.marks_missing) == 1
    assert found.marks_missing[0].startswith("synthetic-level1.dcm: ")
    assert found.exit_code == 4
    (out / "manifest.tsv").unlink()
    assert verify_path(out / HE).exit_code == 4


def test_a_slide_without_its_label_or_with_a_blank_one(out: Path) -> None:
    blank = verify_path(out / HE)
    assert blank.exit_code == 3
    label = out / HE / "synthetic-label.dcm"
    dataset = pydicom.dcmread(label)
    from io import BytesIO

    from pydicom.encaps import encapsulate

    stream = BytesIO()
    Image.new("RGB", (800, 400), "white").save(stream, "JPEG")
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset.save_as(label)
    assert verify_path(out / HE).marks_missing == ("synthetic-label.dcm: label pixels show the banner",)
    label.unlink()
    assert verify_path(out / HE).marks_missing == ("a LABEL image",)


def test_a_stripped_and_renamed_slide_is_known_by_where_it_lies(out: Path) -> None:
    for path in sorted((out / HE).iterdir()):
        nothing = dict.fromkeys(("SyntheticData", "ContributingEquipmentSequence", "DerivationDescription"))
        edit_dicom(path, **nothing, SeriesDescription="H&E", ContainerIdentifier="X", LabelText="X")
    assert content_marks(out / HE) == []
    found = verify_path(out / HE)
    assert found.synthetic
    assert found.exit_code == 4


def test_an_anndata_with_obs_and_uns_dropped(out: Path) -> None:
    adata = ad.read_h5ad(out / RNA)
    bare = ad.AnnData(adata.X, obs=adata.obs[[]], var=adata.var[[]])
    bare.write_h5ad(out / RNA)
    found = verify_path(out / RNA)
    assert found.marks_found == (FILE_NAME, OBS_NAMES)
    assert found.marks_missing == ANNDATA_MARKS[1:]
    assert (found.hash_state, found.exit_code) == ("altered", 4)


def test_an_anndata_with_an_edited_value_is_noticed_without_a_manifest(out: Path) -> None:
    (out / "manifest.tsv").unlink()
    adata = ad.read_h5ad(out / RNA)
    adata.X[0, 0] += 1
    adata.write_h5ad(out / RNA)
    found = verify_path(out / RNA)
    assert (found.marks_missing, found.hash_state, found.exit_code) == ((), "altered", 4)


def test_an_anndata_joined_with_measured_data(tmp_path: Path) -> None:
    path = tmp_path / "joined.h5ad"
    ad.concat([measured(), profile()]).write_h5ad(path)
    found = verify_path(path)
    assert found.marks_found == (f"{OBS_NAMES} (3 of 5)",)
    assert (found.marks_missing, found.exit_code) == ((), 3)
    assert found.notes == ("3 of 5 observations are synthetic",)


def test_an_anndata_with_some_names_changed(out: Path) -> None:
    adata = ad.read_h5ad(out / RNA)
    adata.obs_names = ["PATIENT-1", *adata.obs_names[1:]]
    adata.write_h5ad(out / RNA)
    found = verify_path(out / RNA)
    assert "obs: names and obs['synthetic'] disagree" in found.marks_missing
    assert (found.content, found.exit_code) == ("altered", 4)


@pytest.mark.parametrize("form", [2, 3])
def test_a_zarr_store(tmp_path: Path, form: int) -> None:
    store = tmp_path / "rna.synthetic.zarr"
    with ad.settings.override(zarr_write_format=form):
        profile().write_zarr(store)
    assert paths_to_verify(tmp_path) == [store]
    assert synthetic_marks(store) == [FILE_NAME, *ANNDATA_MARKS]
    found = verify_path(store)
    assert (found.kind, found.marks_missing, found.content, found.exit_code) == ("anndata", (), "intact", 3)
    assert (found.model_id, found.case, found.draw, found.given_sha256) == (
        "mupd-test",
        "CASE-01",
        (0, 2),
        {"he": "c" * 64},
    )
    plain = profile()
    plain.X[0, 0] += 1
    with ad.settings.override(zarr_write_format=form):
        plain.write_zarr(store)
    assert verify_path(store).exit_code == 4


def test_a_measured_zarr_store_and_one_that_is_damaged(tmp_path: Path) -> None:
    measured().write_zarr(tmp_path / "x.zarr")
    assert verify_path(tmp_path / "x.zarr").exit_code == 0
    for name in ("zarr.json", ".zgroup", ".zmetadata"):
        if (tmp_path / "x.zarr" / name).is_file():
            (tmp_path / "x.zarr" / name).write_text("{")
    found = verify_path(tmp_path / "x.zarr")
    assert (found.kind, found.exit_code) == ("unreadable", 1)


def test_a_cohort_file_with_synthetic_and_measured_rows(tmp_path: Path) -> None:
    import mudata

    tables = {"rna": ad.concat([measured(), profile()]), "he": measured()}
    mudata.MuData(tables).write(tmp_path / "cohort.h5mu")
    found = verify_path(tmp_path / "cohort.h5mu")
    assert (found.kind, found.synthetic, found.marks_missing, found.exit_code) == ("mudata", True, (), 3)
    assert found.notes == ("rna: 3 of 5 observations are synthetic",)
    mudata.MuData({"he": measured()}).write(tmp_path / "plain.h5mu")
    assert verify_path(tmp_path / "plain.h5mu").exit_code == 0


@pytest.mark.parametrize("name", [JSON, TXT])
@pytest.mark.parametrize("with_manifest", [True, False])
def test_an_edited_report(out: Path, name: str, with_manifest: bool) -> None:
    if not with_manifest:
        (out / "manifest.tsv").unlink()
    path = out / name
    path.write_text(path.read_text().replace("colon", "liver"))
    found = verify_path(path)
    assert (found.synthetic, found.hash_state, found.exit_code) == (True, "altered", 4)


def test_a_report_without_its_banner(out: Path) -> None:
    path = out / TXT
    path.write_text("\n".join(path.read_text().splitlines()[4:]))
    found = verify_path(path)
    assert TXT_MARKS[0] in found.marks_missing
    assert found.exit_code == 4
    values = json.loads((out / JSON).read_text())
    del values["SYNTHETIC"]
    (out / JSON).write_text(json.dumps(values))
    assert verify_path(out / JSON).marks_missing == (JSON_MARKS[0],)


@pytest.mark.parametrize("kept", ["was not measured", "Model SHA-256", "draws agree"])
def test_a_report_of_which_one_line_is_left(out: Path, tmp_path: Path, kept: str) -> None:
    lines = [line.replace("SYNTHETIC - NOT FOR DIAGNOSIS. ", "") for line in (out / TXT).read_text().splitlines()]
    (tmp_path / "report.txt").write_text("\n".join(line for line in lines if kept in line))
    assert len(synthetic_marks(tmp_path / "report.txt")) == 1
    found = verify_path(tmp_path / "report.txt")
    assert (found.synthetic, found.exit_code) == (True, 4)


def test_a_json_report_without_its_marks(out: Path, tmp_path: Path) -> None:
    values = json.loads((out / JSON).read_text())
    for name in ("SYNTHETIC", "synthetic", "id"):
        del values[name]
    (tmp_path / "report.json").write_text(json.dumps(values))
    found = verify_path(tmp_path / "report.json")
    assert (found.marks_found, found.content, found.exit_code) == (("block mupd names the model",), "altered", 4)
    assert found.case == "CASE-01"


def test_artifacts_state_their_sources(out: Path) -> None:
    assert verify_path(out / RNA).given_sha256 == {"he": "c" * 64}
    assert verify_path(out / HE).given_sha256 == {"rna": "a" * 64, "text": "b" * 64}
    assert verify_path(out / JSON).model_sha256 == "d" * 64


def test_further_artifacts_of_a_manifest(out: Path) -> None:
    further = f"case_id\tartifact\tsha256\tfurther_artifacts\tfurther_sha256\nCASE-01\t\t\t{TXT}\t"
    (out / "manifest.tsv").write_text(f"{further}{sha256_path(out / TXT)}\n")
    assert verify_path(out / TXT).hash_state == "intact"
    (out / TXT).write_text((out / TXT).read_text() + "\n")
    assert verify_path(out / TXT).hash_state == "altered"


def test_the_signature_of_the_manifest(out: Path, tmp_path: Path) -> None:
    manifest, key, other = out / "manifest.tsv", tmp_path / "key.pem", tmp_path / "other.pem"
    write_key_pair(key)
    write_key_pair(other)
    assert verify_path(out / JSON).signature == "unsigned"
    sign_file(manifest, read_private_key(key))
    public = tmp_path / "key.pem.pub"
    for path in (out / JSON, manifest):
        found = verify_path(path, public_key=public)
        assert (found.signature, found.exit_code) == ("valid", 3 if path.suffix == ".json" else 0)
    assert verify_path(out / JSON).signature == "unknown key"
    assert verify_path(out / JSON, public_key=tmp_path / "other.pem.pub").exit_code == 3
    manifest.write_text(manifest.read_text().replace("CASE-02", "CASE-03"))
    for path in (out / JSON, manifest):
        found = verify_path(path, public_key=public)
        assert (found.signature, found.exit_code) == ("invalid", 4)
    with pytest.raises(InputFaults, match="public key"):
        verify_path(out / JSON, public_key=manifest)


def test_unreadable_paths(out: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.h5ad"
    cut.write_bytes((out / RNA).read_bytes()[:3000])
    (tmp_path / "cut.json").write_text('{"a": ')
    (tmp_path / "none.dcm").write_bytes(b"nothing")
    (tmp_path / "empty").mkdir()
    for name in ("cut.h5ad", "cut.json", "none.dcm", "empty", "absent.h5ad"):
        found = verify_path(tmp_path / name)
        assert (found.kind, found.exit_code) == ("unreadable", 1)
        assert name in found.problem


def test_one_exit_code_for_several_paths(out: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("Adenocarcinoma of the colon, pT3.")
    plain, intact = verify_path(tmp_path / "plain.txt"), verify_path(out / JSON)
    (out / TXT).write_text("SYNTHETIC - NOT FOR DIAGNOSIS\n")
    altered, gone = verify_path(out / TXT), verify_path(tmp_path / "absent")
    assert exit_code([plain]) == 0
    assert exit_code([plain, intact]) == 3
    assert exit_code([plain, intact, altered]) == 4
    assert exit_code([gone, intact, altered]) == 1
    assert exit_code([]) == 0


def test_a_folder_is_looked_through(pristine: Path) -> None:
    found = {path.relative_to(pristine).as_posix() for path in paths_to_verify(pristine / "artifacts")}
    assert found == {HE, RNA, JSON, TXT}
    assert paths_to_verify(pristine / RNA) == [pristine / RNA]


def test_a_folder_of_slides_and_other_files(pristine: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(pristine / HE, mixed)
    Image.fromarray(slide_pixels(64, 64)).save(mixed / "photo.png")
    assert paths_to_verify(mixed) == [mixed, mixed / "photo.png"]
    other = pydicom.dcmread(mixed / "synthetic-level0.dcm")
    other.SeriesInstanceUID = "2.25.7"
    other.save_as(mixed / "other.dcm")
    assert len(paths_to_verify(mixed)) == len(list(mixed.iterdir()))
    (tmp_path / "empty").mkdir()
    assert paths_to_verify(tmp_path / "empty") == [tmp_path / "empty"]


def test_each_kind_is_recognised_under_another_name(pristine: Path, tmp_path: Path) -> None:
    shutil.copy(pristine / HE / "synthetic-level0.dcm", tmp_path / "slide")
    assert synthetic_marks(tmp_path / "slide") == list(TELLING)
    shutil.copytree(pristine / HE, tmp_path / "folder")
    assert set(synthetic_marks(tmp_path / "folder")) == {FILE_NAME, *TELLING}
    shutil.copy(pristine / RNA, tmp_path / "x.h5")
    assert synthetic_marks(tmp_path / "x.h5") == list(ANNDATA_MARKS)
    shutil.copy(pristine / JSON, tmp_path / "x.json")
    assert synthetic_marks(tmp_path / "x.json") == list(JSON_MARKS)
    shutil.copy(pristine / TXT, tmp_path / "x.txt")
    assert synthetic_marks(tmp_path / "x.txt") == list(TXT_MARKS)
    (tmp_path / "Synthetic_slide.svs").write_bytes(b"x")
    assert synthetic_marks(tmp_path / "Synthetic_slide.svs") == [FILE_NAME]


@pytest.mark.parametrize("keyword", ["SyntheticData", "SeriesDescription"])
def test_one_mark_left_is_enough(pristine: Path, tmp_path: Path, keyword: str) -> None:
    copied = tmp_path / "x.dcm"
    shutil.copy(pristine / HE / "synthetic-level0.dcm", copied)
    stripped = dict.fromkeys(("SyntheticData", "ContributingEquipmentSequence", "DerivationDescription"))
    others = {"SeriesDescription": "H&E", "ContainerIdentifier": "X", "LabelText": "X"}
    changes = {name: value for name, value in (stripped | others).items() if name != keyword}
    edit_dicom(copied, **changes)
    assert synthetic_marks(copied) == [SYNTHETIC_DATA if keyword == "SyntheticData" else SERIES]


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_table_made_from_an_artifact_is_recognised(tmp_path: Path, layout: str, zipped: bool) -> None:
    frame = profile().to_df()
    text = (frame if layout == "rows" else frame.T).to_csv(sep="\t")
    path = tmp_path / ("x.tsv.gz" if zipped else "x.tsv")
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    assert synthetic_marks(path) == ["a row or column name begins with SYN-"]


def test_plain_text_named_gz_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.tsv.gz").write_text("\tA\tB\nSYN-CASE\t1\t2\n")
    assert synthetic_marks(tmp_path / "x.tsv.gz") == ["a row or column name begins with SYN-"]


def test_a_table_of_reports_is_recognised(tmp_path: Path, pristine: Path) -> None:
    import pandas as pd

    pd.DataFrame({"case_id": ["A"], "text": [(pristine / TXT).read_text()]}).to_csv(tmp_path / "x.csv")
    assert synthetic_marks(tmp_path / "x.csv") != []


@pytest.mark.filterwarnings("ignore:End of file reached")
def test_what_claims_to_be_dicom_hdf5_or_gzip_and_is_not(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 50)
    (tmp_path / "x.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90))
    (tmp_path / "x.tsv.gz").write_bytes(gzip.compress(b"a\tb\n" * 9)[:15])
    for name in ("x.dcm", "x.h5ad", "x.tsv.gz"):
        with pytest.raises(UnusableError, match=name.replace(".", r"\.")):
            synthetic_marks(tmp_path / name)


def real_files(most: int, picture_bytes: int) -> list[Path]:
    """Up to `most` files of each kind in each folder of the shared data, pictures up to a size."""
    by_kind: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(path for path in need_shared().rglob("*") if path.is_file()):
        if not is_picture(path) or path.stat().st_size <= picture_bytes:
            by_kind.setdefault((path.parent, path.suffix), []).append(path)
    return [path for group in by_kind.values() for path in group[:most]]


def test_real_inputs_carry_no_marks() -> None:
    files = real_files(2, 200_000)
    assert len(files) > 60
    assert {path: marks for path in files if (marks := synthetic_marks(path))} == {}
    assert synthetic_marks(SHARED / "dicom") == []


@pytest.mark.slow
def test_all_real_inputs_verify_as_measured() -> None:
    """Of 16-bit masks, MatrixMarket and Parquet nothing is known: marks are not searched for in them."""
    answers = {path: verify_path(path) for path in real_files(400, 20_000_000)}
    assert {path: answer for path, answer in answers.items() if answer.exit_code not in (0, UNKNOWN)} == {}
    unknown = {path for path, answer in answers.items() if answer.exit_code == UNKNOWN}
    assert {path.name.removesuffix(".gz").rpartition(".")[2] for path in unknown} <= {"png", "mtx", "parquet"}
    assert all("I;16" in answers[path].unsearched for path in unknown if path.suffix == ".png")


def test_real_inputs_verify_as_measured() -> None:
    for parts in (
        ("dicom", "sm_image.dcm"),
        ("dicom", "sm_image_jpegls.dcm"),
        ("slides", "CMU-1-Small-Region.svs"),
        ("slides", "kidney-48-5.tif"),
        ("formats", "fluorescence", "small_vectra.qptiff"),
        ("her2st", "counts", "A1.tsv.gz"),
        ("formats", "scanpy_10x", "10x_data", "3.0.0"),
    ):
        path = need_shared(*parts)
        for file in paths_to_verify(path):
            found = verify_path(file)
            assert (found.synthetic, found.exit_code, found.marks_missing) == (False, 0, ()), file


def test_marks_are_found_in_large_arrays_without_loading_them(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "big.h5ad", "w") as file:
        file.create_dataset("X", shape=(3, 1 << 36), dtype="f4", chunks=(1, 1 << 20))
        names = np.array(["SYN-A", "SYN-B", "SYN-C"], dtype=h5py.string_dtype())
        file.create_group("obs").attrs["_index"] = "_index"
        file["obs"]["_index"] = names
    assert synthetic_marks(tmp_path / "big.h5ad") == [OBS_NAMES]


def test_findings_in_words_and_as_json(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_dicom(out / HE / "synthetic-level1.dcm", SyntheticData=None)
    (tmp_path / "plain.txt").write_text("Adenocarcinoma of the colon, pT3.")
    found = [verify_path(path) for path in (out / HE, out / JSON, tmp_path / "plain.txt", tmp_path / "absent")]
    render(found)
    words = capsys.readouterr().out
    assert f"{out / HE}: SYNTHETIC (dicom-wsi), ALTERED since the run" in words
    assert f"  MISSING MARK: synthetic-level1.dcm: {SYNTHETIC_DATA}" in words
    assert f"{out / JSON}: SYNTHETIC (report-json), unaltered since the run\n  case: CASE-01" in words
    assert "plain.txt: no sign of synthesis" in words
    assert "absent: unreadable" in words
    render(found, as_json=True)
    assert [item["exit_code"] for item in json.loads(capsys.readouterr().out)] == [4, 3, 0, 1]
