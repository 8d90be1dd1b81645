"""What was measured of the model (its ``metrics.json``), as the report and the data card show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mupd.errors import ModelError


def number(value: Any) -> str:
    """A value of any kind in words: four digits of a number, a range for two, the beginning of a hash."""
    if isinstance(value, bool) or value is None:
        return "-" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " to ".join(map(number, value)) if len(value) == 2 else ", ".join(map(number, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {number(part)}" for name, part in value.items())
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 and all(letter in "0123456789abcdef" for letter in text) else text


def _found(part: Mapping[str, Any], name: str) -> dict[str, Any]:
    interval = part.get("interval_95")
    return {"name": name, "value": part["value"], "interval": None if interval is None else list(interval)}


def _beside(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The baselines by their names; of a file without names its one number."""
    if named := part.get("baselines"):
        return [_found(found, name) for name, found in named.items()]
    return [] if part.get("baseline") is None else [{"name": "", "value": part["baseline"], "interval": None}]


def read_metrics(model: Path) -> list[dict[str, Any]]:
    """Rows of the model's measured figures (``metrics.json``), empty if there is no such file.

    Returns
    -------
    list
        ``name``, ``value``, ``interval`` (95 %, two limits or None) and ``note``; ``beside``: name, value and interval
        of each baseline.

    Raises
    ------
    ModelError
        If the file is there and is not {name: {"value", "interval_95", "baselines" or "baseline", "note"}}.
    """
    path = model / "metrics.json"
    if not path.exists():
        return []
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        return [
            _found(part, name) | {"beside": _beside(part), "note": part.get("note", "")}
            for name, part in metrics.items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        expected = "{name: {value, interval_95, baselines, note}}"
        raise ModelError(f"metrics.json of the model: {error!r}; expected {expected}") from error
