from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mupd.config import IntakeLimits
from mupd.errors import UnusableError
from mupd.slides.checks import check_he
from mupd.slides.reader import open_slide
from mupd.slides.tiles import read_window, tissue_tiles
from mupd.slides.tissue import stain_density, tissue_mask
from tests.fixtures.basic import he_pixels

LIMITS = IntakeLimits(0.05, 3, 0.1, "auto", ())
ANY_SIZE = replace(LIMITS, min_tissue_mm2=0.0)
Write = Callable[..., Path]


def pyramid(path: Path, pixels: np.ndarray, mpp: float | None = 0.5) -> Path:
    """A tiled TIFF that OpenSlide reads, with a resolution in pixels per centimetre."""
    resolution = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 4):
            writer.write(pixels[::step, ::step], tile=(256, 256), compression="zlib", photometric="rgb", **resolution)
    return path


def test_facts_of_a_plain_picture(write_he: Write) -> None:
    facts = check_he(write_he(), 0.78, LIMITS)
    assert facts["size_px"] == [640, 480]
    assert (facts["mpp"], facts["mpp_source"], facts["file_mpp"], facts["format"]) == (0.78, "sheet", None, "png")
    ellipse = np.pi * 0.4**2
    assert facts["tissue_fraction"] == pytest.approx(ellipse, abs=0.03)
    assert facts["tissue_mm2"] == pytest.approx(facts["tissue_fraction"] * 640 * 480 * 0.78**2 / 1e6, rel=1e-3)
    assert 0 < facts["haematoxylin_od"] < 1
    assert 0 < facts["eosin_od"] < 1


def test_a_pyramid_brings_its_own_scale_and_the_sheet_goes_before(tmp_path: Path) -> None:
    path = pyramid(tmp_path / "slide.tif", he_pixels(1200, 900))
    assert openslide.OpenSlide.detect_format(str(path)) is not None
    facts = check_he(path, None, LIMITS)
    assert facts["mpp"] == pytest.approx(0.5)
    assert facts["mpp_source"] == "file"
    facts = check_he(path, 0.52, ANY_SIZE)
    assert (facts["mpp"], facts["mpp_source"]) == (0.52, "sheet")
    assert facts["file_mpp"] == pytest.approx(0.5)


@pytest.mark.parametrize("sheet", [0.25, 1.0, 0.44])
def test_a_sheet_and_a_file_that_state_two_scales(tmp_path: Path, sheet: float) -> None:
    path = pyramid(tmp_path / "slide.tif", he_pixels(1200, 900))
    with pytest.raises(UnusableError, match=rf"he_mpp is {sheet:g}, the file states 0\.5 .*he_mpp_over_file"):
        check_he(path, sheet, ANY_SIZE)
    assert check_he(path, sheet, replace(ANY_SIZE, he_mpp_over_file=True))["mpp"] == sheet


def test_a_scale_that_no_scanner_has_does_not_speak_against_the_sheet(tmp_path: Path) -> None:
    path = pyramid(tmp_path / "slide.tif", he_pixels(1200, 900), 264.6)
    assert check_he(path, 0.5, ANY_SIZE)["mpp"] == 0.5


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_read_pads_with_white_and_thumbnail_keeps_shape(tmp_path: Path, kind: str) -> None:
    pixels = he_pixels(500, 300)
    path = tmp_path / f"slide.{kind}"
    Image.fromarray(pixels).save(path)
    path = pyramid(path, pixels) if kind == "tif" else path
    with open_slide(path, 0.5) as reader:
        corner = reader.read(-10, -20, 30, 40)
        assert corner.shape == (40, 30, 3)
        assert (corner[:20] == 255).all()
        assert (corner[:, :10] == 255).all()
        assert np.abs(corner[20:, 10:].astype(int) - pixels[:20, :20]).mean() < 6
        assert (reader.read(5000, 5000, 8, 4) == 255).all()
        assert reader.read(490, 290, 30, 40).shape == (40, 30, 3)
        assert reader.thumbnail(100).shape == (60, 100, 3)
        assert reader.thumbnail(4000).shape == (300, 500, 3)


def test_thumbnail_in_blocks_is_the_whole_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mupd.slides.blocks.BAND_PX", 300)
    pixels = he_pixels(1000, 500)
    with tifffile.TiffWriter(tmp_path / "flat.tif") as writer:
        writer.write(pixels, tile=(256, 256), compression="zlib", photometric="rgb")
    with open_slide(tmp_path / "flat.tif", 0.5) as reader:
        thumb = reader.thumbnail(100)
    expected = np.asarray(Image.fromarray(pixels).resize((100, 50), Image.Resampling.BOX))
    assert np.abs(thumb.astype(int) - expected).mean() < 3


def unusable(path: Path, mpp: float | None = 0.78, limits: IntakeLimits = LIMITS) -> str:
    with pytest.raises(UnusableError) as caught:
        check_he(path, mpp, limits)
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


