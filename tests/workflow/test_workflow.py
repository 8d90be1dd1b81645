"""The whole workflow, run by Snakemake as a user runs it, on a small cohort and the tiny model."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml

from mupd.base.ids import shard_of
from mupd.contracts.inventory import NOTHING_GIVEN
from tests.fixtures.processes import mupd, snakemake, snakemake_command
from tests.fixtures.tiny_model import write_inputs, write_tiny_cohort

SHARDS = 2
CASES = {
    "complete": "he+rna+text",
    "no-he": "he!+rna+text",
    "no-rna": "he+text",
    "no-text": "he+spots+text!",
    "only-he": "he+rna!",
    "only-rna": "rna",
    "only-text": "text",
    "nothing": "",
}
LATE = "late-1"


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "results" / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def contents(folder: Path) -> dict[str, dict[str, str]]:
    """Hash of the values of each draw, by artifact."""
    hashes = {}
    for path in sorted((folder / "results" / "exported").glob("*.json")):
        for artifact in json.loads(path.read_text(encoding="utf-8"))["artifacts"]:
            hashes[artifact["path"]] = artifact["content_sha256"]
    return hashes


def modified(folder: Path) -> dict[str, int]:
    """Modification time of every file of the results, in nanoseconds."""
    files = (path for path in (folder / "results").rglob("*") if path.is_file())
    return {path.relative_to(folder / "results").as_posix(): path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The configuration of a cohort with every pattern of holes; some are unusable inputs."""
    return write_tiny_cohort(tmp_path_factory.mktemp("cohort"), tiny_model, CASES, shards=SHARDS)


