"""Each workflow profile holds options that Snakemake knows, and asks the cluster for what the rules need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser

from mupd.config import Config, load_config
from mupd.run.job_resources import LONGEST_MIN, gpus, mem_mb, runtime_min, window_steps
from mupd.sheet import read_sheet
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.tiny_model import write_tiny_cohort

FOLDER = REPOSITORY / "workflow" / "profiles"
PROFILES = sorted(path.parent.name for path in FOLDER.glob("*/config.yaml"))
CLUSTERS = [name for name in PROFILES if name != "default"]
MAPPINGS = {"default-resources", "set-resources"}
"""Keys of ours whose mapping Snakemake's profile reader takes; any other mapping it drops without a word."""


def values_of(profile: str) -> dict[str, object]:
    return yaml.safe_load((FOLDER / profile / "config.yaml").read_text(encoding="utf-8"))


def snakemake(folder: Path, *more: str, path: str = "") -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=os.environ | {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}" if path else os.environ["PATH"]},
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    cases = {"a": "rna", "b": "text", "c": "rna+text", "d": "text"}
    sampler = {"steps": 2, "batch_size": 1, "device": "auto"}
    return write_tiny_cohort(tmp_path_factory.mktemp("cohort"), tiny_model, cases, shards=3, sampler=sampler)


def test_the_profiles_are_those_of_the_docs() -> None:
    assert set(PROFILES) == {
        *("default", "slurm-gpu", "slurm-gres", "slurm-arrays", "lsf", "sge", "pbs", "kubernetes"),
    }
    words = (REPOSITORY / "docs" / "hpc.md").read_text(encoding="utf-8")
    assert [name for name in PROFILES if f"`{name}`" not in words] == []


@pytest.mark.parametrize("profile", PROFILES)
def test_every_key_is_an_option_of_snakemake(profile: str) -> None:
    parser = get_argument_parser()  # with the options of every installed executor plugin
    known = {option.lstrip("-") for action in parser._actions for option in action.option_strings}
    values = values_of(profile)
    assert [key for key in values if key not in known] == []
    assert [key for key, value in values.items() if isinstance(value, dict) and key not in MAPPINGS] == []
    if profile in CLUSTERS:
        assert values["retries"] >= 2
        assert values["rerun-incomplete"] is True
        if values["executor"] == "slurm":
            assert values["slurm-requeue"] is True


@pytest.mark.parametrize(
    "profile", [pytest.param(name, marks=() if name == "slurm-gres" else pytest.mark.slow) for name in CLUSTERS]
)
def test_a_dry_run_asks_for_what_the_rules_need(profile: str, cohort: Path, tmp_path: Path) -> None:
    run = ["--profile", str(FOLDER / profile), "--configfile", str(cohort), "-s", str(REPOSITORY / "Snakefile"), "-n"]
    done = snakemake(tmp_path / "run", *run)
    assert done.returncode == 0, done.stdout
    asked = {}
    for rule, resources in re.findall(r"^rule (\w+):.*?^    resources: (.*?)$", done.stdout, re.MULTILINE | re.DOTALL):
        asked[rule] = dict(part.split("=", 1) for part in resources.split(", "))
    assert set(asked) >= {"intake", "generate", "check", "export", "cohort"}
    for rule, resources in asked.items():
        if rule != "all":
            assert int(resources["mem_mb"]) >= 2000, rule
            assert 15 <= int(resources["runtime"]) <= LONGEST_MIN, rule
            one_gpu = resources.get("gpu") == "1" or "gpu:1" in resources.get("gres", "")
            assert one_gpu == (rule == "generate"), rule
            if profile == "slurm-gres":  # a cluster that knows no --gpus refuses it beside --gres
                assert resources.get("gpu", "0") == "0"


