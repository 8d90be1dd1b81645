"""``python -m benchmarks.reports``: precision and recall of the record rules on labelled reports, into docs/text.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.command import DATA, exit_code_of, parser_of
from benchmarks.pages import fill
from benchmarks.reports.score import LABELS, label_texts, read_labels, scores_of, table_of

BEGIN, END = "<!-- record: begin -->", "<!-- record: end -->"


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("reports", (__doc__ or "").split("``: ")[1])
    parser.add_argument("--data", type=Path, default=DATA / "tcga", help="folder of the TCGA tables")
    parser.add_argument("--labels", type=Path, default=LABELS, help="table of labels")
    parser.add_argument("--docs", type=Path, default=Path("docs/text.md"), help="page with the table")
    return parser


def run(options: argparse.Namespace) -> None:
    """Measure, print, and write the table into its page."""
    labels = read_labels(options.labels)
    table = table_of(scores_of(labels, label_texts(labels, options.data)), labels)
    print(table)
    fill(options.docs, {(BEGIN, END): table})


def main() -> None:
    """Entry point."""
    sys.exit(exit_code_of(run, _parser().parse_args()))


if __name__ == "__main__":
    main()
