"""``python -m benchmarks.quality``: measure a model, print each figure beside its baselines."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.pages import fill
from mupd.errors import MupdError
from mupd.training.measure.stats import Metrics

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description="Measure a trained model on what it was never trained on, print each figure beside its baselines "
        "with bootstrap 95 %% intervals, and write metrics.json into the model folder, as `mupd train --part metrics` "
        "does. What was generated is kept in the training's work folder: a second run is quick.",
    )
    parser.add_argument("--model", type=Path, default=Path("resources/models/mupd-mini"), help="model folder")
    parser.add_argument("--config", type=Path, help="its training configuration; default config/train/NAME.yaml")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PART", help="measure this part; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="name the parts and stop")
    parser.add_argument("--show", action="store_true", help="print what metrics.json holds, measure nothing")
    parser.add_argument("--docs", type=Path, help="put the table between its marks in this page")
    return parser


def run(options: argparse.Namespace) -> int:
    """Everything; returns the exit status.

    Raises
    ------
    MupdError
        If the model, its configuration or the data are not there, or a part is unknown.
    """
    from mupd.training.card_figures import figure_table
    from mupd.training.measure.parts import read_metrics
    from mupd.training.measure.run import MEASURES, measure, write_measured_card

    if options.list:
        print("\n".join(MEASURES))
        return 0
    if options.show:
        metrics = read_metrics(options.model)
    else:
        import torch

        from mupd.model.pipeline import MuPDPipeline
        from mupd.training.plan import load_plan

        pipeline = MuPDPipeline.from_pretrained(options.model)
        plan = load_plan(options.config or Path("config/train") / f"{pipeline.model_id}.yaml")
        plan = replace(plan, out=options.model)
        torch.set_num_threads(plan.threads)
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

    from mupd.training.card_figures import figure_cells

    table = Table(show_lines=True)
    for name in ("figure", "model", "95 % interval", "target", "baselines"):
        table.add_column(name)
    for row in figure_cells(metrics):
        table.add_row(*row[:-1])
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def main() -> None:
    """Entry point."""
    try:
        sys.exit(run(_parser().parse_args()))
    except MupdError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
