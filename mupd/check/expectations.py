"""The suite of generated RNA, run on a shard's draws."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mupd.config import Config
from mupd.expectations.evaluate import run_suite
from mupd.expectations.results import results_path, tell, write_results
from mupd.expectations.suites import read_suites
from mupd.expectations.tables import Row
from mupd.ids import shard_name
from mupd.store import Draw, TaskResult


def _row(out: Path, draw: Draw) -> Row:
    """Facts of one draw; all null where its files cannot be read, which its verdict says."""
    row: Row = {"case_id": draw.meta.case_id, "draw": draw.meta.draw}
    folder = out / draw.folder
    try:
        values = np.load(folder / "values.npy", allow_pickle=False)
        genes = json.loads((folder / "genes.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, EOFError):
        return row
    if values.ndim != 2 or not values.size or not np.issubdtype(values.dtype, np.floating):
        return row
    finite = np.isfinite(values)
    row |= {
        "kind": "spot" if (folder / "xy_px.npy").exists() else "bulk",
        "observations": len(values),
        "genes": len(genes),
        "not_finite": int((~finite).sum()),
    }
    if finite.all():
        row |= {
            "smallest": float(values.min()),
            "largest": float(values.max()),
            "library_size": float(np.median(np.expm1(values.astype(np.float64)).sum(axis=1))),
            "genes_detected": int((values > 0).any(axis=0).sum()),
        }
    return row


def generated_rows(out: Path, results: Iterable[TaskResult]) -> list[Row]:
    """Rows of ``generated_rna``, one a draw."""
    return [_row(out, draw) for result in results if result.target == "rna" for draw in result.draws]


def meet_and_write(results: Iterable[TaskResult], config: Config, shard: int) -> None:
    """Write ``expectations/SHARD.check.json`` and warn of what is not met.

    Raises
    ------
    InputFaults
        If a suite of the user's cannot be used.
    ExpectationError
        If something is not met and expectations.on_failure is ``stop``; the results are written before.
    """
    rows = generated_rows(config.out, results)
    suites = read_suites("generated_rna", config.expectations.suites.generated_rna)
    found = [run_suite(suite, rows) for suite in suites]
    name = shard_name(shard)
    write_results(results_path(config.out, "check", name), "check", name, found)
    tell(found, stop=config.expectations.on_failure == "stop")
