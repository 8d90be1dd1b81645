"""H&E from texts without tiles: held-out pathology reports, and the text-only case of the example."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.organs.judge import Score, organ_of, share_right
from benchmarks.organs.made import Maker, windows_of
from mupd.training.public.read import read_reports
from mupd.training.public.splits import Split, split_of

REPORT_COHORTS = (("luad", "lung"), ("brca", "breast"), ("coadread", "colorectum"))
REGION_PX = 512


@dataclass(frozen=True)
class Said:
    """What windows generated from one kind of texts were classified as: share of the correct organ, and counts."""

    name: str
    organ: str
    right: Score
    organs: dict[str, int]
    labels: dict[str, int]


def held_reports(tcga: Path, cohort: str, split: Split, most: int) -> list[str]:
    """Reports of patients of one split, the first in order; none of them was trained on."""
    texts = read_reports(tcga / "other_reports", cohort)
    return [texts[case] for case in sorted(texts) if split_of(case) == split and texts[case].split()][:most]


def said_of(name: str, organ: str, labels: NDArray[np.str_]) -> Said:
    """Count what windows were taken for."""
    organs = organ_of(labels)
    right = share_right(organs, np.full(len(organs), organ), None)
    return Said(name, organ, right, dict(Counter(map(str, organs)).most_common()), dict(Counter(map(str, labels))))


def from_reports(maker: Maker, classifier: Any, tcga: Path, split: Split, most: int) -> list[Said]:
    """One window from each report; the whole report conditions it, in chunks."""
    rows = []
    for cohort, organ in REPORT_COHORTS:
        texts = held_reports(tcga, cohort, split, most)
        pixels = maker.windows(f"reports-{cohort}", texts, seed=2)
        rows.append(said_of(f"{cohort.upper()} reports", organ, classifier.predict(maker.features(pixels))))
    return rows


def from_case(maker: Maker, classifier: Any, report: Path, organ: str, draws: int) -> tuple[Said, NDArray[np.uint8]]:
    """Regions from the text of a case, generated as a run does; and the regions (draws, side, side, 3)."""
    from mupd.reports.read import read_text

    text = read_text(report)
    regions = np.stack([maker.region(f"case-{report.stem}-{draw}", text, REGION_PX, draw) for draw in range(draws)])
    windows = np.concatenate([windows_of(region) for region in regions])
    return said_of(report.stem, organ, classifier.predict(maker.features(windows))), regions


def from_slide(maker: Maker, classifier: Any, folder: Path, organ: str) -> Said:
    """The full resolution of a DICOM slide that a run has made, mark and compression included."""
    from wsidicom import WsiDicom

    with WsiDicom.open(folder) as slide:
        size = slide.size
        region = np.asarray(slide.read_region((0, 0), 0, (size.width, size.height)).convert("RGB"))
    return said_of("slide of a run", organ, classifier.predict(maker.features(windows_of(region))))
