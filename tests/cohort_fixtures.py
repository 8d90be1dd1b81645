"""A small cohort as the earlier stages would leave it: inputs, inventory, store, index, verdicts, artifacts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mupd.check import run_shard
from mupd.config import Config, parse_config
from mupd.files import sha256_path, write_json
from mupd.ids import MODALITIES, Modality, shard_name, shard_of
from mupd.inventory import CaseInventory, Entry, Task, tasks_of, write_inventory
from mupd.modalities.records import FIELDS
from mupd.store import Draw, DrawMeta, TaskResult, content_sha256, draw_key, store_folder, write_index

GENES = tuple(sorted([f"GENE{index}" for index in range(24)] + ["ACTB", "EPCAM", "KRT8", "MKI67", "VIM", "ERBB2"]))
EVIL = "<script>alert(1)</script>"


def tissue_picture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Nuclei on stroma with a white border, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = np.full((height, width, 3), 243.0)
    inside = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) < 0.21
    picture[inside] = (226, 160, 196)
    for _ in range(height * width // 500):
        cx, cy, radius = rng.integers(0, width), rng.integers(0, height), rng.uniform(3, 5)
        if inside[cy, cx]:
            near = np.s_[max(0, cy - 6) : cy + 7, max(0, cx - 6) : cx + 7]
            nucleus = (x[near] - cx) ** 2 + (y[near] - cy) ** 2 < radius**2
            picture[near][nucleus] = (92, 62, 140)
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)


def profile(seed: int, observations: int = 1) -> NDArray[np.float32]:
    """log1p CP10k over GENES, (observations, genes) float32."""
    rng = np.random.default_rng(seed)
    counts = rng.gamma(2.0, 20.0, (observations, len(GENES))) * np.linspace(0.2, 3, len(GENES))
    return np.log1p(1e4 * counts / counts.sum(1, keepdims=True)).astype(np.float32)


def record(seed: int, certainty: float = 6.0) -> dict[str, Any]:
    """A record whose value is the most probable one in every field; a higher `certainty` makes draws agree."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, values in FIELDS.items():
        scores = np.exp(
            rng.normal(0, 0.7, len(values)) + certainty * (np.arange(len(values)) == len(name) % len(values))
        )
        shares = {value: float(share) for value, share in zip(values, scores / scores.sum(), strict=True)}
        made[name] = {"value": max(shares, key=lambda value: shares[value]), "probabilities": shares}
    return made


def write_draw(config: Config, task: Task, draw: int, settings: dict[str, Any] | None = None, **arrays: Any) -> Draw:
    """Put one draw into the store, as generation does, and return its index entry."""
    folder = store_folder(config.out, draw_key({"case": task.case_id, "target": task.target, "draw": draw}))
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        if isinstance(array, np.ndarray):
            np.save(folder / f"{name}.npy", array)
        else:
            write_json(folder / f"{name}.json", array)
    meta = DrawMeta(
        case_id=task.case_id,
        target=task.target,
        draw=draw,
        seed=task.seeds[draw],
        given=task.given,
        given_sha256={modality: "0" * 64 for modality in task.given},
        model_id="mupd-test",
        model_sha256="ab" * 32,
        mupd_version="0.1.0",
        settings=settings or {},
        created="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        content_sha256=content_sha256(folder, task.target),
        mpp=config.slide.mpp if task.target == "he" else None,
    )
    write_json(folder / "meta.json", meta.__dict__)
    return Draw(str(folder.relative_to(config.out)), meta)


def make_draw(config: Config, task: Task, draw: int, tiles: int = 1) -> Draw:
    """A plausible draw of a task."""
    seed = task.seeds[draw] % 2**32
    if task.target == "he":
        return write_draw(
            config, task, draw, pixels=tissue_picture(seed, config.slide.height_px, config.slide.width_px)
        )
    if task.target == "rna":
        place = {"xy_px": np.arange(2.0 * tiles).reshape(tiles, 2)} if tiles > 1 else {}
        return write_draw(config, task, draw, values=profile(seed, tiles), genes=list(GENES), **place)
    return write_draw(config, task, draw, record=record(seed))


