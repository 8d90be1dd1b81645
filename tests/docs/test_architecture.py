"""The rooms that docs/architecture.md and its picture name are those of the tree, and so are the linter's layers."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.fixtures.paths import REPOSITORY

PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
PICTURE = (REPOSITORY / "docs" / "images" / "rooms.svg").read_text(encoding="utf-8")


def rooms() -> set[str]:
    """Packages and modules directly under mupd/, without the package's own two files."""
    package = REPOSITORY / "mupd"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    return folders | {path.stem for path in package.glob("*.py") if not path.stem.startswith("__")}


def test_the_table_lists_every_room_once() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(rooms())


def test_the_picture_shows_every_room() -> None:
    shown = {label.split("/")[0] for label in re.findall(r'font-weight="bold"[^>]*>([\w/]+)<', PICTURE)}
    assert shown == rooms()


def test_the_layers_hold_every_room() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    assert {name.strip().removeprefix("mupd.") for layer in layers for name in layer.split("|")} == rooms()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:mupd|tests|workflow|docs|resources)/[\w./-]+)`", PAGE))))
def test_paths_that_the_page_names_exist(path: str) -> None:
    assert (REPOSITORY / path).exists()
