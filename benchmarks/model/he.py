"""Figures of H&E: the autoencoder, and windows generated from the RNA of spots against the real ones."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.model.bench import Bench, reconstructed
from benchmarks.model.nuclei import count_nuclei
from benchmarks.stats import Figure, Metrics, bootstrap, correlation
from mupd.base.files import atomic_path
from mupd.model_folder.geometry import TRAINED
from mupd.slides.tissue import stain_density
from mupd.training.public.read import HELD_OUT_SECTION, HER2ST_MPP, tissue_windows

_PSNR_WINDOWS, _PSNR_PX = 48, 256


def _squared_errors(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean squared error of each window, of values from 0 to 1."""
    return (((predicted.astype(np.float64) - truth) / 255) ** 2).mean((1, 2, 3))


def psnr_db(squared_errors: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio of a mean squared error of values from 0 to 1."""
    return float(-10 * np.log10(squared_errors.mean()))


def _jpeg(window: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    stream = io.BytesIO()
    Image.fromarray(window).save(stream, format="JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def measure_autoencoder(bench: Bench) -> Metrics:
    """PSNR of reconstructed windows of tissue, beside JPEG and the rounding to 8 bits."""
    image = bench.section.image
    corners = tissue_windows(image, _PSNR_PX, _PSNR_PX)
    chosen = corners[np.linspace(0, len(corners) - 1, _PSNR_WINDOWS).astype(int)]
    windows = np.stack([image[y : y + _PSNR_PX, x : x + _PSNR_PX] for y, x in chosen])
    errors = _squared_errors(reconstructed(bench.pipeline, windows), windows)
    jpeg = _squared_errors(np.stack([_jpeg(window, 50) for window in windows]), windows)
    figure = Figure(
        psnr_db(errors),
        f"PSNR in dB of {_PSNR_WINDOWS} windows of {_PSNR_PX} px on tissue of the held-out section {HELD_OUT_SECTION}",
        bootstrap(lambda rows: psnr_db(errors[rows]), len(errors), bench.effort.bootstraps),
        len(errors),
        {"JPEG, quality 50": psnr_db(jpeg), "rounding to 8 bits": 10 * math.log10(12 * 255**2)},
        (28.0, None),
    )
    return {"H&E autoencoder": figure.entry()}


def _haematoxylin(windows: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.array([stain_density(window)[0].mean() for window in windows])


def write_grid(real: NDArray[np.uint8], generated: NDArray[np.uint8], path: Path) -> None:
    """Picture of 32 real windows in four rows above the 32 generated from the same spots."""
    chosen = np.linspace(0, len(real) - 1, 32).astype(int)
    rows = np.concatenate([real[chosen], generated[chosen]]).reshape(8, 8, TRAINED.window_px, TRAINED.window_px, 3)
    grid = rows.transpose(0, 2, 1, 3, 4).reshape(8 * TRAINED.window_px, 8 * TRAINED.window_px, 3)
    with atomic_path(path) as temporary:
        Image.fromarray(grid).save(temporary, optimize=True)


def measure_rna_to_he(bench: Bench) -> Metrics:
    """Haematoxylin density and nuclei of windows generated from each spot's RNA; draws grid.png."""
    write_grid(bench.real, bench.generated(), bench.plan.out / "grid.png")
    draws = [bench.generated(draw) for draw in range(bench.effort.he_draws)]
    measures = {
        "haematoxylin density": _haematoxylin,
        "nuclear count": lambda windows: count_nuclei(windows, HER2ST_MPP),
    }
    metrics: Metrics = {}
    for name, measure in measures.items():
        truth, shuffled = measure(bench.real), measure(bench.shuffled())
        of_draws = np.stack([measure(windows) for windows in draws])
        n = len(truth)

        def of(predicted: NDArray[np.float64], truth: NDArray[np.float64] = truth) -> tuple[float, tuple[float, float]]:
            resampled = bootstrap(
                lambda rows: correlation(predicted[rows], truth[rows]), len(truth), bench.effort.bootstraps
            )
            return correlation(predicted, truth), resampled

        value, interval = of(of_draws[0])
        mean = of(of_draws.mean(0))
        figure = Figure(
            value,
            f"Pearson over {n} spots of {HELD_OUT_SECTION} between the real window and one generated from the spot's "
            f"RNA; on average {truth.mean():.3g} real, {of_draws[0].mean():.3g} generated",
            interval,
            n,
            {"conditions shuffled": of(shuffled), f"mean of {len(draws)} draws": mean},
            (0.4, None),
        )
        metrics[f"RNA to H&E: {name}"] = figure.entry()
    return metrics
