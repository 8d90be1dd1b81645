"""Atomic writes and content hashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mupd.base.files import atomic_path, sha256_path, write_json


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"b": 1, "a": "ä"})
    before = path.read_text(encoding="utf-8")
    assert before == '{\n  "a": "ä",\n  "b": 1\n}\n'

    def fail() -> None:
        with atomic_path(path) as temporary:
            assert temporary.parent == path.parent
            assert temporary.suffix == ".json"
            temporary.write_text("half")
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        fail()
    assert path.read_text(encoding="utf-8") == before
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "slide"
    for names in (["a", "b"], ["c"]):
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            for name in names:
                (temporary / name).write_text(name)
        assert sorted(path.name for path in folder.iterdir()) == names
    assert list(tmp_path.iterdir()) == [folder]


def test_the_hash_of_a_folder_covers_names_and_contents(tmp_path: Path) -> None:
    def hash_of(files: dict[str, str]) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        return sha256_path(folder)

    files = {"a": "1", "below/b": "2"}
    assert hash_of(files) == hash_of(dict(reversed(files.items())))
    assert len({hash_of(files), hash_of({"a": "1", "b": "2"}), hash_of({"a": "1", "below/b": "3"})}) == 3
