"""docs/training.md names every key of the training's configuration, with its default."""

from __future__ import annotations

import pytest
import yaml

from mupd.model.transformer import TARGETS
from mupd.training.plan import Plan
from mupd.training.run import PARTS
from tests.config.test_generate import rows_of
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.settings_keys import keys_of

ROWS = rows_of((REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8"))
KEYS = keys_of(Plan)


@pytest.mark.parametrize("key", list(KEYS))
def test_every_key_is_explained(key: str) -> None:
    assert key in ROWS, f"docs/training.md has no row for {key}"
    assert len(ROWS[key][2]) > 3


def test_nothing_is_explained_that_is_not_there() -> None:
    assert set(ROWS) <= {*KEYS, *PARTS, *(f"trunk.targets.{target}" for target in TARGETS)}


def test_stated_defaults_are_those_in_force() -> None:
    expected = {key: part["default"] for key, part in KEYS.items() if "default" in part and ROWS[key][1]}
    assert {key: yaml.safe_load(ROWS[key][1]) for key in expected} == expected
    unstated = {key for key, part in KEYS.items() if part.get("default") is not None and not ROWS[key][1]}
    assert not unstated, f"docs/training.md states no default of {unstated}"
