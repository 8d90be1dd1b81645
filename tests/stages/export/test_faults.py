"""A full disk, a read-only target, a kill at any moment: nothing that is not whole stands under its name."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mupd.config import Config
from mupd.stages.export import run_shard
from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi
from mupd.synthetic.verify.verify import verify_path
from tests.fixtures.synthetic import meta_of
from tests.stages.export.test_run import config_of, files_of, lay_out

GIVEN = {"A": ("rna", "text")}


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED ON A FULL DISK: only root can mount one")
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"NOT TESTED ON A FULL DISK: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def export(config: Config) -> dict[str, Any]:
    return json.loads(run_shard(config, 0).read_text())


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = config_of(tmp_path)
    lay_out(made, given=GIVEN)
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of the slides' files as an undisturbed run writes them."""
    other = config_of(tmp_path_factory.mktemp("undisturbed"))
    lay_out(other, given=GIVEN)
    run_shard(other, 0)
    return slides(other)


def slides(config: Config) -> dict[str, str]:
    return {name: digest for name, digest in files_of(config.out / "artifacts").items() if name.startswith("A/he/syn")}


@pytest.mark.parametrize("size_kb", [8, 250])
def test_a_full_disk_is_told_and_the_next_run_completes(config: Config, whole: dict[str, str], size_kb: int) -> None:
    artifacts = config.out / "artifacts"
    with small_disk(artifacts, f"size={size_kb}k"):
        index = export(config)
        assert {item["modality"] for item in index["failed"]} == {"he"}
        assert "No space left on device" in index["failed"][0]["reason"]
        assert str(config.out) not in index["failed"][0]["reason"]
        assert set(slides(config).items()) <= set(whole.items())
        for folder in artifacts.glob("A/he/synthetic-draw*"):
            assert verify_path(folder).marks_missing == ()
        remount(artifacts, "size=64m")
        assert export(config)["failed"] == []
        assert slides(config) == whole
        assert [path.name for path in artifacts.rglob(".*")] == []


@pytest.mark.parametrize("codec", ["jpeg", "htj2k"])
def test_a_disk_that_fills_up_between_tiles_leaves_nothing(tmp_path: Path, codec: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1600, 1600, 3), dtype=np.uint8)
    with small_disk(tmp_path / "disk", "size=2m"):
        with pytest.raises(OSError, match="No space left") as caught:
            write_wsi(
                pixels,
                tmp_path / "disk" / "synthetic-draw0",
                meta_of("he"),
                SlideSettings(run_seed=1, mpp=0.5, jpeg_quality=95, artifact_key="k" * 64, codec=codec),  # type: ignore[arg-type]
            )
        assert caught.value.errno == errno.ENOSPC
        assert list((tmp_path / "disk").iterdir()) == []


def test_a_read_only_target_is_told_and_the_next_run_completes(config: Config, whole: dict[str, str]) -> None:
    artifacts = config.out / "artifacts"
    with small_disk(artifacts, "size=64m"):
        remount(artifacts, "ro")
        assert [item["reason"] for item in export(config)["failed"]] != []
        assert list(artifacts.iterdir()) == []
        remount(artifacts, "rw")
        assert export(config)["failed"] == []
        assert slides(config) == whole


_KILLED = """
import json, os, signal, sys
from mupd.config import parse_config
from mupd.stages.export import run_shard
import mupd.base.files, mupd.synthetic.dicom.wsi as dicom_wsi

place, count = sys.argv[2], int(sys.argv[3])
owner, name = {
    "frame": (dicom_wsi._InstanceWriter, "write_tiles"),
    "header": (dicom_wsi._InstanceWriter, "write_header"),
    "offsets": (dicom_wsi._InstanceWriter, "finalize"),
    "readback": (dicom_wsi, "assert_marked"),
    "rename": (mupd.base.files.os, "replace"),
}[place]
plain, calls = getattr(owner, name), []

def killing(*args, **keywords):
    calls.append(1)
    if len(calls) == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*args, **keywords)

setattr(owner, name, killing)
run_shard(parse_config(json.loads(sys.argv[1]), "test"), 0)
"""


@pytest.mark.parametrize(
    ("place", "count", "again"),
    [
        ("header", 1, False),
        ("frame", 3, False),
        ("offsets", 4, False),
        ("readback", 2, True),
        ("rename", 1, True),  # the older slide is moved aside
        ("rename", 2, True),  # the new one takes its place
        ("rename", 3, True),
    ],
)
def test_a_kill_leaves_whole_slides_or_none(
    config: Config, whole: dict[str, str], place: str, count: int, again: bool
) -> None:
    if again:  # something older stands there and is to be replaced
        lay_out(config, given=GIVEN, salt=1)
        run_shard(config, 0)
        older = slides(config)
        lay_out(config, given=GIVEN)
    else:
        older = {}
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, json.dumps(config.to_dict()), place, str(count)],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-500:]
    for folder in (config.out / "artifacts").glob("A/he/synthetic-draw*"):
        files = {f"A/he/{folder.name}/{name}": digest for name, digest in files_of(folder).items()}
        wanted = [
            {name: digest for name, digest in version.items() if name.startswith(f"A/he/{folder.name}/")}
            for version in (whole, older)
        ]
        assert files in wanted
    assert export(config)["failed"] == []
    assert slides(config) == whole
    assert [path.name for path in (config.out / "artifacts").rglob(".*")] == []
