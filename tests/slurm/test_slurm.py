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
from typing import TypeVar

import psutil
import pytest
import yaml

from mupd.base.ids import shard_name, shard_of
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.tiny_model import write_tiny_cohort
from tests.slurm.local_slurm import NODES, Slurm, missing, running_slurm

MISSING = missing()
pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(bool(MISSING), reason=f"SLURM TESTS NOT RUN, absent: {', '.join(MISSING)}"),
]
PROFILES = REPOSITORY / "workflow" / "profiles"
SHARDS = 3
Found = TypeVar("Found")
NAMES = [f"case-{number}" for number in range(20)]
CASES = {next(name for name in NAMES if shard_of(name, SHARDS) == shard): "text" for shard in range(SHARDS)}
QUICK = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3", "--slurm-no-account")
"""A test waits less, and this SLURM has no accounting database; the profile says the rest."""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with running_slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running
    assert not running.left_behind()


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


@pytest.fixture
def start(slurm: Slurm, cohort: Path) -> Iterator[Callable[..., Run]]:
    """Starts runs, and ends those that a failed test leaves."""
    runs: list[Run] = []

    def begin(folder: Path, profile: str, *more: str) -> Run:
        runs.append(Run(slurm, cohort, folder, profile, *more))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
    for job in slurm.jobs():
        slurm.call("scancel", job["id"])


def derived(profile: str, folder: Path, **generate: object) -> str:
    """A copy of a profile whose generation asks for more (`--set-resources` would replace what the profile sets)."""
    values = yaml.safe_load((PROFILES / profile / "config.yaml").read_text(encoding="utf-8"))
    values.setdefault("set-resources", {}).setdefault("generate", {}).update(generate)
    copy = folder / profile
    copy.mkdir()
    (copy / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(copy)


class Run:
    """A run of the workflow on SLURM that goes on while a test disturbs it."""

    def __init__(self, slurm: Slurm, cohort: Path, folder: Path, profile: str, *more: str) -> None:
        self.slurm, self.folder, self.out = slurm, folder, folder / "snakemake.out"
        folder.mkdir(exist_ok=True)
        self.started = time.monotonic()
        options = ("--profile", str(PROFILES / profile), *QUICK)
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

    def wait(self, condition: Callable[[], Found | None], what: str, seconds: float = 240) -> Found:
        """What a condition found as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert self.process.poll() is None, f"over before {what}:\n{self.said()}"
            assert time.monotonic() < deadline, f"no {what} in {seconds} s:\n{self.said()}\n{self.slurm.jobs()}"
            time.sleep(0.1)
        return found

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

    def generating(self, *but: int) -> tuple[int, psutil.Process] | None:
        """Any shard that is generated now, of those not named, and its `mupd` process."""
        for shard in set(range(SHARDS)).difference(but):
            if process := self.process_of("generate", shard):
                return shard, process
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


def test_a_run_on_slurm_ends_as_one_without_it(
    slurm: Slurm, start: Callable[..., Run], local: Path, tmp_path: Path
) -> None:
    """Through --gpus; one job is cancelled, another one's command dies at its first attempt."""
    run = start(tmp_path / "gpus", derived("slurm-gpu", tmp_path, gpu=1))
    shard, process = run.wait(run.generating, "a process that generates")
    process.suspend()
    job = run.wait(lambda: run.job_of("generate", shard), "its job")
    shown = slurm.call("scontrol", "show", "job", job["id"])
    assert "TresPerJob=gres:gpu:1" in shown, shown
    assert "Partition=gpu" in shown
    assert "Requeue=1" in shown
    given = process.environ()
    assert given["CUDA_VISIBLE_DEVICES"] == "0"
    assert given["SLURM_JOB_PARTITION"] == "gpu"
    assert given["SLURMD_NODENAME"] in NODES
    slurm.call("scancel", job["id"])
    _, other = run.wait(lambda: run.generating(shard), "another shard's process")
    other.kill()
    said = run.end()
    assert f"SLURM-job '{job['id']}' failed, SLURM status is: 'CANCELLED'" in said
    assert attempts(said, "generate") == SHARDS + 2, said
    assert manifest(run.folder) == manifest(local)
    assert contents(run.folder) == contents(local)


def test_a_job_out_of_time_and_a_node_that_goes_down(
    slurm: Slurm, start: Callable[..., Run], local: Path, tmp_path: Path
) -> None:
    """Through --gres, generation alone; a job that hangs runs out of time, a node dies under another and comes back."""
    folder = tmp_path / "gres"
    run = start(folder, derived("slurm-gres", tmp_path, runtime="attempt"), "--until", "generate")
    first, hanging = run.wait(run.generating, "a process that generates")
    hanging.suspend()
    late = run.wait(lambda: run.job_of("generate", first), "its job")
    shown = slurm.call("scontrol", "show", "job", late["id"])
    assert "TresPerNode=gres:gpu:1" in shown, shown
    second, process = run.wait(lambda: run.generating(first), "another one")
    process.suspend()
    lost = run.wait(lambda: run.job_of("generate", second), "its job")
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


def test_arrays(slurm: Slurm, start: Callable[..., Run], local: Path, tmp_path: Path) -> None:
    run = start(tmp_path / "arrays", "slurm-arrays", "--until", "generate")
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
        ("--default-resources slurm_partition=nowhere", "no partition 'nowhere'"),
        ("--set-resources generate:slurm_partition=nowhere", "no partition 'nowhere'"),
        ("--set-resources intake:mem_mb=90000000", "90,000,000 MB a job, nodes of"),
    ],
)
def test_what_the_cluster_cannot_give_is_said_before_the_first_job(
    start: Callable[..., Run], tmp_path: Path, option: str, words: str
) -> None:
    run = start(tmp_path / "run", "slurm-gpu", *option.split(), "--retries", "0")
    run.process.wait(120)
    assert run.process.returncode != 0
    assert words in run.said(), run.said()
    assert not list((tmp_path / "run" / "results").glob("intake/*"))
