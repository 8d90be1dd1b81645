"""Stopped at any moment, generation loses a micro-batch at most and ends with the very same draws."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mupd.config import Config, load_config
from mupd.model.journal import RegionJournal
from mupd.model.regions import RegionSampling, decode_region, denoise_region
from mupd.model_folder.geometry import TRAINED, evaluations
from mupd.stages.generate.run import run_shard
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.stopped_runs import SLIDE, Driver, cohort, contents, stops_until_done, wait_for
from tests.fixtures.tiny_model import LATENT_CHANNELS, tiny_vae, write_tiny_cohort


class Killed(BaseException):
    """As SIGKILL: nothing of the project catches it."""


pytestmark = pytest.mark.usefixtures("shared_text_encoder")


def velocity_of(corners: np.ndarray) -> Any:
    shift = torch.from_numpy(corners.sum(1).astype(np.float32)).view(-1, 1, 1, 1) / 50
    return lambda x, t: torch.sin(x * 3 + shift) + t.view(-1, 1, 1, 1)


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("stop", [1, 3, 7, 12, 20, 26])
def test_a_region_goes_on_at_the_micro_batch_it_had_reached(tmp_path: Path, solver: Any, stop: int) -> None:
    noise = torch.randn(LATENT_CHANNELS, 30, 41, generator=torch.Generator().manual_seed(1))
    whole = denoise_region(velocity_of, noise, RegionSampling(4, 3, solver))
    calls = 0

    def counted(corners: np.ndarray) -> Any:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise Killed
        return velocity_of(corners)

    def going_on() -> torch.Tensor:
        return denoise_region(counted, noise, RegionSampling(4, 3, solver, journal=RegionJournal(tmp_path / "part")))

    try:
        found = going_on()
    except Killed:
        assert sum(1 for _ in (tmp_path / "part").iterdir()) <= 3, "velocities that nobody needs are kept"
        found = going_on()
        stopped = 1
    else:
        stopped = 0
    assert torch.equal(found, whole)
    total = 0

    def count(corners: np.ndarray) -> Any:
        nonlocal total
        total += 1
        return velocity_of(corners)

    denoise_region(count, noise, RegionSampling(4, 3, solver))
    # Only the micro-batch that was under way is computed a second time.
    assert calls == total + stopped
    assert evaluations(solver, 4) < total


def test_a_torn_record_is_computed_again(tmp_path: Path) -> None:
    journal = RegionJournal(tmp_path)
    shape = (2, 3)
    values = [np.full(shape, number, np.float32) for number in range(3)]
    for value in values:
        journal.append(0, int(value[0, 0]), value)
    path = tmp_path / "velocity-00000.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert len(journal.velocities(0, shape)) == 2
    for number in (2, 1, 2):  # a second process writes what is there already
        journal.append(0, number, values[number])
    np.testing.assert_array_equal(np.stack(journal.velocities(0, shape)), np.stack(values))
    damaged = bytearray(path.read_bytes())
    damaged[40] ^= 1  # in the second record
    path.write_bytes(bytes(damaged))
    assert len(journal.velocities(0, shape)) == 1
    journal.save(2, values[0])
    assert journal.start()[0] == 2
    (tmp_path / "latents.npz").write_bytes(b"PK\x03\x04 cut short")
    assert journal.start() == (0, None)


def test_decoding_goes_on_at_the_tile_it_had_reached(tmp_path: Path) -> None:
    latents = torch.randn(LATENT_CHANNELS, 70, 130, generator=torch.Generator().manual_seed(2))
    vae, whole, found = tiny_vae(), {}, {}
    decode_region(vae, latents, lambda y, x, pixels: whole.update({(y, x): pixels}))
    assert len(whole) == 6

    def write(y: int, x: int, pixels: np.ndarray) -> None:
        if len(found) == 4:
            raise Killed
        found[y, x] = pixels

    journal = RegionJournal(tmp_path / "part")
    with pytest.raises(Killed):
        decode_region(vae, latents, write, journal)
    assert journal.decoded == {0, 1, 2, 3}
    decode_region(vae, latents, lambda y, x, pixels: found.update({(y, x): pixels}), journal)
    assert {key: value.tobytes() for key, value in found.items()} == {k: v.tobytes() for k, v in whole.items()}


def test_a_draw_that_was_stopped_leaves_the_same_values_and_nothing_else(
    tmp_path: Path, tiny_model: Path, undisturbed: dict[tuple[str, str, int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = cohort(tmp_path, tiny_model)
    calls, evaluated = [0], [0]
    append = RegionJournal.append

    def counted(self: RegionJournal, evaluation: int, number: int, velocity: np.ndarray) -> None:
        append(self, evaluation, number, velocity)
        evaluated[0] += 1
        calls[0] += 1
        if calls[0] == 7:
            calls[0] = 0
            raise Killed

    monkeypatch.setattr(RegionJournal, "append", counted)
    assert stops_until_done(lambda: run_shard(config, 0), Killed, 49) >= 4
    assert contents(config) == undisturbed
    windows = -(-len(range(0, 50 - TRAINED.window + 12, 12)) * len(range(0, 38 - TRAINED.window + 12, 12)) // 4)
    assert windows * 4 * 2 <= evaluated[0]
    # Everything that was journalled before a stop was used: no evaluation was made twice.
    monkeypatch.setattr(RegionJournal, "append", append)
    assert not [path for path in (config.out / "generated" / "store").rglob(".*")]


@pytest.fixture
def slow(tmp_path: Path, tiny_model: Path) -> tuple[Driver, Config]:
    """A shard that takes long enough to be stopped in: many small micro-batches."""
    how = {"slide": {"width_px": 400, "height_px": 304}, "sampler": {"steps": 60, "batch_size": 1, "device": "cpu"}}
    config = cohort(tmp_path, tiny_model, **how)
    return Driver(config, tmp_path / "config.yaml"), config


def test_sigterm_stops_soon_and_says_that_all_is_kept(slow: tuple[Driver, Config]) -> None:
    driver, config = slow
    process = driver.start()
    wait_for(lambda: driver.journal("velocity-*.bin"), process)
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    took = time.monotonic() - sent
    print(f"stopped {took:.2f} s after SIGTERM")
    assert took < 10
    assert process.returncode == 143
    assert "SIGTERM: stopped; what is finished is kept" in said
    assert "Traceback" not in said
    assert driver.journal("latents.npz") or driver.journal("velocity-*.bin")
    assert not [path for path in (config.out / "generated" / "store").rglob(".tmp-*")]


COUNTING = """
import os, sys
from mupd.model import pipeline, regions, vae

