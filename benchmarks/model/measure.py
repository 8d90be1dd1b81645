"""All figures of a trained model on held-out data, each beside its baselines, written to metrics.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.model.bench import Bench, Effort
from benchmarks.model.card import write_card
from benchmarks.model.copies import measure_copies
from benchmarks.model.distances import measure_distances
from benchmarks.model.he import measure_autoencoder, measure_rna_to_he
from benchmarks.model.metrics_file import HASH, parts_sha256, read_metrics, still_true, write_metrics
from benchmarks.model.records import measure_records
from benchmarks.model.regions import measure_memory, measure_regions
from benchmarks.model.rna import measure_he_to_rna
from benchmarks.model.text_rna import measure_text_to_rna
from benchmarks.stats import Metrics
from mupd.errors import Fault, InputFaults
from mupd.model.pipeline import MuPDPipeline
from mupd.training.plan import Plan
from mupd.training.public.read import HELD_OUT_SECTION

MEASURES: dict[str, Callable[[Bench], Metrics]] = {
    "vae": measure_autoencoder,
    "rna-to-he": measure_rna_to_he,
    "distances": measure_distances,
    "copies": lambda bench: measure_copies(bench, bench.plan.out / "closest.png"),
    "he-to-rna": measure_he_to_rna,
    "text-to-rna": measure_text_to_rna,
    "records": measure_records,
    "regions": measure_regions,
    "memory": measure_memory,
}
"""Parts that can be measured alone."""


def measure(plan: Plan, pipeline: MuPDPipeline, only: Sequence[str] = (), effort: Effort | None = None) -> Metrics:
    """Measure and write metrics.json after each part, so that an interrupted run loses at most one part.

    Figures of other parts stay if what they depend on is the same; those of other weights are dropped.
    Beside it grid.png, closest.png and reliability.json are written.

    Parameters
    ----------
    only
        Some of :data:`MEASURES`; empty = all.

    Raises
    ------
    InputFaults
        If a part is none of these.
    """
    unknown = [part for part in only if part not in MEASURES]
    if unknown:
        raise InputFaults("measuring", [Fault("part", part, f"one of {', '.join(MEASURES)}") for part in unknown])
    bench = Bench(plan, pipeline, effort)
    model = pipeline.sha256[:HASH]
    metrics = still_true(plan.out, read_metrics(plan.out))
    for part in only or MEASURES:
        print(f"measuring: {part}", flush=True)
        for name, row in MEASURES[part](bench).items():
            metrics[name] = row | {"model": model, "parts": parts_sha256(plan.out, name)}
        write_metrics(plan.out, metrics)
    return metrics


def write_measured_card(plan: Plan, pipeline: MuPDPipeline, metrics: Metrics) -> None:
    """Write the model card from what was measured."""
    networks: dict[str, Any] = {"vae": pipeline.vae, "trunk": pipeline.transformer}
    parameters = {part: sum(p.numel() for p in network.parameters()) for part, network in networks.items()}
    write_card(plan, metrics, parameters, HELD_OUT_SECTION)
