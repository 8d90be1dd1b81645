"""Where a run came from, that its tables are whole, and what its card says."""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mupd.base.files import sha256_path, write_json
from mupd.cli import app
from mupd.config import Config
from mupd.contracts.draws import Draw
from mupd.contracts.stage_record import read_record, record_path, recorded
from mupd.errors import InputFaults, MupdError
from mupd.stages.cohort import run
from mupd.stages.cohort.crate import plain_settings
from mupd.stages.cohort.data_card import NOT_MEASURED, cell
from mupd.synthetic.signature import (
    check_signature,
    fingerprint,
    read_private_key,
    read_public_key,
    sign_file,
    signature_files,
    write_key_pair,
)
from tests.fixtures.cohort import PLANS, Plan, make_cohort, make_model
from tests.fixtures.paths import REPOSITORY


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.tsv"
    path.write_text("case_id\tsha256\nA\t00\n", encoding="utf-8")
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "lab.pem"
    write_key_pair(path)
    return path


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def test_a_signed_table_is_valid_and_an_altered_one_is_not(table: Path, key: Path) -> None:
    assert check_signature(table) == check_signature(table, public(key)) == "unsigned"
    sign_file(table, read_private_key(key))
    assert check_signature(table, public(key)) == "valid"
    assert check_signature(table) == "unknown key"  # whole, but nobody says whose key lies beside it
    table.write_text(table.read_text().replace("00", "01"), encoding="utf-8")
    assert check_signature(table) == check_signature(table, public(key)) == "invalid"


def test_an_altered_table_signed_anew_by_somebody_else_is_no_table_of_ours(
    table: Path, key: Path, tmp_path: Path
) -> None:
    sign_file(table, read_private_key(key))
    other = tmp_path / "other.pem"
    write_key_pair(other)
    table.write_text("forged", encoding="utf-8")
    sign_file(table, read_private_key(other))
    assert check_signature(table, public(key)) == "unknown key"
    assert check_signature(table, public(other)) == "valid"


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"x" * 65], ids=["empty", "zeros", "too long"])
def test_a_broken_signature_is_invalid(table: Path, key: Path, content: bytes) -> None:
    sign_file(table, read_private_key(key))
    signature, beside = signature_files(table)
    signature.write_bytes(content)
    assert check_signature(table, public(key)) == check_signature(table) == "invalid"
    beside.unlink()
    assert check_signature(table) == "unknown key"
    assert check_signature(table, public(key)) == "invalid"


def test_openssl_says_the_same(table: Path, key: Path) -> None:
    signature, beside = sign_file(table, read_private_key(key))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(beside), "-rawin"]
    command += ["-in", str(table), "-sigfile", str(signature)]
    try:
        good = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("OPENSSL ABSENT: the command line tool is not there")
    assert good.returncode == 0, good.stderr
    table.write_text("altered", encoding="utf-8")
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_keygen_writes_a_pair_only_the_owner_can_read_and_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUPD_SIGN_PASSPHRASE", raising=False)
    key = tmp_path / "lab.pem"
    done = CliRunner().invoke(app, ["keygen", str(key)])
    assert done.exit_code == 0, done.output
    assert fingerprint(read_public_key(public(key))) in done.output
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    again = CliRunner().invoke(app, ["keygen", str(key)])
    assert isinstance(again.exception, InputFaults)
    assert key.read_bytes() == before


def test_a_passphrase_opens_an_encrypted_key_and_nothing_else_does(tmp_path: Path) -> None:
    key = tmp_path / "lab.pem"
    printed = write_key_pair(key, b"correct horse")
    assert b"ENCRYPTED" in key.read_bytes()
    assert fingerprint(read_private_key(key, b"correct horse").public_key()) == printed
    with pytest.raises(InputFaults, match="does not open"):
        read_private_key(key, b"wrong")
    with pytest.raises(InputFaults, match="no passphrase"):
        read_private_key(key)


def test_what_is_no_key_is_refused(tmp_path: Path, key: Path) -> None:
    with pytest.raises(InputFaults, match="No such file"):
        read_private_key(tmp_path / "gone.pem")
    text = tmp_path / "text.pem"
    text.write_text("hello", encoding="utf-8")
    for read in (read_private_key, read_public_key):
        with pytest.raises(InputFaults, match="expected an Ed25519"):
            read(text)
    with pytest.raises(InputFaults, match="no private key"):
        read_private_key(public(key))


