"""Broken, lying and endless slides: a reason each, before memory or time is spent, and never a crash."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mupd.config import load_config
from mupd.errors import UnusableError
from mupd.slides.checks import check_he
from mupd.slides.tiff_directories import tiff_directories
from tests.fixtures.basic import he_pixels
from tests.fixtures.he_files import dicom_level, jpeg
from tests.fixtures.paths import REPOSITORY

LIMITS = replace(load_config(REPOSITORY / "config" / "config.yaml").intake, min_tissue_mm2=0.01)
PIXELS = he_pixels(600, 500)
MOST_SECONDS = 5
Edit = Callable[[bytearray, "Places"], None]


class Places:
    """Where the fields of a two-level classic TIFF stand."""

    def __init__(self, path: Path) -> None:
        with tifffile.TiffFile(path) as file:
            first, second = file.pages[0], file.pages[1]
            self.tag = {tag.code: tag.offset for tag in first.tags}
            self.first, self.second = first.offset, second.offset
            self.last_link = second.offset + 2 + 12 * len(second.tags)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Places]:
    path = tmp_path_factory.mktemp("whole") / "slide.tif"
    options = {"tile": (128, 128), "compression": "zlib", "photometric": "rgb"}
    with tifffile.TiffWriter(path) as writer:
        writer.write(PIXELS, resolution=(20_000, 20_000), resolutionunit="CENTIMETER", **options)
        writer.write(PIXELS[::2, ::2], **options)
    check_he(path, None, LIMITS)
    return path.read_bytes(), Places(path)


def refusal(path: Path, mpp: float | None = 0.5) -> str:
    start = time.monotonic()
    with pytest.raises(UnusableError) as caught:
        check_he(path, mpp, LIMITS)
    assert time.monotonic() - start < MOST_SECONDS
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


def long(code: int, value: int) -> Edit:
    """Set a tag of the first directory to one 32-bit number."""

    def edit(data: bytearray, at: Places) -> None:
        struct.pack_into("<HII", data, at.tag[code] + 2, 4, 1, value)

    return edit


def count(code: int, value: int) -> Edit:
    def edit(data: bytearray, at: Places) -> None:
        struct.pack_into("<I", data, at.tag[code] + 4, value)

    return edit


def next_directory(where: Callable[[Places], int]) -> Edit:
    def edit(data: bytearray, at: Places) -> None:
        struct.pack_into("<I", data, at.last_link, where(at))

    return edit


def many_tags(data: bytearray, at: Places) -> None:
    struct.pack_into("<H", data, at.first, 60_000)


EDITS: dict[str, tuple[Edit, str]] = {
    "loop to the first": (next_directory(lambda at: at.first), "loop"),
    "loop to itself": (next_directory(lambda at: at.second), "loop"),
    "leads out of the file": (next_directory(lambda _: 0x7FFFFFFF), "points to byte 2147483647"),
    "4 billion px wide": (long(256, 4_000_000_000), "declares 4000000000 x 500 px"),
    "0 px wide": (long(256, 0), "declares 0 x 500 px"),
    "tiles of a gigapixel": (long(322, 1 << 30), "tiles of 1073741824 x 128 px"),
    "tiles of nothing": (long(322, 0), "tiles of 0 x 128 px"),
    "60,000 tags": (many_tags, "60000 tags"),
    "4 billion offsets": (count(324, 0xFFFFFFFF), "4294967295 values"),
    "offsets beyond the end": (count(324, 1_000_000), "truncated"),
}


@pytest.mark.parametrize("name", EDITS)
def test_tiff_headers_that_lie(whole: tuple[bytes, Places], tmp_path: Path, name: str) -> None:
    edit, words = EDITS[name]
    data = bytearray(whole[0])
    edit(data, whole[1])
    (tmp_path / "slide.tif").write_bytes(data)
    assert words in refusal(tmp_path / "slide.tif")


@pytest.mark.parametrize("tenths", range(10))
def test_a_tiff_cut_at_every_tenth(whole: tuple[bytes, Places], tmp_path: Path, tenths: int) -> None:
    data = whole[0]
    (tmp_path / "slide.svs").write_bytes(data[: len(data) * tenths // 10])
    words = refusal(tmp_path / "slide.svs")
    assert "truncated" in words if tenths else words == "does not open as a slide: the file is empty"


def png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("side", "words"),
    [(60_000, "convert it to a pyramid"), (21_000, "441 megapixels, over 400"), (15_000, "truncated")],
)
def test_png_bombs_are_refused_by_their_header(tmp_path: Path, side: int, words: str) -> None:
    (tmp_path / "slide.png").write_bytes(png(side, side, bytes(1000)))
    assert words in refusal(tmp_path / "slide.png")


@pytest.mark.parametrize(("side", "words"), [(65_000, "convert it to a pyramid"), (15_000, "too few for a JPEG")])
def test_jpeg_bombs_are_refused_by_their_header(tmp_path: Path, side: int, words: str) -> None:
    data = bytearray(jpeg(PIXELS))
    struct.pack_into(">HH", data, data.find(b"\xff\xc0") + 5, side, side)
    (tmp_path / "slide.jpg").write_bytes(data)
    assert words in refusal(tmp_path / "slide.jpg")


def test_a_tile_that_holds_a_vast_jpeg_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, PIXELS, tile=(128, 128), compression="jpeg", photometric="rgb", ome=True, metadata=metadata)
    check_he(path, None, LIMITS)
    data = bytearray(path.read_bytes())
    at = data.find(b"\xff\xc0\x00\x11\x08")
    while at >= 0:
        struct.pack_into(">HH", data, at + 5, 65_000, 65_000)
        at = data.find(b"\xff\xc0\x00\x11\x08", at + 9)
    path.write_bytes(data)
    assert "65000" in refusal(path, None) or "4225000000 pixels" in refusal(path, None)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("TotalPixelMatrixColumns", 4_000_000_000, "declares 4000000000 x 500 px"),
        ("TotalPixelMatrixRows", 0, "declares 600 x 0 px"),
        ("NumberOfFrames", 2_000_000_000, "2000000000 frames"),
        ("Columns", 65_535, "tiles of 65535 x 128 px|mismatch"),
        ("SamplesPerPixel", 1, "one channel"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7", "expected a whole-slide image"),
    ],
)
def test_dicom_headers_that_lie(tmp_path: Path, field: str, value: int | str, words: str) -> None:
    path = dicom_level(tmp_path / "a.dcm", PIXELS, "1.2.3.4", codec="jpeg")
    data = pydicom.dcmread(path)
    setattr(data, field, value)
    data.save_as(path)
    assert any(word in refusal(path, None) for word in words.split("|"))


@pytest.mark.parametrize("codec", ["native", "jpeg"])
@pytest.mark.parametrize("tenths", [1, 3, 5, 7, 9])
def test_dicom_cut_short(tmp_path: Path, codec: str, tenths: int) -> None:
    path = dicom_level(tmp_path / "a.dcm", PIXELS, "1.2.3.4", codec=codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * tenths // 10])
    assert "truncated" in refusal(path, None)


def test_other_odd_files(tmp_path: Path) -> None:
    (tmp_path / "zeros.svs").write_bytes(bytes(1000))
    assert "first bytes are of no slide" in refusal(tmp_path / "zeros.svs")
    (tmp_path / "alone.mrxs").write_bytes(bytes(10))
    assert "folder of the same name" in refusal(tmp_path / "alone.mrxs")
    Image.fromarray(PIXELS[:1, :1]).save(tmp_path / "one.png")
    assert "no tissue" in refusal(tmp_path / "one.png")
    (tmp_path / "loop.svs").symlink_to(tmp_path / "loop.svs")
    assert "does not open" in refusal(tmp_path / "loop.svs")
    Image.fromarray(PIXELS).save(tmp_path / "slide.png")
    (tmp_path / "slide.png").rename(tmp_path / "png.svs")
    assert check_he(tmp_path / "png.svs", 0.5, LIMITS)["format"] == "png"


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory, whole: tuple[bytes, Places]) -> list[tuple[str, bytes]]:
    folder = tmp_path_factory.mktemp("formats")
    dicom_level(folder / "a.dcm", PIXELS, "1.2.3.4", codec="jpeg")
    Image.fromarray(PIXELS[:200, :200]).save(folder / "a.png")
    tifffile.imwrite(folder / "a.ome.tif", PIXELS, tile=(128, 128), compression="zlib", photometric="rgb", ome=True)
    names = ["a.dcm", "a.png", "a.ome.tif"]
    return [("a.tif", whole[0]), ("a.jpg", jpeg(PIXELS)), *((name, (folder / name).read_bytes()) for name in names)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
def test_no_damage_is_ever_a_crash_or_a_hang(
    formats: list[tuple[str, bytes]], tmp_path: Path, data: st.DataObject
) -> None:
    name, content = data.draw(st.sampled_from(formats))
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        # Headers more often than pixels.
        last = data.draw(st.sampled_from([200, 2000, len(damaged)]))
        at = data.draw(st.integers(0, min(last, len(damaged)) - 1))
        damaged[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0xFF, damaged[at] ^ 1]))
    (tmp_path / name).write_bytes(damaged)
    start = time.monotonic()
    with suppress(UnusableError):
        facts = check_he(tmp_path / name, 0.5, LIMITS)
        assert np.prod(facts["size_px"]) < 1e9
    assert time.monotonic() - start < MOST_SECONDS


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_directories_of_any_bytes_end(tmp_path: Path, content: bytes) -> None:
    for magic in (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"):
        (tmp_path / "any.tif").write_bytes(magic + content)
        with suppress(UnusableError):
            assert all(min(one.size_px) > 0 for one in tiff_directories(tmp_path / "any.tif"))
