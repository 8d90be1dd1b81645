"""``python -m benchmarks.scale [dag|scheduler|overhead|forecast|intake|run] ...``: the tables of docs/scale.md.

Without a name: the DAG of 1,000 to 100,000 cases, the scheduler alone at 10,000, its share beside a real shard's
generation, the forecast and intake of 10,000, and a run of 1,000 cases of which 100 fail, then with one more case.
Results are JSON files under ``--work``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.scale.cohort import CASES_PER_SHARD
from benchmarks.scale.scenes import dag, forecast, intake, overhead, run, scheduler, write_result

SCENES = ("dag", "scheduler", "overhead", "forecast", "intake", "run")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("scene", nargs="*", choices=[*SCENES, []], help="what to measure; all of it if not given")
    parser.add_argument("--work", type=Path, default=Path("results/scale"), help="folder for cohorts and results")
    parser.add_argument("--sizes", type=int, nargs="+", help="cases of the cohorts")
    parser.add_argument("--per-shard", type=int, default=CASES_PER_SHARD, help="cases a shard")
    parser.add_argument("--failing", type=int, default=100, help="failing cases of the scene `run`")
    options = parser.parse_args()
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    per_shard: int = options.per_shard
    for scene in options.scene or SCENES:
        if scene == "dag":
            sizes = options.sizes or [1000, 3000, 10_000, 30_000, 100_000]
            write_result(work, f"dag-{per_shard}", dag(work, sizes, per_shard))
        elif scene == "scheduler":
            for size in options.sizes or [10_000]:
                write_result(work, f"scheduler-{size}", scheduler(work, size, per_shard))
        elif scene == "overhead":
            for size in options.sizes or [10_000]:
                write_result(work, f"overhead-{size}", overhead(work, size, per_shard))
        elif scene == "forecast":
            for size in options.sizes or [10_000]:
                write_result(work, f"forecast-{size}", forecast(work, size, per_shard))
        elif scene == "intake":
            for size in options.sizes or [10_000]:
                write_result(work, f"intake-{size}", intake(work, size, per_shard))
        else:
            for size in options.sizes or [1000]:
                write_result(work, f"run-{size}", run(work, size, options.failing, per_shard))


if __name__ == "__main__":
    main()
