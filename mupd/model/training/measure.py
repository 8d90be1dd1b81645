"""What a trained model can do, measured on what it never saw, each beside its baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mupd.files import atomic_path, write_json
from mupd.modalities.tissue import stain_density
from mupd.model.pipeline import Given, MuPDPipeline
from mupd.model.sampling import HE_WINDOW_PX, he_extra, sample_he_windows
from mupd.model.training.plan import Plan
from mupd.model.training.prepare import Spots, log_cp10k
from mupd.model.training.sources import HELD_OUT_SECTION, HER2ST_MPP, read_her2st_counts, tissue_windows
from mupd.progress import track

_TOP_GENES = 250
_DRAWS = 5
_STEPS = 20

Metrics = dict[str, dict[str, Any]]


def _correlations(found: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson correlation of each column over rows; 0 where either does not vary (a constant predicts nothing)."""
    a, b = found - found.mean(0), truth - truth.mean(0)
    scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.where(scale > 1e-9, (a * b).sum(0) / np.maximum(scale, 1e-9), 0.0)


def _interval(per_item: NDArray[np.floating]) -> list[float]:
    """Bootstrap 95 % interval of a mean over items."""
    rng = np.random.default_rng(0)
    means = [per_item[rng.integers(len(per_item), size=len(per_item))].mean() for _ in range(1000)]
    return [round(float(v), 3) for v in np.percentile(means, [2.5, 97.5])]


