"""Checks of a generated RNA profile: log1p of counts per 10,000, a row an observation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mupd.contracts.verdicts import Check, not_measured
from mupd.stages.check.reference import Reference

LIBRARY = (0.2e4, 5e4)
"""Counts per 10,000 summed over genes, median over observations: a fifth to five times what they should sum to.

Single tiles may lie lower: components give the mean of log values, whose counts sum to less, most of
all where counts are sparse. Of the training spots, coded and decoded, one in a hundred sums to under 820.
"""
MAX_MEAN_Z = 3.0
WARN_MEAN_Z = 1.5
"""Mean distance from the training mean in standard deviations, over genes: about 0.8 for training data itself."""


def _distance(values: NDArray[np.float32], genes: list[str], kind: str, reference: Reference) -> Check:
    """Mean \\|z\\| of all values (observations, genes) against the training data of the same kind."""
    name = "mean_abs_z"
    means, sds = reference.rna_mean.get(kind, {}), reference.rna_sd.get(kind, {})
    known = [column for column, gene in enumerate(genes) if gene in means and sds.get(gene, 0) > 0]
    if not known:
        return not_measured(name, f"the model gives no mean and spread of its {kind} training data")
    mean = np.array([means[genes[column]] for column in known])
    sd = np.array([sds[genes[column]] for column in known])
    distance = float(np.abs((values[:, known] - mean) / sd).mean())
    words = f"{distance:.2f} standard deviations from the {kind} training data on average over genes"
    if distance > MAX_MEAN_Z:
        return Check(name, round(distance, 3), MAX_MEAN_Z, False, f"out of distribution: {words}")
    warning = f"unusual profile: {words}" if distance > WARN_MEAN_Z else ""
    return Check(name, round(distance, 3), MAX_MEAN_Z, True, warning)


def _genes(genes: list[str], kind: str, reference: Reference) -> Check:
    wanted = reference.panels.get(kind) or reference.genes
    if wanted is None:
        return not_measured("genes", "the model lists no genes")
    same = tuple(genes) == wanted
    return Check("genes", len(genes), len(wanted), same, "" if same else f"the genes are not the model's {kind} genes")


def check_rna(folder: Path, reference: Reference) -> list[Check]:
    """Check ``values.npy``, ``genes.json`` and ``xy_px.npy`` of a draw.

    A draw with positions is of kind ``spot``, one without of kind ``bulk``.

    Raises
    ------
    OSError, ValueError, EOFError
        If a file is missing, cut short or no array.
    """
    values = np.load(folder / "values.npy", allow_pickle=False)
    genes = json.loads((folder / "genes.json").read_text(encoding="utf-8"))
    shape = " x ".join(str(side) for side in values.shape)
    right = values.ndim == 2 and values.dtype == np.float32 and values.shape[0] > 0 and values.shape[1] == len(genes)
    asked = f"observations x {len(genes)} float32"
    checks = [
        Check(
            "shape",
            f"{shape} {values.dtype}",
            asked,
            right,
            "" if right else f"the values are {shape} {values.dtype}, not {asked}",
        )
    ]
    if not right:
        return checks
    positions = folder / "xy_px.npy"
    kind = "spot" if positions.exists() else "bulk"
    checks.append(_genes(genes, kind, reference))
    bad = int((~np.isfinite(values)).sum())
    checks.append(Check("not_finite", bad, 0, not bad, f"{bad} values are not finite numbers" if bad else ""))
    negative = int((values < 0).sum())
    checks.append(Check("negative", negative, 0, not negative, f"{negative} values are negative" if negative else ""))
    if kind == "spot":
        xy = np.load(positions, allow_pickle=False)
        placed = xy.shape == (len(values), 2) and bool(np.isfinite(xy).all())
        wrong = f"{len(values)} observations have positions of shape {xy.shape}"
        checks.append(Check("positions", len(xy), len(values), placed, "" if placed else wrong))
    if bad:
        return checks
    library = np.expm1(values.astype(np.float64)).sum(axis=1)
    low, middle, high = (float(value) for value in np.quantile(library, [0, 0.5, 1]))
    within = LIBRARY[0] <= middle <= LIBRARY[1]
    sentence = (
        f"counts per 10,000 sum to {middle:.0f} over the genes in the median ({low:.0f} to {high:.0f}), "
        f"outside {LIBRARY[0]:.0f} to {LIBRARY[1]:.0f}"
    )
    quantiles = [round(value, 1) for value in (low, middle, high)]
    checks.append(Check("library", quantiles, list(LIBRARY), within, "" if within else sentence))
    checks.append(_distance(values, genes, kind, reference))
    return checks
