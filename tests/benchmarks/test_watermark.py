from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.watermark.__main__ import measure_missing, scores_in
from benchmarks.watermark.content import Picture, places
from benchmarks.watermark.measure import Score, marked_tiles, unmarked_tiles
from benchmarks.watermark.table import alarm_table, detection_table, interval, rates
from mupd.synthetic.picture.watermark import THRESHOLD
from tests.fixtures.basic import he_pixels


def test_the_interval_is_clopper_and_pearsons() -> None:
    assert interval(0, 100) == pytest.approx((0, 1 - 0.025 ** (1 / 100)))
    assert interval(100, 100) == pytest.approx((0.025 ** (1 / 100), 1))
    assert interval(5, 10) == pytest.approx((0.187, 0.813), abs=1e-3)


def test_tables_count_what_reaches_the_threshold() -> None:
    scores = [Score("A", "PNG", THRESHOLD), Score("A", "PNG", THRESHOLD - 0.01), Score("B", "JPEG", 30.0)]
    rows = rates(scores)
    assert [(row["content"], row["tiles"], row["found"]) for row in rows] == [("A", 2, 1), ("B", 1, 1)]
    assert "| PNG | 50.0 (1.3-98.7; n 2) | - |" in detection_table(rows)
    assert "| all | 3 | 2 |" in alarm_table(rows)


def test_tiles_of_a_marked_picture_are_found_and_of_an_unmarked_one_are_not() -> None:
    picture = Picture("A", "x", he_pixels(1200, 1100))
    rng = np.random.default_rng(0)
    marked = list(marked_tiles(picture, 1, rng))
    assert len(marked) == 10
    assert all(score.score >= THRESHOLD for score in marked if "half size" in score.treatment)
    assert all(score.psnr is not None and score.psnr > 41 for score in marked)
    assert all(score.score < THRESHOLD for score in unmarked_tiles(picture, 2, rng, 0))


def test_places_lie_on_tissue() -> None:
    pixels = np.full((1600, 1600, 3), 250, np.uint8)
    pixels[:800, :800] = he_pixels(1600, 1600)[400:1200, 400:1200]
    found = places(pixels, 50, np.random.default_rng(1), aligned=False)
    assert found
    assert max(max(place) for place in found) < 800


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    log, asked = tmp_path / "out" / "scores.jsonl", []
    pictures = [Picture("A", name, np.zeros((2, 2, 3), np.uint8)) for name in ("x", "y")]

    def score(picture: Picture, _rng: np.random.Generator) -> list[Score]:
        asked.append(picture.name)
        return [Score("A", "PNG", 1.0)]

    measure_missing(log, 0, pictures[:1], score)
    measure_missing(log, 0, pictures, score)
    assert asked == ["x", "y"]
    assert sum(len(scores) for scores in scores_in(log).values()) == 2
