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
from mupd.run.forecast.plan import Plan, ShardPlan
from mupd.run.forecast.specimens import LARGE_PX
from mupd.run.forecast.units import Units, cohort_units, has_stains, units_of
from mupd.run.job_resources import INTAKE_THREADS, latents_mb


@dataclass(frozen=True)
class Forecast:
    """What a run is to take.

    Attributes
    ----------
    window_evaluations
        Windows of all slides through the network, over all evaluations, in one pass each.
    wall_s
        From the first job to the last with `jobs` at a time, without Snakemake's own time and a cluster's queue.
    gpu_s
        For which jobs hold a GPU; None where the calibration is of a CPU.
    notes
        Sentences on what is not in it.
    """

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
        """Of all stages."""
        return sum(figures.cpu_s for figures in self.stages.values())


def wall_of_chains(seconds: Iterable[float], at_a_time: int) -> float:
    """Time until all chains are done, `at_a_time` side by side, the longest begun first (Graham's LPT rule)."""
    free = [0.0] * max(at_a_time, 1)
    for chain in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + chain)
    return max(free)


def job_costs(shard: ShardPlan, config: Config, calibration: Calibration, windows: int) -> dict[Stage, Cost]:
    """What each stage's job of a shard costs."""
    found: dict[Stage, Cost] = {}
    for stage, units in units_of(shard, config, windows).items():
        costs = calibration.costs[stage]
        if stage == "generate" and "table_mb" in units:
            costs = {"table_mb": calibration.costs["intake"].get("table_mb", Cost())} | costs
        cost = cost_of(units, costs)
        if stage == "intake":
            cost = _side_by_side(cost, cost_of({"job": 1.0}, costs))
        found[stage] = cost
    return found


def _side_by_side(whole: Cost, start: Cost) -> Cost:
    """Intake reads several inputs at a time: its wall time after the start is shared."""
    return Cost(start.wall_s + (whole.wall_s - start.wall_s) / INTAKE_THREADS, whole.cpu_s)


def _cohort_cost(plan: Plan, config: Config, calibration: Calibration) -> Cost:
    costs = {"table_mb": calibration.costs["intake"].get("table_mb", Cost())} | calibration.costs["cohort"]
    return cost_of(cohort_units(plan.shards, config), costs)


def _figures(costs: Sequence[Cost], peak_mb: float) -> StageFigures:
    return StageFigures(
        jobs=len(costs),
        wall_s=sum(cost.wall_s for cost in costs),
        longest_s=max((cost.wall_s for cost in costs), default=0.0),
        cpu_s=sum(cost.cpu_s for cost in costs),
        peak_mb=peak_mb,
    )


def _disk(units: Units, calibration: Calibration, place: str) -> int:
    sizes = calibration.bytes[place]
    return int(sum(sizes.get(unit, 0.0) * count for unit, count in units.items()))


def artifacts_of(plan: Plan, config: Config) -> int:
    """Artifacts if all is accepted: slides, a map of several, a file of profiles, a report as JSON, text and DICOM."""
    found = 0
    for task, cases in plan.tasks.items():
        target = task.partition("->")[2]
        if target == "he":
            found += cases * (config.draws.he + (config.draws.he > 1))
        elif target == "rna":
            found += cases
        elif target == "text":
            found += 3 * cases
    return found


def peak_mb(stage: Stage, config: Config, calibration: Calibration) -> float:
    """Most memory of a job: what was measured, and for generation what larger latents take beyond it."""
    measured = calibration.peak_mb[stage]
    if stage != "generate":
        return measured
    return measured + max(latents_mb(config) - latents_mb_of(LARGE_PX, config), 0.0)


def latents_mb_of(side_px: int, config: Config) -> float:
    """Of a square slide at the configured scale."""
    return latents_mb(replace(config, slide=replace(config.slide, width_px=side_px, height_px=side_px)))


def _notes(plan: Plan, calibration: Calibration) -> list[str]:
    notes = []
    known = sum(shard.known for shard in plan.shards)
    if known < len(plan.shards):
        unread = len(plan.shards) - known
        notes.append(
            f"{unread:,} of {len(plan.shards):,} shards are counted by the sheet alone: an input that intake will find "
            "unusable counts there as measured."
        )
    if any(has_stains(shard) for shard in plan.shards):
        notes.append("Stains of slides are counted as tasks; their time, memory and disk are not in the forecast.")
    if calibration.load > 1.5:
        notes.append(
            f"The machine was busy while it was calibrated ({calibration.load:g} processes a core): wall times are too "
            "long where the run has it alone; CPU-hours are less disturbed."
        )
    if "he_mpix" not in calibration.costs["generate"]:
        notes.append("A small slide took too long to measure a large one too: decoding is not told apart.")
    return notes


def forecast_of(plan: Plan, config: Config, calibration: Calibration, windows: int, jobs: int) -> Forecast:
    """The forecast of a plan.

    Parameters
    ----------
    windows
        :func:`mupd.run.forecast.units.window_evaluations` of the configuration.
    jobs
        Shards' jobs that run at a time.
    """
    by_shard = [job_costs(shard, config, calibration, windows) for shard in plan.shards]
    of_stage: dict[Stage, list[Cost]] = {
        stage: [costs[stage] for costs in by_shard] for stage in STAGES if stage != "cohort"
    }
    of_stage["cohort"] = [_cohort_cost(plan, config, calibration)]
    stages = {stage: _figures(of_stage[stage], peak_mb(stage, config, calibration)) for stage in STAGES}
    chains = [sum(cost.wall_s for cost in costs.values()) for costs in by_shard]
    drawn: Counter[str] = Counter()
    for shard in plan.shards:
        drawn.update(units_of(shard, config, windows)["export"])
    return Forecast(
        stages=stages,
        window_evaluations=int(plan.draws.get("he", 0)) * windows,
        jobs=jobs,
        wall_s=wall_of_chains(chains, jobs) + of_stage["cohort"][0].wall_s,
        gpu_s=stages["generate"].wall_s if calibration.on_gpu else None,
        store_bytes=_disk(dict(drawn), calibration, "store"),
        artifact_bytes=_disk(dict(drawn), calibration, "artifacts"),
        artifacts=artifacts_of(plan, config),
        notes=tuple(_notes(plan, calibration)),
    )


def as_file(forecast: Forecast, plan: Plan, config: Config, calibration: Calibration) -> ForecastFile:
    """What is kept for the report."""
    return ForecastFile(
        made=now(),
        calibrated=f"{calibration.hardware}, {calibration.made}",
        config=config_digest(config),
        cases=sum(shard.cases for shard in plan.shards),
        stages={stage: figures for stage, figures in forecast.stages.items()},
        store_bytes=forecast.store_bytes,
        artifact_bytes=forecast.artifact_bytes,
        artifacts=forecast.artifacts,
    )
