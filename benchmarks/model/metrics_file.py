"""The file of the figures; a new calibration keeps the figures that do not depend on it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from benchmarks.stats import Metrics
from mupd.base.files import sha256_file, write_text
from mupd.model.pipeline import hashed_files, model_sha256
from mupd.model.rna_codec import SPREAD_FILE
from mupd.model_folder.contents import RECORD_FILE, read_json_file

METRICS_FILE = "metrics.json"
HASH = 12
_OF_RECORDS = ("RNA to text", "H&E to text")
_OF_BULK_DRAWS = ("text to RNA", "report to RNA")


def read_metrics(folder: Path) -> Metrics:
    """What was measured of a model folder; empty if nothing was."""
    metrics: Any = read_json_file(folder / METRICS_FILE)
    return metrics or {}


def write_metrics(folder: Path, metrics: Metrics) -> None:
    """Write metrics.json."""
    # Not with sorted keys: the first baseline is the main one.
    write_text(folder / METRICS_FILE, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")


def parts_sha256(folder: Path, figure: str) -> str:
    """First characters of the hash over the files of a model that a figure depends on.

    These are all weights and configurations, but record.json for records alone and the spread of bulk draws for
    these alone.
    """
    left_out = set()
    if not figure.startswith(_OF_RECORDS):
        left_out.add(RECORD_FILE)
    if not figure.startswith(_OF_BULK_DRAWS):
        left_out.add(SPREAD_FILE)
    digest = hashlib.sha256()
    for file in hashed_files(folder):
        if file.name not in left_out:
            digest.update(f"{file.relative_to(folder).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()[:HASH]


def still_true(folder: Path, metrics: Metrics) -> Metrics:
    """The figures that hold for the weights and calibration that a model folder has now."""
    model = model_sha256(folder)[:HASH]
    return {
        name: row
        for name, row in metrics.items()
        if row.get("model") == model or row.get("parts") == parts_sha256(folder, name)
    }
