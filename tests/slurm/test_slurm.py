"""The workflow through its SLURM profiles on a real SLURM (tests/slurm/local_slurm.py), and what may happen there."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from local_slurm import NODES, Slurm, missing, running_slurm
from tiny_model import write_tiny_cohort

from mupd.ids import shard_name, shard_of

REPOSITORY = Path(__file__).resolve().parents[2]
MISSING = missing()
pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(bool(MISSING), reason=f"SLURM TESTS NOT RUN, absent: {', '.join(MISSING)}"),
]
SHARDS = 3
NAMES = [f"case-{number}" for number in range(20)]
CASES = {next(name for name in NAMES if shard_of(name, SHARDS) == shard): "text" for shard in range(SHARDS)}
QUICK = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3", "--slurm-no-account")
"""A test waits less, and this SLURM has no accounting database; the profile says the rest."""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with running_slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    return write_tiny_cohort(tmp_path_factory.mktemp("cohort"), tiny_model, CASES, shards=SHARDS)


def contents(folder: Path) -> dict[str, str]:
    """Hash of the values of each draw that a shard's index lists."""
    found = {}
    for path in sorted((folder / "results" / "generated").glob("*.json")):
        for task in json.loads(path.read_text(encoding="utf-8"))["tasks"]:
            assert task["state"] == "done", task
            for draw in task["draws"]:
                found[f"{task['case_id']} {task['target']} {draw['meta']['draw']}"] = draw["meta"]["content_sha256"]
    return found


