"""The figures as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import beta

from benchmarks.watermark.measure import Score
from mupd.synthetic.picture.watermark import THRESHOLD


def interval(hits: int, of: int) -> tuple[float, float]:
    """Clopper-Pearson interval (95 %) of a rate."""
    low = 0.0 if hits == 0 else float(beta.ppf(0.025, hits, of - hits + 1))
    high = 1.0 if hits == of else float(beta.ppf(0.975, hits + 1, of - hits))
    return low, high


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
    """Treatments by contents: share of tiles found, with its interval and the tiles it is of."""
    contents = list(dict.fromkeys(row["content"] for row in rows))
    treatments = list(dict.fromkeys(row["treatment"] for row in rows))
    cells = {(row["treatment"], row["content"]): row for row in rows}
    lines = [f"| found again, % of 512 px tiles | {' | '.join(contents)} |", "| --- |" + " --- |" * len(contents)]
    for treatment in treatments:
        line = f"| {treatment} |"
        for content in contents:
            row = cells.get((treatment, content))
            if row is None:
                line += " - |"
                continue
            low, high = (_percent(value) for value in row["rate_95"])
            line += f" {_percent(row['rate'])} ({low}-{high}; n {row['tiles']}) |"
        lines.append(line)
    return "\n".join(lines)


def alarm_table(rows: Sequence[dict[str, Any]]) -> str:
    """Contents: unmarked tiles, false alarms with the upper bound of the interval, highest score."""
    lines = [
        "| real, unmarked | tiles | false alarms | 95 % bound | highest score |",
        "| --- | --- | --- | --- | --- |",
    ]
    contents = list(dict.fromkeys(row["content"] for row in rows))
    for content in [*contents, "all"]:
        own = [row for row in rows if content in (row["content"], "all")]
        tiles, hits = sum(row["tiles"] for row in own), sum(row["found"] for row in own)
        most = max(row["score_most"] for row in own)
        bound = 100 * interval(hits, tiles)[1]
        lines.append(f"| {content} | {tiles:,} | {hits} | {bound:.3f} % | {most:.2f} |")
    return "\n".join(lines)
