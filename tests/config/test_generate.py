"""Generated files are those that the keys of the configuration give, and no key or column lacks an explanation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from mupd.config import config_schema, parse_config
from mupd.config.generate import EXAMPLE, README, SCHEMA, generated, keys_of, stale_files
from mupd.sheet.columns import COLUMNS
from tests.fixtures.paths import REPOSITORY

KEYS = dict(keys_of(config_schema()))


def rows_of(readme: str) -> dict[str, list[str]]:
    """Table rows by the name in their first cell."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in readme.splitlines() if line[:3] == "| `"]
    return {cells[0].strip("`"): cells for cells in rows}


ROWS = rows_of((REPOSITORY / README).read_text(encoding="utf-8"))


def test_generated_files_are_not_stale() -> None:
    assert stale_files() == [], "run `python -m mupd.config.generate`"


@pytest.mark.parametrize(("name", "old", "new"), [(SCHEMA, "1024", "1"), (README, "0.78", "9"), (EXAMPLE, "#", "# x")])
def test_a_change_by_hand_is_stale(tmp_path: Path, name: str, old: str, new: str) -> None:
    for file in (SCHEMA, README, EXAMPLE):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / file, tmp_path / file)
    assert stale_files(tmp_path) == []
    path = tmp_path / name
    text = path.read_text(encoding="utf-8")
    head, body = text.split("\n\n", 1) if name == EXAMPLE else ("", text)
    path.write_text(f"{head}\n\n{body.replace(old, new, 1)}" if head else body.replace(old, new), encoding="utf-8")
    assert stale_files(tmp_path) == [path]
    for file, wanted in generated(tmp_path).items():
        file.write_text(wanted, encoding="utf-8")
    assert stale_files(tmp_path) == []


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_explained(key: str) -> None:
    assert len(KEYS[key]["description"]) > 5
    assert ROWS[key][3] == KEYS[key]["description"]


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_is_explained(column: str) -> None:
    assert len(ROWS[column][2]) > 5, f"config/README.md does not explain the column {column}"


def test_nothing_is_explained_that_is_not_there() -> None:
    assert set(ROWS) == {*KEYS, *COLUMNS, "x_..."}


def test_stated_defaults_are_those_of_an_empty_configuration() -> None:
    values: dict[str, Any] = parse_config({"cases": "c.tsv"}, "x").to_dict()
    for key, part in KEYS.items():
        if key == "cases" or "properties" in part:
            continue
        *sections, name = key.split(".")
        at = values
        for section in sections:
            at = at[section]
        assert yaml.safe_load(ROWS[key][1]) == at[name], key


def test_the_example_has_every_key() -> None:
    values = yaml.safe_load((REPOSITORY / EXAMPLE).read_text(encoding="utf-8"))
    parse_config(values, "config.yaml")
    for key in KEYS:
        at = values
        for name in key.split("."):
            assert name in at, f"config.yaml lacks {key}"
            at = at[name]
