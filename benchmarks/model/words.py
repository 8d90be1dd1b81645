"""Figures in words: the table of the model card and the docs, and the limits that follow from the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.pages import table
from benchmarks.stats import Metrics

_HEAD = ("figure", "model", "95 % interval", "target", "baselines", "what it is")


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _interval(row: Mapping[str, Any]) -> str:
    return " to ".join(_number(limit) for limit in row["interval_95"]) if "interval_95" in row else ""


def _target(row: Mapping[str, Any]) -> str:
    if "target" not in row:
        return ""
    named = [f"{side} {_number(limit)}" for side, limit in row["target"].items() if limit is not None]
    return f"{' and '.join(named)}: {'met' if row['met'] else 'not met'}"


def _baselines(row: Mapping[str, Any]) -> str:
    named = []
    for name, baseline in row.get("baselines", {}).items():
        interval = f" ({_interval(baseline)})" if "interval_95" in baseline else ""
        named.append(f"{name} {_number(baseline['value'])}{interval}")
    return "; ".join(named)


def figure_cells(metrics: Metrics) -> list[tuple[str, str, str, str, str, str]]:
    """Figure, model, interval, target, baselines and note of each row."""
    return [
        (name, _number(row["value"]), _interval(row), _target(row), _baselines(row), row["note"])
        for name, row in metrics.items()
    ]


def figure_table(metrics: Metrics) -> str:
    """Markdown table of all figures."""
    return table(_HEAD, figure_cells(metrics))


def _baseline(row: Mapping[str, Any], begins: str) -> float | None:
    return next((b["value"] for name, b in row.get("baselines", {}).items() if name.startswith(begins)), None)


def _he_limits(metrics: Metrics) -> list[str]:
    limits = []
    distance = metrics.get("RNA to H&E: kernel distance x 1000")
    if distance and (floor := _baseline(distance, "real")) is not None and distance["interval_95"][0] > floor:
        alone = _baseline(distance, "autoencoder alone") or 0.0
        limits.append(
            f"Generated windows can be told from real ones: their kernel distance is {_number(distance['value'])}, "
            f"that between real windows of one section {_number(floor)}; the autoencoder alone makes {_number(alone)}."
        )
    for name in ("haematoxylin density", "nuclear count"):
        row = metrics.get(f"RNA to H&E: {name}")
        if row and not row["met"]:
            limits.append(f"Generated H&E follows the spot's RNA weakly in {name} (Pearson {_number(row['value'])}).")
    share = metrics.get("Copy check: nearer than real")
    if share and share["interval_95"][0] > 1.0:
        limits.append(
            f"{_number(share['value'])} per cent of generated windows are nearer to a training window than all but 1 "
            "per cent of unseen real ones."
        )
    seams = metrics.get("H&E region: seams")
    if seams and not seams["met"]:
        limits.append(f"Seams of windows can be measured in large regions ({_number(seams['value'])}; 1 = none).")
    return limits


def _record_limits(direction: str, row: Mapping[str, Any]) -> list[str]:
    """Of a figure of the record's probabilities."""
    limits = []
    if row.get("shares"):
        weights = ", ".join(f"{field} {100 * weight:.0f} %" for field, weight in row["shares"].items())
        limits.append(
            f"{direction}: of some fields the model says little; how frequent their values are among training records "
            f"of the organ weighs in ({weights})."
        )
    if row.get("untold"):
        untold = ", ".join(row["untold"])
        limits.append(f"{direction}: {untold} could not be checked in this direction and are left undetermined.")
    before, after = _baseline(row, "log loss, before"), _baseline(row, "log loss")
    if before is not None and after is not None and before < after:
        limits.append(
            f"{direction}: calibration on the validation tenth made probabilities of held-out records worse (log loss "
            f"{_number(after)}, {_number(before)} before)."
        )
    if "training shares of the true organ" in row.get("baselines", {}) and row["interval_95"][1] >= row["baseline"]:
        limits.append(
            f"{direction}: beyond the organ, the record's probabilities are not surely better than shares of training "
            "records."
        )
    return limits


def _vector_limits(metrics: Metrics) -> list[str]:
    limits = []
    above = metrics.get("H&E to RNA: above ridge")
    if above and above["interval_95"][0] <= 0:
        how = "is not above" if not above["met"] else "is not surely above"
        limits.append(f"H&E to RNA {how} ridge regression on the same features (difference {_number(above['value'])}).")
    for name, row in metrics.items():
        organ = _baseline(row, "training mean of the organ")
        if organ is not None and row["interval_95"][0] <= organ:
            direction = name.split(":")[0]
            limits.append(
                f"{direction[0].upper()}{direction[1:]} tells little of a patient beyond the organ's mean profile."
            )
        if "coverage" in name and not row["met"]:
            how = "narrow" if row["value"] < row["target"]["above"] else "wide"
            limits.append(f"{name}: {_number(row['value'])}, so the draws' range is too {how}.")
        if "calibration error" in name and not row["met"]:
            limits.append(f"Probabilities of {name.split(':')[0]} are off by {_number(row['value'])} on average.")
        limits += _record_limits(name.split(":")[0], row)
    chance = [
        name
        for name, row in metrics.items()
        if (majority := _baseline(row, "majority")) is not None and row["interval_95"][0] <= majority
    ]
    if chance:
        limits.append(f"Not surely better than always naming the most frequent value: {', '.join(chance)}.")
    return limits


def measured_limits(metrics: Metrics) -> list[str]:
    """Sentences that the figures support; figures that were not measured give none."""
    return _he_limits(metrics) + _vector_limits(metrics)