def test_scale_is_never_guessed(write_he: Write, tmp_path: Path) -> None:
    path = write_he("slide.jpg")
    Image.open(path).save(path, dpi=(300, 300))
    assert "he_mpp" in unusable(path, None)
    assert "expected 0.1 to 4" in unusable(path, 40.0)
    screen = pyramid(tmp_path / "screen.tif", he_pixels(), mpp=352.8)
    assert "in the file" in unusable(screen, None)


def test_too_little_tissue(write_he: Write) -> None:
    assert "mm2 of tissue" in unusable(write_he(), limits=replace(LIMITS, min_tissue_mm2=1.0))


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.full((300, 300, 3), 250, np.uint8), "no tissue"),
        (np.zeros((300, 300, 3), np.uint8), "nearly black"),
        (np.repeat(he_pixels().mean(-1, keepdims=True), 3, -1).astype(np.uint8), "no colour"),
        (he_pixels()[..., [1, 0, 2]], "not plausibly H&E"),
        (255 - he_pixels(), "not"),
    ],
    ids=["white", "black", "grey", "colours exchanged", "inverted"],
)
def test_what_is_not_he_is_refused(write_he: Write, picture: np.ndarray, words: str) -> None:
    assert words in unusable(write_he(pixels=picture))


@pytest.mark.parametrize("name", ["slide.jpg", "slide.png"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_plain_pictures(write_he: Write, name: str, kept: float) -> None:
    path = write_he(name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert "truncated" in unusable(path)


def test_truncated_pyramid(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(he_pixels(1500, 1200), tile=(256, 256), compression="zlib", photometric="rgb")
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3 :] = b"\0" * (len(data) - len(data) * 2 // 3)
    path.write_bytes(data)
    assert "truncated" in unusable(path, 0.5)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"II*\0" + b"\xff" * 60])
def test_files_that_are_no_pictures(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "slide.svs"
    path.write_bytes(content)
    assert unusable(path)


def test_empty_folder_and_missing_file(tmp_path: Path) -> None:
    (tmp_path / "dicom").mkdir()
    assert "no DICOM" in unusable(tmp_path / "dicom")
    assert "does not open" in unusable(tmp_path / "gone.svs")


def test_huge_and_deep_plain_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(he_pixels()).save(tmp_path / "slide.png")
    monkeypatch.setattr("mupd.slides.limits.MOST_PLAIN_PIXELS", 1000)
    assert "megapixels" in unusable(tmp_path / "slide.png")
    monkeypatch.undo()
    Image.fromarray(he_pixels()[..., 0].astype(np.uint16) * 200).save(tmp_path / "deep.png")
    assert "8-bit" in unusable(tmp_path / "deep.png")


def test_transparency_is_white(tmp_path: Path) -> None:
    pixels = np.dstack([he_pixels(), np.full((480, 640), 255, np.uint8)])
    pixels[:100, :, :3], pixels[:100, :, 3] = 0, 0
    Image.fromarray(pixels, "RGBA").save(tmp_path / "slide.png")
    with open_slide(tmp_path / "slide.png", 0.5) as reader:
        assert (reader.read(0, 0, 640, 100) == 255).all()


def test_mask_leaves_out_ink_and_grey_dirt() -> None:
    picture = he_pixels()
    picture[20:60, 20:60] = (40, 60, 190)
    picture[20:60, 580:620] = (90, 90, 90)
    mask = tissue_mask(picture)
    assert not mask[25:55, 25:55].any()
    assert not mask[25:55, 585:615].any()
    assert mask[200:280, 280:360].mean() > 0.95


def test_stain_densities_are_decadic_and_follow_the_stain() -> None:
    # Ruifrok and Johnston's haematoxylin vector at density 1: transmitted light 10 ** -OD.
    pure = np.round(255 * 10 ** -np.array([0.65, 0.70, 0.29])).astype(np.uint8).reshape(1, 1, 3)
    haematoxylin, eosin = stain_density(pure)
    assert haematoxylin[0, 0] == pytest.approx(1.0, abs=0.02)
    assert eosin[0, 0] == pytest.approx(0.0, abs=0.02)
    picture = he_pixels()
    nuclei = picture.mean(-1) < 130
    assert stain_density(picture)[0][nuclei].mean() > 3 * stain_density(picture)[0][~nuclei].mean()


def test_tiles_cover_tissue_evenly_and_repeat(write_he: Write) -> None:
    with open_slide(write_he(pixels=he_pixels(1600, 1200)), 0.5) as reader:
        mask = tissue_mask(reader.thumbnail(2048))
        every = tissue_tiles(reader, 40, 10_000, seed=1)
        some = tissue_tiles(reader, 40, 20, seed=1)
        assert len(some) == 20
        assert len(np.unique(some, axis=0)) == 20
        assert np.array_equal(some, tissue_tiles(reader, 40, 20, seed=1))
        assert not np.array_equal(some, tissue_tiles(reader, 40, 20, seed=2))
        left = (some[:, 0] < 800).mean()
        assert 0.3 < left < 0.7
        for x, y in every.astype(int):
            assert mask[y - 40 : y + 40, x - 40 : x + 40].mean() >= 0.45
        assert set(map(tuple, some)) <= set(map(tuple, every))


def test_tiles_of_slides_smaller_than_a_window_or_without_tissue(write_he: Write) -> None:
    with open_slide(write_he(pixels=he_pixels(100, 80)), 0.5) as reader:
        assert tissue_tiles(reader, 100, 5, seed=0).tolist() == [[50.0, 40.0]]
    with open_slide(write_he(pixels=np.full((300, 300, 3), 245, np.uint8)), 0.5) as reader:
        assert tissue_tiles(reader, 40, 5, seed=0).shape == (0, 2)
    with open_slide(write_he()) as reader, pytest.raises(UnusableError):
        tissue_tiles(reader, 40, 5, seed=0)


def test_read_window_is_the_window(write_he: Write) -> None:
    pixels = he_pixels(400, 400)
    with open_slide(write_he(pixels=pixels), 0.5) as reader:
        same = read_window(reader, np.array([200.0, 200.0]), 64, 128)
        assert np.array_equal(same, pixels[136:264, 136:264])
        half = read_window(reader, np.array([200.0, 200.0]), 64, 64)
        expected = pixels[136:264, 136:264].reshape(64, 2, 64, 2, 3).mean((1, 3))
        assert half.shape == (64, 64, 3)
        assert np.abs(half - expected).mean() < 6
        outside = read_window(reader, np.array([0.0, 0.0]), 64, 64)
        assert (outside[:28, :28] == 255).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(-50, 450), st.floats(-50, 450), st.floats(5, 300), st.integers(1, 200))
def test_windows_have_their_size_anywhere(x: float, y: float, window_um: float, out_px: int) -> None:
    class Flat:
        size_px, mpp = (400, 400), 0.5

        def read(self, x: int, y: int, w: int, h: int) -> np.ndarray:
            return np.full((h, w, 3), 200, np.uint8)

    window = read_window(Flat(), np.array([x, y]), window_um, out_px)  # type: ignore[arg-type]
    assert window.shape == (out_px, out_px, 3)
    assert (window == 200).all()


REAL_HE = [
    ("her2st/images/C5.jpg", 0.78),
    ("slides/CMU-1-Small-Region.svs", None),
    ("slides/tile-he-level0.png", 0.5),
    ("tcga/he/TCGA-DK-A2I6-01A-01-TS1.png", 0.25),
    ("tcga/he/TCGA-AD-6964-01Z-00-DX1_Tile_22016_11776.jpg", 0.5),
]
REAL_OTHER = [
    ("slides/tile-ihc-kidney.png", "not plausibly H&E"),
    ("slides/tile-almost-white.png", "no tissue"),
    ("slides/tile-no-tissue-line.png", "no colour"),
    ("slides/kidney-48-5.tif", "not plausibly H&E"),
    ("dicom/sm_image_grayscale.dcm", "one channel"),
    ("dicom/sm_image_numbers.dcm", "not plausibly H&E"),
    ("formats/fluorescence/small_vectra.qptiff", "nearly black"),
    ("formats/scanpy_10x/visium_data/1.0.0/spatial/tissue_hires_image.png", "nearly black"),
]


@pytest.mark.parametrize(("name", "mpp"), REAL_HE)
def test_real_he_is_measured(shared_data: Path, name: str, mpp: float | None) -> None:
    facts = check_he(shared_data / name, mpp, LIMITS)
    assert facts["green_od_share"] > 0.39


@pytest.mark.parametrize(("name", "words"), REAL_OTHER)
def test_real_pictures_of_something_else_are_refused(shared_data: Path, name: str, words: str) -> None:
    assert words in unusable(shared_data / name, 0.5, ANY_SIZE)


def test_fluorescence_is_refused_and_its_he_is_not(shared_data: Path) -> None:
    for path in sorted((shared_data / "he_mif" / "mif").iterdir())[::40]:
        assert unusable(path, 0.5, ANY_SIZE).startswith("not H&E")
    for path in sorted((shared_data / "he_mif" / "he").iterdir())[::40]:
        assert check_he(path, 0.5, ANY_SIZE)["tissue_fraction"] > 0.2


def test_spots_lie_on_the_tissue_that_the_mask_finds(shared_data: Path) -> None:
    lines = (shared_data / "her2st" / "spots" / "C5_selection.tsv").read_text().splitlines()
    spots = [line.split("\t") for line in lines[1:]]
    with open_slide(shared_data / "her2st" / "images" / "C5.jpg", 0.78) as reader:
        mask = tissue_mask(reader.thumbnail(1024))
        scale = mask.shape[1] / reader.size_px[0]
    hits = [mask[int(float(y) * scale), int(float(x) * scale)] for *_, x, y, selected in spots if selected == "1"]
    assert np.mean(hits) > 0.85
    assert mask.mean() < 0.3
