"""Figures of one run for its data card: computed from what the run left, None where nothing was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mupd.base.ids import MODALITIES, Modality
from mupd.stages.cohort.case_values import CaseValues, RnaValues
from mupd.stages.cohort.join_shards import CheckedDraw, CohortCase, Part, State


@dataclass(frozen=True)
class Spread:
    """How a figure is distributed over `n` things: quartiles and extremes."""

    n: int
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class CheckFigures:
    """One check over the draws of one modality: how many it decided, failed, and left undecided."""

    modality: str
    name: str
    decided: int
    failed: int
    undecided: int


@dataclass(frozen=True)
class Outcome:
    """Outcomes of a group of imputations (of one task, of one organ) and of their draws."""

    group: str
    parts: int
    accepted: int
    draws: int
    accepted_draws: int
    distance: Spread | None
    """Of the accepted RNA draws, their mean distance from the training data in standard deviations."""


def spread(numbers: Iterable[Any]) -> Spread | None:
    """Median and extremes of the finite numbers, None if there is none."""
    values = np.array([float(number) for number in numbers if _is_number(number)])
    if not len(values):
        return None
    return Spread(len(values), float(np.median(values)), float(values.min()), float(values.max()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def parts_of(cases: Sequence[CohortCase]) -> Iterator[tuple[CohortCase, Part]]:
    """Every modality of every case."""
    for case in cases:
        for modality in MODALITIES:
            yield case, case.parts[modality]


def _made(part: Part) -> list[CheckedDraw]:
    """Draws that were made; a failed task has none."""
    return [draw for draw in part.draws if draw.draw >= 0]


def check_figures(cases: Sequence[CohortCase]) -> list[CheckFigures]:
    """Each check of each modality over all draws, in alphabetical order within a modality."""
    counts: dict[tuple[Modality, str], Counter[bool | None]] = {}
    for _, part in parts_of(cases):
        for draw in _made(part):
            for name, check in draw.checks.items():
                counts.setdefault((part.entry.modality, name), Counter())[check.get("ok")] += 1
    ordered = sorted(counts, key=lambda key: (MODALITIES.index(key[0]), key[1]))
    return [
        CheckFigures(*key, count[True] + count[False], count[False], count[None])
        for key, count in ((key, counts[key]) for key in ordered)
    ]


def reasons(cases: Sequence[CohortCase], verdict: str) -> list[tuple[str, str, int]]:
    """Why imputations failed, or draws were rejected or accepted with a warning: (modality, reason, how often)."""
    counts: Counter[tuple[str, str]] = Counter()
    for _, part in parts_of(cases):
        if verdict == "failed":
            if part.verdict == "failed":
                counts[part.entry.modality, part.why] += 1
            continue
        for draw in _made(part):
            if draw.verdict == verdict and draw.reasons:
                counts[part.entry.modality, draw.reasons] += 1
    return [(*key, count) for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def check_spread(cases: Sequence[CohortCase], modality: str, name: str) -> Spread | None:
    """A check's value over the accepted draws of a modality."""
    return spread(
        draw.checks.get(name, {}).get("value")
        for _, part in parts_of(cases)
        if part.entry.modality == modality
        for draw in part.accepted
    )


def outcomes(cases: Sequence[CohortCase], group_of: Callable[[CohortCase, Part], str]) -> list[Outcome]:
    """Imputations grouped by a name; those without a name are left out."""
    groups: dict[str, list[Part]] = {}
    for case, part in parts_of(cases):
        if part.entry.status != "measured" and (group := group_of(case, part)):
            groups.setdefault(group, []).append(part)
    return [
        Outcome(
            group,
            len(parts),
            sum(part.verdict == "accepted" for part in parts),
            sum(len(_made(part)) for part in parts),
            sum(draw.verdict == "accepted" for part in parts for draw in _made(part)),
            spread(
                draw.checks.get("mean_abs_z", {}).get("value")
                for part in parts
                if part.entry.modality == "rna"
                for draw in part.accepted
            ),
        )
        for group, parts in sorted(groups.items())
    ]


def profiles_of(cases: Sequence[CohortCase], values: Sequence[CaseValues], state: State) -> list[RnaValues]:
    """The RNA profiles of the cases whose RNA is in a state."""
    pairs = zip(cases, values, strict=True)
    return [value.rna for case, value in pairs if value.rna is not None and case.parts["rna"].state == state]


