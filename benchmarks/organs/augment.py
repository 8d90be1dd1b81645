"""Training on few real tiles per class, with and without synthetic ones: accuracy on held-out real tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.organs.data import Windows
from benchmarks.stats import Interval, balanced_accuracy

FEW = 10
_STRENGTH = 0.1
Features = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Set = tuple[NDArray[np.float32], NDArray[np.str_]]


@dataclass(frozen=True)
class Arm:
    """Balanced accuracy of one way to train, over seeds: its mean, and its gain over another way, with 95 % intervals.

    Attributes
    ----------
    over
        The other way: the same without generated tiles, or else ten real tiles; "" = there is none.
    gain
        Mean over seeds of the difference.
    """

    name: str
    mean: float
    interval: Interval
    over: str
    gain: float | None
    gain_interval: Interval | None


@dataclass(frozen=True)
class Task:
    """One comparison: classes, held-back tiles, and the arms."""

    name: str
    classes: tuple[str, ...]
    tiles: int
    groups: int
    seeds: int
    arms: tuple[Arm, ...]


def mean_interval(values: NDArray[np.float64]) -> tuple[float, Interval]:
    """Mean and its 95 % interval (Student's t); of a single value both limits are the value."""
    from scipy.stats import t

    mean = float(values.mean())
    if len(values) < 2:
        return mean, (mean, mean)
    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, (mean - half, mean + half)


def draw_few(windows: Windows, label: str, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a class, one a group before a second of any."""
    rows = rng.permutation(np.nonzero(windows.labels == label)[0])
    turns: dict[str, int] = {}
    order: list[tuple[int, int, int]] = []
    for row in map(int, rows):
        group = str(windows.groups[row])
        order.append((turns.get(group, 0), len(order), row))
        turns[group] = turns.get(group, 0) + 1
    return np.array([row for _, _, row in sorted(order)[:count]], np.int64)


def oriented(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Windows (8 n, ...) in their eight orientations, one orientation after the other."""
    turned = [np.rot90(pixels, turns, (1, 2)) for turns in range(4)]
    return np.ascontiguousarray(np.concatenate([*turned, *(part[:, :, ::-1] for part in turned)]))


def _fit(sets: list[Set]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, labels = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=2000))
    return model.fit(rows, labels)


def _arm(name: str, over: str, scores: dict[str, list[float]]) -> Arm:
    values = np.array(scores[name])
    mean, interval = mean_interval(values)
    if not over:
        return Arm(name, mean, interval, over, None, None)
    return Arm(name, mean, interval, over, *mean_interval(values - np.array(scores[over])))


def compare(
    name: str,
    classes: tuple[str, ...],
    train: tuple[Windows, NDArray[np.float32]],
    turned: NDArray[np.float32],
    made: dict[str, NDArray[np.float32]],
    test: tuple[Windows, NDArray[np.float32]],
    seeds: int,
) -> Task:
    """Train on ten real tiles per class, alone and with other tiles, for several draws of the ten.

    Parameters
    ----------
    train
        Real tiles to draw from, with features (n, d).
    turned
        (8, n, d) features of these tiles in their eight orientations.
    made
        Features of generated windows of each class.
    test
        Held-back real tiles, with features.
    """
    windows, rows = train
    usable = np.isin(test[0].labels, classes)
    truth, held = test[0].labels[usable], test[1][usable]
    more = min(len(made[label]) for label in classes)
    names = (
        f"{FEW} real",
        f"{FEW} real in their 8 orientations",
        f"{FEW} real and {more} generated",
        f"{FEW} real in their 8 orientations and {more} generated",
        f"{more} generated alone",
        "all real training tiles",
    )
    synthetic = [(made[label][:more], np.repeat(label, more)) for label in classes]
    scores: dict[str, list[float]] = {arm: [] for arm in names}
    every = np.isin(windows.labels, classes)
    fixed = {
        names[4]: balanced_accuracy(_fit(synthetic).predict(held), truth),
        names[5]: balanced_accuracy(_fit([(rows[every], windows.labels[every])]).predict(held), truth),
    }
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        chosen = np.concatenate([draw_few(windows, label, FEW, rng) for label in classes])
        labels = windows.labels[chosen]
        few: list[Set] = [(rows[chosen], labels)]
        views: list[Set] = [(turned[turn, chosen], labels) for turn in range(len(turned))]
        for arm, sets in zip(names, (few, views, few + synthetic, views + synthetic), strict=False):
            scores[arm].append(balanced_accuracy(_fit(sets).predict(held), truth))
        for arm, value in fixed.items():
            scores[arm].append(value)
    over = dict.fromkeys(names[1:], names[0]) | {names[3]: names[1]}
    arms = tuple(_arm(arm, over.get(arm, ""), scores) for arm in names)
    return Task(name, classes, int(usable.sum()), len(set(test[0].groups[usable])), seeds, arms)


def classes_of(train: Windows, test: Windows, least: int = 4) -> tuple[str, ...]:
    """Classes with ten training tiles and at least `least` held-back ones."""
    labels = sorted(set(train.labels))
    return tuple(
        str(label) for label in labels if (train.labels == label).sum() >= FEW and (test.labels == label).sum() >= least
    )
