"""``python -m tests.hostile [--table] [--write DOCUMENT]``: what intake says of each hostile input, in Markdown."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fixtures.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY))

from benchmarks.pages import fill
from mupd.stages.intake import status_rows
from tests.hostile.corpus import make_corpus

START, END = "<!-- hostile inputs: begin -->", "<!-- hostile inputs: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="Print the table; else only what is not as it must be.")
    parser.add_argument("--write", type=Path, help="document in which the table stands between marks")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        corpus = make_corpus(Path(name) / "corpus")
        cases = status_rows(corpus.config)
    faults = corpus.faults(cases)
    if wanted.table or wanted.write:
        lines = ["| input | kind | status | reason |", "| --- | --- | --- | --- |"]
        for case in cases:
            if item := corpus.items.get(case.case_id):
                entry = case.entries[item.modality]
                lines.append(f"| {item.what} | {item.modality} | {entry.status} | {entry.reason.replace('|', '/')} |")
        counts = Counter(
            case.entries[corpus.items[case.case_id].modality].status for case in cases if case.case_id in corpus.items
        )
        total = ", ".join(f"{number} {status}" for status, number in counts.items())
        table = "\n".join([*lines, "", f"{len(corpus.items)} inputs: {total}"])
        print(table)
        if wanted.write:
            fill(wanted.write, {(START, END): table})
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