def manifest(folder: Path) -> list[dict[str, str]]:
    """The manifest without the hashes of files, which say when they were made."""
    with (folder / "results" / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return [row | dict.fromkeys(("sha256", "further_sha256"), "") for row in rows]


def command(cohort: Path, *more: str) -> list[str]:
    base = [sys.executable, "-m", "snakemake", "--configfile", str(cohort), "-s", str(REPOSITORY / "Snakefile")]
    return [*base, *more]


@pytest.fixture(scope="module")
def local(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run without SLURM."""
    folder = tmp_path_factory.mktemp("local")
    done = subprocess.run(command(cohort, "--cores", "2"), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Run:
    """A run of the workflow on SLURM that goes on while a test disturbs it."""

    def __init__(self, slurm: Slurm, cohort: Path, folder: Path, profile: str, *more: str) -> None:
        self.slurm, self.folder, self.out = slurm, folder, folder / "snakemake.out"
        folder.mkdir(exist_ok=True)
        self.started = time.monotonic()
        options = ("--profile", str(REPOSITORY / "workflow" / "profiles" / profile), *QUICK)
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                command(cohort, *options, *more),
                cwd=folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | slurm.environment | {"OMP_NUM_THREADS": "1"},
            )

    def said(self) -> str:
        return self.out.read_text(encoding="utf-8", errors="replace")

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 150) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"over before {what}:\n{self.said()}"
            assert time.monotonic() < deadline, f"no {what} in {seconds} s:\n{self.said()}\n{self.slurm.jobs()}"
            time.sleep(0.1)

    def end(self, seconds: float = 400) -> str:
        """Wait for the end of the run; what it said."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"no end in {seconds} s:\n{self.said()}")
        said = self.said()
        assert self.process.returncode == 0, said
        print(f"{self.folder.name}: {time.monotonic() - self.started:.0f} s")
        return said

    def job_of(self, stage: str, shard: int) -> dict[str, str] | None:
        """The running SLURM job of a stage's shard."""
        for job in self.slurm.jobs():
            if job["state"] == "RUNNING" and f"rule_{stage}" in job["comment"] and shard_name(shard) in job["comment"]:
                return job
        return None

    def process_of(self, stage: str, shard: int) -> psutil.Process | None:
        """The `mupd` process of a stage's shard, of this run alone."""
        for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
            line = process.info["cmdline"] or []
            asked = line[1:4] == ["-m", "mupd", stage] and line[-2:] == ["--shard", str(shard)]
            if asked and process.info["cwd"] == str(self.folder):
                return process
        return None


def attempts(said: str, rule: str) -> int:
    return len(re.findall(rf"^rule {rule}:", said, re.MULTILINE))


def test_a_run_on_slurm_ends_as_one_without_it(slurm: Slurm, cohort: Path, local: Path, tmp_path: Path) -> None:
    """Through --gpus; one job is cancelled, another one's command dies at its first attempt."""
    run = Run(slurm, cohort, tmp_path / "gpus", "slurm-gpu", "--set-resources", "generate:gpu=1")
    victim: list[str] = []
    run.wait(lambda: run.job_of("generate", 0), "a job that generates shard 0")
    job = run.job_of("generate", 0)
    assert job is not None
    shown = slurm.call("scontrol", "show", "job", job["id"])
    assert "gres/gpu=1" in shown, shown
    assert "Partition=gpu" in shown
    assert "Requeue=1" in shown
    run.wait(lambda: run.process_of("generate", 0), "its mupd process")
    process = run.process_of("generate", 0)
    assert process is not None
    given = process.environ()
    assert given["CUDA_VISIBLE_DEVICES"] == "0"
    assert given["SLURM_JOB_PARTITION"] == "gpu"
    assert given["SLURMD_NODENAME"] in NODES
    victim.append(job["id"])
    slurm.call("scancel", job["id"])
    run.wait(lambda: run.process_of("generate", 1), "the mupd process of shard 1")
    other = run.process_of("generate", 1)
    assert other is not None
    other.kill()
    said = run.end()
    assert f"SLURM-job '{victim[0]}' failed, SLURM status is: 'CANCELLED'" in said
    assert attempts(said, "generate") == SHARDS + 2, said
    assert manifest(run.folder) == manifest(local)
    assert contents(run.folder) == contents(local)


def test_a_job_out_of_time_and_a_node_that_goes_down(slurm: Slurm, cohort: Path, local: Path, tmp_path: Path) -> None:
    """Through --gres, generation alone; a job that hangs runs out of time, a node dies under another and comes back."""
    folder = tmp_path / "gres"
    run = Run(slurm, cohort, folder, "slurm-gres", "--until", "generate", "--set-resources", "generate:runtime=attempt")
    run.wait(lambda: run.process_of("generate", 0), "the mupd process of shard 0")
    hanging = run.process_of("generate", 0)
    assert hanging is not None
    hanging.suspend()
    late = run.job_of("generate", 0)
    assert late is not None
    assert "gres/gpu" in slurm.call("scontrol", "show", "job", late["id"])
    run.wait(lambda: run.process_of("generate", 1) or run.process_of("generate", 2), "another mupd process")
    other = 1 if run.process_of("generate", 1) else 2
    process, lost = run.process_of("generate", other), run.job_of("generate", other)
    assert process is not None
    assert lost is not None
    process.suspend()
    node = lost["node"]
    assert node != late["node"], "one GPU a node, and two jobs on it"
    slurm.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    slurm.stop_daemon(node)
    run.wait(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "the end of the lost job")
    assert slurm.node_states()[node].startswith("down")
    slurm.start_node(node)
    slurm.call("scontrol", "update", f"nodename={node}", "state=resume")
    said = run.end()
    assert f"SLURM-job '{late['id']}' failed, SLURM status is: 'TIMEOUT'" in said, said
    # SLURM itself started the job of the node again: to Snakemake it is the same job.
    assert f"'{lost['id']}' failed" not in said
    assert attempts(said, "generate") == SHARDS + 1, said
    assert contents(folder) == contents(local)


def test_arrays(slurm: Slurm, cohort: Path, local: Path, tmp_path: Path) -> None:
    run = Run(slurm, cohort, tmp_path / "arrays", "slurm-arrays", "--until", "generate")
    seen: set[str] = set()
    while run.process.poll() is None:
        seen |= {job["id"] for job in slurm.jobs()}
        time.sleep(0.3)
    run.end()
    assert {job for job in seen if "_" in job}, f"no job of an array in {seen}"
    assert contents(run.folder) == contents(local)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--default-resources slurm_partition=nowhere", "invalid partition specified: nowhere"),
        ("--set-resources intake:mem_mb=90000000", "Memory specification can not be satisfied"),
    ],
)
def test_what_the_cluster_cannot_give_is_said_before_the_first_job(
    slurm: Slurm, cohort: Path, tmp_path: Path, option: str, words: str
) -> None:
    run = Run(slurm, cohort, tmp_path / "run", "slurm-gpu", *option.split(), "--retries", "0")
    run.process.wait(120)
    assert run.process.returncode != 0
    assert words in run.said(), run.said()
    assert not list((tmp_path / "run" / "results").glob("intake/*"))
