"""The formats that slides come in: read at any level, with the scale that they state, and never more than is asked."""

from __future__ import annotations

import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from wsidicom.errors import WsiDicomNotFoundError

from benchmarks.slides.spoilt import vast_tiff
from mupd.config import load_config
from mupd.errors import UnusableError
from mupd.slides.checks import check_he
from mupd.slides.formats import FORMATS, format_of
from mupd.slides.limits import MOST_FLAT_PIXELS
from mupd.slides.ome_scale import unit_um
from mupd.slides.openslide_formats import OpenSlideReader
from mupd.slides.reader import open_slide, source_files
from tests.fixtures.basic import he_pixels
from tests.fixtures.he_files import dicom_level, leica_scn, ome_tiff, ventana_bif
from tests.fixtures.paths import REPOSITORY

LIMITS = replace(load_config(REPOSITORY / "config" / "config.yaml").intake, min_tissue_mm2=0.01)
PIXELS = he_pixels(600, 500)
PLANES = np.ascontiguousarray(PIXELS.transpose(2, 0, 1))


def refusal(path: Path, mpp: float | None = None) -> str:
    with pytest.raises(UnusableError) as caught, open_slide(path, mpp):
        pass
    return str(caught.value)


def test_ome_tiff_has_its_levels_and_its_scale(tmp_path: Path) -> None:
    with open_slide(ome_tiff(tmp_path / "slide.ome.tif", PIXELS, 0.5)) as slide:
        assert slide.level_sizes_px == ((600, 500), (300, 250))
        assert (slide.mpp, slide.mpp_source, slide.format) == (0.5, "file", "ome-tiff")
        assert np.array_equal(slide.read(0, 0, 600, 500), PIXELS)
        assert np.array_equal(slide.read_level(1, 100, 50, 130, 140), PIXELS[::2, ::2][50:190, 100:230])
        outside = slide.read(590, 490, 20, 20)
        assert np.array_equal(outside[:10, :10], PIXELS[490:, 590:])
        assert (outside[10:] == 255).all()


@pytest.mark.parametrize(("make", "name"), [(leica_scn, "leica"), (ventana_bif, "ventana")])
def test_files_laid_out_as_scn_and_bif_read_with_their_scale(tmp_path: Path, make: Any, name: str) -> None:
    pixels = he_pixels(1024, 768)
    path = make(tmp_path / f"slide.{'scn' if name == 'leica' else 'bif'}", pixels, 0.5)
    facts = check_he(path, None, LIMITS)
    assert (facts["format"], facts["mpp"], facts["levels"], facts["mpp_source"]) == (name, 0.5, 2, "file")
    with open_slide(path, None) as slide:
        assert np.abs(slide.read(300, 200, 400, 300).astype(int) - pixels[200:500, 300:700]).mean() < 6
    content = path.read_bytes()
    (tmp_path / f"cut{path.suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnusableError):
        check_he(tmp_path / f"cut{path.suffix}", None, LIMITS)


@pytest.mark.parametrize(
    ("stated", "unit", "mpp"),
    [
        (250, "nm", 0.25),
        (0.00025, "mm", 0.25),
        (0.25, "µm", 0.25),
        (1, "pixel", None),
        (5e-05, "cm", 0.5),
        (None, "µm", None),
        (0, "µm", None),
    ],
)
def test_ome_scale_follows_its_unit_and_is_never_guessed(
    tmp_path: Path, stated: float | None, unit: str, mpp: float | None
) -> None:
    with open_slide(ome_tiff(tmp_path / "slide.ome.tif", PIXELS, stated, unit)) as slide:
        assert slide.mpp == (pytest.approx(mpp) if mpp else None)


@pytest.mark.parametrize("unit", ["µm", "μm", "Âµm", "Î¼m", "?m", "\ufffdm", "um", "micron", "Micrometers", "\\u00B5m"])
def test_a_micrometre_in_any_encoding(unit: str) -> None:
    assert unit_um(unit) == 1


@pytest.mark.parametrize(
    ("unit", "um"), [("nm", 1e-3), ("mm", 1e3), ("cm", 1e4), ("m", 1e6), ("Å", 1e-4), ("in", 25400), ("Mm", 1e12)]
)
def test_units_of_length_in_micrometres(unit: str, um: float) -> None:
    assert unit_um(unit) == pytest.approx(um)


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "furlong", "px", ""])
def test_what_is_no_length_is_refused_with_what_was_stated(tmp_path: Path, unit: str) -> None:
    assert unit_um(unit) is None
    path = ome_tiff(tmp_path / "slide.ome.tif", PIXELS, 0.5, unit)
    with pytest.raises(UnusableError, match=rf"PhysicalSizeX = 0\.5 {unit}, which is no length: give it as he_mpp"):
        check_he(path, None, LIMITS)
    assert check_he(path, 0.5, LIMITS)["mpp"] == 0.5


