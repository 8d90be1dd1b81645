"""From a plan and a calibration to hours, bytes and memory."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mupd.config import Config
from mupd.contracts.forecast import ForecastFile, StageFigures, config_digest
from mupd.contracts.layout import STAGES, Stage
from mupd.contracts.stage_record import now
from mupd.run.forecast.calibration import Calibration
from mupd.run.forecast.fit import Cost, cost_of
from mupd.run.forecast.plan import Plan, ShardPlan, cohort_units, draw_units, has_stains, units_of
from mupd.run.forecast.specimens import LARGE_PX
from mupd.run.job_resources import INTAKE_THREADS, latents_mb

_ARTIFACTS_PER_CASE = {"rna": 1, "text": 3}
"""One file of profiles; a report as JSON, text and DICOM."""

_BUSY_LOAD = 1.5


@dataclass(frozen=True)
class Forecast:
    """What a run is estimated to take.

    Attributes
    ----------
    window_evaluations
        Windows of all slides through the network, over all evaluations, one guidance pass.
    wall_s
        From the first job to the last, `jobs` at a time, without Snakemake's own time and a cluster's queue.
    gpu_s
        Time for which jobs hold a GPU; None if the calibration ran on a CPU.
    notes
        Sentences on what the forecast leaves out.
    """

    plan: Plan
    calibration: Calibration
    stages: dict[Stage, StageFigures]
    window_evaluations: int
    jobs: int
    wall_s: float
    gpu_s: float | None
    store_bytes: int
    artifact_bytes: int
    artifacts: int
    notes: tuple[str, ...] = ()

    @property
    def cpu_s(self) -> float:
        """CPU time of all stages."""
        return sum(figures.cpu_s for figures in self.stages.values())


def wall_of_chains(seconds: Iterable[float], at_a_time: int) -> float:
    """Time until all chains are done, `at_a_time` in parallel, the longest first (Graham's LPT rule)."""
    free = [0.0] * max(at_a_time, 1)
    for chain in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + chain)
    return max(free)


def _costs_of(stage: Stage, calibration: Calibration) -> dict[str, Cost]:
    """Costs of a stage's units. Reading a cohort table is measured in intake and costs the same in each stage."""
    table = calibration.costs["intake"].get("table_mb", Cost())
    return {"table_mb": table} | calibration.costs[stage]


def job_costs(shard: ShardPlan, config: Config, calibration: Calibration, windows: int) -> dict[Stage, Cost]:
    """Cost of each stage's job on a shard."""
    costs = {
        stage: cost_of(units, _costs_of(stage, calibration))
        for stage, units in units_of(shard, config, windows).items()
    }
    # Intake reads several inputs at a time.
    whole, start = costs["intake"], calibration.costs["intake"]["job"]
    costs["intake"] = Cost(start.wall_s + (whole.wall_s - start.wall_s) / INTAKE_THREADS, whole.cpu_s)
    return costs


def _figures(costs: Sequence[Cost], peak_mb: float) -> StageFigures:
    return StageFigures(
        jobs=len(costs),
        wall_s=sum(cost.wall_s for cost in costs),
        longest_s=max((cost.wall_s for cost in costs), default=0.0),
        cpu_s=sum(cost.cpu_s for cost in costs),
        peak_mb=peak_mb,
    )


def artifacts_of(plan: Plan, config: Config) -> int:
    """Number of artifacts if every draw is accepted. Several slides of a case also have a map of their spread."""
    per_case = _ARTIFACTS_PER_CASE | {"he": config.draws.he + (config.draws.he > 1)}
    return sum(cases * per_case.get(task.partition("->")[2], 0) for task, cases in plan.tasks.items())


def peak_mb(stage: Stage, config: Config, calibration: Calibration) -> float:
    """Peak memory of a job: the measured one; for generation plus the latents of larger slides."""
    measured = calibration.peak_mb[stage]
    if stage != "generate":
        return measured
    calibrated = replace(config, slide=replace(config.slide, width_px=LARGE_PX, height_px=LARGE_PX))
    return measured + max(latents_mb(config) - latents_mb(calibrated), 0.0)


def _notes(plan: Plan, calibration: Calibration) -> list[str]:
    notes = []
    if unread := len(plan.shards) - plan.known_shards:
        notes.append(
            f"{unread:,} of {len(plan.shards):,} shards are counted by the sheet alone: inputs that intake will find "
            "unusable count as measured."
        )
    if has_stains(plan.draws):
        notes.append("Stains of slides count as tasks. Their time, memory and disk space are not in the forecast.")
    if calibration.load > _BUSY_LOAD:
        notes.append(
            f"The machine was busy during the calibration ({calibration.load:g} processes per core). On an idle "
            "machine, wall times are shorter; CPU-hours change less."
        )
    if calibration.facts.get("one_slide_size"):
        notes.append(
            "Only small slides were calibrated, since they took long. Times of larger slides are less certain."
        )
    return notes


def forecast_of(plan: Plan, config: Config, calibration: Calibration, windows: int, jobs: int) -> Forecast:
    """Estimate what a plan takes.

    Parameters
    ----------
    windows
        :func:`mupd.run.forecast.plan.window_evaluations` of the configuration.
    jobs
        Number of jobs that run at a time.
    """
    by_shard = [job_costs(shard, config, calibration, windows) for shard in plan.shards]
    cohort = cost_of(cohort_units(plan), _costs_of("cohort", calibration))
    stages = {
        stage: _figures(
            [cohort] if stage == "cohort" else [costs[stage] for costs in by_shard], peak_mb(stage, config, calibration)
        )
        for stage in STAGES
    }
    chains = [sum(cost.wall_s for cost in costs.values()) for costs in by_shard]
    drawn: Counter[str] = Counter()
    for shard in plan.shards:
        drawn.update(draw_units(shard, config))
    stored, exported = (
        int(sum(calibration.bytes[place].get(unit, 0.0) * count for unit, count in drawn.items()))
        for place in ("store", "artifacts")
    )
    return Forecast(
        plan=plan,
        calibration=calibration,
        stages=stages,
        window_evaluations=int(plan.draws.get("he", 0)) * windows,
        jobs=jobs,
        wall_s=wall_of_chains(chains, jobs) + cohort.wall_s,
        gpu_s=stages["generate"].wall_s if calibration.on_gpu else None,
        store_bytes=stored,
        artifact_bytes=exported,
        artifacts=artifacts_of(plan, config),
        notes=tuple(_notes(plan, calibration)),
    )


def as_file(forecast: Forecast, config: Config) -> ForecastFile:
    """The part that is kept for the report."""
    return ForecastFile(
        made=now(),
        calibrated=f"{forecast.calibration.hardware}, {forecast.calibration.made}",
        config=config_digest(config),
        cases=forecast.plan.cases,
        stages={stage: figures for stage, figures in forecast.stages.items()},
        store_bytes=forecast.store_bytes,
        artifact_bytes=forecast.artifact_bytes,
        artifacts=forecast.artifacts,
    )
