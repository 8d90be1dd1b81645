"""``python -m benchmarks.rna_text``: records from RNA, RNA from reports, both together, on held-out patients."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.command import add_docs, add_model, exit_code_of, parser_of


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(
        "rna_text",
        "Measure on the held-out tenth of the TCGA patients: fields of the record from RNA, from the "
        "report without what it states of them, and from both; RNA from the report. Each beside simpler predictors, "
        "with bootstrap 95 %% intervals. Embeddings and draws are kept in the training's work folder.",
    )
    add_model(parser)
    parser.add_argument("--config", type=Path, help="its training configuration; default config/train/NAME.yaml")
    add_docs(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Everything; returns the exit status.

    Raises
    ------
    MupdError
        If the model, its configuration or the data are not there.
    """
    import torch

    from benchmarks.model.bench import Bench
    from benchmarks.model.metrics_file import read_metrics, still_true
    from benchmarks.pages import fill
    from benchmarks.rna_text.fields import both_rows, rna_rows
    from benchmarks.rna_text.profiles import profile_rows
    from benchmarks.rna_text.table import BEGIN, END, page
    from mupd.model.pipeline import MuPDPipeline
    from mupd.training.plan import load_plan

    pipeline = MuPDPipeline.from_pretrained(options.model)
    plan = load_plan(options.config or Path("config/train") / f"{pipeline.model_id}.yaml")
    bench = Bench(replace(plan, out=options.model), pipeline)
    torch.set_num_threads(plan.threads)
    tables = rna_rows(bench), both_rows(bench), profile_rows(bench)
    model = f"{pipeline.model_id}, SHA-256 {pipeline.sha256[:12]}"
    text = page(*tables, still_true(options.model, read_metrics(options.model)), model)
    print(text)
    if options.docs:
        fill(options.docs, {(BEGIN, END): text})
    return 0


def main() -> None:
    """Entry point."""
    sys.exit(exit_code_of(run, _parser().parse_args()))


if __name__ == "__main__":
    main()
