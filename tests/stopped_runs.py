"""Runs of one shard by the tiny model, in this process or in one that can be stopped, and what they left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_model import write_tiny_cohort

from mupd.config import Config, load_config
from mupd.intake import run_shard as run_intake
from mupd.store import read_index

REPOSITORY = Path(__file__).resolve().parents[1]
CASES = {"a": "rna", "b": "text"}
SLIDE = {"width_px": 400, "height_px": 304, "mpp": 0.78}


def cohort(folder: Path, model: Path, **sections: Any) -> Config:
    """A configuration whose inventory is written."""
    how = {"slide": SLIDE, "sampler": {"steps": 4, "batch_size": 4, "device": "cpu"}} | sections
    config = load_config(write_tiny_cohort(folder, model, CASES, outdir=str(folder / "results"), **how))
    run_intake(config, 0)
    return config


def contents(config: Config) -> dict[tuple[str, str, int], str]:
    results = read_index(config.out / "generated" / "shard-0000.json")
    assert {result.state for result in results} == {"done"}
    return {(r.case_id, r.target, d.meta.draw): d.meta.content_sha256 for r in results for d in r.draws}


def stops_until_done(run: Callable[[], object], stopped: type[BaseException], most: int) -> int:
    """Run again after each stop until it goes through; returns how often it was stopped, at most `most` times."""
    for stops in range(most + 1):
        try:
            run()
        except stopped:
            continue
        return stops
    raise AssertionError(f"stopped over {most} times: it begins anew each time")


class Driver:
    """`mupd generate` as a process of its own."""

    def __init__(self, config: Config, configfile: Path) -> None:
        self.config, self.configfile = config, configfile

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "mupd", "generate", "--configfile", str(self.configfile), "--shard", "0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )

    def done(self) -> int:
        """Micro-batches and tiles that stand on the disk: whole draws, latents and velocities of unfinished ones."""
        return sum(path.stat().st_size for path in self._journal("velocity-*.bin")) + self._finished()

    def _finished(self) -> int:
        return len(list((self.config.out / "generated" / "store").glob("*/[0-9a-f]*/meta.json")))

    def _journal(self, name: str) -> list[Path]:
        return list((self.config.out / "generated" / "store").glob(f"*/.part-*/{name}"))


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
