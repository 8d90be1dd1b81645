"""``python -m benchmarks.watermark``: detection rates after common treatments, false alarms on real tiles.

An interrupted run goes on where it was when it is started again with the same ``--out``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import add_data, add_docs, exit_code_of, parser_of
from benchmarks.pages import fill
from benchmarks.watermark.content import GENERATED, SECTIONS, SLIDE, Picture, generated, real
from benchmarks.watermark.measure import Score, level_tiles, marked_tiles, pace, unmarked_tiles
from benchmarks.watermark.table import alarm_table, detection_table, rates
from mupd.base.files import write_json, write_text
from mupd.errors import MupdError
from mupd.synthetic.picture.watermark import THRESHOLD

_SEED = 20261124
BEGIN, END = "<!-- watermark figures: begin -->", "<!-- watermark figures: end -->"
_EVERY = 3
"""Of the small real pictures every third is marked: ten treatments of each take time."""

_SECTION_TILES, _SLIDE_TILES = 400, 60
"""Unmarked tiles that a large picture gives in one turn; a small one gives one."""


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(
        "watermark",
        "Mark real and generated H&E, treat tiles as pictures are treated, and count how often the mark is "
        "found; look for it in real tiles that never had one.",
    )
    add_data(parser, "her2st/, he_tiles/, slides/")
    parser.add_argument("--runs", type=Path, default=Path("results"), help="folder with finished runs of the workflow")
    parser.add_argument("--out", type=Path, default=Path("results/watermark"), help="where the figures go")
    parser.add_argument("--tiles", type=int, default=40, help="marked tiles of a large picture, for each treatment")
    parser.add_argument("--turns", type=int, default=7, help="turns over the real pictures, about 3,700 tiles each")
    parser.add_argument(
        "--part", choices=("marked", "unmarked", "all", "none"), default="all", help="what to measure now"
    )
    add_docs(parser)
    return parser


def scores_in(log: Path) -> dict[str, list[Score]]:
    """{turn and picture: scores} of what an earlier, interrupted run has measured."""
    if not log.is_file():
        return {}
    lines = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    return {line["of"]: [Score(**score) for score in line["scores"]] for line in lines}


def measure_missing(
    log: Path, turn: int, pictures: Iterable[Picture], score: Callable[[Picture, np.random.Generator], Iterable[Score]]
) -> None:
    """Score what the log lacks; each picture's scores are appended as they come."""
    done = scores_in(log)
    for picture in pictures:
        of = f"{turn} {picture.group} {picture.name}"
        if of in done:
            continue
        rng = np.random.default_rng([_SEED, turn, *picture.name.encode()])
        values = [asdict(value) for value in score(picture, rng)]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"of": of, "scores": values}) + "\n")


def _marked(pictures: Iterable[Picture], tiles: int, log: Path) -> None:
    def score(picture: Picture, rng: np.random.Generator) -> Iterator[Score]:
        made = picture.group.startswith(GENERATED)
        most = 12 if made else {SECTIONS: tiles, SLIDE: tiles}.get(picture.group, 1)
        yield from marked_tiles(picture, most, rng)
        if made or picture.group == SECTIONS:
            yield from level_tiles(picture, most // 2, rng)

    measure_missing(log, 0, pictures, score)


def _unmarked(data: Path, turns: int, log: Path) -> None:
    for turn in range(turns):

        def score(picture: Picture, rng: np.random.Generator, turn: int = turn) -> Iterator[Score]:
            most = {SECTIONS: _SECTION_TILES, SLIDE: _SLIDE_TILES}.get(picture.group, 1)
            yield from unmarked_tiles(picture, most, rng, turn)

        measure_missing(log, turn, real(data, 200), score)
        print(f"unmarked: {sum(len(scores) for scores in scores_in(log).values())} tiles", file=sys.stderr, flush=True)


def _report(marked: list[Score], unmarked: list[Score], facts: dict[str, float]) -> tuple[str, dict[str, Any]]:
    detections, alarms = rates(marked), rates(unmarked)
    noise = [score.psnr for score in marked if score.psnr is not None]
    facts |= {
        "psnr_mean_db": float(np.mean(noise)),
        "psnr_5th_percentile_db": float(np.percentile(noise, 5)),
        "psnr_least_db": float(min(noise)),
        "unmarked_score_99.9th_percentile": float(np.percentile([score.score for score in unmarked], 99.9)),
        "threshold": THRESHOLD,
    }
    words = (
        f"Threshold {THRESHOLD:g} standard deviations. PSNR of marked tiles: mean {facts['psnr_mean_db']:.1f} dB, "
        f"5th percentile {facts['psnr_5th_percentile_db']:.1f} dB, least {facts['psnr_least_db']:.1f} dB. On one core: "
        f"{facts['embed_megapixels_a_second']:.0f} megapixels marked a second, "
        f"{1000 * facts['detect_seconds_a_tile']:.0f} ms to look at a 512 px tile. A JPEG (q90) of marked tissue is "
        f"{100 * facts['jpeg_q90_growth']:.1f} % larger."
    )
    text = f"{words}\n\n{detection_table(detections)}\n\n{alarm_table(alarms)}"
    return text, {"facts": facts, "found": detections, "false_alarms": alarms}


def run(options: argparse.Namespace) -> None:
    """Measure what the logs lack; write and print the figures once both parts are measured.

    Raises
    ------
    MupdError
        If the data, the runs or the marks of the page do not exist.
    """
    if not (options.data / "her2st" / "images").is_dir():
        raise MupdError(f"{options.data}: found no her2st/images; expected the real data (--data)")
    marked_log, unmarked_log = (options.out / f"scores-{part}.jsonl" for part in ("marked", "unmarked"))
    slides = list(generated(options.runs))
    if not slides:
        raise MupdError(f"{options.runs}: found no generated slides; expected a finished run (--runs)")
    if options.part in ("marked", "all"):
        _marked(chain(slides, real(options.data, every=_EVERY)), options.tiles, marked_log)
    if options.part in ("unmarked", "all"):
        _unmarked(options.data, options.turns, unmarked_log)
    marked, unmarked = (list(chain(*scores_in(log).values())) for log in (marked_log, unmarked_log))
    if not marked or not unmarked:
        return
    text, figures = _report(marked, unmarked, pace(slides))
    write_json(options.out / "watermark.json", figures)
    write_text(options.out / "watermark.md", text + "\n")
    if options.docs:
        fill(options.docs, {(BEGIN, END): text})
    print(text)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    return exit_code_of(run, _parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
