"""Figures of whole regions: seams where windows meet, and memory by size."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.model.bench import Bench, workflow_guidance
from benchmarks.process import peak_memory_mb as process_peak_mb
from benchmarks.stats import Figure, Metrics
from mupd.model.conditions import CaseVectors
from mupd.model.pipeline import MuPDPipeline
from mupd.model.regions import RegionSampling
from mupd.model_folder.geometry import DOWNSAMPLE
from mupd.slides.seams import line_steps, measure_seams
from mupd.training.public.read import HELD_OUT_SECTION

_SEAM_TARGET = 1.05
_MEMORY_TARGET = 1.25


def lattice_measure(rgb: NDArray[np.uint8], period: int = 2 * DOWNSAMPLE) -> float:
    """Largest over mean gradient among the lines of each place in the trunk's patches; 1 = no lattice."""
    by_phase = []
    for values in line_steps(rgb):
        usable = values[: len(values) // period * period]
        by_phase.append(usable.reshape(-1, period).mean(0))
    phases = np.mean(by_phase, axis=0)
    return float(phases.max() / phases.mean())


def densest_corner(xy_px: NDArray[np.floating], side: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """Corner (y, x) of the square inside a picture that holds most places (n, 2) given as x, y."""
    corners = np.clip(np.rint(xy_px).astype(int) - 64, 0, np.array(shape[1::-1]) - side)
    inside = [((xy_px >= corner) & (xy_px < corner + side)).all(1).sum() for corner in corners]
    x, y = corners[int(np.argmax(inside))]
    return int(y), int(x)


def measure_regions(bench: Bench) -> Metrics:
    """Seams and lattice of one large region, generated from the RNA of the spots inside it."""
    side, section = bench.effort.region_px, bench.section
    y, x = densest_corner(section.xy_px, side, section.image.shape)
    here = ((section.xy_px >= (x, y)) & (section.xy_px < (x + side, y + side))).all(1)
    given = CaseVectors(
        rna=section.conditions[here], pathways=section.pathways[here], rna_xy_px=section.xy_px[here] - (x, y)
    )
    steps = bench.effort.steps

    def generate() -> NDArray[np.uint8]:
        region = np.zeros((side, side, 3), np.uint8)

        def write(top: int, left: int, pixels: NDArray[np.uint8]) -> None:
            region[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels

        guidance = workflow_guidance()
        bench.pipeline.generate_he(
            given, (side, side), write, seed=0, guidance=guidance, sampling=RegionSampling(steps, 16)
        )
        return region

    region = bench.cached(f"region-{side}", generate)
    real = section.image[y : y + side, x : x + side]
    made, truth = (measure_seams(picture, bench.pipeline.geometry, steps - 1) for picture in (region, real))
    if made is None or truth is None:
        raise ValueError(f"region of {side} px: found no border of windows; expected a side over a window's")
    where = f"region of {side} px from the RNA of {int(here.sum())} spots of {HELD_OUT_SECTION}"
    seams = Figure(
        made.ratio,
        "gradient across the borders of windows and decoded tiles over gradient across other lines between latents, "
        f"1 = no seam; {where}",
        (made.low, made.high),
        baselines={
            "the real region": (truth.ratio, (truth.low, truth.high)),
            "over all other lines": made.to_all_lines,
            "the real region, over all other lines": truth.to_all_lines,
        },
        target=(None, _SEAM_TARGET),
    )
    lattice = Figure(
        lattice_measure(region),
        f"largest over mean gradient among the {2 * DOWNSAMPLE} places in the trunk's patches, 1 = no lattice; {where}",
        baselines={"the real region": lattice_measure(real)},
    )
    return {"H&E region: seams": seams.entry(), "H&E region: lattice": lattice.entry()}


def _region_memory_mb(folder: Path, side: int, spots: int) -> float:
    """Peak memory of generating one region in this process; one step, since steps repeat the same work."""
    pipeline = MuPDPipeline.from_pretrained(folder)
    rng = np.random.default_rng(0)
    given = CaseVectors(
        rna=np.zeros((spots, pipeline.rna_codec.dim + 1), np.float32),
        pathways=np.zeros((spots, pipeline.pathway_scorer.dim), np.float32),
        rna_xy_px=rng.uniform(0, side, (spots, 2)),
    )
    pipeline.generate_he(
        given, (side, side), lambda *_: None, seed=0, guidance=workflow_guidance(), sampling=RegionSampling(1, 16)
    )
    return process_peak_mb()


def peak_memory_mb(folder: Path, side: int, spots: int = 64) -> float:
    """Peak memory in MB of a fresh process that loads the model and generates a region of `side` pixels."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_region_memory_mb, folder, side, spots).result()


def measure_memory(bench: Bench) -> Metrics:
    """Peak memory of a small and a large region."""
    small, large = bench.effort.memory_px
    first, second = (peak_memory_mb(bench.plan.out, side) for side in (small, large))
    latents = bench.pipeline.vae.latent_channels * (large // DOWNSAMPLE) ** 2 * 4 / 1024**2
    figure = Figure(
        second / first,
        f"peak memory for a region of {large} px over that for {small} px ({second:.0f} and {first:.0f} MB, model and "
        f"libraries included; the larger one's latents take {latents:.1f} MB), "
        f"{(large / small) ** 2:.0f} times the area",
        target=(None, _MEMORY_TARGET),
    )
    return {"H&E region: memory": figure.entry()}