@pytest.mark.parametrize(
    "typo",
    [
        "slurm-requeu: true",
        pytest.param("jobs: many", marks=pytest.mark.slow),
        pytest.param("executor: slrum", marks=pytest.mark.slow),
    ],
)
def test_a_typo_is_said_before_the_first_job(typo: str, cohort: Path, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    profile.mkdir()
    key = typo.partition(":")[0]
    kept = [line for line in (FOLDER / "slurm-gpu" / "config.yaml").read_text().splitlines() if line[: len(key)] != key]
    (profile / "config.yaml").write_text("\n".join([*kept, typo]) + "\n")
    run = ["--profile", str(profile), "--configfile", str(cohort), "-s", str(REPOSITORY / "Snakefile")]
    done = snakemake(tmp_path / "run", *run)
    assert done.returncode != 0
    assert any(word in done.stdout for word in ("slurm-requeu", "--jobs", "slrum")), done.stdout
    assert not (tmp_path / "run" / "results").exists()


TWO_RULES = """
rule all:
    input: "made.txt", "cpu.txt"
rule generate:
    output: "made.txt"
    threads: 2
    resources: mem_mb=lambda wildcards, attempt: 1000 * attempt, runtime=7, gpu=1
    shell: "test {resources.mem_mb} -gt 1000 && echo done > {output}"
rule intake:
    output: "cpu.txt"
    resources: mem_mb=500, runtime=3
    shell: "echo done > {output}"
"""
QSUB = """
    for last; do :; done
    id=$$.stand-in
    echo "$@" >> "$STAND_IN/asked"
    ( sh "$last" >/dev/null 2>&1; echo $? > "$STAND_IN/$id" ) >/dev/null 2>&1 &
    echo $id
"""
QSTAT = """
    id=$3
    [ -f "$STAND_IN/$id" ] || { echo "    job_state = R"; exit; }
    echo "    job_state = F"
    echo "    Exit_status = $(cat "$STAND_IN/$id")"
"""
KUBECTL = """
    if [ "$1" = apply ]; then
        cat > "$STAND_IN/job.$$"
        cat "$STAND_IN/job.$$" >> "$STAND_IN/asked"
        name=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["metadata"]["name"])' "$STAND_IN/job.$$")
        script=$(python3 -c 'import json,sys
    print(json.load(open(sys.argv[1]))["spec"]["template"]["spec"]["containers"][0]["command"][1])' "$STAND_IN/job.$$")
        ( sh "$script" >/dev/null 2>&1; echo $? > "$STAND_IN/$name" ) >/dev/null 2>&1 &
        echo "job.batch/$name created"
    elif [ "$1" = get ]; then
        [ -f "$STAND_IN/$5" ] || exit 0
        [ "$(cat "$STAND_IN/$5")" = 0 ] && echo Complete || echo Failed
    fi
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "programs", "asked"),
    [
        (
            "pbs",
            {"qsub": QSUB, "qstat": QSTAT},
            [
                "-q gpuq",
                "ncpus=2:mem=1000mb:ngpus=1",
                "mem=2000mb",
                "walltime=00:7:00",
                "-q workq",
                "mem=500mb:ngpus=0",
            ],
        ),
        (
            "kubernetes",
            {"kubectl": KUBECTL},
            [
                '"memory": "1000M", "nvidia.com/gpu": "1"',
                '"memory": "2000M"',
                '"activeDeadlineSeconds": 420',
                '"500M"}',
            ],
        ),
    ],
)
def test_jobs_run_and_are_tried_again_through_stand_ins(
    profile: str, programs: dict[str, str], asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler's programs are stand-ins that run the job here; the profile's own scripts are real."""
    stand_in = tmp_path / "stand-in"
    stand_in.mkdir()
    for name, body in programs.items():
        program = stand_in / name
        program.write_text("#!/bin/sh\n" + textwrap.dedent(body))
        program.chmod(0o755)
    monkeypatch.setenv("STAND_IN", str(stand_in))
    (tmp_path / "Snakefile").write_text(TWO_RULES)
    run = ["--profile", str(FOLDER / profile), "--workflow-profile", "none", "--seconds-between-status-checks", "1"]
    done = snakemake(tmp_path, *run, "--latency-wait", "5", path=str(stand_in))
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "made.txt").read_text() == "done\n"
    asked = (stand_in / "asked").read_text()
    for words in asked:
        assert words in asked, asked


def config_of(cohort: Path, tmp_path: Path, **sections: object) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(cohort.read_text()) | sections))
    return load_config(path)


def test_a_job_asks_by_its_shard_and_its_attempt(cohort: Path, tmp_path: Path) -> None:
    config = config_of(cohort, tmp_path)
    cases = read_sheet(config, check_files=False).cases
    assert mem_mb("generate", config, 3) == 3 * mem_mb("generate", config, 1)
    assert runtime_min("intake", cases, config, 2) == 2 * runtime_min("intake", cases, config, 1)
    assert runtime_min("generate", cases, config, 1) > runtime_min("generate", [], config, 1) - 1
    large = config_of(cohort, tmp_path, slide={"width_px": 20000, "height_px": 20000})
    assert 2 * 208**2 <= window_steps(large) <= 2 * 210**2
    assert mem_mb("generate", large, 1) > mem_mb("generate", config, 1) + 1000
    without_he = [case for case in cases if case.he is None]
    assert runtime_min("generate", without_he, large, 1) > runtime_min("generate", without_he[:1], large, 1)
    assert runtime_min("generate", without_he * 50, large, 4) == LONGEST_MIN
    assert gpus(config) == 1
    assert gpus(config_of(cohort, tmp_path, sampler={"device": "cpu"})) == 0
