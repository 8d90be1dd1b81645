"""What intake sees in the pixels of a slide: focus, exposure, pens and stains; each refusal says what to do."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.color import hed2rgb

from benchmarks.slides.spoilt import KINDS
from mupd.config import load_config
from mupd.errors import UnusableError
from mupd.slides.channels import swapped_channels_caution
from mupd.slides.checks import check_he
from mupd.slides.quality import FOCUS_LEAST, focus_of, pen_marks, refuse_if_not_he
from mupd.slides.reader import open_slide
from mupd.slides.thumbnails import outlined, outlined_picture, picture_of
from mupd.slides.tissue import od_above_background
from tests.fixtures.basic import he_pixels
from tests.fixtures.paths import REPOSITORY

LIMITS = replace(load_config(REPOSITORY / "config" / "config.yaml").intake, min_tissue_mm2=0.0)
Write = Callable[..., Path]
Array = np.ndarray


def unusable(path: Path, mpp: float | None = 0.5) -> str:
    with pytest.raises(UnusableError) as caught:
        check_he(path, mpp, LIMITS)
    return str(caught.value)


def blurred(pixels: Array, sigma_px: float) -> Array:
    return np.round(ndimage.gaussian_filter(pixels.astype(np.float32), (sigma_px, sigma_px, 0))).astype(np.uint8)


def real_tiles(shared_data: Path, every: int) -> list[Path]:
    with (shared_data / "he_tiles" / "tiles.csv").open(newline="") as stream:
        return [shared_data / "he_tiles" / row["file"] for row in csv.DictReader(stream)][::every]


def test_a_blurred_slide_is_refused_and_a_partly_blurred_one_is_not(write_he: Write) -> None:
    picture = he_pixels(1600, 1200)
    sharp = check_he(write_he(pixels=picture), 0.5, LIMITS)
    assert sharp["blurred_fraction"] == 0
    assert sharp["focus"] > FOCUS_LEAST
    soft = blurred(picture, 4)
    assert "out of focus: 100%" in unusable(write_he(pixels=soft))
    soft[:, :800] = picture[:, :800]
    assert 0 < check_he(write_he(pixels=soft), 0.5, LIMITS)["blurred_fraction"] <= 0.75


def test_focus_does_not_depend_on_the_scale_of_scanning() -> None:
    picture = he_pixels(512, 512)
    twice = picture.repeat(2, 0).repeat(2, 1)
    assert focus_of(twice, 0.25) == pytest.approx(focus_of(picture, 0.5), rel=0.01)


def test_windows_too_small_to_tell_are_not_judged(write_he: Write) -> None:
    assert focus_of(he_pixels(50, 60), 0.5) is None
    assert check_he(write_he(pixels=he_pixels(60, 60)), 0.5, LIMITS)["focus"] is None


def test_real_tiles_are_sharp_and_their_blurred_copies_are_not(shared_data: Path) -> None:
    tiles = [np.asarray(Image.open(path).convert("RGB")) for path in real_tiles(shared_data, 40)]
    assert all((focus_of(tile, 0.5) or 1) >= FOCUS_LEAST for tile in tiles)
    caught = [(focus_of(blurred(tile, 3), 0.5) or 0) < FOCUS_LEAST for tile in tiles]
    assert np.mean(caught) > 0.9


def test_saturated_pictures_are_refused(write_he: Write) -> None:
    stretched = np.clip((he_pixels().astype(float) - 150) * 3, 0, 255).astype(np.uint8)
    assert "saturated" in unusable(write_he(pixels=stretched))


@pytest.mark.parametrize(
    ("ink", "colour"),
    [((40, 70, 190), "blue"), ((20, 120, 70), "green"), ((25, 25, 28), "black"), ((205, 25, 35), "red")],
)
def test_pens_are_found_by_colour_and_their_marks_are_no_tissue(
    tmp_path: Path, ink: tuple[int, ...], colour: str
) -> None:
    picture = he_pixels(1200, 900)
    picture[100:200, 60:1100] = ink
    Image.fromarray(picture).save(tmp_path / "slide.png")
    facts = check_he(tmp_path / "slide.png", 3.0, LIMITS)
    assert list(facts["pen"]) == [colour]
    assert facts["pen"][colour] == pytest.approx(100 * 1040 / (1200 * 900), rel=0.1)
    mask = picture_of(tmp_path / "slide.png", 3.0, 600)[1]
    assert not mask[52:98, 35:545].any()
    assert mask[200:250, 280:320].mean() > 0.9


def test_a_slide_that_is_mostly_pen_is_refused_for_what_is_left(tmp_path: Path) -> None:
    picture = np.full((900, 1200, 3), 243, np.uint8)
    picture[200:700, 200:1000] = (40, 70, 190)
    picture[100:130, 100:130] = (222, 150, 195)
    Image.fromarray(picture).save(tmp_path / "slide.png")
    limits = replace(LIMITS, min_tissue_mm2=0.05)
    with pytest.raises(UnusableError, match=r"beside marks of a pen \(blue 3\d"):
        check_he(tmp_path / "slide.png", 3.0, limits)


def test_no_pen_is_seen_on_real_tissue_and_the_real_pen_is(shared_data: Path) -> None:
    # A slide of tiles of many organs: 224 px of each, at 4 um/px.
    small = [Image.open(path).convert("RGB").crop((0, 0, 224, 224)).reduce(8) for path in real_tiles(shared_data, 3)]
    rows = [np.hstack([np.asarray(image) for image in small[start : start + 22]]) for start in range(0, 22 * 22, 22)]
    section = Image.open(shared_data / "her2st" / "images" / "C4.jpg").convert("RGB")
    section.thumbnail((1024, 1024))
    for thumb, um_per_px in ((np.vstack(rows), 4.0), (np.asarray(section), 7.6)):
        assert pen_marks(thumb, od_above_background(thumb), um_per_px)[1] == {}
    thumb = np.asarray(Image.open(shared_data / "slides" / "thumb-blue-pen.png").convert("RGB"))
    marks, shares = pen_marks(thumb, od_above_background(thumb), 250.0)
    assert list(shares) == ["blue"]
    assert marks[:, 140:].any()


def colours_refused(picture: Array) -> str:
    with pytest.raises(UnusableError) as caught:
        refuse_if_not_he(picture, od_above_background(picture))
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("haematoxylin only", "no eosin"),
        ("haematoxylin, DAB on 2 % of the area", "H&E"),
        ("haematoxylin, DAB on 50 %", "H&E"),
        ("haematoxylin, half of it brown (nuclear DAB)", "H&E"),
    ],
)
def test_immunohistochemistry_made_from_real_tiles_is_refused(shared_data: Path, change: str, words: str) -> None:
    for path in real_tiles(shared_data, 60):
        assert words in colours_refused(KINDS[change](np.asarray(Image.open(path).convert("RGB")), 0.5))


def test_dense_brown_over_haematoxylin_is_told_by_the_blue_that_it_absorbs(shared_data: Path) -> None:
    picture = np.asarray(Image.open(shared_data / "he_tiles" / "lc25000_lung_224" / "lungaca335.jpeg").convert("RGB"))
    refuse_if_not_he(picture, od_above_background(picture))
    assert "absorbs blue as much as green" in colours_refused(KINDS["haematoxylin, DAB on 50 %"](picture, 0.5))


def test_real_immunohistochemistry_is_refused_as_what_it_is() -> None:
    from skimage import data

    assert "brown" in colours_refused(data.immunohistochemistry())


def test_a_tinted_background_is_taken_off(shared_data: Path) -> None:
    path = shared_data / "he_tiles" / "breakhis_400x" / "benign___SOB_B_F-14-23060CD-400-002_102.jpg"
    assert check_he(path, 0.5, LIMITS)["pink_fraction"] > 0.5


@pytest.mark.slow
def test_every_real_tile_is_accepted_and_every_fluorescence_mosaic_is_not(shared_data: Path) -> None:
    for path in [*real_tiles(shared_data, 1), *sorted((shared_data / "he_mif" / "he").iterdir())]:
        check_he(path, 0.5, LIMITS)
    for path in sorted((shared_data / "he_mif" / "mif").iterdir()):
        assert unusable(path).startswith("not H&E")


def test_pictures_for_pages_show_the_outline_of_the_tissue(write_he: Write) -> None:
    rgb, mask = picture_of(write_he(pixels=he_pixels(800, 600)), None, 400)
    assert rgb.shape == (300, 400, 3)
    assert mask.shape == (300, 400)
    drawn = outlined(rgb, mask)
    green = (drawn == (0, 140, 60)).all(-1)
    # An ellipse of 0.8 x 0.8 of the picture, two pixels wide.
    assert 1300 < green.sum() < 2800
    assert not green[130:170, 180:220].any()
    for kind, magic in (("JPEG", b"\xff\xd8"), ("PNG", b"\x89PNG")):
        assert outlined_picture(write_he(), None, 100, kind).startswith(magic)


def padded(picture: Array, share: float, value: int, noise: int = 0) -> Array:
    """The picture with fill of one grey value at its right, which takes a share of the whole."""
    width = round(picture.shape[1] * share / (1 - share))
    fill = value + np.random.default_rng(0).integers(0, noise + 1, (picture.shape[0], width, 1))
    return np.concatenate([picture, np.broadcast_to(fill, (*fill.shape[:2], 3)).astype(np.uint8)], axis=1)


@pytest.mark.parametrize("share", [0.2, 0.45])
@pytest.mark.parametrize(("value", "noise"), [(0, 0), (3, 8), (64, 0), (192, 0), (211, 0), (255, 0)])
def test_fill_outside_the_scan_is_no_tissue(tmp_path: Path, share: float, value: int, noise: int) -> None:
    picture = he_pixels(900, 700)
    Image.fromarray(picture).save(tmp_path / "plain.png")
    plain = check_he(tmp_path / "plain.png", 0.5, LIMITS)
    assert (plain["fill_fraction"], plain["cautions"]) == (0, [])
    Image.fromarray(padded(picture, share, value, noise)).save(tmp_path / "filled.png")
    filled = check_he(tmp_path / "filled.png", 0.5, LIMITS)
    assert filled["fill_fraction"] == pytest.approx(share, abs=0.02)
    assert filled["cautions"] == [f"{filled['fill_fraction']:.0%} of the picture is fill outside the scan: "
                                  "taken as no tissue"]  # fmt: skip
    assert filled["tissue_mm2"] == pytest.approx(plain["tissue_mm2"], rel=0.02)
    for fact in ("haematoxylin_od", "eosin_od", "green_od_share", "pink_fraction"):
        assert filled[fact] == pytest.approx(plain[fact], abs=0.03)


@pytest.mark.parametrize("share", [0.2, 0.45])
def test_black_fill_beside_real_tissue(shared_data: Path, tmp_path: Path, share: float) -> None:
    for tile in real_tiles(shared_data, 200):
        picture = np.asarray(Image.open(tile).convert("RGB"))
        Image.fromarray(padded(picture, share, 0)).save(tmp_path / "filled.png")
        filled = check_he(tmp_path / "filled.png", 0.5, LIMITS)
        assert filled["haematoxylin_od"] == pytest.approx(check_he(tile, 0.5, LIMITS)["haematoxylin_od"], abs=0.15)


def test_fill_alone_is_no_slide(write_he: Write) -> None:
    assert "fill of one colour" in unusable(write_he(pixels=padded(he_pixels(100, 700), 0.995, 128)))
    assert "nearly black" in unusable(write_he(pixels=np.full((700, 900, 3), 4, np.uint8)))


def test_glass_of_one_exact_value_is_no_fill(write_he: Write) -> None:
    picture = he_pixels(900, 700)
    y, x = np.mgrid[0:700, 0:900]
    picture[((x / 900 - 0.5) / 0.41) ** 2 + ((y / 700 - 0.5) / 0.41) ** 2 > 1] = 255
    assert check_he(write_he(pixels=picture), 0.5, LIMITS)["fill_fraction"] == 0


def swapped_share(pictures: list[Array]) -> tuple[float, float]:
    """Shares that are refused, and that are refused or bring a caution."""
    refused, noted = 0, 0
    for picture in pictures:
        try:
            noted += swapped_channels_caution([picture]) is not None
        except UnusableError:
            refused += 1
    return refused / len(pictures), (refused + noted) / len(pictures)


def test_swapped_channels_are_refused_or_named_and_real_slides_are_not(shared_data: Path) -> None:
    tiles = [np.asarray(Image.open(path).convert("RGB")) for path in real_tiles(shared_data, 25)]
    assert swapped_share(tiles)[0] == 0
    assert swapped_share(tiles)[1] < 0.05
    refused, noted = swapped_share([tile[..., ::-1] for tile in tiles])
    assert refused > 0.8
    assert noted > 0.95


@pytest.mark.parametrize("name", ["slides/CMU-1-Small-Region.svs", "her2st/images/C5.jpg"])
def test_swapped_channels_of_a_whole_slide(shared_data: Path, tmp_path: Path, name: str) -> None:
    with open_slide(shared_data / name, 0.5) as slide:
        width, height = slide.size_px
        region = slide.read(width // 3, height // 3, 1400, 1400)
    Image.fromarray(region).save(tmp_path / "right.png")
    assert check_he(tmp_path / "right.png", 0.5, LIMITS)["cautions"] == []
    Image.fromarray(region[..., ::-1]).save(tmp_path / "swapped.png")
    assert "red and blue are swapped" in unusable(tmp_path / "swapped.png")


@pytest.mark.parametrize("pink", [0.02, 0.041, 0.049])
def test_dense_tumour_with_little_pink_passes_and_haematoxylin_alone_does_not(pink: float) -> None:
    # Haematoxylin with a little eosin in most pixels: nearly as much red as green is absorbed.
    picture = hed2rgb(np.broadcast_to([0.14, 0.004, 0.0], (512, 512, 3)))
    stroma = hed2rgb(np.broadcast_to([0.03, 0.1, 0.0], (512, 512, 3)))
    columns = np.arange(512) < round(512 * pink) + 1
    picture = (np.where(columns[None, :, None], stroma, picture) * 255).round().astype(np.uint8)
    colour = refuse_if_not_he(picture, od_above_background(picture))
    assert colour.pink_share == pytest.approx(pink, abs=0.006)
    alone = (hed2rgb(np.broadcast_to([0.14, 0.0, 0.0], (512, 512, 3))) * 255).round().astype(np.uint8)
    with pytest.raises(UnusableError, match="no eosin"):
        refuse_if_not_he(alone, od_above_background(alone))


def test_a_few_brown_cells_on_haematoxylin_are_no_dense_tumour() -> None:
    stains = np.broadcast_to([0.14, 0.0, 0.0], (512, 512, 3)).copy()
    stains[:, :10] = [0.03, 0.1, 0.0]
    stains[:, 100:110] = [0.05, 0.0, 0.2]
    picture = (hed2rgb(stains) * 255).round().astype(np.uint8)
    with pytest.raises(UnusableError, match="immunohistochemistry"):
        refuse_if_not_he(picture, od_above_background(picture))
