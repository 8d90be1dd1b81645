"""A classifier of real windows, and its verdicts on unseen real windows and on generated ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.organs.data import Windows
from benchmarks.stats import Interval, bootstrap

_COMPONENTS = 128
_STRENGTHS = (0.001, 0.01, 0.1, 1.0)


def _classifier(strength: float, features: NDArray[np.float32]) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        PCA(min(_COMPONENTS, *features.shape), random_state=0),
        StandardScaler(),
        LogisticRegression(C=strength, class_weight="balanced", max_iter=2000),
    )


def fit_classifier(features: NDArray[np.float32], labels: NDArray[np.str_], groups: NDArray[np.str_]) -> Any:
    """Logistic regression on principal components; its strength by cross-validation over groups."""
    from sklearn.model_selection import GroupKFold

    def score(strength: float) -> float:
        right = []
        for train, test in GroupKFold(3).split(features, labels, groups):
            predicted = (
                _classifier(strength, features[train]).fit(features[train], labels[train]).predict(features[test])
            )
            right.append((predicted == labels[test]).mean())
        return float(np.mean(right))

    best = max(_STRENGTHS, key=score)
    return _classifier(best, features).fit(features, labels)


def organ_of(labels: NDArray[np.str_]) -> NDArray[np.str_]:
    """Organ of each class."""
    return np.array([str(label).split(": ")[0] for label in labels])


@dataclass(frozen=True)
class Score:
    """Share of windows classified correctly, with a bootstrap 95 % interval; `of` windows from `groups` groups."""

    value: float
    interval: Interval
    of: int
    groups: int


def share_right(predicted: NDArray[np.str_], truth: NDArray[np.str_], groups: NDArray[np.str_] | None) -> Score:
    """Share of windows classified correctly; the bootstrap draws groups or, without groups, single windows."""
    right = (predicted == truth).astype(float)
    names = np.arange(len(right)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(names.max()) + 1
    sums, sizes = np.bincount(names, right), np.bincount(names).astype(float)
    interval = bootstrap(lambda rows: float(sums[rows].sum() / sizes[rows].sum()), count)
    return Score(float(right.mean()), interval, len(right), count)


@dataclass(frozen=True)
class Verdict:
    """Of one organ: how often organ and class of real and of generated windows are classified correctly.

    Attributes
    ----------
    said
        Organs that the generated windows were taken for, with their counts, most frequent first.
    """

    organ: str
    real_organ: Score
    real_class: Score
    made_organ: Score
    made_class: Score
    said: dict[str, int]


def judge(
    classifier: Any, held: Windows, real: NDArray[np.float32], made: NDArray[np.float32]
) -> tuple[list[Verdict], NDArray[np.str_]]:
    """Verdicts by organ, and what each generated window was taken for.

    Parameters
    ----------
    held
        Real windows; `made` holds a window generated from the text of each.
    real, made
        Features (n, d).
    """
    of_real, of_made = classifier.predict(real), classifier.predict(made)
    verdicts = []
    for organ in sorted(set(held.organs)):
        rows = held.organs == organ
        named, counts = np.unique(organ_of(of_made[rows]), return_counts=True)
        order = np.argsort(-counts)
        groups, truth = held.groups[rows], held.labels[rows]
        verdicts.append(
            Verdict(
                str(organ),
                share_right(organ_of(of_real[rows]), held.organs[rows], groups),
                share_right(of_real[rows], truth, groups),
                share_right(organ_of(of_made[rows]), held.organs[rows], None),
                share_right(of_made[rows], truth, None),
                {str(named[index]): int(counts[index]) for index in order},
            )
        )
    return verdicts, of_made
