"""Runs the whole workflow on the cohort, as a user would, and reads its manifest."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.command import REPOSITORY
from benchmarks.real_cohort.pattern import Case
from mupd.base.ids import MODALITIES, Modality
from mupd.errors import MupdError

Manifest = dict[tuple[str, str], dict[str, str]]
"""Row by case id and modality."""


def run_workflow(out: Path, config: Path, cores: int) -> None:
    """Run Snakemake in `out`; its messages go on to the terminal.

    Raises
    ------
    MupdError
        If it fails; the logs of the rules are in ``results/logs``.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--workflow-profile", str(REPOSITORY / "workflow" / "profiles" / "default")]
    command += ["--directory", str(out), "--configfile", str(config), "--cores", str(cores)]
    # The package is found wherever the run's folder is, installed or not.
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    code = subprocess.run(command, env=environment, check=False).returncode
    if code != 0:
        raise MupdError(f"the workflow failed with exit code {code}; the rules' logs are in {out / 'results' / 'logs'}")


def expected_status(case: Case, modality: Modality) -> str:
    """What intake has to say of a modality of a case."""
    if modality in case.unusable:
        return "unusable"
    return "measured" if modality in case.given else "missing"


def read_manifest(out: Path, cases: list[Case]) -> Manifest:
    """Rows of results/manifest.tsv.

    Raises
    ------
    MupdError
        If a row is not there, a given modality was not taken as measured (or, where it has to be refused, as
        unusable), or a withheld one was.
    """
    path = out / "results" / "manifest.tsv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = {(row["case_id"], row["modality"]): row for row in csv.DictReader(stream, delimiter="\t")}
    faults = []
    for case in cases:
        for modality in MODALITIES:
            row = rows.get((case.case_id, modality))
            if row is None:
                faults.append(f"{case.case_id} {modality}: found no row")
            elif row["status"] != (wanted := expected_status(case, modality)):
                faults.append(f"{case.case_id} {modality}: found {row['status']} ({row['reason']}); expected {wanted}")
    if faults:
        raise MupdError(f"{path.name}: " + "; ".join(faults))
    return rows


def failures(manifest: Manifest, cases: list[Case]) -> list[str]:
    """Tasks that failed, with why. A rejected draw is a result and no failure, nor is a case with nothing usable."""
    idle = {case.case_id for case in cases if not case.used}
    return [
        f"{case} {m}: {row['why']}"
        for (case, m), row in manifest.items()
        if row["verdict"] == "failed" and case not in idle
    ]
