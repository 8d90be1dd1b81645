"""``python -m benchmarks.model``: measure a model, print each figure beside its baselines."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.command import MODEL, add_docs, exit_code_of, parser_of
from benchmarks.pages import fill
from benchmarks.stats import Metrics

CONFIG = Path("config/train/mupd-mini.yaml")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(
        "model",
        "Measure a trained model on what it was never trained on, print each figure beside its baselines "
        "with bootstrap 95 %% intervals, and write metrics.json and the model card into the model folder. Generated "
        "data are kept in the training's work folder, so that a second run is quick.",
    )
    parser.add_argument(
        "config", type=Path, nargs="?", default=CONFIG, help="training configuration; default %(default)s"
    )
    parser.add_argument("--model", type=Path, help="model folder; default: that of the configuration")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PART", help="measure this part; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="name the parts and stop")
    parser.add_argument("--show", action="store_true", help="print what metrics.json holds, measure nothing")
    add_docs(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Everything; returns the exit status.

    Raises
    ------
    MupdError
        If the model, its configuration or the data are not there, or a part is unknown.
    """
    from benchmarks.model.measure import MEASURES, measure, write_measured_card
    from benchmarks.model.metrics_file import read_metrics
    from benchmarks.model.words import figure_table

    if options.list:
        print("\n".join(MEASURES))
        return 0
    if options.show:
        metrics = read_metrics(options.model or MODEL)
    else:
        import torch

        from mupd.model.pipeline import MuPDPipeline
        from mupd.training.plan import load_plan

        plan = load_plan(options.config)
        plan = replace(plan, out=options.model or plan.out)
        torch.set_num_threads(plan.threads)
        pipeline = MuPDPipeline.from_pretrained(plan.out)
        metrics = measure(plan, pipeline, options.only)
        write_measured_card(plan, pipeline, metrics)
    _print(metrics)
    table = figure_table(metrics)
    if options.docs:
        fill(options.docs, {(BEGIN, END): table})
    return 0


def _print(metrics: Metrics) -> None:
    from rich.console import Console
    from rich.table import Table

    from benchmarks.model.words import figure_cells

    table = Table(show_lines=True)
    for name in ("figure", "model", "95 % interval", "target", "baselines"):
        table.add_column(name)
    for row in figure_cells(metrics):
        table.add_row(*row[:-1])
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def main() -> None:
    """Entry point."""
    sys.exit(exit_code_of(run, _parser().parse_args()))


if __name__ == "__main__":
    main()