@pytest.fixture(scope="module")
def finished(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unbroken run."""
    folder = tmp_path_factory.mktemp("unbroken")
    done = snakemake(cohort, folder)
    assert done.returncode == 0, done.stdout
    return folder


def test_every_pattern_is_completed(finished: Path) -> None:
    rows = manifest(finished)
    assert [(row["case_id"], row["modality"]) for row in rows] == [
        (case, modality) for case in CASES for modality in ("he", "rna", "text")
    ]
    statuses = {case: [row["status"] for row in rows if row["case_id"] == case] for case in CASES}
    assert statuses == {
        "complete": ["measured", "measured", "measured"],
        "no-he": ["unusable", "measured", "measured"],
        "no-rna": ["measured", "missing", "measured"],
        "no-text": ["measured", "measured", "unusable"],
        "only-he": ["measured", "unusable", "missing"],
        "only-rna": ["missing", "measured", "missing"],
        "only-text": ["missing", "missing", "measured"],
        "nothing": ["missing", "missing", "missing"],
    }
    for row in rows:
        if row["status"] == "measured":
            assert (row["synthetic"], row["task"], row["artifact"]) == ("no", "", ""), row
            assert len(row["sha256"]) == 64, row
        elif row["case_id"] == "nothing":
            assert (row["synthetic"], row["verdict"], row["why"]) == ("no", "failed", NOTHING_GIVEN), row
        else:
            assert (row["synthetic"], row["verdict"]) == ("yes", "accepted"), row
            assert (finished / "results" / row["artifact"]).exists(), row
            assert row["model_id"] == "mupd-tiny-test"
    tasks = {row["task"] for row in rows} - {""}
    assert tasks == {
        "rna+text->he",
        "he+text->rna",
        "he+rna->text",
        "he->rna",
        "he->text",
        "rna->he",
        "rna->text",
        "text->he",
        "text->rna",
    }
    for name in ("report.html", "cohort/cohort.h5mu", "config.json", "data_card.md", "provenance/Snakefile"):
        assert (finished / "results" / name).stat().st_size > 0
    assert list((finished / "results" / "logs").rglob("*.log"))


def test_the_crate_names_the_engine_and_when_each_job_ran(finished: Path) -> None:
    crate = json.loads((finished / "results" / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    graph = {entity["@id"]: entity for entity in crate["@graph"]}
    assert graph["#engine"]["name"] == "Snakemake"
    actions = [entity for entity in graph.values() if entity["@type"] == "CreateAction"]
    assert len(actions) == 4 * SHARDS + 2
    for action in actions:
        assert "2020" < action["startTime"] <= action["endTime"], action
    # Neither the inputs nor the folder of the run are named.
    assert str(finished) not in json.dumps(crate)


def test_a_second_run_does_nothing(cohort: Path, finished: Path) -> None:
    before = modified(finished)
    again = snakemake(cohort, finished)
    assert again.returncode == 0, again.stdout
    assert "Nothing to be done" in again.stdout
    assert modified(finished) == before


@pytest.mark.parametrize(
    ("changed", "due"),
    [
        ({"seed": 2}, {"generate": SHARDS, "check": SHARDS, "export": SHARDS, "cohort": 1}),
        ({"report": {"title": "another"}}, {"cohort": 1}),
        ({"on_case_error": "stop"}, {}),
    ],
    ids=["seed", "report", "on_case_error"],
)
def test_a_changed_key_reruns_what_depends_on_it(
    cohort: Path, finished: Path, tmp_path: Path, changed: dict[str, object], due: dict[str, int]
) -> None:
    configfile = tmp_path / "changed.yaml"
    values = yaml.safe_load(cohort.read_text(encoding="utf-8")) | changed
    configfile.write_text(yaml.safe_dump(values), encoding="utf-8")
    before = modified(finished)
    done = snakemake(configfile, finished, "--dry-run")
    assert done.returncode == 0, done.stdout
    stages = ("intake", "generate", "check", "export", "cohort")
    jobs = {stage: len(re.findall(rf"^(?:local)?rule {stage}:", done.stdout, re.MULTILINE)) for stage in stages}
    assert {stage: count for stage, count in jobs.items() if count} == due, done.stdout
    assert modified(finished) == before


@pytest.fixture
def killed(cohort: Path, tmp_path: Path) -> tuple[Path, dict[str, int]]:
    """A folder whose run was killed, all its processes at once, as soon as the first draw was kept."""
    folder = tmp_path / "killed"
    folder.mkdir()
    store = folder / "results" / "generated" / "store"
    process = subprocess.Popen(
        snakemake_command(cohort, folder),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 300
        while not list(store.glob("*/[0-9a-f]*/meta.json")):
            assert process.poll() is None, "the run ended before its first draw"
            assert time.monotonic() < deadline, "no draw in five minutes"
            time.sleep(0.01)
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive, "a job outlived its run: nothing was killed half-way"
    return folder, {path.parent.name: path.stat().st_mtime_ns for path in store.glob("*/[0-9a-f]*/meta.json")}


def test_a_killed_run_goes_on_and_ends_the_same(
    cohort: Path, finished: Path, killed: tuple[Path, dict[str, int]]
) -> None:
    folder, kept = killed
    assert not (folder / "results" / "manifest.tsv").exists()
    assert list((folder / ".snakemake" / "locks").glob("*.lock")), "the killed run left no lock: nothing is tested"
    assert len(kept) < sum(len(draws) for draws in contents(finished).values())
    done = snakemake(cohort, folder)
    assert done.returncode == 0, done.stdout
    assert contents(folder) == contents(finished)
    ignored = {"sha256", "further_sha256"}  # of files, which say when they were made
    measured = [row | dict.fromkeys(ignored, "") for row in manifest(folder)]
    assert measured == [row | dict.fromkeys(ignored, "") for row in manifest(finished)]
    store = folder / "results" / "generated" / "store"
    now = {path.parent.name: path.stat().st_mtime_ns for path in store.glob("*/[0-9a-f]*/meta.json")}
    assert {key: now[key] for key in kept} == kept, "draws of the killed run were made a second time"
    assert not [path for path in store.rglob(".tmp-*")], "the killed run's half-made draws lie about"


def test_one_more_case_reruns_its_own_shard_alone(cohort: Path, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grown"
    shutil.copytree(finished, folder)
    inputs = cohort.parent
    row = write_inputs(inputs, LATE, "text", 3)
    sheet = tmp_path / "grown.tsv"
    lines = (inputs / "cases.tsv").read_text(encoding="utf-8").splitlines()
    cells = [line.split("\t") for line in [*lines[1:], "\t".join(row.values())]]
    absolute = [[case, *(str(inputs / name) if name else "" for name in files), mpp] for case, *files, mpp in cells]
    sheet.write_text("\n".join([lines[0], *("\t".join(line) for line in absolute)]) + "\n", encoding="utf-8")
    values = yaml.safe_load(cohort.read_text(encoding="utf-8")) | {"cases": str(sheet)}
    configfile = tmp_path / "grown.yaml"
    configfile.write_text(yaml.safe_dump(values), encoding="utf-8")
    before = modified(folder)
    done = snakemake(configfile, folder)
    assert done.returncode == 0, done.stdout
    after = modified(folder)
    own, other = shard_of(LATE, SHARDS), 1 - shard_of(LATE, SHARDS)
    for stage in ("intake/shard-{:04d}.parquet", "generated/shard-{:04d}.json", "exported/shard-{:04d}.json"):
        assert after[stage.format(other)] == before[stage.format(other)], stage
        assert after[stage.format(own)] > before[stage.format(own)], stage
    kept = {name: stamp for name, stamp in before.items() if name.startswith("generated/store")}
    assert {name: after[name] for name in kept} == kept
    assert [row["status"] for row in manifest(folder) if row["case_id"] == LATE] == ["missing", "missing", "measured"]
    assert len(manifest(folder)) == 3 * (len(CASES) + 1)
    assert contents(finished).items() <= contents(folder).items()


BAD_SHEET = "case_id\the\trna\ttext\n\tgone.png\t\t\nA\tgone.svs\t\t\nA\t\tgone.tsv\t\n"


def test_a_bad_sheet_ends_with_all_faults_and_writes_nothing(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tsv").write_text(BAD_SHEET, encoding="utf-8")
    values = yaml.safe_load(cohort.read_text(encoding="utf-8")) | {"cases": str(tmp_path / "bad.tsv")}
    configfile = tmp_path / "bad.yaml"
    configfile.write_text(yaml.safe_dump(values), encoding="utf-8")
    folder = tmp_path / "run"
    done = snakemake(configfile, folder)
    assert done.returncode == 2, done.stdout
    for words in ("bad.tsv:2", "bad.tsv:3", "gone.svs", "bad.tsv:4", "gone.tsv"):
        assert words in done.stdout, done.stdout
    assert "Traceback" not in done.stdout
    log = folder / ".snakemake" / "log"  # what Snakemake itself said, and nothing else
    assert [path for path in folder.rglob("*") if path.is_file() and path.parent != log] == []
    before = list(folder.rglob("*"))
    status = mupd("status", "--configfile", configfile, cwd=folder)
    assert status.returncode == 2, status.stderr
    for words in ("bad.tsv:2", "gone.svs", "gone.tsv"):
        assert words in status.stderr
    assert list(folder.rglob("*")) == before
