"""config/README.md and config/config.yaml name every key that the schemas know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from mupd.config import load_schema, parse_config
from tests.fixtures.paths import REPOSITORY

CONFIG = REPOSITORY / "config"


def keys_of(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        yield prefix + name
        yield from keys_of(part, f"{prefix}{name}.")


def rows_of(readme: str) -> dict[str, list[str]]:
    """Table rows by the name in their first cell."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in readme.splitlines() if line[:3] == "| `"]
    return {cells[0].strip("`"): cells for cells in rows}


ROWS = rows_of((CONFIG / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("key", list(keys_of(load_schema("config"))))
def test_every_key_is_explained(key: str) -> None:
    assert key in ROWS, f"config/README.md has no row for {key}"
    assert len(ROWS[key][2]) > 5, f"config/README.md does not explain {key}"


@pytest.mark.parametrize("column", list(keys_of(load_schema("cases"))))
def test_every_column_is_explained(column: str) -> None:
    assert column in ROWS, f"config/README.md has no row for the column {column}"


def test_nothing_is_explained_that_is_not_there() -> None:
    known = {*keys_of(load_schema("config")), *keys_of(load_schema("cases")), "x_..."}
    assert set(ROWS) <= known


def test_stated_defaults_are_those_of_the_schema() -> None:
    defaults: dict[str, Any] = {}

    def collect(schema: dict[str, Any], prefix: str = "") -> None:
        for name, part in schema["properties"].items():
            if "properties" in part:
                collect(part, f"{prefix}{name}.")
            elif "default" in part:
                defaults[prefix + name] = part["default"]

    collect(load_schema("config"))
    stated = {key: yaml.safe_load(ROWS[key][1]) for key in defaults}
    assert stated == defaults


def test_example_configuration_has_every_key_with_a_comment() -> None:
    text = (CONFIG / "config.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    parse_config(values, "config.yaml")
    for key in keys_of(load_schema("config")):
        *sections, name = key.split(".")
        at = values
        for section in sections:
            at = at[section]
        assert name in at, f"config.yaml lacks {key}"
        lines = [line for line in text.splitlines() if line.strip().startswith(f"{name}:")]
        assert any("#" in line for line in lines), f"config.yaml has no comment for {key}"
