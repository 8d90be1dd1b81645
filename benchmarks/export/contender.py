"""One way of writing the same pixels, timed in a process of its own: ``python -m benchmarks.export.contender``.

Prints JSON: seconds (wall), cpu_seconds (of this process), peak_mb (of its memory), bytes (written). What is
imported is imported before the clock starts. Reads nothing of the package but what it times, so that the
wsidicomizer contender runs in an environment of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.process import peak_memory_mb

TILE_PX, QUALITY, MPP = 512, 90, 0.5

Writer = Callable[[Path, int], None]
"""Writes into a folder that is not there yet, with so many threads."""


def _mupd(pixels: Path, watermark: bool, codec: str = "jpeg") -> Writer:
    from mupd.contracts.draws import DrawMeta
    from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi

    meta = DrawMeta(
        case_id="BENCH",
        target="he",
        draw=0,
        seed=0,
        given=("rna",),
        given_sha256={"rna": "0" * 64},
        model_id="none",
        model_sha256="0" * 64,
        mupd_version="0",
        settings={},
        created="2026-01-01T00:00:00+00:00",
        seconds=0.0,
        content_sha256="0" * 64,
        mpp=MPP,
    )

    def slide(array: np.ndarray, out: Path, threads: int | None = None) -> None:
        write_wsi(
            array,
            out,
            meta,
            SlideSettings(
                run_seed=0,
                mpp=MPP,
                jpeg_quality=QUALITY,
                artifact_key="0",
                codec=codec,  # type: ignore[arg-type]
                watermark=watermark,
                workers=threads,
            ),
        )

    # What is loaded at the first slide of a process is no part of the pace: fonts, colour profile, schemas.
    with tempfile.TemporaryDirectory() as scratch:
        slide(np.zeros((64, 64, 3), np.uint8), Path(scratch) / "s")

    def write(out: Path, threads: int) -> None:
        slide(np.load(pixels, mmap_mode="r"), out, threads)

    return write


def _sides(width: int) -> list[int]:
    sides = [width]
    while sides[-1] > TILE_PX:
        sides.append(sides[-1] // 2)
    return sides


def _bare(pixels: Path, with_pyramid: bool) -> Writer:
    """libjpeg-turbo on every tile of every level, written one after the other: no format, whole levels in memory.

    With `with_pyramid`, the levels are made on the way (Pillow's exact reduction); without, they are there
    before the clock starts, and what is timed is the codec alone.
    """
    import imagecodecs
    from PIL import Image

    def halve(part: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(part).reduce(2))

    base = np.load(pixels, mmap_mode="r")
    levels = [base] + [np.empty((side, side, 3), np.uint8) for side in _sides(base.shape[0])[1:]]
    if not with_pyramid:
        for source, target in itertools.pairwise(levels):
            for y in range(0, source.shape[0], TILE_PX):
                target[y // 2 : (y + TILE_PX) // 2] = halve(np.ascontiguousarray(source[y : y + TILE_PX]))

    def write(out: Path, threads: int) -> None:
        out.mkdir()
        with ThreadPoolExecutor(threads) as pool:
            for index, level in enumerate(levels):

                def tile(at: tuple[int, int], index: int = index) -> bytes:
                    y, x = at
                    part = np.ascontiguousarray(levels[index][y : y + TILE_PX, x : x + TILE_PX])
                    if with_pyramid and index + 1 < len(levels):
                        above = levels[index + 1]
                        above[y // 2 : (y + TILE_PX) // 2, x // 2 : (x + TILE_PX) // 2] = halve(part)
                    return bytes(imagecodecs.jpeg8_encode(part, level=QUALITY, subsampling="422"))

                places = [(y, x) for y in range(0, len(level), TILE_PX) for x in range(0, len(level), TILE_PX)]
                with (out / f"level{index}").open("wb") as stream:
                    for encoded in pool.map(tile, places):
                        stream.write(encoded)

    return write


def _wsidicomizer(tiff: Path) -> Writer:
    from wsidicom.codec import JpegSettings
    from wsidicomizer import WsiDicomizer

    def write(out: Path, threads: int) -> None:
        WsiDicomizer.convert(
            tiff,
            output_path=out,
            tile_size=TILE_PX,
            add_missing_levels=True,
            include_confidential=False,
            workers=threads,
            encoding=JpegSettings(quality=QUALITY),
        )

    return write


CONTENDERS: dict[str, Callable[[Path], Writer]] = {
    "mupd": lambda source: _mupd(source, False),
    "mupd, watermark": lambda source: _mupd(source, True),
    "mupd, jpeg2000": lambda source: _mupd(source, False, "jpeg2000"),
    "mupd, htj2k": lambda source: _mupd(source, False, "htj2k"),
    "mupd, jpegxl": lambda source: _mupd(source, False, "jpegxl"),
    "bare pipeline": lambda source: _bare(source, True),
    "bare codec": lambda source: _bare(source, False),
    "wsidicomizer": _wsidicomizer,
}


def main() -> None:
    """Time one contender."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=sorted(CONTENDERS))
    parser.add_argument("pixels", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    write = CONTENDERS[options.name](options.pixels)
    began, cpu = time.perf_counter(), time.process_time()
    write(options.out, options.threads)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    written = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    json.dump(
        {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak_memory_mb(), "bytes": written}, sys.stdout
    )


if __name__ == "__main__":
    main()
