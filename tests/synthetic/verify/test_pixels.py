"""Pixels of a watermarked slide, edited, exported, and given to intake."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames

from mupd.config import Config
from mupd.sheet import SheetCase
from mupd.slides.reader import open_slide
from mupd.stages.export.current import slide_is_current
from mupd.synthetic.dicom.marks import TELLING
from mupd.synthetic.dicom.pixel_digest import frames_digest
from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi
from mupd.synthetic.picture.marks import TEXT_FIELD, WATERMARK
from mupd.synthetic.picture.png_marks import PNG_TEXT, png_info
from mupd.synthetic.statement import BANNER
from mupd.synthetic.verify.evidence import SLIDE_HEADERS
from mupd.synthetic.verify.recognise import FILE_NAME, synthetic_marks
from mupd.synthetic.verify.verify import verify_path
from tests.fixtures.basic import he_pixels
from tests.fixtures.intake import examine
from tests.fixtures.synthetic import meta_of
from tests.synthetic.verify.test_verify import edit_dicom


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A watermarked slide of 1,500 x 1,100 px: `he/synthetic-draw0`."""
    folder = tmp_path_factory.mktemp("run") / "he" / "synthetic-draw0"
    write_wsi(
        he_pixels(1500, 1100),
        folder,
        meta_of("he"),
        SlideSettings(run_seed=7, mpp=0.5, jpeg_quality=90, artifact_key="k", watermark=True),
    )
    return folder


@pytest.fixture(scope="module")
def exported(slide: Path) -> Image.Image:
    """A region of the slide as a viewer exports it."""
    with open_slide(slide) as reader:
        return Image.fromarray(reader.read(333, 222, 800, 700))


def strip(folder: Path) -> None:
    """Take every mark out of the headers and names of a slide."""
    for path in sorted(folder.iterdir()):
        nothing = dict.fromkeys(("SyntheticData", "ContributingEquipmentSequence", "DerivationDescription"))
        edit_dicom(path, **nothing, SeriesDescription="H&E", ContainerIdentifier="X", LabelText="X")
        path.rename(folder / path.name.replace("synthetic-", ""))


def test_a_watermarked_slide_is_intact(slide: Path) -> None:
    found = verify_path(slide)
    assert (found.kind, found.content, found.marks_missing, found.exit_code) == ("dicom-wsi", "intact", (), 3)
    assert any(mark.startswith(WATERMARK) for mark in found.marks_found)


@pytest.mark.parametrize("name", ["synthetic-level0.dcm", "synthetic-level1.dcm", "synthetic-thumbnail.dcm"])
def test_edited_pixels_show_without_a_manifest(slide: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / slide.name
    shutil.copytree(slide, folder)
    dataset = pydicom.dcmread(folder / name)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.NumberOfFrames)))
    with Image.open(BytesIO(frames[0])) as picture:
        pixels = np.asarray(picture.convert("RGB")).copy()
    pixels[:16, :16] = 0
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, subsampling="4:2:2")
    dataset.PixelData = encapsulate([stream.getvalue(), *frames[1:]])
    dataset.save_as(folder / name)
    found = verify_path(folder)
    assert found.marks_missing == ()
    assert found.notes == (f"{name}: the frames do not have the digest that the header states",)
    assert (found.hash_state, found.content, found.exit_code) == ("altered", "altered", 4)
    assert slide_is_current(slide, "k")
    assert not slide_is_current(folder, "k"), "export would keep an edited slide"


def test_the_digest_is_of_the_frames_and_not_of_the_container(slide: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(slide / "synthetic-level0.dcm")
    frames = list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.NumberOfFrames)))
    dataset.PixelData = encapsulate(frames, has_bot=False)
    dataset.PatientComments = "sent through an archive"
    dataset.save_as(tmp_path / "synthetic-level0.dcm")
    assert frames_digest(tmp_path / "synthetic-level0.dcm") == frames_digest(slide / "synthetic-level0.dcm")
    assert verify_path(tmp_path / "synthetic-level0.dcm").content == "intact"


def test_a_slide_stripped_of_every_header_mark(slide: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slide"
    shutil.copytree(slide, folder)
    strip(folder)
    marks = synthetic_marks(folder)
    assert [mark.split(" (")[0] for mark in marks] == [WATERMARK]
    found = verify_path(folder)
    assert (found.synthetic, found.exit_code) == (True, 4)
    assert f"level0.dcm: {TELLING[0]}" in found.marks_missing


def as_jpeg(picture: Image.Image, path: Path) -> None:
    picture.save(path, "JPEG", quality=80)


def as_half_jpeg(picture: Image.Image, path: Path) -> None:
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=80)
    with Image.open(stream) as again:
        again.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC).save(path, "JPEG", quality=80)


