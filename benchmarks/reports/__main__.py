"""``python -m benchmarks.reports``: precision and recall of the record rules on labelled reports, into docs/text.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.pages import fill
from benchmarks.reports.score import LABELS, label_texts, read_labels, scores_of, table_of
from mupd.errors import MupdError

BEGIN, END = "<!-- record: begin -->", "<!-- record: end -->"


def main() -> int:
    """Measure, print, write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reports", description=(__doc__ or "").split("``: ")[1])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/tcga"), help="folder of the TCGA tables")
    parser.add_argument("--labels", type=Path, default=LABELS, help="table of labels")
    parser.add_argument("--docs", type=Path, default=Path("docs/text.md"), help="page with the table")
    options = parser.parse_args()
    try:
        labels = read_labels(options.labels)
        table = table_of(scores_of(labels, label_texts(labels, options.data)), labels)
        print(table)
        fill(options.docs, {(BEGIN, END): table})
    except (MupdError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
