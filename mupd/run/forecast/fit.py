"""The linear model of a stage's cost: seconds = sum over units of (seconds a unit) x (how many)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mupd.errors import MupdError


@dataclass(frozen=True)
class Cost:
    """Seconds, of the clock and of processors (user and system, over all cores)."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def times(self, count: float) -> Cost:
        """The cost of so many."""
        return Cost(self.wall_s * count, self.cpu_s * count)


@dataclass(frozen=True)
class Measurement:
    """What something that was done in known units cost; `peak_mb` is the process's most memory up to its end."""

    units: dict[str, float]
    cost: Cost
    peak_mb: float = 0.0
    label: str = ""


def cost_of(units: Mapping[str, float], costs: Mapping[str, Cost]) -> Cost:
    """What units cost together; a unit without a cost costs nothing."""
    total = Cost()
    for unit, count in units.items():
        if unit in costs:
            total = total + costs[unit].times(count)
    return total


def _solved(rows: Sequence[Mapping[str, float]], names: Sequence[str], seconds: Sequence[float]) -> list[float]:
    import numpy as np
    from scipy.optimize import nnls

    # Each equation is divided by its result: what counts is the relative error, so that short measurements count too.
    scale = np.array([1.0 / max(value, 1e-3) for value in seconds])
    matrix = np.array([[row.get(name, 0.0) for name in names] for row in rows]) * scale[:, None]
    # Columns of one size: nnls stops at an absolute tolerance.
    sizes = np.linalg.norm(matrix, axis=0)
    found, _ = nnls(matrix / sizes, np.array(seconds) * scale)
    return [float(value) for value in found / sizes]


def fit(measurements: Sequence[Measurement]) -> dict[str, Cost]:
    """The cost of each unit: least squares of the relative errors, none below zero.

    Raises
    ------
    MupdError
        If there are fewer measurements than units.
    """
    names = sorted({unit for one in measurements for unit, count in one.units.items() if count})
    if len(measurements) < len(names):
        raise MupdError(f"calibration: found {len(measurements)} measurements; expected one for each of {names}")
    rows = [one.units for one in measurements]
    wall = _solved(rows, names, [one.cost.wall_s for one in measurements])
    cpu = _solved(rows, names, [one.cost.cpu_s for one in measurements])
    return {name: Cost(w, c) for name, w, c in zip(names, wall, cpu, strict=True)}
