"""The formats that slides come in: read at any level, with the scale that they state, and never more than is asked."""

from __future__ import annotations

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

from benchmarks.slides.spoilt import vast_tiff
from mupd.config import load_config
from mupd.errors import UnusableError
from mupd.slides.checks import check_he
from mupd.slides.formats import FORMATS, format_of
from mupd.slides.limits import MOST_FLAT_PIXELS
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
        (None, "µm", None),
        (0, "µm", None),
    ],
)
def test_ome_scale_follows_its_unit_and_is_never_guessed(
    tmp_path: Path, stated: float | None, unit: str, mpp: float | None
) -> None:
    with open_slide(ome_tiff(tmp_path / "slide.ome.tif", PIXELS, stated, unit)) as slide:
        assert slide.mpp == (pytest.approx(mpp) if mpp else None)


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