def mean_profile(profiles: Sequence[RnaValues]) -> NDArray[np.float32] | None:
    """Mean over profiles (log1p CP10k), NaN where no profile has the gene; None without a profile."""
    if not profiles:
        return None
    stack = np.array([profile.mean for profile in profiles], np.float64)
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    total = np.where(known, stack, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def profile_correlation(
    cases: Sequence[CohortCase], values: Sequence[CaseValues]
) -> tuple[float, int, int, int] | None:
    """Pearson correlation over genes of the cohort's mean measured and mean generated profile (log1p CP10k).

    Returns
    -------
    tuple or None
        The correlation, measured profiles, generated profiles, genes that both have; None with fewer than three
        genes, without a profile of either, or where one of the means is constant.
    """
    measured, generated = profiles_of(cases, values, "measured"), profiles_of(cases, values, "accepted")
    one, other = mean_profile(measured), mean_profile(generated)
    if one is None or other is None:
        return None
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 3 or not one[both].std() or not other[both].std():
        return None
    return float(np.corrcoef(one[both], other[both])[0, 1]), len(measured), len(generated), int(both.sum())


def _median_sd(profiles: Sequence[NDArray[np.float32]]) -> float | None:
    """Median over genes of the standard deviation over profiles; None for fewer than two."""
    if len(profiles) < 2:
        return None
    stack = np.array(profiles, np.float64)
    known = np.isfinite(stack).all(axis=0)
    return float(np.median(stack[:, known].std(axis=0, ddof=1))) if known.any() else None


def draw_spread_rna(cases: Sequence[CohortCase], values: Sequence[CaseValues]) -> Spread | None:
    """Over cases: how far the draws of one case lie apart (median over genes of their standard deviation)."""
    return spread(_median_sd(list(profile.draws.values())) for profile in profiles_of(cases, values, "accepted"))


def case_spread_rna(cases: Sequence[CohortCase], values: Sequence[CaseValues], state: State) -> float | None:
    """How far the profiles of the cases of a state lie apart (median over genes of their standard deviation)."""
    return _median_sd([profile.mean for profile in profiles_of(cases, values, state)])


def draw_spread_he(cases: Sequence[CohortCase], name: str) -> Spread | None:
    """Over cases with two slides or more: standard deviation over draws of a check's value (an optical density)."""

    def spreads() -> Iterator[float]:
        for case in cases:
            deviations = [draw.checks.get(name, {}).get("value") for draw in case.parts["he"].accepted]
            numbers = [float(value) for value in deviations if value is not None and _is_number(value)]
            if len(numbers) > 1:
                yield float(np.std(numbers, ddof=1))

    return spread(spreads())


def stain(cases: Sequence[CohortCase], values: Sequence[CaseValues], state: State, name: str) -> Spread | None:
    """An optical density of tissue over the slides of a state."""
    pairs = zip(cases, values, strict=True)
    return spread(getattr(value.he, name) for case, value in pairs if value.he and case.parts["he"].state == state)


def record_fields(cases: Sequence[CohortCase], values: Sequence[CaseValues]) -> list[dict[str, Any]]:
    """Of each field of the generated records: cases, share that states a value, values stated, agreement of draws."""
    stated: dict[str, list[str | None]] = {}
    agreed: dict[str, list[float]] = {}
    for case, value in zip(cases, values, strict=True):
        if value.text is None or case.parts["text"].state != "accepted":
            continue
        for record in value.text.draws.values():
            for name, part in record.items():
                stated.setdefault(name, []).append(part.get("value"))
        # The check stage counts draws that leave a field undetermined alike as agreeing.
        checked = case.parts["text"].accepted[0].checks.get("agreement", {}).get("value")
        for name, share in checked.items() if isinstance(checked, dict) else ():
            agreed.setdefault(name, []).append(share)
    return [
        {
            "name": name.replace("_", " "),
            "draws": len(found),
            "stated": sum(value is not None for value in found),
            "different": len({value for value in found if value is not None}),
            "agreement": spread(agreed.get(name, ())),
        }
        for name, found in stated.items()
    ]


def gene_completeness(cases: Sequence[CohortCase], values: Sequence[CaseValues]) -> Spread | None:
    """Over generated profiles: share of the model's genes that have a value."""
    return spread(float(np.isfinite(profile.mean).mean()) for profile in profiles_of(cases, values, "accepted"))