@pytest.mark.parametrize("subifds", [1, 2, 3, 5])
@pytest.mark.parametrize("options", [{"ome": True, "bigtiff": True}, {"ome": False}, {"ome": False, "byteorder": ">"}])
def test_pyramids_of_any_number_of_subifds(tmp_path: Path, subifds: int, options: dict[str, Any]) -> None:
    path, tiles = tmp_path / "slide.tif", {"tile": (32, 32), "photometric": "rgb"}
    with tifffile.TiffWriter(path, **options) as writer:
        writer.write(PIXELS, subifds=subifds, resolution=(20_000, 20_000), resolutionunit="CENTIMETER", **tiles)
        for level in range(1, subifds + 1):
            writer.write(PIXELS[:: 2**level, :: 2**level], subfiletype=1, **tiles)
    assert check_he(path, 0.5, LIMITS)["levels"] == subifds + 1


def test_subifds_that_form_a_loop_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(PIXELS, subifds=2, tile=(32, 32), photometric="rgb")
        for step in (2, 4):
            writer.write(PIXELS[::step, ::step], subfiletype=1, tile=(32, 32), photometric="rgb")
    with tifffile.TiffFile(path) as file:
        first = file.pages[0]
        last = first.pages[1]
        link, target = last.offset + 2 + 12 * len(last.tags), first.offset
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, link, target)
    path.write_bytes(content)
    assert "form a loop" in refusal(path)


FOREIGN = {
    "slide.czi": b"ZISRAWFILE" + bytes(600),
    "renamed.tif": b"ZISRAWFILE" + bytes(600),
    "slide.vsi": b"II*\0" + bytes(600),
    "slide.nd2": b"\xda\xce\xbe\x0a" + bytes(600),
    "renamed.svs": b"\xda\xce\xbe\x0a" + bytes(600),
    "slide.lif": b"\x70\0\0\0" + bytes(600),
    "slide.isyntax": b"<DataObject" + bytes(600),
    "slide.oir": b"OLYMPUSRAWFORMAT" + bytes(600),
    "slide.jp2": b"\0\0\0\x0cjP  " + bytes(600),
    "slide.kfb": b"KFB" + bytes(600),
    "slide.ome.zarr.zip": b"PK\x03\x04" + bytes(600),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_formats_that_cannot_be_read_say_what_to_convert_with(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FOREIGN[name])
    words = refusal(tmp_path / name)
    assert "convert it with" in words or "export it from" in words or "export it with" in words or "unpack" in words


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (".zattrs", "OME-Zarr cannot be read here: convert it with raw2ometiff or QuPath"),
        ("zarr.json", "OME-Zarr"),
        ("stack1/frame_t.ets", "Olympus VSI"),
        ("Slidedat.ini", "give the .mrxs file beside it"),
    ],
)
def test_folders_that_are_no_dicom(tmp_path: Path, inside: str, words: str) -> None:
    (tmp_path / "slide" / inside).parent.mkdir(parents=True)
    (tmp_path / "slide" / inside).write_bytes(b"{}")
    assert words in refusal(tmp_path / "slide")


def test_other_files_in_place_of_a_slide(tmp_path: Path) -> None:
    for content, words in (
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "download the slide again"),
        (b"%PDF-1.4", "a print of a slide"),
    ):
        (tmp_path / "slide.svs").write_bytes(content)
        assert words in refusal(tmp_path / "slide.svs")


def test_a_readable_file_may_have_any_name(tmp_path: Path) -> None:
    for name in ("slide.dat", "slide.czi", "slide.zip"):
        Image.fromarray(PIXELS).save(tmp_path / name, "PNG")
        with open_slide(tmp_path / name, 0.5) as slide:
            assert slide.format == "png"


def test_mirax_without_its_folder_or_its_index(tmp_path: Path) -> None:
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"\xff\xd8\xff")
    assert "copy that folder beside the file" in refusal(path)
    (tmp_path / "slide").mkdir()
    assert "lacks Slidedat.ini" in refusal(path)