def test_keys_need_no_heavy_import() -> None:
    code = "import sys, mupd.synthetic.signature; sys.exit('cryptography' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


VALIDATOR = REPOSITORY / ".venv" / "crate-validator" / "bin" / "python"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A cohort after its last stage, signed."""
    root = tmp_path_factory.mktemp("provenance")
    write_key_pair(root / "lab.pem")
    make_model(root)
    metrics = {"RNA to H&E: <density>": {"value": 0.4251, "baseline": None, "note": "Pearson | of 181 spots"}}
    write_json(root / "model" / "metrics.json", metrics)
    config = make_cohort(root, sign={"key": str(root / "lab.pem")})
    run(config)
    return config


def graph_of(config: Config) -> dict[str, dict[str, Any]]:
    crate = json.loads((config.out / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"]), "an identifier stands there twice"
    return entities


def manifest_of(config: Config) -> list[dict[str, str]]:
    with (config.out / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["@id"]} if "@id" in value and len(value) == 1 else set()
        return found.union(*(references(part) for part in value.values()))
    return set().union(*(references(part) for part in value)) if isinstance(value, list) else set()


def listed(value: Any) -> list[str]:
    """Identifiers that a property refers to."""
    return [part["@id"] for part in (value if isinstance(value, list) else [value])]


def test_every_file_of_the_crate_is_there_with_its_hash(finished: Config) -> None:
    graph = graph_of(finished)
    files = {name: graph[name] for name in listed(graph["./"]["hasPart"])}
    assert {"manifest.tsv", "manifest.tsv.sig", "cohort/cohort.h5mu", "report.html", "data_card.md"} <= files.keys()
    for name, entity in files.items():
        assert entity["sha256"] == sha256_path(finished.out / name), name
    known = {uri for uri in references(list(graph.values())) if not uri.startswith(("http", "#"))}
    assert known <= graph.keys()
    assert {uri for uri in references(list(graph.values())) if uri.startswith("#")} <= graph.keys()


def test_every_artifact_is_told_as_synthetic_and_says_from_what(finished: Config) -> None:
    graph, named = graph_of(finished), []
    for row in manifest_of(finished):
        paths = [*row["artifact"].split(";"), *row["further_artifacts"].split(";")]
        for path in filter(None, paths):
            entity = graph.get(path) or graph[f"{path}/"]
            assert entity["additionalProperty"] == {"@id": "#synthetic"}
            assert entity["digitalSourceType"].endswith("trainedAlgorithmicMedia")
            given = row["task"].split("->")[0].split("+")
            assert listed(entity["isBasedOn"]) == [f"#input-{row['case_id']}-{modality}" for modality in given]
            named.append(entity["@id"])
        if row["status"] == "measured":
            assert graph[f"#input-{row['case_id']}-{row['modality']}"]["sha256"] == row["sha256"]
    assert set(named) == {name for name in graph if name.startswith("artifacts/")}
    assert graph["#synthetic"]["value"] == "YES"


def test_the_crate_names_no_path_of_the_user(finished: Config) -> None:
    text = (finished.out / "ro-crate-metadata.json").read_text(encoding="utf-8")
    root = finished.out.parent
    for word in (str(root), root.name, "lab.pem", "inputs/", ".png", "cases.tsv"):
        assert word not in text, word
    settings = dict(plain_settings(finished))
    for key in ("cases", "model", "outdir", "tables.rna", "sign.key", "report.title", "intake.allow_synthetic"):
        assert key not in settings
    assert (settings["draws.rna"], settings["on_case_error"]) == (finished.draws.rna, "continue")
    assert all(f"#value-{key}" in graph_of(finished) for key in settings)


def test_an_action_for_each_stage_of_each_shard(finished: Config) -> None:
    graph = graph_of(finished)
    actions = {name for name, entity in graph.items() if entity["@type"] == "CreateAction"}
    stages = {f"#{stage}-shard-{shard:04d}" for stage in ("intake", "generate", "check", "export") for shard in (0, 1)}
    assert actions == stages | {"#cohort", "#run"}
    assert set(listed(graph["./"]["mentions"])) == actions | {"#orchestration"}
    controlled = [graph[name]["object"]["@id"] for name in listed(graph["#orchestration"]["object"])]
    assert sorted(controlled) == sorted(actions - {"#run"})
    assert graph["#run"]["instrument"]["@id"] == graph["./"]["mainEntity"]["@id"] == "provenance/Snakefile"
    assert (finished.out / "provenance" / "workflow" / "rules" / "stages.smk").is_file()
    assert graph["#engine"]["name"] == "mupd command line"
    assert "manifest.tsv" in listed(graph["#cohort"]["result"])
    for name in actions:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", graph[name]["endTime"]), name


def test_two_runs_differ_in_times_alone(finished: Config) -> None:
    def timeless() -> str:
        text = (finished.out / "ro-crate-metadata.json").read_text(encoding="utf-8")
        # The files that say when they were made differ in their hashes too.
        dated = ("report.html", "cohort/cohort.h5mu", "data_card.md")
        entities = [
            {
                name: value
                for name, value in entity.items()
                if entity["@id"] not in dated or name not in ("sha256", "contentSize")
            }
            for entity in json.loads(text)["@graph"]
        ]
        return re.sub(r"\d{4}-\d\d-\d\dT[0-9:+]+", "TIME", json.dumps(entities))

    before = timeless()
    run(finished)
    assert timeless() == before


def test_a_stage_tells_its_own_times_and_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_cohort(tmp_path, (PLANS[1],))
    monkeypatch.setenv("MUPD_ENGINE", "Snakemake 9.99")
    from mupd.base.ids import shard_of
    from mupd.stages.check import run_shard

    shard = shard_of(PLANS[1].case_id, config.shards)
    output = recorded("check", run_shard, config, shard)
    record = read_record(config.out, "check", shard)
    assert record is not None
    assert (record.engine, record.output) == ("Snakemake 9.99", output.relative_to(config.out).as_posix())
    run(config)
    graph = graph_of(config)
    action = graph[f"#check-shard-{shard:04d}"]
    assert (action["startTime"], action["endTime"]) == (record.started, record.ended)
    assert (graph["#engine"]["name"], graph["#engine"]["softwareVersion"]) == ("Snakemake", "9.99")
    assert "startTime" not in graph[f"#intake-shard-{shard:04d}"], "nothing is known of when it began"
    output.write_bytes(output.read_bytes() + b"\0")
    assert read_record(config.out, "check", shard) is None, "a record spoke for an output that it does not know"
    record_path(config.out, "check", shard).write_text("[]", encoding="utf-8")
    with pytest.raises(MupdError, match="expected the record of a stage"):
        read_record(config.out, "check", shard)


@pytest.mark.external
def test_the_validator_finds_no_fault(finished: Config) -> None:
    if not VALIDATOR.exists():
        pytest.skip("ROC-VALIDATOR ABSENT: python -m venv .venv/crate-validator and install roc-validator there")
    profiles = ["workflow-run-crate-0.5", "provenance-run-crate-0.5"]
    script = REPOSITORY / "tests" / "fixtures" / "validate_crate.py"
    command = [str(VALIDATOR), str(script), str(finished.out)]
    found = subprocess.run([*command, *profiles], capture_output=True, text=True, check=False)
    assert (found.returncode, json.loads(found.stdout)) == (0, []), found.stderr
    # The check itself can fail: without its main entity the crate is none.
    path = finished.out / "ro-crate-metadata.json"
    whole = path.read_text(encoding="utf-8")
    crate = json.loads(whole)
    crate["@graph"][0].pop("mainEntity")
    path.write_text(json.dumps(crate), encoding="utf-8")
    try:
        assert subprocess.run([*command, profiles[0]], capture_output=True, check=False).returncode == 1
    finally:
        path.write_text(whole, encoding="utf-8")


def test_manifest_and_crate_are_signed_and_the_key_is_named(finished: Config) -> None:
    trusted = public(Path(str(finished.sign.key)))
    printed = fingerprint(read_public_key(trusted))
    for name in ("manifest.tsv", "ro-crate-metadata.json"):
        assert check_signature(finished.out / name, trusted) == "valid"
    assert graph_of(finished)["#signing-key"]["value"] == printed
    assert f"`{printed}`" in (finished.out / "data_card.md").read_text(encoding="utf-8")


def test_an_unsigned_run_leaves_no_signature_of_a_signed_one(tmp_path: Path, key: Path) -> None:
    config = make_cohort(tmp_path, (PLANS[2],))
    signed = replace(config, sign=replace(config.sign, key=str(key)))
    written = run(signed)
    assert {"manifest.tsv.sig", "ro-crate-metadata.json.pub"} <= {path.name for path in written}
    run(config)
    assert check_signature(config.out / "manifest.tsv", public(key)) == "unsigned"
    assert not list(config.out.glob("*.pub"))
    assert "not signed" in (config.out / "data_card.md").read_text(encoding="utf-8")


def test_a_key_that_cannot_be_used_stops_before_anything_is_written(tmp_path: Path) -> None:
    config = make_cohort(tmp_path, (PLANS[2],), sign={"key": str(tmp_path / "gone.pem")})
    with pytest.raises(InputFaults, match=r"gone\.pem"):
        run(config)
    assert not (config.out / "manifest.tsv").exists()


def card_of(config: Config) -> str:
    return (config.out / "data_card.md").read_text(encoding="utf-8")


def row_of(card: str, *first: str) -> list[str]:
    """Cells of the table row that begins with some cells."""
    rows = [
        [part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]] for line in card.splitlines() if line[:1] == "|"
    ]
    found = [row for row in rows if row[: len(first)] == list(first)]
    assert len(found) == 1, f"{len(found)} rows begin with {first}"
    return found[0]


def test_the_card_has_the_runs_own_figures(finished: Config) -> None:
    card, rows = card_of(finished), manifest_of(finished)
    for number, name in enumerate(
        ("Congruence", "Coverage", "Constraint", "Completeness", "Compliance", "Comprehension", "Consistency"), 1
    ):
        assert f"\n## {number}. {name}: " in card
    for modality, shown in (("he", "H&E"), ("rna", "RNA"), ("text", "text")):
        own = [row for row in rows if row["modality"] == modality]
        counts = Counter(row["verdict"] or row["status"] for row in own)
        cells = row_of(card[card.index("## What is in it") : card.index("## 1.")], cell(shown))[1:6]
        states = ("measured", "let in", "accepted", "rejected", "failed")
        assert cells == [str(counts[state]) for state in states]
    absent = [row for row in rows if row["status"] != "measured"]
    filled = [row for row in absent if row["verdict"] == "accepted"]
    assert f"now there as synthetic data: {len(filled)} of {len(absent)} (" in card
    artifacts = [
        path for row in rows for name in ("artifact", "further_artifacts") for path in row[name].split(";") if path
    ]
    assert f"- {len(artifacts)} artifacts written" in card
    assert "| RNA | 1 | the sampler left values not finite |" in card
    assert row_of(card, cell("RNA to H&E: <density>"))[1:3] == ["0.425", "none"]
    assert "the model's folder has no figures" not in card
    assert NOT_MEASURED in card


def test_the_card_follows_the_run(tmp_path: Path) -> None:
    def spoil(config: Config, draw: Draw) -> Draw:
        broken = draw.meta.target == "rna" and draw.meta.draw == 1
        return replace(draw, meta=replace(draw.meta, content_sha256="0" * 64)) if broken else draw

    config = make_cohort(tmp_path, (Plan("A", measured=("text",), spoil=spoil, organ="a|b<c>"), Plan("B")))
    run(config)
    card = card_of(config)
    assert "not of this run" in card
    assert "Not measured: the model's folder has no figures." in card
    assert row_of(card, "RNA", "content sha256")[2] == "1 of 3 (33 %)"
    assert "| RNA | 1 | the values were altered since they were generated" in card
    assert row_of(card, cell("a|b<c>"))[1] == "2 of 2 (100 %)"
    assert "<c>" not in card
    assert row_of(card, "text \u2192 rna")[2] == "2 of 3 (67 %)"


@given(st.text(max_size=60))
def test_a_cell_is_one_line_of_plain_text(words: str) -> None:
    shown = cell(words)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)[|<>\[\]`*_#&]", shown.replace("\\\\", ""))
    assert re.sub(r"\\(.)", r"\1", shown) == " ".join(words.split())