def as_tiff(picture: Image.Image, path: Path) -> None:
    picture.save(path, "TIFF", compression="tiff_lzw")


EXPORTS: list[tuple[str, Callable[[Image.Image, Path], None]]] = [
    ("x.png", lambda picture, path: picture.save(path)),
    ("x.jpg", as_jpeg),
    ("half.jpg", as_half_jpeg),
    ("x.tiff", as_tiff),
]


@pytest.mark.parametrize(("name", "export"), EXPORTS)
def test_exported_pixels_are_recognised(
    exported: Image.Image, tmp_path: Path, name: str, export: Callable[[Image.Image, Path], None]
) -> None:
    export(exported, tmp_path / name)
    (mark,) = synthetic_marks(tmp_path / name)
    assert mark.startswith(WATERMARK)
    found = verify_path(tmp_path / name)
    assert (found.kind, found.synthetic, found.exit_code) == ("picture", True, 4)
    assert SLIDE_HEADERS in found.marks_missing
    assert FILE_NAME in found.marks_missing


def test_a_picture_that_says_so_itself(exported: Image.Image, tmp_path: Path) -> None:
    exported.save(tmp_path / "x.synthetic.png", pnginfo=png_info("Generated."))
    found = verify_path(tmp_path / "x.synthetic.png")
    assert found.marks_found[:2] == (FILE_NAME, PNG_TEXT)
    assert (found.marks_missing, found.exit_code) == ((), 3)
    exported.save(tmp_path / "x.synthetic.jpg", comment=BANNER.encode())
    found = verify_path(tmp_path / "x.synthetic.jpg")
    assert found.marks_found[:2] == (FILE_NAME, TEXT_FIELD)
    assert found.exit_code == 3


def test_measured_and_damaged_pictures(tmp_path: Path) -> None:
    pixels = he_pixels(900, 800, 4)
    for name in ("x.png", "x.jpg", "x.tif"):
        Image.fromarray(pixels).save(tmp_path / name)
        found = verify_path(tmp_path / name)
        assert (found.kind, found.synthetic, found.exit_code) == ("picture", False, 0)
    Image.fromarray(np.arange(90000, dtype=np.uint16).reshape(300, 300)).save(tmp_path / "deep.tif")
    deep = verify_path(tmp_path / "deep.tif")
    assert deep.exit_code == 5
    assert deep.unsearched.startswith("not searched for the watermark: ")
    (tmp_path / "cut.png").write_bytes((tmp_path / "x.png").read_bytes()[:20000])
    (tmp_path / "none.png").write_bytes(b"nothing")
    for name in ("cut.png", "none.png"):
        found = verify_path(tmp_path / name)
        assert (found.kind, found.exit_code) == ("unreadable", 1)


@pytest.mark.parametrize(("name", "export"), EXPORTS[:3])
def test_intake_refuses_exported_pixels(
    exported: Image.Image,
    tmp_path: Path,
    make_config: Callable[..., Config],
    name: str,
    export: Callable[[Image.Image, Path], None],
) -> None:
    export(exported, tmp_path / name)
    case = SheetCase("A", tmp_path / name, None, None, 0.5, "", "", {}, 2)
    entry = examine(case, "he", make_config(), ())
    assert entry.status == "unusable"
    assert f"it is synthetic ({WATERMARK}" in entry.reason


def test_intake_takes_measured_pixels_and_names_that_config_allows(
    exported: Image.Image, tmp_path: Path, make_config: Callable[..., Config]
) -> None:
    Image.fromarray(he_pixels(900, 800, 4)).save(tmp_path / "measured.png")
    exported.save(tmp_path / "export.png")
    measured, export = (
        SheetCase("A", tmp_path / name, None, None, 0.5, "", "", {}, 2) for name in ("measured.png", "export.png")
    )
    assert examine(measured, "he", make_config(), ()).status == "measured"
    let_in = examine(export, "he", make_config(intake={"allow_synthetic": ["export.*"]}), ())
    assert let_in.status == "measured"
    assert WATERMARK in let_in.reason
