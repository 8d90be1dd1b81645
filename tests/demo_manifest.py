"""Checks the manifest that `make demo` leaves: ``python -m tests.demo_manifest results/manifest.tsv``."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

MODALITIES = ("he", "rna", "text")


@dataclass(frozen=True)
class Expected:
    """What a row has to say; `reason` and `why` hold words that must occur in those columns."""

    status: str
    synthetic: str
    verdict: str
    task: str = ""
    reason: str = ""
    why: str = ""


LET_IN = Expected("measured", "yes", "", reason="let in by intake.allow_synthetic")
MEASURED = Expected("measured", "no", "")


def imputed(task: str, status: str = "missing", reason: str = "") -> Expected:
    """A row whose artifact was generated and accepted."""
    return Expected(status, "yes", "accepted", task, reason)


def failed(status: str, reason: str) -> Expected:
    """A row of a case without anything to condition on."""
    return Expected(status, "no", "failed", "", reason, "nothing to condition on")


NO_FILE = "no file in the sample sheet"
NO_ROW = "no row in the cohort table"

EXPECTED: dict[str, tuple[Expected, Expected, Expected]] = {
    "EX-01": (LET_IN, LET_IN, MEASURED),
    "EX-02": (imputed("rna+text->he", reason=NO_FILE), LET_IN, MEASURED),
    "EX-03": (LET_IN, imputed("he+text->rna", reason=NO_ROW), MEASURED),
    "EX-04": (LET_IN, LET_IN, imputed("he+rna->text", reason=NO_FILE)),
    "EX-05": (imputed("text->he"), imputed("text->rna"), MEASURED),
    "EX-06": (imputed("rna->he"), LET_IN, imputed("rna->text")),
    "EX-07": (
        LET_IN,
        imputed("he->rna", "unusable", "no gene in common with the model"),
        imputed("he->text", "unusable", "the text is empty"),
    ),
    "EX-08": (failed("unusable", "truncated"), failed("missing", NO_ROW), failed("missing", NO_FILE)),
}
"""Rows of he, rna and text of each case of config/cases.tsv: 24."""


def _row_faults(where: str, row: dict[str, str], expected: Expected, folder: Path) -> list[str]:
    faults = []
    for column in ("status", "synthetic", "verdict", "task"):
        wanted = getattr(expected, column)
        if row[column] != wanted:
            said = row["reason" if column == "status" else "why"] or "no reason given"
            faults.append(f"{where} [{column}]: found {row[column]!r} ({said}); expected {wanted!r}")
    for column in ("reason", "why"):
        wanted = getattr(expected, column)
        if wanted not in row[column]:
            faults.append(f"{where} [{column}]: found {row[column]!r}; expected it to say {wanted!r}")
    artifacts = [name for name in row["artifact"].split(";") if name]
    if expected.verdict == "accepted":
        if not artifacts:
            faults.append(f"{where} [artifact]: found none; expected at least one")
        if len(row["sha256"].split(";")) != len(artifacts) or not row["sha256"]:
            faults.append(f"{where} [sha256]: found {row['sha256']!r}; expected one for each artifact")
    elif artifacts:
        faults.append(f"{where} [artifact]: found {row['artifact']!r}; expected none")
    if expected.status == "measured" and not row["sha256"]:
        faults.append(f"{where} [sha256]: found none; expected that of the input")
    faults += [f"{where} [artifact]: {name} is not there" for name in artifacts if not (folder / name).exists()]
    return faults


def manifest_faults(path: Path) -> list[str]:
    """Every way in which the demo's manifest is not what it should be; empty if it is right."""
    if not path.is_file():
        return [f"{path}: not there; run `make demo` first"]
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    columns = {"case_id", "modality", "status", "reason", "task", "synthetic", "artifact", "verdict", "why", "sha256"}
    if rows and (absent := columns - set(rows[0])):
        return [f"{path}: found no column {', '.join(sorted(absent))}"]
    faults = []
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        key = (row["case_id"], row["modality"])
        if key in found:
            faults.append(f"{key[0]} {key[1]}: found a second row; expected one")
        found[key] = row
    wanted = {(case, m): row for case, three in EXPECTED.items() for m, row in zip(MODALITIES, three, strict=True)}
    faults += [f"{case} {modality}: found no row" for case, modality in wanted if (case, modality) not in found]
    faults += [f"{case} {modality}: found a row that no case should have" for case, modality in found.keys() - wanted]
    for (case, modality), expected in wanted.items():
        if (case, modality) in found:
            faults += _row_faults(f"{case} {modality}", found[case, modality], expected, path.parent)
    return faults


def main(arguments: list[str]) -> int:
    """Print every fault; 0 if there is none, 1 if there are, 2 for wrong usage."""
    if len(arguments) != 1:
        print("usage: python -m tests.demo_manifest results/manifest.tsv", file=sys.stderr)
        return 2
    faults = manifest_faults(Path(arguments[0]))
    if faults:
        print(f"{arguments[0]}: {len(faults)} faults", *faults, sep="\n  ", file=sys.stderr)
        return 1
    print(f"{arguments[0]}: all {3 * len(EXPECTED)} rows are as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
