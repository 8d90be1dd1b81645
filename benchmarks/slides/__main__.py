"""``python -m benchmarks.slides DATA``: measure the checks of H&E on real pictures and on spoilt copies of them."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import REPOSITORY, parser_of
from benchmarks.process import peak_memory_mb
from benchmarks.slides import spoilt
from mupd.config import IntakeLimits, load_config
from mupd.errors import UnusableError

_UNSTATED_MPP = 0.5


def _limits() -> IntakeLimits:
    return replace(load_config(REPOSITORY / "config" / "config.yaml").intake, min_tissue_mm2=0.0)


def _verdict(path: Path, mpp: float | None) -> str:
    """The reason, without its figures; "" where the picture is accepted."""
    from mupd.slides.checks import check_he

    try:
        check_he(path, mpp, _limits())
    except UnusableError as error:
        return str(error)
    return ""


def _pictures(data: Path) -> dict[str, list[tuple[Path, float | None]]]:
    """Pictures by what they are, each with its micrometres per pixel."""
    import csv

    pictures: dict[str, list[tuple[Path, float | None]]] = {}
    with (data / "he_tiles" / "tiles.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            mpp = float(row["mpp"] or _UNSTATED_MPP)
            pictures.setdefault(f"H&E, {row['source']}", []).append((data / "he_tiles" / row["file"], mpp))
    pictures["H&E, her2st sections"] = [(path, 0.78) for path in sorted((data / "her2st" / "images").iterdir())]
    tcga = sorted((data / "tcga" / "he").iterdir())
    pictures["H&E, TCGA"] = [(path, 0.25 if "-TS" in path.name else _UNSTATED_MPP) for path in tcga]
    pictures["H&E, CMU-1-Small-Region.svs"] = [(data / "slides" / "CMU-1-Small-Region.svs", None)]
    pairs = data / "he_mif"
    pictures["H&E, he_mif"] = [(path, 0.5) for path in sorted((pairs / "he").iterdir())]
    pictures["immunofluorescence mosaics, he_mif"] = [(path, 0.5) for path in sorted((pairs / "mif").iterdir())]
    pictures["fluorescence, small_vectra.qptiff"] = [(data / "formats" / "fluorescence" / "small_vectra.qptiff", 0.5)]
    ihc = ["tile-ihc-kidney.png", "kidney-48-5.tif"]
    pictures["immunohistochemistry"] = [(data / "slides" / name, 0.5) for name in ihc]
    empty = ["tile-almost-white.png", "tile-no-tissue-line.png"]
    pictures["nearly white or without tissue"] = [(data / "slides" / name, 0.5) for name in empty]
    pictures["DICOM test patterns"] = [(path, None) for path in sorted((data / "dicom").iterdir())]
    return pictures


def _judge(work: tuple[str, Path, float | None]) -> tuple[str, str]:
    name, path, mpp = work
    return name, _verdict(path, mpp)


def _count(pool: ProcessPoolExecutor, data: Path) -> None:
    works = [(name, path, mpp) for name, items in _pictures(data).items() for path, mpp in items]
    rows: dict[str, list[str]] = {}
    for name, reason in pool.map(_judge, works, chunksize=16):
        rows.setdefault(name, []).append(reason)
    print("| pictures | n | accepted | refused, most often because |\n| --- | ---: | ---: | --- |")
    for name, reasons in rows.items():
        refused = [reason for reason in reasons if reason]
        words = max(refused, key=refused.count) if refused else ""
        print(f"| {name} | {len(reasons)} | {len(reasons) - len(refused)} | {words} |", flush=True)


def _judge_spoilt(work: tuple[Path, float]) -> dict[str, str]:
    path, mpp = work
    return {name: _spoilt_verdict(make, path, mpp) for name, make in spoilt.KINDS.items()}


def _spoilt_verdict(make: Callable[..., Any], path: Path, mpp: float) -> str:
    from PIL import Image

    pixels = np.asarray(Image.open(path).convert("RGB"))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.jpg"
        Image.fromarray(make(pixels, mpp)).save(copy, quality=80)
        return _verdict(copy, mpp)


def _spoil(pool: ProcessPoolExecutor, data: Path, every: int) -> None:
    real = [item for name, items in _pictures(data).items() if name.startswith("H&E") for item in items]
    works = [(path, mpp) for path, mpp in real if mpp and path.stat().st_size < 5e6][::every]
    rows: dict[str, list[str]] = {}
    for verdicts in pool.map(_judge_spoilt, works, chunksize=4):
        for name, reason in verdicts.items():
            rows.setdefault(name, []).append(reason)
    print(f"\n{len(works)} of the H&E pictures, saved as JPEG of quality 80 after each change:\n")
    print(
        "| change | refused | as out of focus | as another stain | as saturated |\n| --- | ---: | ---: | ---: | ---: |"
    )
    for name, reasons in rows.items():
        kinds = ("out of focus", "not plausibly H&E", "saturated")
        parts = [sum(reason.startswith(kind) for reason in reasons) for kind in kinds]
        print(f"| {name} | {sum(map(bool, reasons))} | {' | '.join(map(str, parts))} |", flush=True)


def _best(work: Callable[[], object], rounds: int = 5) -> float:
    """Least CPU seconds of some rounds: other programs on the machine do not count."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def _cost(data: Path) -> None:
    import openslide

    from mupd.slides import reader as slides
    from mupd.slides.checks import check_he
    from mupd.synthetic.verify.recognise import content_marks

    path = data / "slides" / "CMU-1-Small-Region.svs"

    def _plain() -> None:
        with openslide.OpenSlide(str(path)) as slide:
            slide.get_thumbnail((slides.THUMBNAIL_PX,) * 2)

    def _check() -> None:
        slides._last_thumbnail.clear()
        check_he(path, None, _limits())

    def _both() -> None:
        slides._last_thumbnail.clear()
        content_marks(path)
        check_he(path, None, _limits())

    print("\n| work on CMU-1-Small-Region.svs | CPU seconds, best of 5 |\n| --- | ---: |")
    for name, work in (
        ("OpenSlide's open and thumbnail of 1,024 px", _plain),
        ("check_he", _check),
        ("look for synthetic marks, then check_he", _both),
    ):
        print(f"| {name} | {_best(work):.3f} |", flush=True)


def _vast(levels: int) -> None:
    from mupd.slides.checks import check_he

    with tempfile.TemporaryDirectory() as folder:
        path = spoilt.vast_tiff(Path(folder) / "vast.tif", 100_000, levels)
        start = time.process_time()
        facts = check_he(path, None, _limits())
        seconds = time.process_time() - start
    peak_mb = peak_memory_mb()
    print(f"| {levels} | {seconds:.1f} | {peak_mb:.0f} | {facts['tissue_mm2']:.0f} |", flush=True)


def main(arguments: Iterable[str] | None = None) -> None:
    """Print the tables of docs/intake.md on H&E."""
    parser = parser_of("slides", __doc__ or "")
    parser.add_argument("data", type=Path, help="folder of the real data, e.g. ../shared/data")
    parser.add_argument("--every", type=int, default=6, help="spoil every n-th H&E picture; default 6")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(None if arguments is None else list(arguments))
    print("A slide of 100,000 x 100,000 px:\n")
    print("| levels | CPU seconds | peak memory of the process (MB) | tissue (mm2) |\n| ---: | ---: | ---: | ---: |")
    for levels in (5, 1):
        _vast(levels)
    _cost(options.data)
    print()
    with ProcessPoolExecutor(options.jobs) as pool:
        _count(pool, options.data)
        _spoil(pool, options.data, options.every)


if __name__ == "__main__":
    main()
