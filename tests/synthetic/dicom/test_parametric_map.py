from __future__ import annotations

import shutil
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsidicom import WsiDicom

from mupd.errors import CaseError
from mupd.synthetic.dicom import parametric_map
from mupd.synthetic.dicom.derived import DESCRIPTION, MAP_CLASS, MARKS, look_at_derived
from mupd.synthetic.dicom.draw_spread import LEAST_BLOCK_PX, MOST_MAP_PX, block_px, draw_spread
from mupd.synthetic.dicom.parametric_map import MAP_FILE, OD_PER_STEP, build_map, write_map
from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi
from mupd.synthetic.verify.recognise import synthetic_marks
from mupd.synthetic.verify.verify import verify_path
from tests.fixtures.synthetic import meta_of, slide_pixels

SETTINGS: dict[str, Any] = {"run_seed": 7, "artifact_key": "m" * 64}
WIDTH, HEIGHT = 700, 530
SPOT = (410, 250, 48)
"""Left, top and side of a square that only the first draw has dark."""


def draws() -> list[np.ndarray]:
    """Three draws that agree but for a square and some noise."""
    random = np.random.default_rng(3)
    base = slide_pixels(WIDTH, HEIGHT).astype(int)
    pictures = [np.clip(base + random.integers(-4, 5, base.shape), 0, 255).astype(np.uint8) for _ in range(3)]
    left, top, side = SPOT
    pictures[0][top : top + side, left : left + side] = 20
    pictures[1][top : top + side, left : left + side] = 235
    pictures[2][top : top + side, left : left + side] = 235
    return pictures


