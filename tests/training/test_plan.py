"""Training configurations: defaults, faults, and how parts are run one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mupd.errors import InputFaults, MupdError
from mupd.model.presets import preset
from mupd.training.plan import load_plan
from mupd.training.run import run_training
from mupd.training.settings import TargetSettings
from tests.fixtures.paths import REPOSITORY

SPLITS = {"text": 2, "pathways": 4, "rna": 8}


def write_plan(tmp_path: Path, **changes: Any) -> Path:
    for name in ("her2st/images", "tcga", "tiles"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for name in ("B4", "C2", "C3", "C4", "C5"):
        (tmp_path / "her2st" / "images" / f"{name}.jpg").touch()
    values = {
        "name": "tiny",
        "data": {name: str(tmp_path / name) for name in ("her2st", "tcga", "tiles")},
        "work": str(tmp_path / "work"),
        "threads": 1,
        "out": str(tmp_path / "out"),
    }
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return path


def test_a_plan_has_defaults(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path, vae={"steps": 7, "batch_size": 3, "learning_rate": 0.1}))
    assert (plan.vae.steps, plan.vae.learning_rate) == (7, 0.1)
    assert plan.vae.batch_size == 3
    assert plan.sections == ("B4", "C2", "C3", "C4")
    assert plan.start is None
    assert plan.network() == preset("mini") | {"splits": SPLITS}
    assert {name: target.every for name, target in plan.targets().items()} == {"he": 1, "rna": 2, "text": 8}


def test_a_plan_says_what_is_trained_and_how_large(tmp_path: Path) -> None:
    trunk = {"preset": "B", "depth": 3, "targets": {"rna": {"batch_size": 5, "weight": 2.0}}}
    plan = load_plan(write_plan(tmp_path, trunk=trunk))
    assert plan.network() == preset("B") | {"depth": 3, "splits": SPLITS}
    assert plan.targets() == {"rna": TargetSettings(5, weight=2.0)}


def test_the_shipped_plan_is_valid(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert load_plan(REPOSITORY / "config" / "train" / "mupd-mini.yaml").name == "mupd-mini"


def test_all_faults_of_a_plan_at_once(tmp_path: Path) -> None:
    data = {"her2st": str(tmp_path / "her2st"), "tcga": str(tmp_path / "gone"), "tiles": str(tmp_path / "tiles")}
    path = write_plan(tmp_path, data=data, speed=3, vae={"steps": 0, "lr": 1}, threads=2.0, sections=["B4", "C5", "Z9"])
    with pytest.raises(InputFaults) as caught:
        load_plan(path)
    text = str(caught.value)
    assert caught.value.exit_code == 2
    for words in (
        "'speed'",
        "[data.tcga]",
        "gone",
        "[vae.steps]",
        "'lr'",
        "[threads]",
        "[sections]: found C5",
        "Z9.jpg",
    ):
        assert words in text, text
    assert len(caught.value.faults) == 7


@pytest.mark.parametrize("text", ["[1, 2]", "", "a: [", "\ufffe"])
def test_a_plan_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(text, encoding="utf-16-le" if text == "\ufffe" else "utf-8")
    with pytest.raises(InputFaults, match=r"train.yaml"):
        load_plan(path)


def test_the_command_ends_with_two(tmp_path: Path) -> None:
    path = write_plan(tmp_path, speed=3, data={"her2st": "nowhere-1", "tcga": "nowhere-2", "tiles": "nowhere-3"})
    done = subprocess.run(
        [sys.executable, "-m", "mupd", "train", str(path), "--part", "vae"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    for words in ("speed", "nowhere-1", "nowhere-2", "nowhere-3", "4 faults"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(InputFaults, match=r"--part: found mri; expected all or one of codecs, vae"):
        run_training(path, "mri")


def test_a_signal_begins_no_further_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mupd.training import loop, run

    begun: list[str] = []
    monkeypatch.setattr(run, "_codecs", lambda _: begun.append("codecs"))
    monkeypatch.setattr(run, "_vae", lambda _: begun.append("vae") or loop._signals.append(15))
    monkeypatch.setattr(run, "_trunk", lambda _: begun.append("trunk"))
    try:
        with pytest.raises(MupdError, match="stopped by a signal while training vae; run the same command again"):
            run_training(write_plan(tmp_path), "all")
    finally:
        loop._signals.clear()
    assert begun == ["codecs", "vae"]
