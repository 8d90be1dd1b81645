"""Streaming of tiles: identical pixels on every level, for every codec, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import openslide
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGBaseline8Bit
from wsidicom import WsiDicom
from wsidicom.uid import JPEGXLLossless

from mupd.synthetic.dicom.codecs import decode_frame, frame_encoder
from mupd.synthetic.dicom.image import SlidePixels
from mupd.synthetic.dicom.pyramid import halve, level_sizes, stream_pyramid
from mupd.synthetic.dicom.readback import level_file
from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi
from tests.fixtures.synthetic import meta_of, slide_pixels

SETTINGS: dict[str, Any] = {"run_seed": 7, "mpp": 0.5, "jpeg_quality": 90, "artifact_key": "k" * 64}
CODECS = {
    "jpeg": (JPEGBaseline8Bit, "YBR_FULL_422"),
    "jpeg2000": (JPEG2000Lossless, "RGB"),
    "htj2k": (HTJ2KLossless, "YBR_RCT"),
    "jpegxl": (JPEGXLLossless, "RGB"),
}
LOSSLESS = ("jpeg2000", "htj2k", "jpegxl")
SIZE = (1301, 907)


def levels_of(pixels: np.ndarray) -> list[np.ndarray]:
    """Every level, made from the whole picture at once."""
    levels = [pixels]
    while max(levels[-1].shape[:2]) > 512:
        levels.append(halve(levels[-1]))
    return levels


def noisy(width: int, height: int) -> np.ndarray:
    pixels = slide_pixels(width, height).astype(np.int16)
    return np.clip(pixels + np.random.default_rng(3).integers(-6, 7, pixels.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return noisy(*SIZE)


@pytest.fixture(scope="module", params=sorted(CODECS))
def written(request: pytest.FixtureRequest, truth: np.ndarray, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp(request.param) / "synthetic-draw0"
    write_wsi(truth, folder, meta_of("he"), SlideSettings(**SETTINGS, codec=request.param))
    return request.param, folder


def close(found: np.ndarray, expected: np.ndarray, codec: str) -> None:
    assert found.shape == expected.shape
    difference = np.abs(found.astype(np.int16) - expected)
    assert difference.mean() < 4 if codec == "jpeg" else not difference.any()


def test_header_says_what_the_frames_are(written: tuple[str, Path]) -> None:
    codec, folder = written
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        assert (dataset.file_meta.TransferSyntaxUID, dataset.PhotometricInterpretation) == CODECS[codec]
        assert dataset.LossyImageCompression == ("01" if codec == "jpeg" else "00")
        assert ("LossyImageCompressionRatio" in dataset) == (codec == "jpeg")
        assert ("LossyImageCompressionMethod" in dataset) == (codec == "jpeg")


def test_wsidicom_reads_the_pixels_of_every_level(written: tuple[str, Path], truth: np.ndarray) -> None:
    codec, folder = written
    expected = levels_of(truth)
    with WsiDicom.open(folder) as slide:
        assert len(slide.pyramid) == len(expected)
        for level, pixels in enumerate(expected):
            found = slide.read_region((0, 0), level, (pixels.shape[1], pixels.shape[0]))
            close(np.asarray(found.convert("RGB")), pixels, codec)


def test_openslide_reads_the_pixels_of_every_level(written: tuple[str, Path], truth: np.ndarray) -> None:
    codec, folder = written
    if codec not in ("jpeg", "jpeg2000"):
        with pytest.raises(openslide.OpenSlideError, match="Unsupported transfer syntax"):
            openslide.OpenSlide(folder / level_file(0))
        return
    with openslide.OpenSlide(folder / level_file(0)) as slide:
        for level, pixels in enumerate(levels_of(truth)):
            assert slide.level_dimensions[level] == (pixels.shape[1], pixels.shape[0])
            close(np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]))[..., :3], pixels, codec)


def test_highdicom_reads_the_pixels_of_every_level(written: tuple[str, Path], truth: np.ndarray) -> None:
    codec, folder = written
    if codec not in ("jpeg", "jpeg2000"):
        pytest.skip(f"no decoder of {codec} for pydicom is among the dependencies")
    for level, pixels in enumerate(levels_of(truth)):
        image = highdicom.imread(folder / level_file(level))
        close(image.get_total_pixel_matrix(apply_icc_profile=False), pixels, codec)


def test_frames_lie_in_the_order_of_tiled_full(written: tuple[str, Path], truth: np.ndarray) -> None:
    codec, folder = written
    dataset = pydicom.dcmread(folder / level_file(0))
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames))
    for index, frame in enumerate(frames):
        y, x = index // 3 * 512, index % 3 * 512
        part = truth[y : y + 512, x : x + 512]
        close(decode_frame(frame, CODECS[codec][0])[: part.shape[0], : part.shape[1]], part, codec)


@given(st.sampled_from(LOSSLESS), st.integers(1, 70), st.integers(1, 70), st.integers(0, 9))
@settings(max_examples=40)
def test_lossless_codecs_keep_any_picture(codec: str, width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    encoder = frame_encoder(codec, 90)  # type: ignore[arg-type]
    assert np.array_equal(decode_frame(encoder.encode(pixels), encoder.transfer_syntax), pixels)


def test_bytes_of_another_codec_are_refused() -> None:
    frame = frame_encoder("jpeg", 90).encode(np.zeros((8, 8, 3), np.uint8))
    for syntax in (JPEG2000Lossless, HTJ2KLossless, JPEGXLLossless):
        with pytest.raises(ValueError, match="frame"):
            decode_frame(frame, syntax)
    with pytest.raises(ValueError, match="expected one of"):
        decode_frame(frame, "1.2.840.10008.1.2.1")


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 5))
def test_halving_averages_and_repeats_the_odd_border(width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    halved = halve(pixels)
    assert halved.shape == (-(-height // 2), -(-width // 2), 3)
    for y, x in ((0, 0), (halved.shape[0] - 1, halved.shape[1] - 1)):
        mean = pixels[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(-1, 3).mean(axis=0)
        assert np.abs(halved[y, x] - mean).max() <= 0.5001


@given(
    st.integers(1, 100),
    st.integers(1, 100),
    st.sampled_from([8, 16, 32]),
    st.integers(1, 4),
    st.integers(1, 120),
)
@settings(max_examples=60)
def test_streamed_levels_are_those_of_the_whole_picture(
    width: int, height: int, tile_px: int, workers: int, small_px: int
) -> None:
    pixels = np.random.default_rng(width + 100 * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    sizes = level_sizes(width, height, tile_px)
    tiles: list[list[bytes]] = [[] for _ in sizes]
    here = threading.get_ident()

    def sink(level: int):
        def take(encoded: bytes) -> None:
            assert threading.get_ident() == here
            tiles[level].append(encoded)

        return take

    made = stream_pyramid(
        SlidePixels(pixels), [sink(k) for k in range(len(sizes))], np.ndarray.tobytes, tile_px, small_px, workers
    )
    whole = pixels
    for level, (level_width, level_height) in enumerate(sizes):
        columns = -(-level_width // tile_px)
        assert whole.shape == (level_height, level_width, 3)
        assert len(tiles[level]) == columns * -(-level_height // tile_px)
        for index, encoded in enumerate(tiles[level]):
            tile = np.frombuffer(encoded, np.uint8).reshape(tile_px, tile_px, 3)
            y, x = index // columns * tile_px, index % columns * tile_px
            part = whole[y : y + tile_px, x : x + tile_px]
            assert np.array_equal(tile[: part.shape[0], : part.shape[1]], part)
            assert (tile[part.shape[0] :] == tile[part.shape[0] - 1]).all()
            if (level, index) in made.samples:
                assert np.array_equal(made.samples[level, index].pixels, tile)
        if level == made.small_level:
            assert np.array_equal(made.small, whole)
            assert max(whole.shape[:2]) <= small_px or level == len(sizes) - 1
        assert (level, 0) in made.samples
        assert (level, len(tiles[level]) - 1) in made.samples
        whole = halve(whole)


def test_a_failing_encoder_ends_it_and_is_told() -> None:
    calls = []

    def encode(tile: np.ndarray) -> bytes:
        calls.append(1)
        if len(calls) == 5:
            raise MemoryError("no room")
        return b"x"

    pixels = SlidePixels(np.zeros((320, 320, 3), np.uint8))
    sinks = [lambda frame: None] * len(level_sizes(320, 320, 8))
    with pytest.raises(MemoryError, match="no room"):
        stream_pyramid(pixels, sinks, encode, 8, 16, 2)
    assert len(calls) < 100


def test_the_mark_sees_full_blocks_of_level_0_and_its_result_is_cropped() -> None:
    seen = []

    def mark(block: np.ndarray) -> np.ndarray:
        seen.append(block)
        return block + np.uint8(1)

    pixels = np.random.default_rng(0).integers(0, 200, (20, 13, 3), dtype=np.uint8)
    marked = SlidePixels(pixels, mark)
    tile = marked.tile(0, 1, 16)
    assert [block.shape for block in seen] == [(16, 16, 3)]
    assert np.array_equal(seen[0][:4, :13], pixels[16:])
    assert np.array_equal(seen[0][4:7, :13], pixels[16:19][::-1])  # reflected, not repeated
    assert np.array_equal(tile[:4, :13], pixels[16:] + 1)
    assert (tile[4:] == tile[3]).all()


def test_a_mapped_file_reads_like_the_array(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = SlidePixels(np.load(tmp_path / "pixels.npy", mmap_mode="r"))
    plain = SlidePixels(pixels)
    for _ in range(20):
        for y in range(3):
            for x in range(3):
                assert np.array_equal(mapped.tile(x, y, 32), plain.tile(x, y, 32))


_MEASURE = """
import sys
from pathlib import Path
import numpy as np
from tests.fixtures.synthetic import meta_of
from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi
pixels = np.load(sys.argv[1], mmap_mode="r")
settings = SlideSettings(run_seed=7, mpp=0.5, jpeg_quality=90, artifact_key="k" * 64)
write_wsi(pixels, Path(sys.argv[2]), meta_of("he"), settings)
# The peak of this program's own memory: getrusage would tell that of the test process it was forked from.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_a_slide_of_268_megapixels_takes_under_500_mb(tmp_path: Path) -> None:
    path = tmp_path / "pixels.npy"
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (16384, 16384, 3))
    tile = noisy(1024, 1024)
    for y in range(0, 16384, 1024):
        pixels[y : y + 1024] = np.tile(tile, (1, 16, 1))
    del pixels
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, path, tmp_path / "slide"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    assert int(done.stdout) / 1024 < 500
    assert (tmp_path / "slide" / level_file(5)).exists()
