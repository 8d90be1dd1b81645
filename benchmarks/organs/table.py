"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose

from benchmarks.organs.augment import Task
from benchmarks.organs.distance import Distances
from benchmarks.organs.judge import Score, Verdict
from benchmarks.organs.losses import Loss
from benchmarks.organs.reports import Said
from benchmarks.pages import table, with_interval


def _percent(score: Score) -> str:
    return with_interval(score.value, score.interval, 0, 100)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def verdict_table(verdicts: Sequence[Verdict], trained_on: Sequence[str]) -> str:
    """Accuracy of the classifier on real and on generated windows, by organ."""
    head = ["organ", "windows (groups)", "organ right, real %", "organ right, generated %", "class right, real %"]
    head += ["class right, generated %", "generated taken for"]
    lines = []
    for row in verdicts:
        mark = " *" if row.organ in trained_on else ""
        cells = [_percent(score) for score in (row.real_organ, row.made_organ, row.real_class, row.made_class)]
        size = f"{row.real_organ.of} ({row.real_organ.groups})"
        lines.append((f"{row.organ}{mark}", size, *cells, _counts(row.said)))
    return table(head, lines)


def distance_table(rows: Sequence[Distances], trained_on: Sequence[str]) -> str:
    """Distances of generated windows beside the floor and the control, by organ."""
    head = ["distance", "organ", "generated", "real against real", "generated from another organ's text"]
    lines = []
    for row in sorted(rows, key=lambda row: (row.kind, row.organ)):
        mark = " *" if row.organ in trained_on else ""
        cells = [with_interval(*value, digits=1) for value in (row.made, row.real, row.other)]
        lines.append((row.kind, f"{row.organ}{mark}", *cells, f"{row.windows} ({row.groups}), n = {row.size}"))
    return table([*head, "windows (groups), n"], lines)


def said_table(rows: Sequence[Said]) -> str:
    """What windows from other texts were taken for."""
    lines = []
    for row in rows:
        labels = dict(sorted(row.labels.items(), key=lambda pair: -pair[1])[:4])
        cells = (row.right.of, _percent(row.right), _counts(row.organs), _counts(labels))
        lines.append((f"{row.name} ({row.organ})", *cells))
    return table(("texts", "windows", "organ right %", "taken for", "class taken for"), lines)


def task_table(task: Task) -> str:
    """Arms of one few-shot comparison."""
    what = (
        f"**{task.name}**: {', '.join(task.classes)}; {task.tiles} held-back tiles of {task.groups} groups, "
        f"{task.seeds} seeds."
    )
    lines = []
    for arm in task.arms:
        fixed = isclose(*arm.interval)  # the same tiles for every seed
        mean = f"{100 * arm.mean:.1f}" if fixed else with_interval(arm.mean, arm.interval, 1, 100)
        gain = ""
        if arm.gain is not None and arm.gain_interval is not None:
            gain = f"{with_interval(arm.gain, arm.gain_interval, 1, 100)} over {arm.over}"
        lines.append((arm.name, mean, gain))
    return f"{what}\n\n{table(('trained on, a class', 'balanced accuracy %', 'points over'), lines)}"


def loss_table(rows: Sequence[Loss]) -> str:
    """Losses of the trunk on groups and patients that it was not trained on."""
    return table(("loss", "mean", "n"), [(row.name, f"{row.mean:.4f} ± {row.error:.4f}", row.of) for row in rows])
