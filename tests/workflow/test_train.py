"""The rule that trains: only where it is asked for, with what it needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.processes import Done, snakemake
from tests.fixtures.tiny_model import write_tiny_cohort


def planned(folder: Path, configfile: Path, *more: str) -> Done:
    return snakemake(configfile, folder, *more, "--dry-run", "--printshellcmds")


def write_config(folder: Path, tiny_model: Path, training: Any, **changes: Any) -> Path:
    path = folder / "training.yaml"
    if training is not None:
        path.write_text(training if isinstance(training, str) else yaml.safe_dump(training))
    return write_tiny_cohort(folder / "cohort", tiny_model, {"a": "text"}, **({"train": str(path)} | changes))


TRAINING = {"name": "own", "out": "models/own", "work": "training/own", "threads": 1, "data": {"cohort": {}}}


def rules(done: Done) -> set[str]:
    return set(re.findall(r"^(?:local)?rule (\w+):", done.stdout, re.MULTILINE))


def test_training_is_planned_where_it_is_asked_for(tmp_path: Path, tiny_model: Path) -> None:
    config = write_config(tmp_path, tiny_model, TRAINING)
    done = planned(tmp_path, config, "train")
    assert done.returncode == 0, done.stdout
    assert rules(done) == {"train", "train_model"}
    for words in ("output: models/own/genes.json", "gpu=1", "mem_mb=16000", "runtime=1440", "mupd train"):
        assert words in done.stdout, words
    assert not (tmp_path / "models").exists()
    # A run of the cohort never trains.
    whole = planned(tmp_path, config)
    assert whole.returncode == 0, whole.stdout
    assert "generate" in rules(whole)
    assert not rules(whole) & {"train", "train_model"}


def test_several_gpus_are_started_by_accelerate(tmp_path: Path, tiny_model: Path) -> None:
    done = planned(
        tmp_path, write_config(tmp_path, tiny_model, TRAINING), "train", "--set-resources", "train_model:gpu=4"
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"if \[ 4 -gt 1 \]; then .*accelerate\S* .*--num_processes 4 -m mupd train", done.stdout), (
        done.stdout
    )


@pytest.mark.parametrize(
    ("training", "changes", "words"),
    [
        (TRAINING, {"train": None}, r"configuration \[train\]: found nothing"),
        (None, {}, r"configuration \[train\]: .*training.yaml.*No such file"),
        ("[1, 2]", {}, "names no folder `out`"),
        ("a: [", {}, r"configuration \[train\]"),
    ],
)
def test_no_training_configuration(
    tmp_path: Path, tiny_model: Path, training: Any, changes: dict[str, Any], words: str
) -> None:
    done = planned(tmp_path, write_config(tmp_path, tiny_model, training, **changes), "train")
    assert done.returncode != 0
    assert re.search(words, done.stdout), done.stdout
    assert "Traceback (most recent call last)" not in done.stdout