def _entry(value: float, baseline: float | None, note: str, interval: list[float] | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": round(float(value), 3), "note": note}
    entry["baseline"] = None if baseline is None else round(float(baseline), 3)
    if interval is not None:
        entry["interval_95"] = interval
    return entry


def vae_psnr_db(pipeline: MuPDPipeline, section: Spots) -> float:
    """Peak signal-to-noise ratio of reconstructed 256 px windows of tissue."""
    corners = tissue_windows(section.image, 256, 256)
    chosen = corners[np.linspace(0, len(corners) - 1, 24).astype(int)]
    errors = []
    with torch.no_grad():
        for y, x in chosen:
            window = torch.from_numpy(section.image[y : y + 256, x : x + 256].copy()).permute(2, 0, 1)[None].float()
            image = window / 127.5 - 1
            found = pipeline.vae.decode(pipeline.vae.encode(image)).clamp(-1, 1)
            errors.append((((found - image) / 2) ** 2).mean().item())
    return float(-10 * np.log10(np.mean(errors)))


def _haematoxylin(windows: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.array([stain_density(window)[0].mean() for window in windows])


def write_grid(real: NDArray[np.uint8], generated: NDArray[np.uint8], path: Path) -> None:
    """Picture of 32 real windows in four rows above the 32 generated from the same spots."""
    chosen = np.linspace(0, len(real) - 1, 32).astype(int)
    rows = np.concatenate([real[chosen], generated[chosen]]).reshape(8, 8, HE_WINDOW_PX, HE_WINDOW_PX, 3)
    grid = rows.transpose(0, 2, 1, 3, 4).reshape(8 * HE_WINDOW_PX, 8 * HE_WINDOW_PX, 3)
    with atomic_path(path) as temporary:
        Image.fromarray(grid).save(temporary)


def measure_rna_to_he(pipeline: MuPDPipeline, section: Spots, grid: Path) -> Metrics:
    """Haematoxylin of windows generated from each spot's RNA against the real windows; draws `grid`."""
    half = HE_WINDOW_PX // 2
    centres = np.rint(section.xy_px).astype(int)
    real = np.stack([section.image[y - half : y + half, x - half : x + half] for x, y in centres])
    truth = _haematoxylin(real)
    shuffled = np.random.default_rng(0).permutation(len(centres))
    found = {}
    for name, order in (("own", np.arange(len(centres))), ("shuffled", shuffled)):
        windows = []
        for start in track(range(0, len(order), 32), f"RNA to H&E, {name} RNA"):
            rows = torch.from_numpy(section.conditions[order[start : start + 32]])[:, None]
            conditions = {"rna": (rows, torch.ones(len(rows), 1, dtype=torch.bool))}
            windows.append(
                sample_he_windows(
                    pipeline.transformer("he"),
                    pipeline.vae,
                    conditions,
                    he_extra(HER2ST_MPP).expand(len(rows), 2),
                    seed=start,
                    steps=_STEPS,
                    guidance=1.5,
                )
            )
        found[name] = _haematoxylin(np.concatenate(windows))
        if name == "own":
            write_grid(real, np.concatenate(windows), grid)
    correlation = {name: float(np.corrcoef(values, truth)[0, 1]) for name, values in found.items()}
    pairs = np.stack([found["own"], truth], 1)
    rng = np.random.default_rng(0)
    samples = (pairs[rng.integers(len(pairs), size=len(pairs))] for _ in range(1000))
    boot = [float(np.corrcoef(sample[:, 0], sample[:, 1])[0, 1]) for sample in samples]
    interval = [round(float(v), 3) for v in np.percentile(boot, [2.5, 97.5])]
    note = f"Pearson over {len(centres)} spots of held-out section {HELD_OUT_SECTION}; baseline: conditions shuffled"
    return {"RNA to H&E: haematoxylin density": _entry(correlation["own"], correlation["shuffled"], note, interval)}


def measure_he_to_rna(plan: Plan, pipeline: MuPDPipeline, section: Spots) -> Metrics:
    """Per-gene correlation over spots with the measured values, beside ridge on the same features."""
    from sklearn.linear_model import Ridge

    codec, encoder = pipeline.rna_codec, pipeline.tile_encoder
    panel = codec.panels["spot"]
    features = encoder.project(plan.raw.spots(section)[0])
    draws = [
        pipeline.generate_rna(Given(tiles=features), seed=seed, steps=_STEPS, guidance=1.0)
        for seed in track(range(_DRAWS), "H&E to RNA")
    ]
    truth = _measured_spots(plan, section, list(panel.genes))
    training = plan.spots(plan.sections)
    x = np.concatenate([encoder.project(plan.raw.spots(part)[0]) for part in training])
    ridge = Ridge(alpha=1000.0).fit(x, np.concatenate([part.components for part in training]))
    baseline = codec.decode(ridge.predict(features), "spot")
    top = np.argsort(-panel.mean)[:_TOP_GENES]
    mine = _correlations(np.mean(draws, axis=0), truth)
    other = _correlations(baseline, truth)
    reliability: dict[str, float | None] = dict.fromkeys(codec.genes)
    reliability |= {gene: round(float(r), 3) for gene, r in zip(panel.genes, mine, strict=True)}
    write_json(plan.out / "reliability.json", reliability)
    low, high = np.percentile(draws, 5, axis=0), np.percentile(draws, 95, axis=0)
    covered = ((truth >= low) & (truth <= high))[:, top].mean()
    note = (
        f"mean Pearson per gene over spots of {HELD_OUT_SECTION}, {_TOP_GENES} most expressed genes, "
        f"mean of {_DRAWS} draws"
    )
    return {
        "H&E to RNA: per gene": _entry(
            mine[top].mean(),
            other[top].mean(),
            f"{note}; baseline: ridge; the training mean scores 0",
            _interval(mine[top]),
        ),
        "H&E to RNA: coverage of the draws' 5-95 % range": _entry(
            covered, None, "share of measured values inside; ideal 0.9. Draws carry no count noise, so it is too narrow"
        ),
    }


def _measured_spots(plan: Plan, section: Spots, genes: list[str]) -> NDArray[np.float32]:
    from mupd.model.rna_codec import panel_values

    xy, counts = read_her2st_counts(plan.her2st, section.name)
    values = panel_values(log_cp10k(counts.to_numpy(np.float32)), list(counts.columns), genes)
    where = {tuple(point): row for row, point in enumerate(xy)}
    return np.nan_to_num(values[[where[tuple(point)] for point in section.xy_px]])


def measure_patients(plan: Plan, pipeline: MuPDPipeline) -> Metrics:
    """RNA to record and text to RNA on the held-out tenth of the TCGA patients."""
    from sklearn.metrics import balanced_accuracy_score

    from mupd.model.training.vector_pairs import patients

    held = patients(plan.tcga, plan.codec, pipeline.text_encoder, held_out=True, reports=False)
    metrics: Metrics = {}
    probabilities = [
        pipeline.generate_record(Given(rna=person.condition[None]), seed=index, steps=_STEPS)[1]
        for index, person in enumerate(track(held, "RNA to record"))
    ]
    for field in ("organ", "diagnosis", "grade", "t_category"):
        pairs = [(p.record[field], q[field]) for p, q in zip(held, probabilities, strict=True) if field in p.record]
        truth = [value for value, _ in pairs]
        found = [max(row, key=lambda value: row[value]) for _, row in pairs]
        score = balanced_accuracy_score(truth, found)
        classes = len(set(truth))
        note = f"balanced accuracy on {len(pairs)} held-out TCGA patients, {classes} classes; baseline: majority"
        metrics[f"RNA to text: {field}"] = _entry(score, 1 / len(set(truth)), note)
    panel = pipeline.rna_codec.panels["bulk"]
    draws = np.stack(
        [
            np.mean(
                [
                    pipeline.generate_rna(Given(text=p.texts[0]), seed=s, steps=_STEPS, guidance=1.0)[0]
                    for s in range(3)
                ],
                axis=0,
            )
            for p in track(held, "text to RNA")
        ]
    )
    truth_rna = pipeline.rna_codec.decode(np.stack([p.components for p in held]), "bulk")
    per_gene = _correlations(draws, truth_rna)[np.argsort(-panel.mean)[:_TOP_GENES]]
    organs = {o: truth_rna[[p.record["organ"] == o for p in held]].mean(0) for o in {p.record["organ"] for p in held}}
    by_organ = _correlations(np.stack([organs[p.record["organ"]] for p in held]), truth_rna)
    note = (
        f"mean Pearson per gene over {len(held)} held-out TCGA patients, sentence of the record given, "
        f"{_TOP_GENES} most expressed genes; baseline: the held-out patients' own mean of each organ (an upper bound "
        "for knowing the organ alone)"
    )
    baseline = by_organ[np.argsort(-panel.mean)[:_TOP_GENES]].mean()
    metrics["text to RNA: per gene"] = _entry(per_gene.mean(), baseline, note, _interval(per_gene))
    return metrics


def measure_organs(plan: Plan, pipeline: MuPDPipeline) -> Metrics:
    """H&E to organ on groups of tiles that were held out."""
    from sklearn.metrics import balanced_accuracy_score

    from mupd.model.training.vector_pairs import tile_classes

    classes = tile_classes(plan.tiles, plan.raw, pipeline.tile_encoder, held_out=True)
    truth = [c.record["organ"] for c in classes]
    found = []
    for index, group in enumerate(track(classes, "H&E to record")):
        row = pipeline.generate_record(Given(tiles=group.features[:16]), seed=index, steps=_STEPS)[1]["organ"]
        found.append(max(row, key=lambda value: row[value]))
    note = f"balanced accuracy on {len(classes)} held-out groups of tiles, {len(set(truth))} organs; baseline: majority"
    return {"H&E to text: organ": _entry(balanced_accuracy_score(truth, found), 1 / len(set(truth)), note)}


def measure(plan: Plan, pipeline: MuPDPipeline) -> Metrics:
    """All figures of the model card; also writes reliability.json."""
    section = plan.spots((HELD_OUT_SECTION,))[0]
    psnr = vae_psnr_db(pipeline, section)
    metrics: Metrics = {
        "H&E autoencoder": _entry(psnr, None, f"PSNR in dB on tissue of held-out section {HELD_OUT_SECTION}")
    }
    metrics |= measure_rna_to_he(pipeline, section, plan.out / "grid.png")
    metrics |= measure_he_to_rna(plan, pipeline, section)
    metrics |= measure_patients(plan, pipeline)
    metrics |= measure_organs(plan, pipeline)
    return metrics
