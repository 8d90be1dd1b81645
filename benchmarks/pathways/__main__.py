"""``python -m benchmarks.pathways``: time, coverage, missing genes, and what scores say of the picture."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import add_data, add_docs, exit_code_of, parser_of
from benchmarks.pages import fill, table, with_interval
from benchmarks.pathways.data import Profiles, Section, fitted, patients, read_section, training_spots
from mupd.base.files import write_json
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.rna_codec import RnaCodec
from mupd.rna.gene_sets import default_gmt, read_gmt
from mupd.training.public.read import HELD_OUT_SECTION

_BEGIN, _END = "<!-- pathway figures: begin -->", "<!-- pathway figures: end -->"
_RESAMPLES = 2000
_SHARES = (0.9, 0.5, 0.2)
_SPLITS = {"C2, C3, C4 (same patient)": ("C2", "C3", "C4"), "B4 (another patient)": ("B4",)}
_STAINS = ("haematoxylin", "eosin")


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("pathways", __doc__ or "")
    add_data(parser, "her2st/ and tcga/")
    parser.add_argument("--gene-sets", type=Path, help="a GMT file; default: the project's own")
    parser.add_argument("--out", type=Path, default=Path("results/pathways/figures.json"), help="where the figures go")
    add_docs(parser)
    return parser


def _timed(scorer: PathwayScorer, profiles: Profiles, kind: Any) -> dict[str, Any]:
    # Of the processor, not of the clock: other work may run beside it.
    started = time.process_time()
    scorer.score(profiles.values, profiles.genes, kind)
    return {"profiles": len(profiles.values), "seconds": round(time.process_time() - started, 2)}


def _ridge(train: NDArray[Any], target: NDArray[Any], test: NDArray[Any]) -> NDArray[Any]:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 25))).fit(train, target).predict(test)


def _correlation(predicted: NDArray[Any], real: NDArray[Any]) -> dict[str, float]:
    rng = np.random.default_rng(0)
    rows = rng.integers(len(real), size=(_RESAMPLES, len(real)))
    low, high = np.percentile([np.corrcoef(predicted[some], real[some])[0, 1] for some in rows], [2.5, 97.5])
    return {"r": float(np.corrcoef(predicted, real)[0, 1]), "low": float(low), "high": float(high)}


def _of_the_picture(sections: dict[str, Section], scorer: PathwayScorer, codec: RnaCodec) -> list[dict[str, Any]]:
    """How well ridge regression on components, scores and both predicts the stains of the held-out section."""
    inputs: dict[str, dict[str, NDArray[Any]]] = {"components": {}, "scores": {}}
    for name, section in sections.items():
        values, genes = section.profiles.values, section.profiles.genes
        inputs["components"][name] = codec.encode(values, genes, "spot")
        inputs["scores"][name] = scorer.score(values, genes, "spot").values
    inputs["both"] = {name: np.concatenate([inputs[part][name] for part in inputs], 1) for name in sections}
    rows = []
    for split, train in _SPLITS.items():
        for column, stain in enumerate(_STAINS):
            target = np.concatenate([sections[name].stains[:, column] for name in train])
            row: dict[str, Any] = {"train": split, "stain": stain}
            for part, of in inputs.items():
                predicted = _ridge(np.concatenate([of[name] for name in train]), target, of[HELD_OUT_SECTION])
                row[part] = _correlation(predicted, sections[HELD_OUT_SECTION].stains[:, column])
            rows.append(row)
    return rows


def _with_missing_genes(scorer: PathwayScorer, profiles: Profiles) -> list[dict[str, Any]]:
    """Scores when only a random share of the file's genes is there, against those of the whole file."""
    rng, rows = np.random.default_rng(0), []
    whole = scorer.score(profiles.values, profiles.genes, "spot")
    for share in _SHARES:
        kept = sorted(rng.choice(len(profiles.genes), int(share * len(profiles.genes)), replace=False))
        linear = np.expm1(profiles.values[:, kept])
        values = np.log1p(1e4 * linear / np.maximum(linear.sum(1, keepdims=True), 1e-9))
        part = scorer.score(values, [profiles.genes[column] for column in kept], "spot")
        columns = np.flatnonzero(part.scored & whole.scored)
        agree = [np.corrcoef(part.values[:, column], whole.values[:, column])[0, 1] for column in columns]
        shift = np.abs((part.values - whole.values)[:, columns].mean(0)).mean()
        scored = int(part.scored.sum())
        rows.append({"share": share, "scored": scored, "r": float(np.median(agree)), "shift": float(shift)})
    return rows


