"""The run configuration: all faults at once, and digests that cover what a rule depends on."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from mupd.config import load_config, parse_config
from mupd.errors import InputFaults
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


def test_yaml_of_the_effective_configuration_is_plain() -> None:
    values = parse_config({"cases": "c.tsv", "intake": {"allow_synthetic": ["*.png"]}}, "x").to_dict()
    assert yaml.safe_load(yaml.safe_dump(values)) == values
