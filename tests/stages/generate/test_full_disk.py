"""A full disk is said before or while a draw is made, and the run goes on once there is room."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mupd.contracts.draws import read_index
from mupd.contracts.inventory import Task
from mupd.engines import disk_space as space
from mupd.engines import draw_maker, picture_files
from mupd.engines.mupd import engine as mupd_engine
from mupd.errors import MupdError
from mupd.model.journal import allocated
from mupd.stages.generate.run import run_shard
from tests.fixtures.stopped_runs import Driver, cohort, contents


def test_a_full_disk_is_said_before_a_draw_is_begun(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[tuple[str, str, int], str]
) -> None:
    config = cohort(tmp_path, tiny_model)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _path: usage._replace(free=100_000))
    with pytest.raises(MupdError, match=r"0\.1 MB free; what this shard still has to generate needs up to \d+\.\d MB"):
        run_shard(config, 0)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _path: usage)
    run_shard(config, 0)
    assert contents(config) == undisturbed


pytestmark = pytest.mark.usefixtures("shared_text_encoder")


@pytest.mark.parametrize(
    ("module", "failing"),
    [
        (picture_files, "allocated"),
        (mupd_engine, "save_array"),
        (mupd_engine, "write_json"),
        (draw_maker, "write_json"),
    ],
)
def test_a_disk_that_fills_up_ends_the_run_and_it_goes_on(
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: dict[tuple[str, str, int], str],
    module: ModuleType,
    failing: str,
) -> None:
    config = cohort(tmp_path, tiny_model)

    def full(path: Path, *_args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(module, failing, full)
        with pytest.raises(MupdError, match="no space left"):
            run_shard(config, 0)
    assert not (config.out / "generated" / "shard-0000.json").exists()
    run_shard(config, 0)
    assert contents(config) == undisturbed


def test_space_is_taken_before_it_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = allocated(tmp_path / "a.npy", (100, 100, 3))
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= array.nbytes

    def full(*_args: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        allocated(tmp_path / "b.npy", (100, 100, 3))
    assert not (tmp_path / "b.npy").exists()


def test_what_a_draw_needs_is_an_upper_bound(tmp_path: Path, tiny_model: Path) -> None:
    config = cohort(tmp_path, tiny_model, slide={"width_px": 400, "height_px": 304, "mpp": 1.0})
    run_shard(config, 0)
    for result in read_index(config.out / "generated" / "shard-0000.json"):
        task = Task(result.case_id, result.target, result.given, tuple(d.meta.seed for d in result.draws))
        for draw in result.draws:
            size = sum(path.stat().st_size for path in (config.out / draw.folder).iterdir() if path.suffix == ".npy")
            assert size <= space.kept_bytes(task, config) + 1000 <= space.working_bytes(task, config) + 1000


def mount_tmpfs(folder: Path, size: str) -> bool:
    return (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )


@pytest.mark.external
def test_a_really_full_disk_ends_the_run_and_it_goes_on(
    tmp_path: Path, tiny_model: Path, undisturbed: dict[tuple[str, str, int], str]
) -> None:
    """A file system of 3 MB, filled by somebody else while the slide is made."""
    out = tmp_path / "results"
    out.mkdir()
    if not mount_tmpfs(out, "3m"):
        pytest.skip("FULL DISK NOT TRIED: mount -t tmpfs needs root")
    try:
        config = cohort(tmp_path, tiny_model)
        hog = out / "hog"
        free = shutil.disk_usage(out).free
        hog.write_bytes(b"\0" * (free - 500_000))
        driver = Driver(config, tmp_path / "config.yaml")
        process = driver.start()
        said = process.communicate(timeout=120)[1]
        print(said)
        assert process.returncode == 1
        assert "no space left" in said
        assert "Traceback" not in said
        hog.unlink()
        again = driver.start()
        assert again.communicate(timeout=120)[1] is not None
        assert again.returncode == 0
        assert contents(config) == undisturbed
    finally:
        subprocess.run(["umount", str(out)], check=True)
