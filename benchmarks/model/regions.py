"""Figures of whole regions: seams where windows meet, and memory by size."""

from __future__ import annotations

import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.model.bench import Bench, workflow_guidance
from benchmarks.model.stats import Figure, Metrics
from mupd.model.conditions import Given
from mupd.model.pipeline import MuPDPipeline
from mupd.model.regions import DECODE_SIDE, WINDOW, window_starts
from mupd.model.vae import DOWNSAMPLE
from mupd.training.public.read import HELD_OUT_SECTION

_SEAM_TARGET = 1.05
_MEMORY_TARGET = 1.25


def gradients(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean absolute difference of neighbouring pixels across each line between rows, and between columns."""
    grey = rgb.astype(np.float64).mean(-1)
    return np.abs(np.diff(grey, axis=0)).mean(1), np.abs(np.diff(grey, axis=1)).mean(0)


def border_lines(length_px: int, step: int) -> NDArray[np.int64]:
    """Lines (index i = between pixels i and i + 1) at which windows of one step, or decoded tiles, begin or end."""
    length = length_px // DOWNSAMPLE
    starts = np.array(window_starts(length, step))
    edges = np.concatenate([starts, starts + WINDOW, np.arange(0, length, DECODE_SIDE)])
    edges = np.unique(edges[(edges > 0) & (edges < length)])
    return edges * DOWNSAMPLE - 1


def seam_measure(rgb: NDArray[np.uint8], last_step: int) -> tuple[float, tuple[float, float], float]:
    """Gradient across borders over gradient elsewhere, 1 = no seam.

    Borders are those of the windows of the last step (those of earlier steps, which lie elsewhere,
    were denoised away) and of the tiles that are decoded apart. They all lie between latents, where
    the decoder leaves a slight lattice everywhere; so they are compared with the other lines between
    latents. The lattice has a measure of its own.

    Parameters
    ----------
    last_step
        Number of the sampler's last evaluation: the grid of windows moves with it.

    Returns
    -------
    tuple
        The ratio, its bootstrap 95 % interval over borders, and the ratio to all other lines,
        lattice or not.
    """
    at, between, elsewhere = [], [], []
    for values, factor in zip(gradients(rgb), (7, 5), strict=True):
        border = np.zeros(len(values), bool)
        border[border_lines(len(values) + 1, factor * last_step)] = True
        on_lattice = (np.arange(len(values)) + 1) % DOWNSAMPLE == 0
        at.append(values[border])
        between.append(values[~border & on_lattice])
        elsewhere.append(values[~border])
    values, rest = np.concatenate(at), np.concatenate(between).mean()
    rng = np.random.default_rng(0)
    resampled = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(1000)]
    low, high = np.percentile(resampled, [2.5, 97.5]) / rest
    everywhere = float(values.mean() / np.concatenate(elsewhere).mean())
    return float(values.mean() / rest), (float(low), float(high)), everywhere


def lattice_measure(rgb: NDArray[np.uint8], period: int = 2 * DOWNSAMPLE) -> float:
    """Largest over mean gradient among the lines of each place in the trunk's patches; 1 = no lattice."""
    found = []
    for values in gradients(rgb):
        usable = values[: len(values) // period * period]
        found.append(usable.reshape(-1, period).mean(0))
    phases = np.mean(found, axis=0)
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
    given = Given(rna=section.conditions[here], pathways=section.pathways[here], rna_xy_px=section.xy_px[here] - (x, y))
    steps = bench.effort.steps

    def generate() -> NDArray[np.uint8]:
        region = np.zeros((side, side, 3), np.uint8)

        def write(top: int, left: int, pixels: NDArray[np.uint8]) -> None:
            region[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels

        guidance = workflow_guidance()
        bench.pipeline.generate_he(given, (side, side), write, seed=0, steps=steps, guidance=guidance, batch_size=16)
        return region

    region = bench.cached(f"region-{side}", generate)
    real = section.image[y : y + side, x : x + side]
    value, interval, everywhere = seam_measure(region, steps - 1)
    real_value, real_interval, real_everywhere = seam_measure(real, steps - 1)
    where = f"region of {side} px from the RNA of {int(here.sum())} spots of {HELD_OUT_SECTION}"
    seams = Figure(
        value,
        "gradient across the borders of windows and decoded tiles over gradient across other lines between latents, "
        f"1 = no seam; {where}",
        interval,
        baselines={
            "the real region": (real_value, real_interval),
            "over all other lines": everywhere,
            "the real region, over all other lines": real_everywhere,
        },
        target=(None, _SEAM_TARGET),
    )
    lattice = Figure(
        lattice_measure(region),
        f"largest over mean gradient among the {2 * DOWNSAMPLE} places in the trunk's patches, 1 = no lattice; {where}",
        baselines={"the real region": lattice_measure(real)},
    )
    return {"H&E region: seams": seams.entry(), "H&E region: lattice": lattice.entry()}


def _peak_mb() -> float:
    """Most memory that this process held. Linux counts a parent's in ru_maxrss, so VmHWM goes first."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # bytes on macOS


def _region_memory_mb(folder: Path, side: int, spots: int) -> float:
    """Peak memory of generating one region in this process; one step, since steps repeat the same work."""
    pipeline = MuPDPipeline.from_pretrained(folder)
    rng = np.random.default_rng(0)
    given = Given(
        rna=np.zeros((spots, pipeline.rna_codec.dim + 1), np.float32),
        pathways=np.zeros((spots, pipeline.pathway_scorer.dim), np.float32),
        rna_xy_px=rng.uniform(0, side, (spots, 2)),
    )
    pipeline.generate_he(
        given, (side, side), lambda *_: None, seed=0, steps=1, guidance=workflow_guidance(), batch_size=16
    )
    return _peak_mb()


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
