"""From a plan and a calibration to time, memory and disk space, with their range."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mupd.config import Config
from mupd.contracts.forecast import ForecastFile, StageFigures, config_digest
from mupd.contracts.layout import STAGES, Stage
from mupd.contracts.stage_record import now
from mupd.run.forecast.costs import Calibration, Cost, cost_of
from mupd.run.forecast.plan import Plan, ShardPlan, cohort_units, draw_units, units_of
from mupd.run.forecast.specimens import LARGE_PX
from mupd.run.job_resources import INTAKE_THREADS, latents_mb

RANGES = {"wall": (0.5, 2.5), "cpu": (0.7, 1.3), "memory": (0.7, 1.3), "disk": (0.5, 1.0)}
"""Actual over forecast, smallest and largest of the measured stages (docs/forecast.md, `python -m
benchmarks.forecast`)."""


@dataclass(frozen=True)
class Forecast:
    """What a run is estimated to take.

    Attributes
    ----------
    wall_s
        From the first job to the last, `jobs` at a time, without Snakemake's own time and a cluster's queue.
    gpu_s
        Time for which jobs hold a GPU; None if the calibration ran on a CPU.
    notes
        Sentences on what the forecast leaves out.
    """

    plan: Plan
    stages: dict[Stage, StageFigures]
    jobs: int
    wall_s: float
    gpu_s: float | None
    store_bytes: int
    artifact_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def cpu_s(self) -> float:
        """CPU time of all stages."""
        return sum(figures.cpu_s for figures in self.stages.values())


def wall_of_chains(seconds: Iterable[float], jobs: int) -> float:
    """Time until all chains are done, `jobs` in parallel, the longest first (Graham's LPT rule)."""
    free_at = [0.0] * max(jobs, 1)
    for chain in sorted(seconds, reverse=True):
        heapq.heapreplace(free_at, free_at[0] + chain)
    return max(free_at)


def _costs_of(stage: Stage, calibration: Calibration) -> dict[str, Cost]:
    """Costs of a stage's units. Reading a cohort table is measured in intake and costs the same in each stage."""
    return {"table_mb": calibration.costs["intake"].get("table_mb", Cost())} | calibration.costs[stage]


def job_costs(shard: ShardPlan, config: Config, calibration: Calibration) -> dict[Stage, Cost]:
    """Cost of each stage's job on a shard."""
    costs = {
        stage: cost_of(units_of(stage, shard, config), _costs_of(stage, calibration))
        for stage in STAGES
        if stage != "cohort"
    }
    # Intake reads several inputs at a time.
    costs["intake"] = replace(costs["intake"], wall_s=costs["intake"].wall_s / INTAKE_THREADS)
    return {stage: calibration.costs[stage]["job"] + cost for stage, cost in costs.items()}


def _figures(costs: Sequence[Cost], peak_mb: float) -> StageFigures:
    return StageFigures(
        jobs=len(costs),
        wall_s=sum(cost.wall_s for cost in costs),
        longest_s=max((cost.wall_s for cost in costs), default=0.0),
        cpu_s=sum(cost.cpu_s for cost in costs),
        peak_mb=peak_mb,
    )


def _peak_mb(stage: Stage, config: Config, calibration: Calibration) -> float:
    """Peak memory of a job: the measured one; for generation plus the latents of larger slides."""
    measured = calibration.peak_mb[stage]
    if stage != "generate":
        return measured
    calibrated = replace(config, slide=replace(config.slide, width_px=LARGE_PX, height_px=LARGE_PX))
    return measured + max(latents_mb(config) - latents_mb(calibrated), 0.0)


def _notes(plan: Plan, config: Config) -> list[str]:
    notes = []
    if unread := sum(not shard.from_inventory for shard in plan.shards):
        notes.append(
            f"{unread:,} of {len(plan.shards):,} shards are counted by the sheet alone: inputs that intake will find "
            "unusable count as measured."
        )
    if config.stains:
        notes.append("Stains of slides count as tasks. Their time, memory and disk space are not in the forecast.")
    return notes


def forecast_of(plan: Plan, config: Config, calibration: Calibration, jobs: int) -> Forecast:
    """Estimate what a plan takes with `jobs` jobs at a time."""
    by_shard = [job_costs(shard, config, calibration) for shard in plan.shards]
    cohort = cost_of(cohort_units(plan) | {"job": 1.0}, _costs_of("cohort", calibration))
    stages: dict[Stage, StageFigures] = {}
    for stage in STAGES:
        costs = [cohort] if stage == "cohort" else [costs_by_stage[stage] for costs_by_stage in by_shard]
        stages[stage] = _figures(costs, _peak_mb(stage, config, calibration))
    drawn: Counter[str] = Counter()
    for shard in plan.shards:
        drawn.update(draw_units(shard, config))
    stored, exported = (
        int(sum(calibration.bytes[place].get(unit, 0.0) * count for unit, count in drawn.items()))
        for place in ("store", "artifacts")
    )
    chains = [sum(cost.wall_s for cost in costs_by_stage.values()) for costs_by_stage in by_shard]
    return Forecast(
        plan=plan,
        stages=stages,
        jobs=jobs,
        wall_s=wall_of_chains(chains, jobs) + cohort.wall_s,
        gpu_s=stages["generate"].wall_s if calibration.gpu else None,
        store_bytes=stored,
        artifact_bytes=exported,
        notes=tuple(_notes(plan, config)),
    )


def as_file(forecast: Forecast, config: Config, calibration: Calibration) -> ForecastFile:
    """The part that is kept for the report."""
    return ForecastFile(
        made=now(),
        calibrated=f"{calibration.place}, {calibration.made}",
        config=config_digest(config),
        cases=forecast.plan.cases,
        stages={stage: figures for stage, figures in forecast.stages.items()},
        store_bytes=forecast.store_bytes,
        artifact_bytes=forecast.artifact_bytes,
    )
