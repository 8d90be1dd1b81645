"""Real programs: an Orthanc server takes the artifacts and gives them back, and Chromium shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.parser import BytesHeaderParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage
from typer.testing import CliRunner

from mupd.base.files import sha256_path
from mupd.cli import app
from mupd.synthetic.dicom.codecs import decode_frame
from mupd.synthetic.dicom.label import label_agrees, render_label
from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi
from tests.external.browser import chromium, screenshot
from tests.external.orthanc_server import Orthanc, missing_programs, running_orthanc
from tests.fixtures.synthetic import meta_of, slide_pixels

MISSING = missing_programs()
pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(bool(MISSING), reason=f"ORTHANC TESTS NOT RUN, absent: {', '.join(MISSING)}"),
]
SIZE = (1900, 1300)
CODECS = {"CASE-01": "jpeg", "CASE-02": "jpeg2000"}


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return slide_pixels(*SIZE)


@pytest.fixture(scope="module")
def out(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a run: a slide of one case in JPEG, of the other without loss."""
    folder = tmp_path_factory.mktemp("run") / "results"
    rows = []
    for case, codec in CODECS.items():
        slide = folder / "artifacts" / case / "he" / "synthetic-draw0"
        write_wsi(
            pixels,
            slide,
            meta_of("he", case_id=case),
            SlideSettings(run_seed=1, mpp=0.78, jpeg_quality=90, artifact_key="k" * 64, codec=codec, watermark=True),
        )
        rows.append(f"{case}\t{slide.relative_to(folder)}\t{sha256_path(slide)}")
    (folder / "manifest.tsv").write_text("\n".join(["case_id\tartifact\tsha256", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def pushed(orthanc: Orthanc, out: Path, tmp_path_factory: pytest.TempPathFactory) -> Orthanc:
    """The server after `mupd push`."""
    orthanc.wipe()
    configfile = tmp_path_factory.mktemp("config") / "c.yaml"
    configfile.write_text(json.dumps({"cases": "cases.tsv", "outdir": str(out)}))
    command = ["push", "--configfile", str(configfile), "--dicomweb", orthanc.dicomweb]
    count = len(list(out.rglob("*.dcm")))
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert f"{count} files: {count} stored, 0 already there" in first.output
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert f"{count} files: 0 stored, {count} already there" in again.output
    return orthanc


def headers(out: Path) -> dict[Path, pydicom.Dataset]:
    return {path: pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(out.rglob("*.dcm"))}


def part(answer: requests.Response) -> bytes:
    """The only part of a multipart answer, as it came."""
    boundary = (
        BytesHeaderParser()
        .parsebytes(f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode())
        .get_boundary()
    )
    assert boundary is not None
    return answer.content.split(b"\r\n\r\n", 1)[1].rsplit(f"\r\n--{boundary}--".encode(), 1)[0]


def series_id(orthanc: Orthanc, uid: str) -> str:
    found = requests.post(orthanc.url + "/tools/lookup", data=uid, timeout=30).json()
    return next(item["ID"] for item in found if item["Type"] == "Series")


def test_c_store_takes_every_file_and_keeps_its_frames(orthanc: Orthanc, out: Path) -> None:
    pynetdicom = pytest.importorskip("pynetdicom")
    orthanc.wipe()
    entity = pynetdicom.AE("MUPD")
    for syntax in (JPEGBaseline8Bit, JPEG2000Lossless):
        entity.add_requested_context(VLWholeSlideMicroscopyImageStorage, syntax)
    association = entity.associate("127.0.0.1", orthanc.dicom_port, ae_title="MUPDTEST")
    assert association.is_established
    try:
        for path in sorted(out.rglob("*.dcm")):
            assert association.send_c_store(path).Status == 0x0000
    finally:
        association.release()
    for path in sorted(out.rglob("*.dcm")):
        original = pydicom.dcmread(path)
        found = requests.post(orthanc.url + "/tools/lookup", data=original.SOPInstanceUID, timeout=30).json()
        stored = pydicom.dcmread(BytesIO(orthanc.get(f"/instances/{found[0]['ID']}/file")))
        assert stored == original  # every element, pixel data included
        assert stored.SyntheticData == "YES"


def test_wado_rs_gives_back_the_bytes_that_were_pushed(pushed: Orthanc, out: Path) -> None:
    for path, header in headers(out).items():
        answer = requests.get(
            f"{pushed.dicomweb}/studies/{header.StudyInstanceUID}/series/{header.SeriesInstanceUID}"
            f"/instances/{header.SOPInstanceUID}",
            headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
            timeout=60,
        )
        assert answer.status_code == 200
        assert part(answer) == path.read_bytes()


def test_wado_rs_gives_every_frame_as_it_was_encoded(pushed: Orthanc, out: Path, pixels: np.ndarray) -> None:
    for case, media in (("CASE-01", "image/jpeg"), ("CASE-02", "image/jp2")):
        path = out / "artifacts" / case / "he" / "synthetic-draw0" / "synthetic-level0.dcm"
        dataset = pydicom.dcmread(path)
        syntax = dataset.file_meta.TransferSyntaxUID
        frames = list(generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames))
        for index, frame in enumerate(frames):
            answer = requests.get(
                f"{pushed.dicomweb}/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
                f"/instances/{dataset.SOPInstanceUID}/frames/{index + 1}",
                headers={"Accept": f'multipart/related; type="{media}"; transfer-syntax={syntax}'},
                timeout=60,
            )
            assert answer.status_code == 200
            assert part(answer) == frame
        first = decode_frame(frames[0], syntax).astype(np.int16)
        assert np.abs(first - pixels[:512, :512]).mean() < 4


def test_metadata_says_synthetic(pushed: Orthanc, out: Path) -> None:
    header = next(iter(headers(out).values()))
    answer = requests.get(
        f"{pushed.dicomweb}/studies/{header.StudyInstanceUID}/metadata",
        headers={"Accept": "application/dicom+json"},
        timeout=60,
    ).json()
    assert len(answer) == 6
    assert {row["0008001C"]["Value"][0] for row in answer} == {"YES"}
    assert {row["0008103E"]["Value"][0].split()[0] for row in answer} == {"SYNTHETIC"}


@pytest.mark.parametrize("case", sorted(CODECS))
def test_the_viewer_has_the_levels_of_the_slide_and_nothing_else(pushed: Orthanc, out: Path, case: str) -> None:
    folder = out / "artifacts" / case / "he" / "synthetic-draw0"
    base = pydicom.dcmread(folder / "synthetic-level0.dcm", stop_before_pixels=True)
    pyramid = json.loads(pushed.get(f"/wsi/pyramids/{series_id(pushed, base.SeriesInstanceUID)}"))
    assert pyramid["Sizes"] == [[1900, 1300], [950, 650], [475, 325]]
    label = pydicom.dcmread(folder / "synthetic-label.dcm", stop_before_pixels=True)
    assert series_id(pushed, label.SeriesInstanceUID) != series_id(pushed, base.SeriesInstanceUID)
    alone = json.loads(pushed.get(f"/wsi/pyramids/{series_id(pushed, label.SeriesInstanceUID)}"))
    assert alone["Sizes"] == [[800, 400]]


def pink(picture: np.ndarray) -> np.ndarray:
    wide = picture.astype(np.int16)
    return (wide[..., 0] > wide[..., 1] + 40) & (wide[..., 2] > wide[..., 1] + 10)


def cut_to(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns in which `mask` is somewhere true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def shows_tissue(shown: np.ndarray, pixels: np.ndarray) -> bool:
    """The slide's tissue is there, large, of its shape and filled as in the slide, with nuclei in it."""
    found, truth = pink(shown), pink(pixels)
    if found.mean() < 0.05:
        return False
    seen, expected = found[cut_to(found)], truth[cut_to(truth)]
    shape = (seen.shape[1] / seen.shape[0]) / (expected.shape[1] / expected.shape[0])
    dark = shown.astype(np.int16).sum(axis=2)[cut_to(found)] < 350
    return abs(shape - 1) < 0.05 and abs(seen.mean() - expected.mean()) < 0.1 and dark.mean() > 0.002


def shows_label(shown: np.ndarray) -> bool:
    """The label's picture is there, letter by letter."""
    red = (shown[..., 0] > 120) & (shown[..., 1] < 60) & (shown[..., 2] < 60)
    if red.mean() < 0.005:
        return False
    # The red border lies 6 px inside the label's edge of 800 x 400.
    label = Image.new("RGB", (800, 400), "white")
    label.paste(Image.fromarray(shown[cut_to(red)]).resize((788, 388)), (6, 6))
    return label_agrees(np.asarray(label), "SYN-CASE-01-D0")


def test_what_the_viewer_is_judged_by(pixels: np.ndarray) -> None:
    page = np.full((700, 900, 3), 255, np.uint8)
    assert not shows_tissue(page, pixels)
    assert not shows_label(page)
    slide = np.asarray(Image.fromarray(pixels).resize((760, 520)))
    page[90:610, 70:830] = slide
    assert shows_tissue(page, pixels)
    assert not shows_label(page)
    page[90:610, 450:830] = 255  # half of the tiles are not there
    assert not shows_tissue(page, pixels)
    page[:] = 255
    page[100:300, 100:500] = np.asarray(Image.fromarray(render_label("SYN-CASE-01-D0")).resize((400, 200)))
    assert shows_label(page)
    assert not shows_tissue(page, pixels)


@pytest.mark.skipif(chromium() is None, reason="VIEWER NOT LOOKED AT, absent: chromium")
@pytest.mark.parametrize("case", sorted(CODECS))
def test_the_viewer_shows_tissue(pushed: Orthanc, out: Path, tmp_path: Path, pixels: np.ndarray, case: str) -> None:
    header = headers(out)[out / "artifacts" / case / "he/synthetic-draw0/synthetic-level0.dcm"]
    url = f"{pushed.url}/wsi/app/viewer.html?series={series_id(pushed, header.SeriesInstanceUID)}"
    shown = screenshot(url, tmp_path / "slide.png", lambda picture: shows_tissue(picture, pixels))
    assert shows_tissue(shown, pixels)


@pytest.mark.skipif(chromium() is None, reason="VIEWER NOT LOOKED AT, absent: chromium")
def test_the_viewer_shows_the_label(pushed: Orthanc, out: Path, tmp_path: Path) -> None:
    header = headers(out)[out / "artifacts/CASE-01/he/synthetic-draw0/synthetic-label.dcm"]
    url = f"{pushed.url}/wsi/app/viewer.html?series={series_id(pushed, header.SeriesInstanceUID)}"
    assert shows_label(screenshot(url, tmp_path / "label.png", shows_label))
