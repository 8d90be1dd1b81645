"""Runs a command, measures its time and memory, and reads from the output what Snakemake did."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scale.cohort import REPOSITORY

_WAITER = (
    "import os, sys; pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ); _, status, usage = os.wait4(pid, 0); "
    "sys.stdout.write(f'\\npeak KiB {usage.ru_maxrss}'); sys.exit(os.waitstatus_to_exitcode(status))"
)


@dataclass(frozen=True)
class Measured:
    """Exit code, seconds, most memory of the process itself (megabytes, without its children's), output."""

    returncode: int
    seconds: float
    peak_mb: float
    output: str


def measured(command: Sequence[str], folder: Path) -> Measured:
    """Run a command in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "command.log"
    started = time.monotonic()
    with log.open("wb") as stream:
        # A small process in between: the kernel counts the memory of whoever starts a program as the program's own.
        result = subprocess.run(
            [sys.executable, "-S", "-c", _WAITER, *command], cwd=folder, stdout=stream, stderr=subprocess.STDOUT
        )
    seconds = time.monotonic() - started
    output, _, peak = log.read_text(encoding="utf-8").rpartition("peak KiB ")
    return Measured(result.returncode, seconds, int(peak) / 1024, output)


def snakemake(configfile: Path, folder: Path, *more: str, snakefile: Path | None = None) -> Measured:
    """`snakemake` on a configuration, with results under `folder`."""
    base = [sys.executable, "-m", "snakemake", "--cores", "2", "-s", str(snakefile or REPOSITORY / "Snakefile")]
    return measured([*base, "--configfile", str(configfile), "--directory", str(folder), *more], folder)


def jobs_of(output: str) -> dict[str, int]:
    """{rule: jobs} of the last table `Job stats` that Snakemake printed, with `total`."""
    tables = output.split("Job stats:")
    if len(tables) == 1:
        return {}
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", tables[-1], re.MULTILINE)}


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Exponent b of the law ``value = a * size**b``, by least squares on logarithms."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)