def measure(data: Path, gmt: Path) -> dict[str, Any]:
    """All figures, as plain values."""
    gene_sets = read_gmt(gmt)
    spots, bulk = training_spots(data / "her2st"), patients(data / "tcga", training=True)
    scorer, codec = fitted(gene_sets, spots, bulk)
    names = (*(name for train in _SPLITS.values() for name in train), HELD_OUT_SECTION)
    sections = {name: read_section(data / "her2st", name) for name in names}
    held_out = sections[HELD_OUT_SECTION].profiles
    thousand = Profiles(spots.values[:1000], spots.genes)
    return {
        "gene_sets": len(gene_sets),
        "genes": {kind: len(reference.genes) for kind, reference in scorer.references.items()},
        "scored": {
            "spot": int(scorer.score(spots.values[:1], spots.genes, "spot").scored.sum()),
            "bulk": int(scorer.score(bulk.values[:1], bulk.genes, "bulk").scored.sum()),
        },
        "times": {
            f"section {HELD_OUT_SECTION}": _timed(scorer, held_out, "spot"),
            "spots": _timed(scorer, thousand, "spot"),
            "TCGA patients": _timed(scorer, patients(data / "tcga", training=False), "bulk"),
        },
        "picture": _of_the_picture(sections, scorer, codec),
        "missing": _with_missing_genes(scorer, held_out),
    }


def _cell(row: dict[str, float]) -> str:
    return with_interval(row["r"], (row["low"], row["high"]))


def as_markdown(figures: dict[str, Any]) -> str:
    """The figures as tables."""
    scored, genes = figures["scored"], figures["genes"]
    times = [(what, f"{row['profiles']:,}", f"{row['seconds']:.1f}") for what, row in figures["times"].items()]
    of_picture = [
        (row["train"], row["stain"], *(_cell(row[part]) for part in ("components", "scores", "both")))
        for row in figures["picture"]
    ]
    missing = [
        (f"{row['share']:.0%}", row["scored"], f"{row['r']:.2f}", f"{row['shift']:.2f}") for row in figures["missing"]
    ]
    shift = "mean shift (standard deviations)"
    parts = (
        f"Of {figures['gene_sets']} sets, {scored['spot']} are scored for spots (over {genes['spot']:,} genes) and "
        f"{scored['bulk']} for bulk profiles (over {genes['bulk']:,}).",
        table(("on one core", "profiles", "CPU seconds"), times),
        f"Stain density around the spots of {HELD_OUT_SECTION} by ridge regression, correlation (95 % interval over "
        "spots):",
        table(("trained on", "stain", "64 components", "scores", "both"), of_picture),
        f"Scores of {HELD_OUT_SECTION} when a random part of the file's genes is there, against those of the whole:",
        table(("genes there", "sets scored", "correlation over spots (median of sets)", shift), missing),
    )
    return "\n\n".join(parts)


def run(options: argparse.Namespace) -> None:
    """Measure, write the figures, print them.

    Raises
    ------
    MupdError
        If the data, the gene sets or the marks of the page do not exist.
    """
    figures = measure(options.data, options.gene_sets or default_gmt())
    write_json(options.out, figures)
    text = as_markdown(figures)
    if options.docs is not None:
        fill(options.docs, {(_BEGIN, _END): text})
    print(json.dumps(figures["times"]), file=sys.stderr)
    print(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return exit_code_of(run, _parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