def metas() -> list[Any]:
    return [meta_of("he", draw) for draw in range(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("he")
    for pixels, meta in zip(draws(), metas(), strict=True):
        write_wsi(
            pixels,
            root / f"synthetic-draw{meta.draw}",
            meta,
            SlideSettings(
                run_seed=7, mpp=0.78, jpeg_quality=90, artifact_key="k" * 64, study_created=meta_of("he").created
            ),
        )
    write_map(draws(), sources(root), metas(), root / "synthetic-uncertainty", **SETTINGS)
    return root


def sources(root: Path) -> list[pydicom.Dataset]:
    files = [root / f"synthetic-draw{draw}" / "synthetic-level0.dcm" for draw in range(3)]
    return [pydicom.dcmread(file, stop_before_pixels=True) for file in files]


def map_of(root: Path) -> Path:
    return root / "synthetic-uncertainty" / MAP_FILE


def test_highdicom_reads_the_spread_in_optical_density(folder: Path) -> None:
    image = highdicom.imread(map_of(folder))
    matrix = image.get_total_pixel_matrix(apply_real_world_transform=True)
    expected = draw_spread(draws(), 8)
    assert matrix.shape == expected.shape == (67, 88)
    assert np.abs(matrix - expected).max() <= OD_PER_STEP
    assert matrix.max() > 0.4
    assert np.median(matrix) < 0.05


def test_what_the_values_are_is_stated_in_codes(folder: Path) -> None:
    dataset = pydicom.dcmread(map_of(folder))
    (mapping,) = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    unit = mapping.MeasurementUnitsCodeSequence[0]
    quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("1", "UCUM")
    assert (quantity.CodeValue, quantity.CodingSchemeDesignator) == ("386136009", "SCT")
    assert mapping.RealWorldValueSlope == OD_PER_STEP
    assert mapping.LUTExplanation == "Standard deviation over draws of optical density"
    assert (dataset.BitsAllocated, dataset.PixelRepresentation) == (16, 0)
    assert dataset.DimensionOrganizationType == "TILED_SPARSE"
    assert dataset.LossyImageCompression == "00"
    assert "LossyImageCompressionMethod" not in dataset


def test_the_map_lies_where_the_slide_differs(folder: Path) -> None:
    """The strongest value, taken to millimetres by the map's own header, is the square in wsidicom's slide."""
    dataset = pydicom.dcmread(map_of(folder))
    matrix = highdicom.imread(map_of(folder)).get_total_pixel_matrix()
    rows, columns = np.nonzero(matrix > 0.5 * matrix.max())
    origin = dataset.TotalPixelMatrixOriginSequence[0]
    spacing = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    orientation = np.array(dataset.ImageOrientationSlide, float)
    start = np.array([origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem], float)
    row, column = rows.mean(), columns.mean()
    place = start + column * spacing[1] * orientation[:2] + row * spacing[0] * orientation[3:5]
    with WsiDicom.open(folder / "synthetic-draw0") as slide:
        level = slide.pyramid.base_level
        system = level.default_instance.image_data.image_coordinate_system
        from wsidicom.geometry import PointMm

        within = system.slide_to_image(PointMm(*place))
        x, y = within.x / level.pixel_spacing.width, within.y / level.pixel_spacing.height
        left, top, side = SPOT
        # A block is 8 px, and its edge blocks hold part of the square.
        assert x == pytest.approx(left + side / 2, abs=4)
        assert y == pytest.approx(top + side / 2, abs=4)
        seen = np.asarray(slide.read_region((round(x) - 8, round(y) - 8), 0, (16, 16)).convert("L"))
    assert seen.mean() < 40


def test_frame_of_reference_and_extent_are_the_slides(folder: Path) -> None:
    dataset, source = pydicom.dcmread(map_of(folder)), sources(folder)[0]
    assert dataset.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert list(dataset.ImageOrientationSlide) == list(source.ImageOrientationSlide)
    fine = float(source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing[0])
    coarse = float(dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing[0])
    assert coarse == pytest.approx(8 * fine)
    ours, theirs = dataset.TotalPixelMatrixOriginSequence[0], source.TotalPixelMatrixOriginSequence[0]
    for keyword in ("XOffsetInSlideCoordinateSystem", "YOffsetInSlideCoordinateSystem"):
        # Corners coincide: the centres of first pixels are half a pixel of each size from it.
        assert float(ours[keyword].value) - coarse / 2 == pytest.approx(float(theirs[keyword].value) - fine / 2)


def test_it_belongs_to_the_study_and_names_its_sources(folder: Path) -> None:
    dataset = pydicom.dcmread(map_of(folder))
    assert {source.StudyInstanceUID for source in sources(folder)} == {dataset.StudyInstanceUID}
    assert dataset.SeriesInstanceUID not in {source.SeriesInstanceUID for source in sources(folder)}
    named = [item.ReferencedSOPInstanceUID for item in dataset.SourceImageSequence]
    assert named == [source.SOPInstanceUID for source in sources(folder)]
    for element in dataset.iterall():
        if element.VR == "UI" and element.keyword.endswith("InstanceUID"):
            assert str(element.value).startswith("2.25.")


def test_every_mark_stands(folder: Path) -> None:
    dataset = pydicom.dcmread(map_of(folder))
    assert dataset[0x0008, 0x001C].value == "YES"
    assert dataset.SeriesDescription.startswith("SYNTHETIC")
    assert dataset.ContentDescription == "SYNTHETIC: SD of optical density over 3 draws (mupd)"
    (equipment,) = dataset.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    assert (str(dataset.PatientName), dataset.PatientID) == ("CASE-01^", "CASE-01")
    look = look_at_derived(map_of(folder))
    assert (look.missing, look.altered) == ((), False)
    assert look.provenance["draws"] == [0, 1, 2]
    assert set(look.found) < set(MARKS[MAP_CLASS])


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian dicom3tools) IS NOT INSTALLED")
def test_dciodvfy_finds_nothing_but_the_tag_it_does_not_know(folder: Path) -> None:
    done = subprocess.run(["dciodvfy", "-new", map_of(folder)], capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Warning"))]
    assert done.returncode == 0
    assert [line for line in lines if "(0008,001c)" not in line] == []
    assert len(lines) == 3


def test_same_draws_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_map(draws(), sources(folder), metas(), tmp_path / "again", **SETTINGS)
    assert (tmp_path / "again" / MAP_FILE).read_bytes() == map_of(folder).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


@pytest.mark.parametrize("of", ["folder", "file"])
def test_verify_says_what_it_is(folder: Path, of: str) -> None:
    path = map_of(folder) if of == "file" else map_of(folder).parent
    found = verify_path(path)
    assert (found.kind, found.synthetic, found.marks_missing) == ("dicom-map", True, ())
    assert (found.case, found.draw, found.given) == ("CASE-01", (0, 1, 2), ("rna", "text"))
    assert DESCRIPTION in synthetic_marks(path)


@pytest.mark.parametrize("keyword", ["SyntheticData", "ContentDescription", "ContainerIdentifier", "ImageType"])
def test_a_stripped_mark_is_missed(folder: Path, tmp_path: Path, keyword: str) -> None:
    dataset = pydicom.dcmread(map_of(folder))
    if keyword == "ImageType":
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    else:
        del dataset[keyword]
    dataset.save_as(tmp_path / MAP_FILE)
    assert len(look_at_derived(tmp_path / MAP_FILE).missing) == 1
    assert verify_path(tmp_path / MAP_FILE).exit_code == 4


def test_an_edited_value_is_noticed(folder: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(map_of(folder))
    values = dataset.pixel_array.copy()
    values[0, 0] += 1
    dataset.PixelData = values.tobytes()
    dataset.save_as(tmp_path / MAP_FILE)
    assert verify_path(tmp_path / MAP_FILE).hash_state == "altered"


def test_an_unmarked_map_never_gets_its_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parametric_map, "mark_derived", lambda *rest: None)
    with pytest.raises(CaseError, match=r"0008,001C"):
        write_map(draws(), sources(folder), metas(), tmp_path / "map", **SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_tiles_make_the_matrix_whole_again(folder: Path, tmp_path: Path) -> None:
    spread = np.random.default_rng(1).random((530, 1100), dtype=np.float32)
    build_map(spread, 8, sources(folder), metas(), **SETTINGS).save_as(tmp_path / "x.dcm")
    image = highdicom.imread(tmp_path / "x.dcm")
    assert image.NumberOfFrames == 6
    assert np.abs(image.get_total_pixel_matrix(apply_real_world_transform=True) - spread).max() <= OD_PER_STEP


@pytest.mark.parametrize("fault", ["one", "size", "header", "metas"])
def test_draws_that_do_not_fit_are_refused(folder: Path, tmp_path: Path, fault: str) -> None:
    pictures, headers, about = draws(), sources(folder), metas()
    if fault == "one":
        pictures, headers, about = pictures[:1], headers[:1], about[:1]
    elif fault == "size":
        pictures[1] = pictures[1][:-8]
    elif fault == "header":
        headers[2].TotalPixelMatrixRows = 100
    else:
        about = about[:2]
    with pytest.raises(ValueError, match="found"):
        write_map(pictures, headers, about, tmp_path / "map", **SETTINGS)


def naive(pictures: list[np.ndarray], side: int) -> np.ndarray:
    density = np.stack([-np.log10((picture.astype(float) + 1) / 256).mean(axis=2) for picture in pictures])
    variance = density.var(axis=0, ddof=1)
    height, width = variance.shape
    return np.array(
        [
            [np.sqrt(variance[y : y + side, x : x + side].mean()) for x in range(0, width, side)]
            for y in range(0, height, side)
        ]
    )


@given(st.integers(1, 70), st.integers(1, 70), st.integers(2, 4), st.sampled_from([8, 16, 32]), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_spread_is_the_pooled_standard_deviation(width: int, height: int, count: int, side: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    pictures = [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]
    found = draw_spread(pictures, side)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive(pictures, side), atol=1e-5)
    np.testing.assert_allclose(draw_spread(pictures[::-1], side), found, atol=1e-5)
    assert draw_spread([pictures[0]] * count, side).max() < 1e-6


def test_spread_over_chunk_borders() -> None:
    random = np.random.default_rng(5)
    pictures = [random.integers(0, 256, (1100, 2060, 3), dtype=np.uint8) for _ in range(2)]
    np.testing.assert_allclose(draw_spread(pictures, 64), naive(pictures, 64), atol=1e-5)


@given(st.integers(1, 200_000), st.integers(1, 200_000))
def test_blocks_keep_the_map_small_and_fit_a_chunk(width: int, height: int) -> None:
    side = block_px(width, height)
    assert side >= LEAST_BLOCK_PX
    assert 512 % side == 0
    assert -(-max(width, height) // side) <= MOST_MAP_PX
    if side > LEAST_BLOCK_PX:
        assert -(-max(width, height) // (side // 2)) > MOST_MAP_PX


def test_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    def peak(side: int) -> int:
        mapped = []
        for draw in range(2):
            path = tmp_path / f"{side}-{draw}.npy"
            np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(side, side, 3)).flush()
            mapped.append(np.load(path, mmap_mode="r"))
        tracemalloc.start()
        try:
            draw_spread(mapped, 8)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = peak(1024), peak(4096)
    # What grows is the map itself: (4096 / 8)^2 values of 4 bytes.
    assert large - small < 2 * 2**20
    assert large < 4096 * 4096 * 3 / 2
