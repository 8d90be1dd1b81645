"""What generation leaves: a content-addressed store of draws, and one index a shard.

Snakemake deletes a rule's declared output before it reruns an incomplete job; the store lies
beside it and survives, so a killed shard goes on at the draw it had reached.

A draw's folder ``generated/store/KK/KEY/`` holds ``meta.json`` (:class:`DrawMeta`) and

- he: ``pixels.npy``, (height, width, 3) uint8;
- a stain (``stain:NAME``): ``pixels.npy``, (height, width, channels) uint8, at the stainer's scale; its meta's settings
  hold ``channels`` and ``region``, which part of the slide it is;
- rna: ``values.npy``, (observations, genes) float32, log1p of counts per 10,000, with the noise that a
  measurement would have; ``expected.npy``, the same without that noise; ``genes.json``, the gene symbols; for
  several observations ``xy_px.npy``, (observations, 2) float64, x and y of each tile's centre in pixels of the
  source slide's level 0;
- text: ``record.json``, {field: {"value": str | null, "abstained": bool, "probabilities": {value: float}}};
  the value is null exactly where the draw abstains (draws of version 0.1 have no ``abstained`` and always a value).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mupd.base.files import write_json
from mupd.base.ids import Modality, Target, stain_name
from mupd.contracts.layout import Layout
from mupd.errors import MupdError


@dataclass(frozen=True)
class DrawMeta:
    """How a draw came to be; all of it may be published with the artifact.

    Attributes
    ----------
    given, given_sha256
        The conditioning modalities and the content hash of each source.
    content_sha256
        Of the values themselves (C-order bytes of pixels or of all arrays, canonical JSON of a
        record), the same whatever file format they are written in later.
    notes
        Plain sentences on limits of this draw (e.g. a condition outside the trained domain).
    """

    case_id: str
    target: Target
    draw: int
    seed: int
    given: tuple[Modality, ...]
    given_sha256: dict[str, str]
    model_id: str
    model_sha256: str
    mupd_version: str
    settings: dict[str, Any]
    created: str
    seconds: float
    content_sha256: str
    notes: tuple[str, ...] = ()
    mpp: float | None = None


@dataclass(frozen=True)
class Draw:
    """One finished draw: its store folder (relative to the output folder) and its meta."""

    folder: str
    meta: DrawMeta


@dataclass(frozen=True)
class TaskResult:
    """Outcome of one task: its draws, or why it failed."""

    case_id: str
    target: Target
    given: tuple[Modality, ...]
    state: Literal["done", "failed"]
    reason: str = ""
    draws: tuple[Draw, ...] = field(default_factory=tuple)


def draw_key(identity: dict[str, Any]) -> str:
    """Store key of a draw: SHA-256 of everything its values depend on."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def store_folder(out: Path, key: str) -> Path:
    """Folder of a key under the output folder."""
    return Layout(out).stored(key)


def read_draw_meta(folder: Path) -> DrawMeta:
    """The meta of a finished draw."""
    values = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    values["given"] = tuple(values["given"])
    values["notes"] = tuple(values["notes"])
    return DrawMeta(**values)


def write_index(path: Path, results: list[TaskResult]) -> None:
    """Write a shard's results as JSON, atomically."""
    write_json(path, {"tasks": [asdict(result) for result in results]})


def read_index(path: Path) -> list[TaskResult]:
    """Read what :func:`write_index` wrote.

    Raises
    ------
    MupdError
        If it is not there.
    """
    if not path.is_file():
        raise MupdError(f"{path}: not there; run `mupd generate` on this shard first")
    results = []
    for task in json.loads(path.read_text(encoding="utf-8"))["tasks"]:
        draws = []
        for draw in task["draws"]:
            meta = draw["meta"] | {"given": tuple(draw["meta"]["given"]), "notes": tuple(draw["meta"]["notes"])}
            draws.append(Draw(draw["folder"], DrawMeta(**meta)))
        results.append(TaskResult(**(task | {"draws": tuple(draws), "given": tuple(task["given"])})))
    return results


_HASH_ROWS = 1024
"""Rows of a picture hashed at a time: a slide of 100,000 px never stands in memory whole."""


def content_sha256(folder: Path, target: Target) -> str:
    """Hash of a draw's values as they lie in its folder; what :attr:`DrawMeta.content_sha256` holds.

    he and stains: C-order bytes of the pixels; rna: C-order bytes of the values (float32) and, where there are, of
    ``expected`` (float32) and ``xy_px`` (float64), then the genes as JSON; text: the record as JSON with sorted keys
    (``json.dumps`` defaults otherwise).

    Raises
    ------
    OSError, ValueError
        If a file is missing, or is not what it should be.
    """
    import numpy as np

    digest = hashlib.sha256()
    if target == "text":
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        digest.update(json.dumps(record, sort_keys=True).encode())
        return digest.hexdigest()
    names = ["pixels.npy"] if target == "he" or stain_name(target) else ["values.npy", "expected.npy", "xy_px.npy"]
    for name in names:
        if name in ("expected.npy", "xy_px.npy") and not (folder / name).exists():
            continue
        array = np.load(folder / name, mmap_mode="r", allow_pickle=False)
        for start in range(0, len(array), _HASH_ROWS):
            digest.update(np.ascontiguousarray(array[start : start + _HASH_ROWS]).tobytes())
    if target == "rna":
        genes = json.loads((folder / "genes.json").read_text(encoding="utf-8"))
        digest.update(json.dumps(genes).encode())
    return digest.hexdigest()
