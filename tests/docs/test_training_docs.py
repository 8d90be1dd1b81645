"""docs/training.md names every key of the training's schema, with its default."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
import yaml

from mupd.config import load_schema
from mupd.training.align import AlignSettings
from mupd.training.loop import LoopSettings
from mupd.training.train_trunk import TargetSettings
from tests.config.test_docs import rows_of
from tests.fixtures.paths import REPOSITORY

ROWS = rows_of((REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8"))
SCHEMA = load_schema("train")
TARGET = "trunk.targets.TARGET."


def keys_of(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, part in schema.get("properties", {}).items():
        yield prefix + name, part
        yield from keys_of(part, f"{prefix}{name}.")


KEYS = dict(keys_of(SCHEMA)) | {
    f"{TARGET}{name}": part for name, part in SCHEMA["$defs"]["target"]["properties"].items()
}


@pytest.mark.parametrize("key", list(KEYS))
def test_every_key_is_explained(key: str) -> None:
    assert key in ROWS, f"docs/training.md has no row for {key}"
    assert len(ROWS[key][2]) > 3


def test_nothing_is_explained_that_is_not_there() -> None:
    parts = {"codecs", "vae", "trunk", "calibrate", "metrics"}
    assert set(ROWS) <= set(KEYS) | parts


def defaults_in_code() -> dict[str, Any]:
    """What the code takes where the schema has no default."""
    found = {f"{part}.{f.name}": f.default for part in ("vae", "trunk") for f in fields(LoopSettings)}
    found |= {f"{part}.steps": 1000 for part in ("vae", "trunk")}
    found |= {f"trunk.align.{f.name}": f.default for f in fields(AlignSettings) if f.name.endswith("weight")}
    return found | {f"{TARGET}{f.name}": f.default for f in fields(TargetSettings) if f.name != "batch_size"}


def test_stated_defaults_are_those_in_force() -> None:
    scalars = {key: part for key, part in KEYS.items() if not isinstance(part.get("default"), dict)}
    defaults = {key: part["default"] for key, part in scalars.items() if "default" in part}
    expected = {key: value for key, value in defaults_in_code().items() if key in KEYS} | defaults
    assert {key: yaml.safe_load(ROWS[key][1]) for key in expected} == expected
