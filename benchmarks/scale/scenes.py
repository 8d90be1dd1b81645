"""What is measured: the DAG, the scheduler alone, intake, a run with failing cases, one more case."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.command import MODEL, REPOSITORY
from benchmarks.scale.cohort import Holes, tiny_model_module, write_cohort
from benchmarks.scale.measure import jobs_of, measured, slope, snakemake

THIRDS = Holes(he=0.2, rna=0.2, text=0.2)
MINI = REPOSITORY / MODEL


def dag(work: Path, sizes: Sequence[int], per_shard: int) -> dict[str, Any]:
    """`snakemake -n` on cohorts of some sizes: seconds, memory, jobs, and the exponent of each one's growth."""
    rows = []
    for size in sizes:
        folder = work / f"dag-{size}-{per_shard}"
        config = write_cohort(folder, size, THIRDS, MINI, per_shard, with_tables=False)
        done = snakemake(config, folder, "-n", "--quiet", "all")
        if done.returncode:
            raise RuntimeError(done.output)
        counted = snakemake(config, folder, "-n") if size <= 10_000 else done
        jobs = jobs_of(counted.output).get("total", 4 * -(-size // per_shard) + 2)
        rows.append({"cases": size, "seconds": done.seconds, "peak_mb": done.peak_mb, "jobs": jobs})
        print(rows[-1], flush=True)
    result: dict[str, Any] = {"per_shard": per_shard, "rows": rows}
    if len(rows) > 1:
        # Below some thousand cases Python's own start is most of it: the law is that of the larger cohorts.
        large = [row for row in rows if row["cases"] >= 3000] or rows
        of = [row["cases"] for row in large]
        if len(large) > 1:
            result |= {f"exponent_{name}": slope(of, [row[name] for row in large]) for name in ("seconds", "peak_mb")}
    return result


def scheduler(work: Path, size: int, per_shard: int) -> dict[str, Any]:
    """The workflow with commands that only write their outputs: the time of Snakemake itself."""
    folder = work / f"scheduler-{size}-{per_shard}"
    shutil.rmtree(folder, ignore_errors=True)
    config = write_cohort(folder, size, THIRDS, MINI, per_shard, with_tables=False)
    copy = folder / "workflow-copy"
    copy.mkdir()
    shutil.copy(REPOSITORY / "Snakefile", copy)
    shutil.copytree(REPOSITORY / "workflow", copy / "workflow")
    (copy / "mupd").symlink_to(REPOSITORY / "mupd")
    shutil.copytree(REPOSITORY / "config", copy / "config")
    stub = copy / "stub.sh"
    stub.write_text(
        "#!/bin/sh\nstage=$1; shard=$(printf %04d ${5:-0})\n"
        "case $stage in intake) f=intake/shard-$shard.parquet;; generate) f=generated/shard-$shard.json;;\n"
        "check) f=checked/shard-$shard.parquet;; export) f=exported/shard-$shard.json;;\n"
        "cohort) mkdir -p results/cohort results/provenance results/expectations; for f in manifest.tsv "
        "cohort/cohort.h5mu report.html data_card.md ro-crate-metadata.json provenance/x expectations/cohort.json; "
        "do echo $f > results/$f; done; exit;; esac\n"
        "echo $f > results/$f\n",
        encoding="utf-8",
    )
    common = copy / "workflow" / "rules" / "common.smk"
    text, replaced = re.subn(r"^MUPD = .*$", f'MUPD = "sh {stub}"', common.read_text(encoding="utf-8"), flags=re.M)
    if replaced != 1:
        raise RuntimeError(f"{common}: found {replaced} lines 'MUPD = ...', expected one")
    common.write_text(text, encoding="utf-8")
    done = snakemake(config, folder, "--quiet", "all", snakefile=copy / "Snakefile")
    if done.returncode:
        raise RuntimeError(done.output[-3000:])
    jobs = 4 * len(list((folder / "results" / "exported").glob("*.json"))) + 2
    return {"cases": size, "jobs": jobs, "seconds": done.seconds, "per_job": done.seconds / jobs, "mb": done.peak_mb}


def overhead(work: Path, size: int, per_shard: int) -> dict[str, Any]:
    """The scheduler's share: its time for all jobs over that of mupd-mini's generation, from one real shard of them.

    Slides, draws and steps are those of a run by default.
    """
    alone = scheduler(work, size, per_shard)
    folder = work / f"overhead-{size}-{per_shard}"
    shutil.rmtree(folder, ignore_errors=True)
    config = write_cohort(folder, size, THIRDS, MINI, per_shard)
    values = yaml.safe_load(config.read_text(encoding="utf-8"))
    for name in ("draws", "slide", "sampler"):
        del values[name]
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    seconds = {}
    for stage in ("intake", "generate"):
        done = measured([sys.executable, "-m", "mupd", stage, "--configfile", str(config), "--shard", "0"], folder)
        if done.returncode:
            raise RuntimeError(done.output[-3000:])
        seconds[stage] = done.seconds
    tasks = json.loads((folder / "results" / "generated" / "shard-0000.json").read_text(encoding="utf-8"))["tasks"]
    whole = seconds["generate"] * (alone["jobs"] - 2) / 4
    return alone | {
        "shard_seconds": seconds,
        "shard_tasks": dict(Counter(f"{task['target']} {task['state']}" for task in tasks)),
        "generation_hours": whole / 3600,
        "scheduler_share": alone["seconds"] / whole,
    }


def forecast(work: Path, size: int, per_shard: int) -> dict[str, Any]:
    """`mupd forecast` of a whole cohort, RNA and text in tables, with a calibration at hand."""
    folder, calibration = work / f"forecast-{size}-{per_shard}", work / "calibration.json"
    config = write_cohort(folder, size, THIRDS, MINI, per_shard)
    command = [sys.executable, "-m", "mupd", "forecast", "--configfile", str(config)]
    if not calibration.exists():
        made = measured([*command, "--measure", str(calibration)], folder)
        if made.returncode:
            raise RuntimeError(made.output[-3000:])
    done = measured([*command, "--calibration", str(calibration)], folder)
    if done.returncode:
        raise RuntimeError(done.output[-3000:])
    return {"cases": size, "seconds": done.seconds, "mb": done.peak_mb}


def intake(work: Path, size: int, per_shard: int) -> dict[str, Any]:
    """Real intake of a whole cohort, its shards one after the other in jobs of Snakemake."""
    folder = work / f"intake-{size}"
    model = tiny_model_module().make_tiny_model(work / "tiny-model")
    config = write_cohort(folder, size, THIRDS, model, per_shard)
    shutil.rmtree(folder / "results", ignore_errors=True)
    done = snakemake(config, folder, "--quiet", "all", "--until", "intake")
    if done.returncode:
        raise RuntimeError(done.output[-3000:])
    return {"cases": size, "seconds": done.seconds, "per_case": done.seconds / size}


def _states(folder: Path) -> tuple[Counter[str], int]:
    """How many targets of each state the manifest has, and how many that failed say why."""
    with (folder / "results" / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    state = next(name for name in ("state", "verdict", "outcome") if name in rows[0])
    failed = [row for row in rows if row[state] == "failed"]
    explained = {row["case_id"] for row in failed if row["reason"]}
    return Counter(row[state] for row in rows), len(explained)


def _began(folder: Path, since: float) -> dict[str, int]:
    """{stage: shards whose output was written after a time}."""
    rewritten = {}
    for name in ("intake", "generated", "checked", "exported"):
        files = [path for path in (folder / "results" / name).glob("shard-*") if path.is_file()]
        rewritten[name] = sum(path.stat().st_mtime > since for path in files)
    return rewritten


def _draws_made(folder: Path, since: float) -> int:
    return sum(p.stat().st_mtime > since for p in (folder / "results" / "generated" / "store").glob("*/*/meta.json"))


def _add_case(folder: Path, name: str) -> None:
    sheet = folder / "cases.tsv"
    row = tiny_model_module().write_inputs(folder, name, "he+rna", 3)
    with sheet.open("a", encoding="utf-8") as stream:
        stream.write(f"{name}\t{row['he']}\t{row['rna']}\t\tbreast\t\t0.78\n")


def run(work: Path, size: int, failing: int, per_shard: int) -> dict[str, Any]:
    """Every stage on H&E + RNA -> text with the tests' tiny model; then one more case, twice in different ways."""
    folder = work / f"run-{size}"
    shutil.rmtree(folder, ignore_errors=True)
    model = tiny_model_module().make_tiny_model(work / "tiny-model")
    config = write_cohort(folder, size, Holes(text=1.0, failing=failing), model, per_shard)
    done = snakemake(config, folder, "--quiet", "all")
    result: dict[str, Any] = {"cases": size, "returncode": done.returncode, "seconds": done.seconds}
    if done.returncode:
        return result | {"output": done.output[-3000:]}
    states, explained = _states(folder)
    result |= {"states": dict(states), "failed_explained": explained, "draws": _draws_made(folder, 0)}
    print(result, flush=True)
    for name, change in {"one_more_own_file": "file", "one_more_in_table": "table"}.items():
        time.sleep(1)
        since = time.time()
        if change == "file":
            _add_case(folder, "ADDED-1")
        else:
            with (folder / "cases.tsv").open("a", encoding="utf-8") as stream:
                stream.write("ADDED-2\tslide-0.png\t\t\tbreast\t\t0.78\n")
            table = folder / "rna.tsv"
            lines = table.read_text(encoding="utf-8").splitlines()
            with table.open("a", encoding="utf-8") as stream:
                stream.write("\t".join(["ADDED-2", *lines[1].split("\t")[1:]]) + "\n")
        again = snakemake(config, folder, "--quiet", "all")
        result[name] = {
            "returncode": again.returncode,
            "seconds": again.seconds,
            "shards_written": _began(folder, since),
            "draws_made": _draws_made(folder, since),
        }
        print(name, result[name], flush=True)
    return result


def write_result(work: Path, name: str, value: dict[str, Any]) -> None:
    """Keep a result as JSON under the work folder and print it."""
    (work / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(value, indent=2))