@dataclass
class Plan:
    """What a case has, and how its imputation goes."""

    case_id: str
    measured: tuple[Modality, ...] = MODALITIES
    unusable: dict[Modality, str] = field(default_factory=dict)
    organ: str = "breast"
    diagnosis: str = "invasive carcinoma"
    extra: dict[str, str] = field(default_factory=dict)
    spots: int = 0
    tiles: int = 1
    failed: dict[Modality, str] = field(default_factory=dict)
    spoil: Callable[[Config, Draw], Draw] | None = None


PLANS = (
    Plan("COMPLETE-1", extra={"x_age": "61"}),
    Plan("TILES-2", measured=("he",), tiles=6),
    Plan("SPOTS-3", measured=("rna",), spots=5),
    Plan(
        "EVIL-4",
        measured=("text",),
        organ="colon",
        diagnosis=EVIL,
        failed={"rna": "the sampler left values not finite"},
    ),
    Plan("NOTHING-5", measured=(), unusable={"text": "the text is empty"}, diagnosis="=1+2"),
    Plan("BROKEN-6", measured=("rna",), unusable={"he": "the slide is truncated"}),
)


def make_config(root: Path, **changes: Any) -> Config:
    """A configuration whose every path lies under `root`."""
    values = {
        "cases": str(root / "cases.tsv"),
        "outdir": str(root / "results"),
        "model": str(root / "model"),
        "shards": 2,
        "draws": {"he": 1, "rna": 3, "text": 3},
        "slide": {"width_px": 384, "height_px": 256, "mpp": 0.5},
    }
    return parse_config(values | changes, "test")


def make_model(root: Path, **reference: Any) -> None:
    """genes.json and reference.json of a model folder."""
    write_json(root / "model" / "genes.json", list(GENES))
    bulk = profile(0, 200)
    given = {
        "haematoxylin_od": [0.0, 2.0],
        "eosin_od": [0.0, 2.0],
        "rna_mean": {"bulk": bulk.mean(0).tolist()},
        "rna_sd": {"bulk": bulk.std(0).tolist()},
    }
    write_json(root / "model" / "reference.json", given | reference)
    write_json(root / "model" / "record.json", {"fields": FIELDS})


def _measured_entry(root: Path, plan: Plan, modality: Modality, seed: int) -> Entry:
    folder = root / "inputs"
    folder.mkdir(exist_ok=True)
    if modality == "he":
        path = folder / f"{plan.case_id}.png"
        Image.fromarray(tissue_picture(seed, 300, 420)).save(path)
    elif modality == "rna":
        path = folder / f"{plan.case_id}.tsv"
        counts = np.random.default_rng(seed).poisson(40, (max(plan.spots, 1), len(GENES) + 1))
        names = [*GENES, "ONLYHERE"]
        if plan.spots:
            lines = ["\t" + "\t".join(names)]
            lines += [f"{index}x{index + 1}\t" + "\t".join(map(str, row)) for index, row in enumerate(counts)]
        else:
            lines = ["gene\tvalue"] + [f"{name}\t{count}" for name, count in zip(names, counts[0], strict=True)]
        path.write_text("\n".join(lines) + "\n")
    else:
        path = folder / f"{plan.case_id}.txt"
        path.write_text("Mrs Jane Secret. Breast, invasive ductal carcinoma, grade 2, pT2.\n")
    return Entry(plan.case_id, modality, "measured", "", str(path), sha256_path(path))


def _entry(root: Path, plan: Plan, modality: Modality, seed: int) -> Entry:
    if modality in plan.measured:
        return _measured_entry(root, plan, modality, seed)
    if modality in plan.unusable:
        source = root / "inputs" / f"{plan.case_id}.bad"
        reason = f"{source}: {plan.unusable[modality]}"
        return Entry(plan.case_id, modality, "unusable", reason, str(source), "f" * 64)
    return Entry(plan.case_id, modality, "missing", "no file in the sheet")


