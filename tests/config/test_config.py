"""Configuration, shards and seeds: everything is checked at once, and nothing moves when a cohort grows."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mupd.base.ids import is_case_id, seed_of, shard_name, shard_of
from mupd.config import load_config, parse_config
from mupd.errors import InputFaults
from mupd.run.shards import inputs_of, model_files, refuse_braces, rows_digest
from mupd.sheet import cases_by_shard, cases_of_shard, filled_shards, read_sheet
from tests.fixtures.paths import REPOSITORY


def faults_of(values: dict[str, Any]) -> list[str]:
    with pytest.raises(InputFaults) as caught:
        parse_config(values, "my.yaml")
    assert caught.value.exit_code == 2
    return [str(fault) for fault in caught.value.faults]


def test_a_sheet_is_all_that_is_needed() -> None:
    config = parse_config({"cases": "cases.tsv"}, "my.yaml")
    assert (config.outdir, config.draws.he, config.draws.rna, config.draws.text) == ("results", 1, 3, 3)
    assert parse_config(config.to_dict(), "again") == config


def test_the_shipped_configuration() -> None:
    assert load_config(REPOSITORY / "config" / "config.yaml").cases == "config/cases.tsv"


def test_a_key_that_was_taken_out_is_refused_with_the_known_ones() -> None:
    (fault,) = faults_of({"cases": "c.tsv", "check": {"min_record_confidence": 0.5}})
    assert fault == (
        "my.yaml [check]: found unknown key 'min_record_confidence'; "
        "expected only: min_tissue_fraction, abstain_below, untrained_organ"
    )


def test_all_faults_at_once() -> None:
    values = {
        "cases": "",
        "shard": 4,
        "seed": -1,
        "draws": {"he": 0, "dna": 1},
        "slide": {"mpp": 40},
        "sampler": {"device": "tpu", "steps": "many"},
        "on_case_error": "ignore",
    }
    faults = faults_of(values)
    assert len(faults) == 9, faults
    for place in ("[cases]", "'shard'", "[seed]", "[draws.he]", "'dna'", "[slide.mpp]", "[sampler.device]"):
        assert any(place in fault for fault in faults), (place, faults)
    assert all(fault.startswith("my.yaml") for fault in faults)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("slide", "mpp", float("nan")),
        ("slide", "mpp", float("inf")),
        ("sampler", "steps", 20.0),
        ("draws", "rna", True),
        ("draws", "rna", "3"),
        ("slide", "width_px", 1e3),
        ("check", "min_tissue_fraction", None),
        ("intake", "allow_synthetic", "*.png"),
    ],
)
def test_values_that_only_look_right(section: str, key: str, value: Any) -> None:
    (fault,) = faults_of({"cases": "c.tsv", section: {key: value}})
    assert f"[{section}.{key}]" in fault


def test_whole_numbers_are_numbers() -> None:
    values = {"cases": "c.tsv", "slide": {"mpp": 1}, "sampler": {"guidance": {"rna": 2}}}
    assert parse_config(values, "x").slide.mpp == 1
    assert "[slide.mpp]" in faults_of({"cases": "c.tsv", "slide": {"mpp": 10**400}})[0]


def test_keys_that_are_no_words() -> None:
    assert faults_of({"cases": "c.tsv", 7: 1, None: 2})
    assert faults_of({"cases": "c.tsv", date(2024, 1, 1): 1})
    endless: dict[str, Any] = {"cases": "c.tsv"}
    endless["draws"] = endless
    assert faults_of(endless)


def test_a_whole_number_keeps_its_digest() -> None:
    """Inventories and draws of earlier runs were made with these digests."""
    whole = {"cases": "c.tsv", "intake": {"file_seconds": 120, "min_library_size": 100}}
    assert parse_config(whole, "x").digest("intake") == parse_config({"cases": "c.tsv"}, "x").digest("intake")
    assert json.dumps(parse_config({"cases": "c.tsv", "slide": {"mpp": 1}}, "x").to_dict()["slide"]["mpp"]) == "1"


@pytest.mark.parametrize("text", ["- a\n- b", "", "cases: [", "cases: 'x", "\x00"])
def test_files_that_are_no_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(InputFaults, match=r"my.yaml"):
        load_config(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputFaults, match="a YAML file"):
        load_config(path)
    with pytest.raises(InputFaults, match=r"gone.yaml"):
        load_config(tmp_path / "gone.yaml")


def test_a_digest_covers_its_sections_alone() -> None:
    base = parse_config({"cases": "c.tsv"}, "x")
    other = parse_config({"cases": "c.tsv", "seed": 2, "report": {"title": "t"}}, "x")
    assert base.digest("draws", "slide") == other.digest("draws", "slide")
    assert base.digest("seed") != other.digest("seed")
    assert base.digest("report", "slide") != other.digest("report", "slide")


case_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,46}[A-Za-z0-9]", fullmatch=True)


@given(case_ids, st.integers(1, 4000))
def test_shards_follow_from_the_id_alone(case_id: str, shards: int) -> None:
    assert is_case_id(case_id)
    assert 0 <= shard_of(case_id, shards) < shards
    assert shard_of(case_id, shards) == shard_of(str(case_id), shards)
    assert shard_of(case_id, 1) == 0


@given(st.lists(case_ids, min_size=2, max_size=20, unique=True), st.integers(0, 2**63 - 1))
def test_seeds_are_all_different(cases: list[str], run_seed: int) -> None:
    seeds = [
        seed_of(run_seed, case, target, draw) for case in cases for target in ("he", "rna", "text") for draw in (0, 1)
    ]  # type: ignore[arg-type]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_names_do_not_move_between_versions() -> None:
    """A changed hash would give every user other artifacts and other shards for the same cohort."""
    assert [shard_of(case, 16) for case in ("A", "B", "TCGA-DK-A2I6")] == PINNED_SHARDS
    assert seed_of(1, "A", "he", 0) == PINNED_SEED
    assert shard_name(3) == "shard-0003"


PINNED_SHARDS = [15, 11, 8]
PINNED_SEED = 4424717844959032969


def test_shards_are_even() -> None:
    counts = [0] * 16
    for number in range(4000):
        counts[shard_of(f"CASE-{number}", 16)] += 1
    assert min(counts) > 180
    assert max(counts) < 320


def cohort(folder: Path, cases: list[str], **values: Any) -> Any:
    folder.mkdir(exist_ok=True)
    for case in cases:
        (folder / f"{case}.txt").touch()
    lines = ["case_id\ttext\tx_note", *(f"{case}\t{case}.txt\t{values.get(case, '')}" for case in cases)]
    (folder / "cases.tsv").write_text("\n".join(lines) + "\n")
    (folder / "table.csv").write_text("case_id,text\n")
    settings = {"cases": str(folder / "cases.tsv"), "shards": 4, "tables": {"text": str(folder / "table.csv")}}
    config = parse_config(settings, "x")
    return config, read_sheet(config)


def test_a_shard_depends_on_its_own_rows_and_files(tmp_path: Path) -> None:
    names = [f"C{number}" for number in range(12)]
    config, sheet = cohort(tmp_path, names)
    parted = cases_by_shard(sheet, 4)
    assert list(parted) == filled_shards(sheet, 4)
    digests = {index: rows_digest(cases) for index, cases in parted.items()}
    assert len(set(digests.values())) == len(digests) > 1
    for index, cases in parted.items():
        assert tuple(cases) == cases_of_shard(sheet, index, 4)
        own = [str(tmp_path / f"{name}.txt") for name in names if shard_of(name, 4) == index]
        assert inputs_of(cases, config) == [*sorted(own), str(tmp_path / "table.csv")]
    # One more case at the top, and a note on another.
    _, grown = cohort(tmp_path, ["new", *names], C5="changed")
    changed = {shard_of("new", 4), shard_of("C5", 4)}
    for index, cases in cases_by_shard(grown, 4).items():
        assert (rows_digest(cases) != digests.get(index)) == (index in changed)
    assert rows_digest(grown.cases) != rows_digest(sheet.cases)


def test_braces_in_paths_are_refused_before_snakemake_stumbles(tmp_path: Path) -> None:
    config, sheet = cohort(tmp_path, ["A", "B"])
    refuse_braces(sheet, config)
    (tmp_path / "{x}.txt").touch()
    (tmp_path / "cases.tsv").write_text("case_id\ttext\nA\tA.txt\nB\t{x}.txt\n")
    settings = {"cases": str(tmp_path / "cases.tsv"), "outdir": "re{sults", "model": "m}"}
    braces = parse_config(settings, "x")
    with pytest.raises(InputFaults) as caught:
        refuse_braces(read_sheet(braces), braces)
    assert caught.value.exit_code == 2
    assert [fault.where for fault in caught.value.faults] == [
        "configuration [outdir]",
        "configuration [model]",
        "cases.tsv:3 [text]",
    ]


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    config = parse_config({"cases": "c.tsv", "model": str(tmp_path / "model")}, "x")
    with pytest.raises(InputFaults, match=r"configuration \[model\]: found .*model_index.json"):
        model_files(config)
    (tmp_path / "model" / "vae").mkdir(parents=True)
    (tmp_path / "model" / "model_index.json").write_text("{}")
    (tmp_path / "model" / "vae" / "w.safetensors").touch()
    assert [Path(name).name for name in model_files(config)] == ["model_index.json", "w.safetensors"]


def test_yaml_of_the_effective_configuration_is_plain() -> None:
    values = parse_config({"cases": "c.tsv", "intake": {"allow_synthetic": ["*.png"]}}, "x").to_dict()
    assert yaml.safe_load(yaml.safe_dump(values)) == values
