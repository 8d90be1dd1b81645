"""Distance of generated windows of an organ from real ones, beside real against real and a control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.organs.data import Windows
from benchmarks.stats import Interval, frechet_distance, half_samples, kernel_distance
from mupd.errors import MupdError

COMPONENTS = 16
Value = tuple[float, Interval]


@dataclass(frozen=True)
class Distances:
    """Distances of three sets from the held-out real windows of an organ.

    Attributes
    ----------
    made
        Windows generated from the texts of the held-back ones.
    real
        Other real windows of the same classes: what a perfect generator would reach.
    other
        Windows generated from the texts of other organs.
    windows, groups
        Of the held-back ones.
    size
        Rows of the halves that are compared.
    """

    organ: str
    kind: str
    made: Value
    real: Value
    other: Value
    windows: int
    groups: int
    size: int


def same_mix(labels: NDArray[np.str_], wanted: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of `labels` without repetition: of each class as many as in `wanted`, or all if there are fewer."""
    chosen = []
    for label in np.unique(wanted):
        rows = np.nonzero(labels == label)[0]
        chosen.append(rng.permutation(rows)[: int((wanted == label).sum())])
    return np.concatenate(chosen)


def distances(
    held: Windows,
    held_rows: NDArray[np.float32],
    made_rows: NDArray[np.float32],
    train: Windows,
    train_rows: NDArray[np.float32],
) -> list[Distances]:
    """Frechet distance over principal components of the training windows' features, and kernel distance over all."""
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    project = PCA(COMPONENTS, random_state=0).fit(train_rows).transform

    def frechet(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
        return frechet_distance(project(first), project(second))

    rows = []
    for organ in sorted(set(held.organs)):
        own = held.organs == organ
        floor = train_rows[same_mix(train.labels, held.labels[own], rng)]
        other = made_rows[rng.permutation(np.nonzero(~own)[0])[: int(own.sum())]]
        size = min(int(own.sum()), len(floor), len(other)) // 2
        if size < 2:
            raise MupdError(f"{organ}: found {len(floor)} other real windows of its classes; expected at least 4")
        for kind, distance in (("Frechet", frechet), ("kernel", kernel_distance)):
            made, real, control = (
                half_samples(distance, rows, held_rows[own], size) for rows in (made_rows[own], floor, other)
            )
            groups = len(set(held.groups[own]))
            rows.append(Distances(str(organ), kind, made, real, control, int(own.sum()), groups, size))
    return rows
