"""``python -m benchmarks.export``: time the writers in turn, so that a busy machine slows all alike."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import REPOSITORY
from benchmarks.export.contender import CONTENDERS, MPP, TILE_PX
from benchmarks.pages import table

_WITH_CODECS = ("mupd, jpeg2000", "mupd, htj2k", "mupd, jpegxl")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.export",
        description="Write the same slide with mupd, with the bare codec and with wsidicomizer, in turn, and print "
        "the ratios of each round's times (median and range over the rounds) and the peak memory.",
        epilog="wsidicomizer wants another wsidicom than mupd does, so it needs an environment of its own: "
        "`python -m venv DIR && DIR/bin/pip install wsidicomizer`, then --wsidicomizer DIR/bin/python.",
    )
    parser.add_argument("--px", type=int, default=16384, help="side of the slide, a power of two; default 16384")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--codecs", action="store_true", help="time the lossless codecs too (minutes a round)")
    parser.add_argument("--wsidicomizer", type=Path, help="python of an environment that has it")
    parser.add_argument("--scratch", type=Path, help="folder for 2 GB of files; default: the system's")
    parser.add_argument("--json", type=Path, help="write all figures there")
    return parser


def make_pixels(path: Path, side: int) -> None:
    """A slide of pieces of the example's generated slides, turned at random, (side, side, 3) uint8 as .npy."""
    from PIL import Image

    pictures = []
    for source in sorted((REPOSITORY / "resources" / "example").glob("EX-0[1-7].synthetic.png")):
        with Image.open(source) as picture:
            pictures.append(np.asarray(picture.convert("RGB")))
    random = np.random.default_rng(0)
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (side, side, 3))
    for y in range(0, side, TILE_PX):
        for x in range(0, side, TILE_PX):
            slide = pictures[random.integers(len(pictures))]
            top, left = (random.integers(0, length - TILE_PX + 1) for length in slide.shape[:2])
            piece = slide[top : top + TILE_PX, left : left + TILE_PX]
            pixels[y : y + TILE_PX, x : x + TILE_PX] = np.rot90(piece, int(random.integers(4)))
    pixels.flush()


def make_tiff(path: Path, pixels: Path) -> None:
    """The same pixels as a tiled TIFF without compression, so that its reader has the least to do."""
    import tifffile

    slide = np.load(pixels, mmap_mode="r")
    per_cm = 1e4 / MPP
    tifffile.imwrite(
        path,
        slide,
        tile=(TILE_PX, TILE_PX),
        photometric="rgb",
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
    )


def _time(name: str, python: Path, source: Path, out: Path, threads: int) -> dict[str, Any]:
    command = [str(python), "-m", "benchmarks.export.contender", name, str(source), str(out), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    shutil.rmtree(out)
    return json.loads(done.stdout.splitlines()[-1])


def _ratio(rounds: list[dict[str, Any]], of: str, to: str, key: str) -> str:
    values = [one[of][key] / one[to][key] for one in rounds]
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def report(rounds: list[dict[str, Any]], side: int, threads: int) -> str:
    """The figures in words and a table."""
    megapixels = side * side / 1e6
    rows = []
    for name in rounds[0]:
        keys = ("seconds", "cpu_seconds", "bytes")
        seconds, cpu_seconds, written = (statistics.median(one[name][key] for one in rounds) for key in keys)
        peak_mb = max(one[name]["peak_mb"] for one in rounds)
        pace = f"{megapixels / seconds:.0f}"
        rows.append((name, f"{seconds:.1f}", pace, f"{cpu_seconds:.1f}", f"{peak_mb:.0f}", f"{written / 1e6:.0f}"))
    head = ("writer", "seconds", "MP/s", "CPU seconds", "peak MB", "written MB")
    what = f"{side} x {side} px, {len(rounds)} rounds, {threads} threads; median of the rounds"
    lines = [what, "", table(head, rows, numbers=5), ""]
    for other, what in (
        ("bare pipeline", "of the pace of the bare pipeline (read, halve, encode, write)"),
        ("bare codec", "of the pace of the codec alone (tiles of all levels given)"),
        ("wsidicomizer", "times the pace of wsidicomizer"),
        ("mupd, watermark", "times the pace of itself with the watermark"),
    ):
        if other in rounds[0]:
            wall, cpu = (_ratio(rounds, other, "mupd", key) for key in ("seconds", "cpu_seconds"))
            lines.append(f"mupd writes at {wall} {what}; by CPU time {cpu}.")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    options = _parser().parse_args()
    names = [name for name in CONTENDERS if name not in _WITH_CODECS or options.codecs]
    if options.wsidicomizer is None:
        names.remove("wsidicomizer")
        print("wsidicomizer is not timed: no --wsidicomizer", file=sys.stderr)
    rounds = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        pixels, tiff = Path(scratch) / "pixels.npy", Path(scratch) / "slide.tiff"
        make_pixels(pixels, options.px)
        if options.wsidicomizer:
            make_tiff(tiff, pixels)
        for index in range(options.rounds):
            one = {}
            # Back and forth, so that a machine that slows down favours nobody.
            for name in names if index % 2 == 0 else reversed(names):
                foreign = name == "wsidicomizer"
                python = options.wsidicomizer.absolute() if foreign else Path(sys.executable)
                source = tiff if foreign else pixels
                one[name] = _time(name, python, source, Path(scratch) / "out", options.threads)
                print(f"round {index + 1}: {name}: {one[name]['seconds']:.1f} s", file=sys.stderr, flush=True)
            rounds.append({name: one[name] for name in names})
    if options.json:
        options.json.write_text(json.dumps({"px": options.px, "threads": options.threads, "rounds": rounds}, indent=1))
    print(report(rounds, options.px, options.threads))


if __name__ == "__main__":
    main()
