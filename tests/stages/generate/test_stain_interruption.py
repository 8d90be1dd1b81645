"""A stain that is stopped at any moment goes on from its journal and ends with the very same pixels and artifacts."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from mupd.config import Config, load_config
from mupd.contracts.draws import read_index
from mupd.model.journal import RegionJournal
from mupd.stages import check, export, intake
from mupd.stages.generate.run import run_shard
from mupd.synthetic.verify.verify import INTACT, verify_path
from tests.fixtures.stopped_runs import Driver, contents, stops_until_done, wait_for
from tests.fixtures.tiny_model import write_tiny_cohort
from tests.fixtures.tiny_stainer import write_tiny_stainer

CASE = {"a": "he+rna+text"}


class Killed(BaseException):
    """As SIGKILL: nothing of the project catches it."""


@pytest.fixture(scope="module")
def stainer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_stainer(tmp_path_factory.mktemp("stainer") / "mif")


def cohort(folder: Path, model: Path, stainer: Path, steps: int, batch_size: int) -> Config:
    """One case with all measured, so that its stain is the only thing to make; the inventory is written."""
    stain = {"name": "mif", "model": str(stainer), "steps": steps, "min_nuclear_correlation": -1}
    sampler = {"steps": 2, "batch_size": batch_size, "device": "cpu"}
    how: dict[str, Any] = {"outdir": str(folder / "results"), "stains": [stain], "sampler": sampler}
    config = load_config(write_tiny_cohort(folder, model, CASE, **how))
    intake.run_shard(config, 0)
    return config


def appended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the micro-batches that are computed from now on, by evaluation."""
    counted: list[int] = []
    append = RegionJournal.append

    def spy(self: RegionJournal, evaluation: int, number: int, velocity: np.ndarray) -> None:
        counted.append(evaluation)
        append(self, evaluation, number, velocity)

    monkeypatch.setattr(RegionJournal, "append", spy)
    return counted


def hidden(config: Config) -> list[Path]:
    return list((config.out / "generated" / "store").rglob(".*"))


def test_a_stain_stopped_in_every_phase_is_the_stain_that_was_not(
    tmp_path: Path, tiny_model: Path, stainer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after every third micro-batch and after every decoded tile; nothing is computed twice."""
    whole = cohort(tmp_path / "whole", tiny_model, stainer, 3, 4)
    counted = appended(monkeypatch)
    run_shard(whole, 0)
    total = len(counted)
    assert total >= 9
    counted.clear()
    append, tile_done = RegionJournal.append, RegionJournal.tile_done
    since = 0

    def stop_at_third(self: RegionJournal, evaluation: int, number: int, velocity: np.ndarray) -> None:
        nonlocal since
        append(self, evaluation, number, velocity)
        since += 1
        if since % 3 == 0:
            raise Killed

    def stop_at_tile(self: RegionJournal, number: int) -> None:
        tile_done(self, number)
        raise Killed

    monkeypatch.setattr(RegionJournal, "append", stop_at_third)
    monkeypatch.setattr(RegionJournal, "tile_done", stop_at_tile)
    config = cohort(tmp_path / "stopped", tiny_model, stainer, 3, 4)
    stops = stops_until_done(lambda: run_shard(config, 0), Killed, total + 1)
    assert stops > total // 3, "no stop while tiles were decoded"
    assert len(counted) == total
    assert contents(config) == contents(whole)
    assert not hidden(config)


def cpu_seconds(pid: int) -> float:
    """What a running process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ended_cpu_seconds() -> float:
    """What all ended child processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def pixels_of(folder: Path) -> list[bytes]:
    """Encoded pixels of every level of a DICOM slide; its UIDs and times differ from run to run."""
    return [bytes(pydicom.dcmread(path).PixelData) for path in sorted(folder.glob("*level*.dcm"))]


@pytest.mark.slow
def test_sigkill_and_sigterm_in_the_middle_of_a_stain(
    tmp_path: Path, tiny_model: Path, stainer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 40
    config = cohort(tmp_path, tiny_model, stainer, steps, 1)
    driver = Driver(config, tmp_path / "config.yaml")

    def reached() -> int:
        """The evaluation that the journal would go on with."""
        found = [RegionJournal(path.parent).start()[0] for path in driver.journal("latents.npz")]
        return max(found, default=0)

    process = driver.start()
    wait_for(lambda: reached() >= 2, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    first = reached()
    assert 2 <= first < steps

    process = driver.start()
    wait_for(lambda: reached() > first, process)
    sent, before = time.monotonic(), cpu_seconds(process.pid)
    earlier = ended_cpu_seconds()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    took, worked = time.monotonic() - sent, ended_cpu_seconds() - earlier - before
    print(f"killed at evaluation {first}, stopped at {reached()} of {steps}; {took:.2f} s, {worked:.2f} s of CPU")
    assert took < 10 or worked < 3, "3 s of work last longer on a machine that others use"
    assert process.returncode == 143
    assert "SIGTERM: stopped; what is finished is kept" in said
    assert "Traceback" not in said
    second = reached()
    assert first < second < steps
    assert not list((config.out / "generated" / "store").rglob(".tmp-*"))

    counted = appended(monkeypatch)
    run_shard(config, 0)
    assert min(counted) == second, "it did not go on where it was"
    whole = cohort(tmp_path / "whole", tiny_model, stainer, steps, 1)
    run_shard(whole, 0)
    assert contents(config) == contents(whole)
    assert not hidden(config)
    draws = [read_index(each.out / "generated" / "shard-0000.json")[0].draws[0].folder for each in (config, whole)]
    one, other = (each.out / draw / "pixels.npy" for each, draw in zip((config, whole), draws, strict=True))
    assert one.read_bytes() == other.read_bytes()
    for each in (config, whole):
        check.run_shard(each, 0)
        export.run_shard(each, 0)
    folders = [each.out / "artifacts" / "a" / "stains" / "mif" for each in (config, whole)]
    assert pixels_of(folders[0] / "synthetic-draw0") == pixels_of(folders[1] / "synthetic-draw0")
    for folder in folders:
        for path in (folder / "synthetic-draw0", folder / "synthetic-draw0.ome.tiff"):
            assert verify_path(path).exit_code == INTACT
