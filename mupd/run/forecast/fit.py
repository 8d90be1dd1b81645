"""Linear cost model of a stage: seconds = sum over units of (seconds per unit) x (count)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mupd.errors import MupdError


@dataclass(frozen=True)
class Cost:
    """Seconds: wall time, and CPU time (user and system, over all cores)."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def times(self, count: float) -> Cost:
        """The cost of `count` of these."""
        return Cost(self.wall_s * count, self.cpu_s * count)


@dataclass(frozen=True)
class Measurement:
    """Cost of a known number of units; `peak_mb` is the peak memory of the process up to its end."""

    units: dict[str, float]
    cost: Cost
    peak_mb: float = 0.0
    label: str = ""


def cost_of(units: Mapping[str, float], costs: Mapping[str, Cost]) -> Cost:
    """Sum of the costs of units. A unit that `costs` lacks costs nothing."""
    total = Cost()
    for unit, count in units.items():
        if unit in costs:
            total = total + costs[unit].times(count)
    return total


def amounts_per_unit(rows: Sequence[Mapping[str, float]], amounts: Sequence[float]) -> dict[str, float]:
    """Amount per unit by non-negative least squares of the relative errors.

    Parameters
    ----------
    rows
        {unit: count} of each measurement.
    amounts
        What each measurement took in all, e.g. seconds or bytes.

    Raises
    ------
    MupdError
        If there are fewer measurements than units.
    """
    import numpy as np
    from scipy.optimize import nnls

    units = sorted({unit for row in rows for unit, count in row.items() if count})
    if len(rows) < len(units):
        raise MupdError(f"calibration: found {len(rows)} measurements; expected one for each of {units}")
    # Each equation is divided by its result: short measurements then count as much as long ones.
    scale = np.array([1.0 / max(amount, 1e-3) for amount in amounts])
    matrix = np.array([[row.get(unit, 0.0) for unit in units] for row in rows]) * scale[:, None]
    # nnls stops at an absolute tolerance: bring all columns to the same norm.
    norms = np.linalg.norm(matrix, axis=0)
    solution, _ = nnls(matrix / norms, np.array(amounts) * scale)
    return dict(zip(units, map(float, solution / norms), strict=True))


def fit(measurements: Sequence[Measurement]) -> dict[str, Cost]:
    """Cost of each unit (:func:`amounts_per_unit`)."""
    rows = [measurement.units for measurement in measurements]
    wall = amounts_per_unit(rows, [measurement.cost.wall_s for measurement in measurements])
    cpu = amounts_per_unit(rows, [measurement.cost.cpu_s for measurement in measurements])
    return {unit: Cost(wall[unit], cpu[unit]) for unit in wall}
