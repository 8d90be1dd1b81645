"""The figures as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks.pages import table
from benchmarks.watermark.measure import Score
from mupd.synthetic.picture.watermark import THRESHOLD


def interval(hits: int, of: int) -> tuple[float, float]:
    """Clopper-Pearson interval (95 %) of a rate."""
    low, high = binomtest(hits, of).proportion_ci(0.95, "exact")
    return float(low), float(high)


def rates(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """For each content and treatment: tiles, how many are at or over the threshold, interval, scores."""
    grouped: dict[tuple[str, str], list[float]] = {}
    for score in scores:
        grouped.setdefault((score.group, score.treatment), []).append(score.score)
    rows = []
    for (group, treatment), values in grouped.items():
        hits = sum(value >= THRESHOLD for value in values)
        low, high = interval(hits, len(values))
        rows.append(
            {
                "content": group,
                "treatment": treatment,
                "tiles": len(values),
                "found": hits,
                "rate": hits / len(values),
                "rate_95": [low, high],
                "score_median": float(np.median(values)),
                "score_5th_percentile": float(np.percentile(values, 5)),
                "score_least": min(values),
                "score_most": max(values),
            }
        )
    return rows


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def detection_table(rows: Sequence[dict[str, Any]]) -> str:
    """Treatments by contents: share of tiles in which the mark was detected, its interval, and the number of tiles."""
    contents = list(dict.fromkeys(row["content"] for row in rows))
    treatments = list(dict.fromkeys(row["treatment"] for row in rows))
    cells = {(row["treatment"], row["content"]): row for row in rows}
    lines = []
    for treatment in treatments:
        line = [treatment]
        for content in contents:
            row = cells.get((treatment, content))
            if row is None:
                line.append("-")
                continue
            low, high = (_percent(value) for value in row["rate_95"])
            line.append(f"{_percent(row['rate'])} ({low}-{high}; n {row['tiles']})")
        lines.append(line)
    return table(("found again, % of 512 px tiles", *contents), lines)


def alarm_table(rows: Sequence[dict[str, Any]]) -> str:
    """Contents: unmarked tiles, false alarms with the upper bound of the interval, highest score."""
    lines = []
    contents = list(dict.fromkeys(row["content"] for row in rows))
    for content in [*contents, "all"]:
        own = [row for row in rows if content in (row["content"], "all")]
        tiles, hits = sum(row["tiles"] for row in own), sum(row["found"] for row in own)
        bound, most = 100 * interval(hits, tiles)[1], max(row["score_most"] for row in own)
        lines.append((content, f"{tiles:,}", hits, f"{bound:.3f} %", f"{most:.2f}"))
    return table(("real, unmarked", "tiles", "false alarms", "95 % bound", "highest score"), lines)
