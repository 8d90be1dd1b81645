"""How fast intake is: ``python -m benchmarks.intake [--cases 10000] [--slides 1000] [--slide FILE.svs]``.

Each figure comes from a process of its own, so that its peak of memory is its own. Memory is the sum over that
process and its workers of what is resident, sampled every 0.1 s.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.intake.cohorts import slide_cohort, table_cohort
from benchmarks.intake.measure import measured, one_shard, open_and_thumbnail, whole

TABLE_SECONDS, TABLE_GB, SLIDE_SECONDS = 60.0, 2.0, 0.2
_SHARDS = 157


def tables(folder: Path, kind: str, cases: int, jobs: int) -> dict[str, Any]:
    """A cohort given as tables: whole; a shard; the shard again, from its cache."""
    config = table_cohort(folder / f"tables-{kind}", kind, cases, _SHARDS)
    total = measured(whole, config, jobs)
    shard, again = measured(one_shard, config, jobs), measured(one_shard, config, jobs)
    ok = total["seconds"] < TABLE_SECONDS and total["gb"] < TABLE_GB
    print(
        f"{cases} cases, tables {kind} + csv, {jobs} workers: {total['seconds']:.1f} s (< {TABLE_SECONDS:g}), "
        f"{total['gb']:.2f} GB (< {TABLE_GB:g}) {'met' if ok else 'NOT met'}; one of {_SHARDS} shards "
        f"{shard['seconds']:.1f} s, {shard['gb']:.2f} GB, again from its cache {again['seconds']:.1f} s; "
        f"{total['statuses']}",
        flush=True,
    )
    return {"whole": total, "shard": shard, "again": again}


def slides(folder: Path, slide: Path, cases: int, jobs: int) -> dict[str, Any]:
    """A cohort of slides: OpenSlide's own part and intake, in turns."""
    config = slide_cohort(folder / "slides", slide, cases, 4)
    before = measured(open_and_thumbnail, folder / "slides", jobs)
    total = measured(whole, config, jobs)
    after = measured(open_and_thumbnail, folder / "slides", jobs)
    own, own_cpu = ((before[name] + after[name]) / 2 for name in ("own", "own_cpu"))
    beyond = (total["seconds"] - own) / cases
    beyond_cpu = (total["cpu"] - own_cpu) / cases
    met = "met" if beyond_cpu <= SLIDE_SECONDS else "NOT met"
    print(
        f"{cases} slides ({slide.name}), {jobs} workers: CPU {total['cpu'] / cases:.3f} s a slide (the start of the "
        f"workers, shared by all slides, included), OpenSlide's open + thumbnail {own_cpu / cases:.3f}; beyond it "
        f"{beyond_cpu:.3f} (<= {SLIDE_SECONDS:g}) {met}; wall time {total['seconds']:.1f} s and {own:.1f} s, beyond it "
        f"{beyond:.3f} s a slide; {total['gb']:.2f} GB; {total['statuses']}",
        flush=True,
    )
    return {"own": own, "own_cpu": own_cpu, "whole": total, "beyond": beyond, "beyond_cpu": beyond_cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--slides", type=int, default=1_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--slide", type=Path, default=Path("../shared/data/slides/CMU-1-Small-Region.svs"))
    parser.add_argument("--only", choices=("h5ad", "csv.gz", "slides"))
    parser.add_argument("--json", type=Path, help="Where the figures go as well.")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for kind in ("h5ad", "csv.gz"):
            if arguments.only in (None, kind):
                figures[kind] = tables(Path(name), kind, arguments.cases, arguments.jobs)
        if arguments.only in (None, "slides"):
            if arguments.slide.is_file():
                figures["slides"] = slides(Path(name), arguments.slide, arguments.slides, arguments.jobs)
            else:
                print(f"{arguments.slide}: not there; the slides are not measured", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
