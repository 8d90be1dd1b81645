"""A lock is released only when every run that may own it is known to be dead."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mupd.run.locks import OWNER, RunningError, claim_output, record_run, release_stale_lock
from tests.fixtures.paths import REPOSITORY

RUN = """
import sys, time
from pathlib import Path
from mupd.run.locks import record_run
record_run(Path(sys.argv[1]))
print("ready", flush=True)
time.sleep(float(sys.argv[2]))
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def take_lock(folder: Path) -> list[Path]:
    paths = [folder / "locks" / f"0.{kind}.lock" for kind in ("input", "output")]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.write_text("results/manifest.tsv\n")
    return paths


def records(folder: Path) -> list[Path]:
    return sorted((folder / "mupd-runs").glob("*.json"))


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_the_lock_of_a_killed_run_is_released(tmp_path: Path) -> None:
    run = start(tmp_path, 60)
    locks = take_lock(tmp_path)
    assert not release_stale_lock(tmp_path)  # it is at work
    assert all(path.exists() for path in locks)
    kill(run)
    assert release_stale_lock(tmp_path)
    assert not any(path.exists() for path in locks)
    assert records(tmp_path) == []
    assert not release_stale_lock(tmp_path)


def test_a_run_that_ends_leaves_no_record(tmp_path: Path) -> None:
    run = start(tmp_path, 0)
    run.communicate()
    assert run.returncode == 0
    assert records(tmp_path) == []
    # A lock that is there now is nobody's of ours.
    locks = take_lock(tmp_path)
    assert not release_stale_lock(tmp_path)
    assert all(path.exists() for path in locks)


def test_one_living_run_protects_all_locks(tmp_path: Path) -> None:
    dead, alive = start(tmp_path, 60), start(tmp_path, 60)
    locks = take_lock(tmp_path)
    kill(dead)
    try:
        assert not release_stale_lock(tmp_path)
        assert all(path.exists() for path in locks)
    finally:
        kill(alive)
    assert release_stale_lock(tmp_path)


@pytest.mark.parametrize(
    "record",
    ["{", "[]", "null", '{"pid": 1}', json.dumps({"host": "another-host", "pid": 1, "started": 0.0})],
)
def test_what_cannot_be_judged_is_left_alone(tmp_path: Path, record: str) -> None:
    locks = take_lock(tmp_path)
    (tmp_path / "mupd-runs").mkdir()
    (tmp_path / "mupd-runs" / "x.json").write_text(record)
    assert not release_stale_lock(tmp_path)
    assert all(path.exists() for path in locks)
    assert records(tmp_path)


def test_a_reused_process_number_is_another_process(tmp_path: Path) -> None:
    locks = take_lock(tmp_path)
    (tmp_path / "mupd-runs").mkdir()
    record = {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time() - 3600}
    (tmp_path / "mupd-runs" / "x.json").write_text(json.dumps(record))
    assert release_stale_lock(tmp_path)
    assert not any(path.exists() for path in locks)


def test_a_folder_that_was_never_used(tmp_path: Path) -> None:
    assert not release_stale_lock(tmp_path / ".snakemake")
    assert not (tmp_path / ".snakemake").exists()


def test_own_record(tmp_path: Path) -> None:
    path = record_run(tmp_path)
    values = json.loads(path.read_text())
    assert (values["host"], values["pid"]) == (socket.gethostname(), os.getpid())
    assert values["started"] == pytest.approx(psutil.Process().create_time())
    assert not release_stale_lock(tmp_path)
    assert values["started"] < time.time()


def test_an_output_folder_has_one_run(tmp_path: Path) -> None:
    claim = RUN.replace("record_run", "claim_output")
    code = [sys.executable, "-c", claim, str(tmp_path)]
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    first = subprocess.Popen([*code, "60"], stdout=subprocess.PIPE, text=True, env=env)
    assert first.stdout is not None
    assert first.stdout.readline() == "ready\n"
    with pytest.raises(RunningError, match=f"another run writes into this folder: process {first.pid} on"):
        claim_output(tmp_path)
    kill(first)
    assert (tmp_path / OWNER).exists()
    after = subprocess.run([*code, "0"], stdout=subprocess.PIPE, text=True, env=env, check=True)  # stale: replaced
    assert after.stdout == "ready\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("record", ["{", "[]", '{"host": "another-host", "pid": 1, "started": 0.0}'])
def test_a_claim_that_may_be_alive_is_respected(tmp_path: Path, record: str) -> None:
    (tmp_path / OWNER).write_text(record)
    with pytest.raises(RunningError, match=r"If that run is over, remove .*\.mupd-run\.json"):
        claim_output(tmp_path)
    assert (tmp_path / OWNER).read_text() == record
