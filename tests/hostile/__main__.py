"""``python -m tests.hostile --table``: what intake says of each hostile input, as a table in Markdown."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hostile.corpus import make_corpus
from mupd.intake import status_rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="Print the table; else only what is not as it must be.")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        corpus = make_corpus(Path(name) / "corpus")
        cases = status_rows(corpus.config)
    faults = corpus.faults(cases)
    if wanted.table:
        print("| input | kind | status | reason |\n| --- | --- | --- | --- |")
        for case in cases:
            if item := corpus.items.get(case.case_id):
                entry = case.entries[item.modality]
                print(f"| {item.what} | {item.modality} | {entry.status} | {entry.reason.replace('|', '/')} |")
        counts = Counter(
            case.entries[corpus.items[case.case_id].modality].status for case in cases if case.case_id in corpus.items
        )
        print(f"\n{len(corpus.items)} inputs: " + ", ".join(f"{number} {status}" for status, number in counts.items()))
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
