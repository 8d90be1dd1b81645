"""The device of a job: refused at once where it is not there, and as many windows at a time as fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mupd.contracts.draws import read_index
from mupd.model import devices
from mupd.model.devices import DeviceError, choose_device, fitting_batch, halves
from mupd.model.pipeline import MuPDPipeline
from mupd.model.regions import RegionSampling
from mupd.model_folder.geometry import TRAINED
from mupd.stages.generate.run import run_shard
from tests.fixtures.stopped_runs import cohort, contents


class OutOfMemory(torch.cuda.OutOfMemoryError):
    """What CUDA raises."""


pytestmark = pytest.mark.usefixtures("shared_text_encoder")


def test_a_full_gpu_halves_the_micro_batch_and_the_draw_says_so(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stub that holds two windows: the values are those of a run that was configured for two."""
    config = cohort(tmp_path / "full", tiny_model)
    generate_he = MuPDPipeline.generate_he
    tried = []

    def stub(self: MuPDPipeline, *args: Any, sampling: RegionSampling, **how: Any) -> None:
        tried.append(sampling.batch_size)
        if sampling.batch_size > 2:
            raise OutOfMemory("CUDA out of memory")
        generate_he(self, *args, sampling=sampling, **how)

    monkeypatch.setattr(MuPDPipeline, "generate_he", stub)
    run_shard(config, 0)
    assert tried == [4, 2, 2]  # the second slide begins with what fits
    slides = [d for r in read_index(config.out / "generated" / "shard-0000.json") if r.target == "he" for d in r.draws]
    assert {draw.meta.settings["batch_size"] for draw in slides} == {2}
    run_shard(config, 0)
    assert tried == [4, 2, 2]  # found in the store
    monkeypatch.setattr(MuPDPipeline, "generate_he", generate_he)
    other = cohort(tmp_path / "two", tiny_model, sampler={"steps": 4, "batch_size": 2, "device": "cpu"})
    run_shard(other, 0)
    assert contents(config) == contents(other)
    assert not [path for path in (config.out / "generated" / "store").rglob(".*")]


def test_a_gpu_without_room_for_one_window_is_no_fault_of_the_case(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = cohort(tmp_path, tiny_model)

    def full(*_args: Any, **_how: Any) -> None:
        raise OutOfMemory("CUDA out of memory")

    monkeypatch.setattr(MuPDPipeline, "generate_he", full)
    monkeypatch.setenv("SLURM_JOB_PARTITION", "small")
    monkeypatch.setenv("SLURMD_NODENAME", "gpu07")
    with pytest.raises(DeviceError, match=r"a rna->he: the GPU's memory is full \(node gpu07, SLURM partition small"):
        run_shard(config, 0)


def test_the_micro_batch_fits_into_free_memory(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    assert list(halves(12)) == [12, 6, 3, 1]
    assert fitting_batch(16, 10**9, 80 * 10**9) == 16
    assert fitting_batch(16, 10**9, 8 * 10**9) == 4
    assert fitting_batch(16, 10**9, 10**6) == 1
    on_cpu = MuPDPipeline.from_pretrained(tiny_model)
    assert devices.batch_for(on_cpu, 16, TRAINED.window**2) == 16
    window = devices.window_bytes(on_cpu.transformer, TRAINED.window**2)
    monkeypatch.setattr(on_cpu, "device", "cuda")
    monkeypatch.setattr(devices, "free_memory", lambda: 9 * window)
    assert devices.batch_for(on_cpu, 16, TRAINED.window**2) == 4


def test_a_gpu_that_is_not_there_is_said_before_the_model_is_read(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = cohort(tmp_path, tiny_model, sampler={"steps": 2, "device": "cuda"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(MuPDPipeline, "from_pretrained", lambda *_args, **_how: pytest.fail("the model was read"))
    monkeypatch.setenv("SLURM_JOB_PARTITION", "cpu")
    monkeypatch.setenv("SLURMD_NODENAME", "node3")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    words = r"no CUDA.*node node3, SLURM partition cpu, job 17; SLURM gave no GPU.*set-resources"
    with pytest.raises(DeviceError, match=words):
        run_shard(config, 0)
    # A GPU that the job holds and cannot use would lie idle: `auto` does not fall back to the CPU then.
    monkeypatch.setenv("SLURM_JOB_GPUS", "1")
    with pytest.raises(DeviceError, match="SLURM gave GPU 1"):
        choose_device("auto")
    assert choose_device("cpu") == "cpu"
