"""The command line: fast, thin, and plain about what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mupd import __version__
from tests.fixtures import processes
from tests.fixtures.processes import Done
from tests.fixtures.tiny_model import write_tiny_cohort

STAGES = ("intake", "generate", "check", "export")
SHEET_FAULTS = "case_id\the\tcolour\nA\tx.png\tred\n"


def mupd(*arguments: str | Path, cwd: Path | None = None) -> Done:
    return processes.mupd(*arguments, cwd=cwd, COLUMNS="160", NO_COLOR="1", TERM="dumb")


def files_of(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    cases = {"whole": "he+rna+text", "half": "rna!+text", "none": "text!"}
    return write_tiny_cohort(folder, tiny_model, cases, shards=2, outdir=str(folder / "results"))


def after(code: str, *modules: str) -> str:
    """What Python code prints, and at the end which of the modules it has loaded."""
    code += f"\nimport sys\nprint('LOADED', sorted({set(modules)!r} & set(sys.modules)))"
    return processes.python("-c", code).stdout


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    code = "import contextlib\nfrom mupd.cli import app\nwith contextlib.suppress(SystemExit): app(['--help'])"
    printed = after(code, "torch", "numpy", "pandas", "anndata", "wsidicom", "pydicom", "snakemake", "diffusers")
    assert "LOADED []" in printed
    for command in (*STAGES, "cohort", "status", "verify", "train"):
        assert f" {command} " in printed


def test_parsing_the_workflow_loads_nothing_heavy() -> None:
    code = (
        "import mupd.config, mupd.errors, mupd.base.files, mupd.base.ids, mupd.run.locks, mupd.sheet, mupd.run.shards"
    )
    printed = after(code, "torch", "numpy", "pandas", "anndata", "wsidicom", "pydicom", "rich", "typer")
    assert printed.strip() == "LOADED []"


def test_version() -> None:
    done = mupd("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"mupd {__version__}")


def test_status_shows_all_and_writes_nothing(cohort: Path) -> None:
    before = files_of(cohort.parent)
    done = mupd("status", "--configfile", cohort)
    assert done.returncode == 0, done.stderr
    for words in ("whole", "complete", "half", "unusable", "not human", "text->he", "text->rna", "3 cases"):
        assert words in done.stdout, done.stdout
    as_json = mupd("status", "--configfile", cohort, "--json")
    assert as_json.returncode == 0, as_json.stderr
    cases = json.loads(as_json.stdout)["cases"]
    assert [case["case_id"] for case in cases] == ["whole", "half", "none"]
    assert cases[2]["entries"]["text"]["status"] == "unusable"
    assert files_of(cohort.parent) == before


@pytest.mark.parametrize("command", ["status", *STAGES, "cohort"])
def test_a_configuration_with_faults_ends_with_two(tmp_path: Path, command: str) -> None:
    (tmp_path / "my.yaml").write_text("cases: c.tsv\ncolour: red\nslide: {mpp: 99}\n")
    shard = ["--shard", "0"] if command in STAGES else []
    done = mupd(command, "--configfile", tmp_path / "my.yaml", *shard, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    for words in ("2 faults", "'colour'", "[slide.mpp]: found 99"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["my.yaml"]


def test_a_sheet_with_faults_ends_with_two(tmp_path: Path, tiny_model: Path) -> None:
    configfile = write_tiny_cohort(tmp_path / "in", tiny_model, {"A": "text"})
    (tmp_path / "in" / "cases.tsv").write_text(SHEET_FAULTS)
    before = files_of(tmp_path)
    for arguments in (["status"], ["intake", "--shard", "0"]):
        done = mupd(*arguments, "--configfile", configfile, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert "unknown column 'colour'" in done.stderr
        assert "Traceback" not in done.stderr
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("command", STAGES)
def test_a_shard_that_is_not_there(cohort: Path, command: str) -> None:
    before = files_of(cohort.parent)
    done = mupd(command, "--configfile", cohort, "--shard", "2")
    assert done.returncode == 2, done.stderr
    assert "--shard: found 2; expected 0 to 1" in done.stderr
    assert mupd(command, "--configfile", cohort, "--shard", "-1").returncode == 2
    assert files_of(cohort.parent) == before


@pytest.mark.parametrize("command", ["generate", "check", "export", "cohort"])
def test_a_stage_before_its_turn_says_what_is_missing(cohort: Path, command: str) -> None:
    shard = ["--shard", "0"] if command in STAGES else []
    done = mupd(command, "--configfile", cohort, *shard)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert "mupd intake" in done.stderr or "not there" in done.stderr


def test_a_missing_model_is_named(cohort: Path, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    text = cohort.read_text().replace("mupd-tiny", "no-such-model")
    path.write_text(text)
    done = mupd("status", "--configfile", path)
    assert done.returncode == 1
    assert "no-such-model" in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_commands_and_options() -> None:
    assert mupd("impute").returncode == 2
    assert mupd("status", "--colour").returncode == 2
    assert mupd("generate").returncode == 2