def counted(function):
    def call(*args, **kwargs):
        with open(os.environ["COUNT"], "ab", buffering=0) as stream:
            stream.write(b".")
        return function(*args, **kwargs)
    return call

guided = pipeline.guided
pipeline.guided = lambda *args: counted(guided(*args))
for name in ("sample_vectors", "sample_record"):
    setattr(pipeline, name, counted(getattr(pipeline, name)))
vae.MuPDVAE.decode = counted(vae.MuPDVAE.decode)
from mupd.cli import main
main()
"""
KILLS = 20


@pytest.mark.slow
def test_twenty_kills_at_random_moments_lose_a_micro_batch_each(
    slow: tuple[Driver, Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Micro-batches are counted when they begin: those that a kill lost are begun again."""
    _, config = slow
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    script = tmp_path / "counting.py"
    script.write_text(COUNTING)
    shutil.copytree(config.out, tmp_path / "undisturbed")

    def start(out: Path, count: Path) -> subprocess.Popen[bytes]:
        configfile = tmp_path / f"{out.name}.yaml"
        values = json.loads(json.dumps(config.to_dict())) | {"outdir": str(out)}
        configfile.write_text(json.dumps(values))
        return subprocess.Popen(
            [sys.executable, str(script), "generate", "--configfile", str(configfile), "--shard", "0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "COUNT": str(count), "OMP_NUM_THREADS": "1"},
        )

    def begun(count: Path) -> int:
        return count.stat().st_size if count.exists() else 0

    assert start(tmp_path / "undisturbed", tmp_path / "undisturbed.count").wait(300) == 0
    total = begun(tmp_path / "undisturbed.count")
    count = tmp_path / "killed.count"
    moments = []
    for _ in range(KILLS):
        before = begun(count)
        process = start(config.out, count)
        deadline = time.monotonic() + 120
        while begun(count) == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        assert process.wait() == -signal.SIGKILL, f"seed {seed}: the run was over before kill {len(moments) + 1}"
        moments.append(begun(count))
    assert start(config.out, count).wait(300) == 0
    lost = begun(count) - total
    print(f"seed {seed}: {KILLS} kills after {moments} micro-batches of {total}; {lost} begun twice")
    assert lost <= KILLS
    undisturbed = load_config(tmp_path / "undisturbed.yaml")
    assert contents(config) == contents(undisturbed)
    assert not [path for path in (config.out / "generated" / "store").rglob(".*")]


@pytest.fixture
def two_folders(tmp_path: Path, tiny_model: Path) -> tuple[list[str], Path]:
    """A command of a whole run whose output folder does not depend on where it runs, and that folder."""
    out = tmp_path / "results"
    sampler = {"steps": 400, "batch_size": 1, "device": "cpu"}
    configfile = write_tiny_cohort(tmp_path, tiny_model, {"b": "text"}, outdir=str(out), slide=SLIDE, sampler=sampler)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", str(configfile)]
    return [*command, "-s", str(REPOSITORY / "Snakefile"), "--until", "generate"], out


def run_in(folder: Path, command: list[str]) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_a_second_run_on_one_output_folder_is_refused(two_folders: tuple[list[str], Path], tmp_path: Path) -> None:
    command, out = two_folders
    first = run_in(tmp_path / "one", command)
    try:
        wait_for(lambda: list((out / "generated" / "store").glob("*/.part-*")), first)
        second = run_in(tmp_path / "two", command)
        said = second.communicate(timeout=60)[0]
        assert second.returncode != 0
        assert f"another run writes into this folder: process {first.pid} on" in said
        assert "Traceback" not in said
        # From the first one's own folder, Snakemake's lock or our record: refused as well.
        third = run_in(tmp_path / "one", command)
        said = third.communicate(timeout=60)[0]
        assert third.returncode != 0
        assert "another run writes" in said or "cannot be locked" in said, said
        # Looking is allowed.
        look = run_in(tmp_path / "two", [*command, "--dry-run"])
        look.communicate(timeout=60)
        assert look.returncode == 0
        assert first.poll() is None, "the first run was over: nothing is tested"
    finally:
        first.kill()
        first.communicate()
    # Its job goes on for a while and the next run's job waits for it; what the run left is known as stale.
    assert (out / ".mupd-run.json").exists()
    fourth = run_in(tmp_path / "two", command)
    said = fourth.communicate(timeout=120)[0]
    assert fourth.returncode == 0, said
    assert not (out / ".mupd-run.json").exists()