def _export(config: Config, rows: Any, shard: int) -> None:
    artifacts = []
    kinds = {"he": "dicom-wsi", "rna": "anndata", "text": "report"}
    accepted = rows[rows.verdict == "accepted"]
    for (case_id, modality), draws in accepted.groupby(["case_id", "target"], sort=False):
        folder = config.out / "artifacts" / case_id
        numbers = [int(draw) for draw in draws.draw]
        paths = {
            "he": [(folder / "he" / f"synthetic-draw{draw}", [draw]) for draw in numbers],
            "rna": [(folder / "rna.synthetic.h5ad", numbers)],
            "text": [(folder / f"report.synthetic.{end}", numbers) for end in ("json", "txt")],
        }[modality]
        for path, of in paths:
            file = path / "synthetic-level0.dcm" if modality == "he" else path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{case_id} {of}")
            item = {"case_id": case_id, "modality": modality, "path": str(path.relative_to(config.out)), "draws": of}
            item |= {"kind": kinds[modality], "sha256": sha256_path(path), "content_sha256": {}, "given": []}
            artifacts.append(item | {"model_id": "mupd-test", "model_sha256": "ab" * 32, "notes": []})
    exported = {"artifacts": artifacts, "failed": []}
    write_json(config.out / "exported" / f"{shard_name(shard)}.json", exported)


def make_cohort(root: Path, plans: tuple[Plan, ...] = PLANS, **changes: Any) -> Config:
    """Write everything that stands before the cohort stage under `root`."""
    import pandas as pd

    config = make_config(root, **changes)
    if not (root / "model").exists():
        make_model(root)
    extra = sorted({name for plan in plans for name in plan.extra})
    header = ["case_id", "he", "rna", "text", "he_mpp", "organ", "diagnosis", *extra]
    lines, shards = ["\t".join(header)], {}
    for seed, plan in enumerate(plans):
        entries = {modality: _entry(root, plan, modality, seed) for modality in MODALITIES}
        case = CaseInventory(plan.case_id, entries, plan.organ, plan.diagnosis, plan.extra)
        shards.setdefault(shard_of(plan.case_id, config.shards), []).append((plan, case))
        cells = [entries[m].source if entries[m].status == "measured" else "" for m in MODALITIES]
        mpp = "0.5" if "he" in plan.measured else ""
        free = [plan.extra.get(name, "") for name in extra]
        lines.append("\t".join([plan.case_id, *cells, mpp, plan.organ, plan.diagnosis, *free]))
    Path(config.cases).write_text("\n".join(lines) + "\n")
    for shard, members in shards.items():
        results = []
        for plan, case in members:
            for task in tasks_of(case, config):
                if task.target in plan.failed:
                    reason = plan.failed[task.target]
                    results.append(TaskResult(task.case_id, task.target, task.given, "failed", reason))
                    continue
                draws = [make_draw(config, task, draw, plan.tiles) for draw in range(len(task.seeds))]
                if plan.spoil:
                    draws = [plan.spoil(config, draw) for draw in draws]
                results.append(TaskResult(task.case_id, task.target, task.given, "done", draws=tuple(draws)))
        name = shard_name(shard)
        write_inventory(config.out / "intake" / f"{name}.parquet", [case for _, case in members])
        write_index(config.out / "generated" / f"{name}.json", results)
        _export(config, pd.read_parquet(run_shard(config, shard)), shard)
    return config


def with_notes(draw: Draw, *notes: str) -> Draw:
    """The draw with notes in its meta."""
    return replace(draw, meta=replace(draw.meta, notes=notes))


def read_json(path: Path) -> Any:
    """A JSON file's value."""
    return json.loads(path.read_text(encoding="utf-8"))