def test_pixels_that_are_not_square_are_refused(tmp_path: Path) -> None:
    assert "not square" in refusal(ome_tiff(tmp_path / "slide.ome.tif", PIXELS, 0.5, anisotropy=1.5))


@pytest.mark.parametrize(
    "options", [{"axes": "SYX", "planarconfig": "separate"}, {"axes": "CYX", "photometric": "minisblack"}]
)
def test_colours_in_planes_are_put_together(tmp_path: Path, options: dict[str, str]) -> None:
    with open_slide(ome_tiff(tmp_path / "slide.ome.tif", PLANES, 0.5, **options)) as slide:
        assert np.array_equal(slide.read(77, 99, 300, 200), PIXELS[99:299, 77:377])


def test_channels_depths_and_stacks_that_are_no_rgb_are_named(tmp_path: Path) -> None:
    channels = ome_tiff(
        tmp_path / "c.ome.tif", np.tile(PLANES, (2, 1, 1))[:4], 0.5, axes="CYX", photometric="minisblack"
    )
    assert "4 channels, as fluorescence" in refusal(channels)
    assert "uint16" in refusal(ome_tiff(tmp_path / "d.ome.tif", PIXELS.astype(np.uint16) * 200, 0.5))
    tifffile.imwrite(tmp_path / "z.tif", np.stack([PIXELS] * 3), photometric="rgb", ome=True, metadata={"axes": "ZYXS"})
    assert "a stack" in refusal(tmp_path / "z.tif")
    tifffile.imwrite(tmp_path / "grey.tif", PIXELS[..., 0])
    assert "one grey channel" in refusal(tmp_path / "grey.tif")


@pytest.mark.parametrize("options", [{"rowsperstrip": 16}, {"rowsperstrip": 500}, {"tile": (128, 128)}])
def test_strips_and_tiles_without_ome(tmp_path: Path, options: dict[str, object]) -> None:
    path = tmp_path / "slide.tif"
    resolution = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, PIXELS, compression="zlib", photometric="rgb", **options, **resolution)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(0.5)
        assert np.array_equal(slide.read(10, 20, 300, 310), PIXELS[20:330, 10:310])


