"""Reasons in manifests name no input and quote none of its content."""

from __future__ import annotations

from pathlib import Path

import pytest

from mupd.base.messages import reason_of, without_path
from mupd.errors import UnusableError


@pytest.mark.parametrize("form", ["{path}", "{path.name}", "{path.parent}/x/../{path.name}", "'{path}'"])
def test_a_path_and_its_name_are_left_out(tmp_path: Path, form: str) -> None:
    path = tmp_path / "Jane Doe.svs"
    path.touch()
    (tmp_path / "x").mkdir()
    words = without_path(f"cannot open {form.format(path=path)}:\n  no slide", path)
    assert "Jane" not in words
    assert words.startswith("cannot open ")
    assert words.endswith(": no slide")


def test_files_of_a_folder_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "Doe^Jane").touch()
    assert without_path(f"{tmp_path}/Doe^Jane is cut off", tmp_path) == "the file is cut off"


def test_what_a_library_quotes_is_left_out_and_what_mupd_says_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    quoting = ValueError("""could not convert 'Jane Doe' or "Jane Doe" or `Jane Doe` to float in 'utf-8'""")
    assert reason_of(quoting, path) == "could not convert (...) or (...) or (...) to float in 'utf-8'"
    assert reason_of(UnusableError("column 'TP53' holds words"), path) == "column 'TP53' holds words"
    assert reason_of(FileNotFoundError(2, "No such file or directory", str(path)), path) == "No such file or directory"
    assert reason_of(KeyError(), path) == "KeyError"
    assert len(reason_of(ValueError("x" * 1000), path)) == 300
