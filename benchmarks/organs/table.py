"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose

from benchmarks.model.stats import Interval
from benchmarks.organs.augment import Task
from benchmarks.organs.distance import Distances, Value
from benchmarks.organs.judge import Score, Verdict
from benchmarks.organs.losses import Loss
from benchmarks.organs.reports import Said


def _percent(score: Score) -> str:
    low, high = score.interval
    return f"{100 * score.value:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def _range(value: float, interval: Interval, scale: float = 1.0) -> str:
    return f"{scale * value:.1f} ({scale * interval[0]:.1f} to {scale * interval[1]:.1f})"


def _value(found: Value) -> str:
    return _range(*found)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def verdict_table(verdicts: Sequence[Verdict], trained_on: Sequence[str]) -> str:
    """Accuracy of the classifier on real and on generated windows, by organ."""
    lines = [
        "| organ | windows (groups) | organ right, real % | organ right, generated % | class right, real % "
        "| class right, generated % | generated taken for |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in verdicts:
        mark = " *" if row.organ in trained_on else ""
        cells = [_percent(score) for score in (row.real_organ, row.made_organ, row.real_class, row.made_class)]
        size = f"{row.real_organ.of} ({row.real_organ.groups})"
        lines.append(f"| {row.organ}{mark} | {size} | {' | '.join(cells)} | {_counts(row.said)} |")
    return "\n".join(lines)


def distance_table(rows: Sequence[Distances], trained_on: Sequence[str]) -> str:
    """Distances of generated windows beside the floor and the control, by organ."""
    lines = [
        "| distance | organ | generated | real against real | generated from another organ's text "
        "| windows (groups), n |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: (row.kind, row.organ)):
        mark = " *" if row.organ in trained_on else ""
        cells = [_value(value) for value in (row.made, row.real, row.other)]
        size = f"{row.windows} ({row.groups}), n = {row.size}"
        lines.append(f"| {row.kind} | {row.organ}{mark} | {' | '.join(cells)} | {size} |")
    return "\n".join(lines)


def said_table(rows: Sequence[Said]) -> str:
    """What windows from other texts were taken for."""
    lines = ["| texts | windows | organ right % | taken for | class taken for |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        labels = dict(sorted(row.labels.items(), key=lambda pair: -pair[1])[:4])
        cells = f"{row.right.of} | {_percent(row.right)} | {_counts(row.organs)} | {_counts(labels)}"
        lines.append(f"| {row.name} ({row.organ}) | {cells} |")
    return "\n".join(lines)


def task_table(task: Task) -> str:
    """Arms of one few-shot comparison."""
    lines = [
        f"**{task.name}**: {', '.join(task.classes)}; {task.tiles} held-back tiles of {task.groups} groups, "
        f"{task.seeds} seeds.",
        "",
        "| trained on, a class | balanced accuracy % | points over |",
        "| --- | --- | --- |",
    ]
    for arm in task.arms:
        fixed = isclose(*arm.interval)  # the same tiles for every seed
        mean = f"{100 * arm.mean:.1f}" if fixed else _range(arm.mean, arm.interval, 100)
        gain = ""
        if arm.gain is not None and arm.gain_interval is not None:
            gain = f"{_range(arm.gain, arm.gain_interval, 100)} over {arm.over}"
        lines.append(f"| {arm.name} | {mean} | {gain} |")
    return "\n".join(lines)


def loss_table(rows: Sequence[Loss]) -> str:
    """Losses of the trunk on groups and patients that it was not trained on."""
    lines = ["| loss | mean | n |", "| --- | --- | --- |"]
    lines += [f"| {row.name} | {row.mean:.4f} ± {row.error:.4f} | {row.of} |" for row in rows]
    return "\n".join(lines)