def test_a_flat_tiled_tiff_with_hidden_levels_is_read_with_them(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as writer:
        options = {"tile": (128, 128), "compression": "zlib", "photometric": "rgb"}
        writer.write(PIXELS, subifds=1, **options)
        writer.write(PIXELS[::2, ::2], subfiletype=1, **options)
    with open_slide(path, 0.5) as slide:
        assert slide.level_sizes_px == ((600, 500), (300, 250))


@settings(max_examples=20, deadline=None)
@given(st.integers(-50, 650), st.integers(-50, 550), st.integers(1, 200), st.integers(1, 200))
def test_regions_of_tifffile_and_openslide_agree(
    tmp_path_factory: pytest.TempPathFactory, x: int, y: int, w: int, h: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "agree.ome.tif"
    if not path.exists():
        ome_tiff(path, PIXELS, 0.5)
    reader = OpenSlideReader(path, 0.5)
    with open_slide(path) as slide:
        assert np.array_equal(slide.read(x, y, w, h), reader.read(x, y, w, h))
    reader.close()


def test_a_vast_slide_costs_bounded_memory_and_seconds(tmp_path: Path) -> None:
    path = vast_tiff(tmp_path / "vast.tif", 100_000, levels=5)
    tracemalloc.start()
    facts = check_he(path, None, LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert facts["size_px"] == [100_000, 100_000]
    assert facts["tissue_mm2"] > 100
    assert peak < 200e6


def test_a_vast_slide_without_levels_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = vast_tiff(tmp_path / "flat.tif", 20_000, levels=1)
    monkeypatch.setattr("mupd.slides.blocks.MOST_FLAT_PIXELS", MOST_FLAT_PIXELS // 10)
    monkeypatch.setattr("mupd.slides.blocks.SAMPLED_SIDE", 16)
    with open_slide(path) as slide:
        thumb = slide.thumbnail(1024)
    assert thumb.shape == (16, 16, 3)
    assert thumb[0, 0].min() > 240
    assert thumb[8, 8, 1] < 230


@pytest.mark.parametrize("codec", ["native", "jpeg", "jpegls"])
def test_a_dicom_pyramid_by_its_folder_or_any_of_its_files(tmp_path: Path, codec: str) -> None:
    dicom_level(tmp_path / "a.dcm", PIXELS, "1.2.3.4", codec=codec)
    dicom_level(tmp_path / "b.dcm", PIXELS[::2, ::2], "1.2.3.4", 1.0, codec, number=2)
    dicom_level(tmp_path / "c.dcm", PIXELS[:100, :100], "1.2.3.4", codec=codec, flavour="LABEL", number=3)
    for path in (tmp_path, tmp_path / "a.dcm", tmp_path / "b.dcm"):
        with open_slide(path) as slide:
            assert slide.level_sizes_px == ((600, 500), (300, 250))
            assert slide.mpp == pytest.approx(0.5)
            assert np.abs(slide.read(0, 0, 600, 500).astype(int) - PIXELS).mean() < 5
    assert source_files(tmp_path / "b.dcm") == [tmp_path / "a.dcm", tmp_path / "b.dcm"]
    assert source_files(tmp_path) == [tmp_path]


def test_several_dicom_series_are_told_apart_and_one_file_names_one(tmp_path: Path) -> None:
    dicom_level(tmp_path / "a.dcm", PIXELS, "1.2.3.4.11111111", codec="jpeg")
    dicom_level(tmp_path / "b.dcm", PIXELS[:250], "1.2.3.4.22222222", codec="jpeg")
    words = refusal(tmp_path)
    assert "UID ends in 11111111; 1 files, 600 x 500 px" in words
    assert "UID ends in 22222222; 1 files, 600 x 250 px" in words
    assert "give one file of the series" in words
    with open_slide(tmp_path / "b.dcm") as slide:
        assert slide.size_px == (600, 250)


def test_a_label_alone_and_folders_of_folders_are_explained(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    dicom_level(tmp_path / "below" / "a.dcm", PIXELS, "1.2.3.4", codec="jpeg")
    assert "1 folders in it" in refusal(tmp_path)
    dicom_level(tmp_path / "label.dcm", PIXELS[:100, :100], "1.2.3.5", flavour="LABEL")
    assert "Image Type VOLUME" in refusal(tmp_path)


def test_the_table_of_formats_recognises_files_by_their_bytes_or_name(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "named.svs", "PNG")
    (tmp_path / "slide.mrxs").touch()
    (tmp_path / "slide").mkdir()
    ome_tiff(tmp_path / "named.png", PIXELS, 0.5)
    dicom_level(tmp_path / "named.jpg", PIXELS, "1.2.3.4", codec="jpeg")
    names = ("named.jpg", "slide", "slide.mrxs", "named.png", "named.svs")
    assert [format_of(tmp_path / name).name for name in names] == ["DICOM", "DICOM", "MIRAX", "TIFF", "plain picture"]
    assert source_files(tmp_path / "slide.mrxs") == [tmp_path / "slide.mrxs", tmp_path / "slide"]
    assert len({one.name for one in FORMATS}) == len(FORMATS)


def test_warnings_of_pydicom_name_their_file(tmp_path: Path) -> None:
    path = dicom_level(tmp_path / "level.dcm", PIXELS, "1.2.3")
    content = path.read_bytes()
    # A UID with a letter: pydicom warns and goes on.
    path.write_bytes(content.replace(b"1.2.3\0", b"1.2.x\0"))
    with pytest.warns(UserWarning, match=r"^level\.dcm: .*Invalid value"):
        source_files(path)


def test_dicom_without_a_level_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_found(files: Any) -> Any:
        raise WsiDicomNotFoundError("Level files")

    monkeypatch.setattr("wsidicom.WsiDicom.open", none_found)
    path = dicom_level(tmp_path / "level.dcm", PIXELS, "1.2.3", codec="jpegls")
    words = refusal(path)
    assert "none of the slide's 1 DICOM files holds a level that can be read" in words
    assert "export the whole series again" in words


@pytest.mark.parametrize("name", ["he-ome-um/P1.ome.tif", "he-ome-cm/P1.ome.tif", "he-tif-subifd3/P1.tif"])
def test_pyramids_that_users_sent(shared_data: Path, name: str) -> None:
    path = shared_data.parent / "cases" / name
    if not path.exists():
        pytest.skip("CASES ABSENT: ../shared/cases is not there; this test needs it")
    assert check_he(path, None, LIMITS)["mpp"] == pytest.approx(0.5)
