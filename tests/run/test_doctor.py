"""`mupd doctor`: each check finds what it is for, and says what mends it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mupd.cli import app
from mupd.config import load_config, parse_config
from mupd.errors import InputFaults, ModelError
from mupd.run.doctor.cluster import Asked, asked_faults, check_slurm, minutes_of, parse_sinfo
from mupd.run.doctor.finding import Finding, exit_code
from mupd.run.doctor.model import check_licence, check_weights, licence_of, read_header
from mupd.run.doctor.places import check_seen, check_space, check_writable, mount_of
from mupd.run.doctor.profile import check_keys, check_plugin, profile_file
from mupd.run.doctor.run import examine
from mupd.run.doctor.software import check_codecs, check_python, check_torch
from mupd.run.doctor.submission import refuse_impossible
from mupd.sheet import read_sheet
from tests.fixtures.tiny_model import write_tiny_cohort

SINFO = """\
cpu*|up|1-00:00:00|32|128000|(null)
gpu|up|12:00:00|16|64000|gpu:a100:4(S:0-1)
gpu|up|12:00:00|64+|256000+|gpu:v100:2,shard:8
old|down|infinite|8|16000|gpu:1
"""
MOUNTS = "/dev/sda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\nserver:/x /proj nfs4 rw 0 0\n/dev/sdb /pro ext4 rw 0 0\n"


def of(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if name in finding.name)


def test_partitions_are_joined_over_their_kinds_of_node() -> None:
    found = parse_sinfo(SINFO + "garbage\n")
    assert set(found) == {"cpu", "gpu", "old"}
    assert found["cpu"].default
    assert (found["gpu"].gpus, found["gpu"].gpu_models) == (4, {"a100", "v100"})
    assert (found["gpu"].mem_mb, found["gpu"].cpus, found["gpu"].minutes) == (256000, 64, 720)
    assert (found["old"].gpus, found["old"].minutes, found["old"].up) == (1, None, False)


@given(st.integers(0, 30), st.integers(0, 23), st.integers(0, 59))
def test_a_time_limit_is_read_as_slurm_writes_it(days: int, hours: int, minutes: int) -> None:
    total = (days * 24 + hours) * 60 + minutes
    assert minutes_of(f"{days}-{hours:02d}:{minutes:02d}:00") == total
    assert minutes_of(f"{days * 24 + hours}:{minutes:02d}:00") == total
    assert minutes_of(f"{minutes}") == minutes


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked("generate", "gpux", 1, 1, 1), "no partition 'gpux'"),
        (Asked("generate", "cpu", 1, 1, 1), "no GPU in its gres"),
        (Asked("generate", "gpu", 1, 1, 8), "8 GPUs"),
        (Asked("generate", "gpu", 1, 1, 1, 1, "h100"), "no GPU 'h100'"),
        (Asked("intake", None, 200_000, 1, 0), "200,000 MB"),
        (Asked("intake", None, 1, 2000, 0), "2000 minutes"),
        (Asked("intake", None, 1, 1, 0, 99), "99 CPUs"),
        (Asked("check", "old", 1, 1, 0), "is down"),
    ],
)
def test_what_a_partition_has_not_is_said_with_its_fix(asked: Asked, words: str) -> None:
    faults = asked_faults(asked, parse_sinfo(SINFO))
    assert [words in found for found, _ in faults] == [True]
    assert all(fix for _, fix in faults)


def test_what_a_partition_has_is_no_fault() -> None:
    assert asked_faults(Asked("generate", "gpu", 64000, 700, 1, 2, "a100"), parse_sinfo(SINFO)) == []


def _programs(folder: Path, monkeypatch: pytest.MonkeyPatch, sinfo: str) -> None:
    folder.mkdir()
    (folder / "sinfo.txt").write_text(SINFO)
    for name in ("sbatch", "squeue", "scancel", "scontrol", "sinfo"):
        body = sinfo if name == "sinfo" else "echo 'AccountingStorageType   = accounting_storage/none'"
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_slurm_is_asked_and_its_lack_of_accounting_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _programs(tmp_path / "bin", monkeypatch, f"cat {tmp_path}/bin/sinfo.txt")
    found = check_slurm([Asked("generate", "nowhere", 1, 1, 1), Asked("check", "cpu", 1, 1, 0)], wanted=True)
    assert of(found, "jobs of generate").state == "FAIL"
    assert "cpu, gpu, old" in of(found, "jobs of generate").fix
    assert of(found, "jobs of check").state == "PASS"
    assert "squeue" in of(found, "accounting").fix


def test_a_run_is_refused_for_what_its_jobs_cannot_get(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snakemake.resources import Resources
    from snakemake.settings.types import ResourceSettings

    def settings(**generate: str | int) -> ResourceSettings:
        default = Resources.from_mapping({"slurm_partition": "cpu"})
        return ResourceSettings(
            default_resources=default, overwrite_resources={"generate": Resources.from_mapping(generate)}
        )

    config = load_config(write_tiny_cohort(tmp_path / "c", tiny_model, {"a": "text"}))
    sheet = read_sheet(config)
    _programs(tmp_path / "bin", monkeypatch, f"cat {tmp_path}/bin/sinfo.txt")
    refuse_impossible(settings(slurm_partition="gpu", gpu=1), sheet, config, {})
    refuse_impossible(settings(slurm_partition="old", gpu=1), sheet, config, {})  # down: the jobs wait
    with pytest.raises(InputFaults) as caught:
        refuse_impossible(settings(slurm_partition="nowhere", mem_mb=9), sheet, config, {})
    assert [fault.where for fault in caught.value.faults] == ["resources of generate"]
    assert "cpu, gpu, old" in str(caught.value)
    # Rows of a cohort table are there: they do not make a job too long for its partition.
    many = parse_config(config.to_dict() | {"shards": 1, "draws": {"he": 1, "rna": 64, "text": 1}}, "test")
    names = [f"case-{number}" for number in range(300)]
    long = replace(sheet, cases=tuple(replace(sheet.cases[0], case_id=name) for name in names))
    with pytest.raises(InputFaults, match=r"resources of generate.* minutes a job"):
        refuse_impossible(settings(slurm_partition="gpu", gpu=1), long, many, {})
    tabled = replace(many, tables=replace(many.tables, rna="rna.tsv"))
    refuse_impossible(settings(slurm_partition="gpu", gpu=1), long, tabled, {"rna": frozenset(names)})
    (tmp_path / "bin" / "sinfo").write_text("#!/bin/sh\nexit 1\n")
    refuse_impossible(settings(slurm_partition="nowhere"), sheet, config, {})


def test_slurm_that_does_not_answer_matters_where_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _programs(tmp_path / "bin", monkeypatch, "echo 'slurm_load_partitions: Unable to contact' >&2; exit 1")
    assert of(check_slurm([], wanted=True), "partitions").state == "FAIL"
    assert of(check_slurm([], wanted=False), "partitions").state == "SKIP"
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert of(check_slurm([], wanted=True), "commands").state == "FAIL"
    assert of(check_slurm([], wanted=False), "commands").state == "SKIP"


@pytest.mark.parametrize(
    ("path", "point", "state"), [("/proj/models/m", "/proj", "PASS"), ("/tmp/m", "/tmp", "WARN"), ("/opt", "/", "WARN")]
)
def test_a_folder_that_nodes_may_not_see(path: str, point: str, state: str) -> None:
    if path.startswith("/proj") and Path("/proj").exists():
        pytest.skip("this machine has a /proj")
    if not path.startswith("/proj"):
        assert mount_of(Path(path), MOUNTS)[0] == point
        assert check_seen("model", Path(path), MOUNTS).state == state
    else:
        # The folder is not there: the nearest one above it is looked at, which is a local disk.
        assert check_seen("model", Path(path), MOUNTS).state == "WARN"
        assert check_seen("model", Path("/"), "server:/ / nfs4 rw 0 0\n").state == state


def test_folders_space_and_permission(tmp_path: Path) -> None:
    assert check_writable("outdir", tmp_path / "a" / "b").state == "PASS"
    (tmp_path / "file").write_text("")
    assert check_writable("outdir", tmp_path / "file").state == "FAIL"
    assert check_space("outdir", tmp_path, 1).state == "PASS"
    assert check_space("outdir", tmp_path, 1 << 62).state == "FAIL"
    assert check_space("outdir", tmp_path, None).state == "SKIP"


def test_weights_are_read_by_their_header(tiny_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    assert {finding.state for finding in check_weights(model)} == {"PASS"}
    weights = next((model / "vae").glob("*.safetensors"))
    assert all(shape for shape in read_header(weights).values() if shape != ())
    weights.write_bytes(weights.read_bytes()[:-10])
    cut = [finding for finding in check_weights(model) if finding.state == "FAIL"]
    assert [finding.name for finding in cut] == ["vae"]
    assert "its header says" in cut[0].found
    weights.write_bytes(b"\x80\x04pickle, not safetensors")
    with pytest.raises(ModelError, match="no safetensors header"):
        read_header(weights)


def test_the_licence_is_read_from_the_card(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    assert licence_of(card) is None
    card.write_text("---\nlicense: cc-by-nc-nd-4.0\ntags: [a]\n---\n# Model\n")
    assert check_licence(tmp_path).state == "WARN"
    assert "commercial" in check_licence(tmp_path).fix
    card.write_text("# Model\n\n## License\n\nApache-2.0\n")
    assert check_licence(tmp_path) == Finding("model", "licence", "PASS", "Apache-2.0")
    card.write_text("# Model\n| data | use | source and licence |\n")
    assert check_licence(tmp_path).state == "WARN"


def test_software() -> None:
    assert check_python((3, 10, 1)).state == "FAIL"
    assert {finding.state for finding in check_codecs("jpeg")} == {"PASS"}
    assert of(check_torch("cpu", False), "GPU").state in ("SKIP", "PASS")


def test_typos_of_a_profile(tmp_path: Path) -> None:
    values = {"executor": "slurm", "latncy-wait": 5, "set-resources": {"genrate": {"gpu": 1}}}
    found = check_keys(values)
    assert [(finding.name, finding.state) for finding in found] == [
        ("latncy-wait", "FAIL"),
        ("set-resources: genrate", "FAIL"),
    ]
    assert "latency-wait" in found[0].fix
    assert "generate" in found[1].fix
    assert check_plugin("slrum").state == "FAIL"
    assert profile_file("slurm-gpu").is_file()
    with pytest.raises(InputFaults, match="slurm-gpu"):
        profile_file("slurm-gpx")


def test_the_whole_on_a_cohort_that_is_ready_and_one_that_is_not(tiny_model: Path, tmp_path: Path) -> None:
    config = write_tiny_cohort(tmp_path / "cohort", tiny_model, {"a": "rna", "b": "text"}, outdir=str(tmp_path / "out"))
    found = examine(config)
    assert exit_code(found) == 0, [finding for finding in found if finding.state == "FAIL"]
    assert all(finding.fix for finding in found if finding.state in ("WARN", "FAIL"))
    assert not (tmp_path / "out").exists()
    values = yaml.safe_load(config.read_text()) | {"model": str(tmp_path / "gone")}
    config.write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(app, ["doctor", "--configfile", str(config), "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["exit_code"] == 1
    assert [one["name"] for one in told["findings"] if one["state"] == "FAIL"] == ["folder"]
    config.write_text("cases: [1\n")
    assert exit_code(examine(config)) == 1


def test_a_folder_without_permission_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    assert check_writable("outdir", tmp_path).state == "FAIL"
