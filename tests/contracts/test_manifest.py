"""The manifest comes back as it was written, formulas included."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.contracts.manifest import COLUMNS, artifact_hashes, one_line, read_manifest, write_manifest
from mupd.errors import MupdError, UnusableError

cells = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20), st.sampled_from(("=1+2", "'=1", "-1e3", "@A", ""))
)
ROW = dict.fromkeys(COLUMNS, "x")


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, cells)), max_size=4))
@settings(max_examples=50, deadline=None)
def test_rows_are_read_as_they_were_written(rows: list[dict[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.tsv"
        write_manifest(path, rows)
        assert list(read_manifest(path)) == rows


@pytest.mark.parametrize("row", [ROW | {"score": "1"}, {name: "x" for name in COLUMNS[1:]}])
def test_a_row_with_other_columns_is_refused_and_nothing_is_written(tmp_path: Path, row: dict[str, str]) -> None:
    with pytest.raises(MupdError, match=rf"unknown or missing columns ({COLUMNS[0]}|score);"):
        write_manifest(tmp_path / "manifest.tsv", [ROW, row])
    assert not list(tmp_path.iterdir())


def test_a_table_without_artifacts_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "other.tsv").write_text("case_id\tsha256\nA\t0\n")
    with pytest.raises(UnusableError, match=r"other\.tsv: found no column \['artifact'\]"):
        list(read_manifest(tmp_path / "other.tsv"))


def test_hashes_are_those_of_all_artifacts_of_a_row() -> None:
    row = {"artifact": "a.dcm", "sha256": "1", "further_artifacts": "b.dcm; c.dcm", "further_sha256": "2;3"}
    assert artifact_hashes(row) == {"a.dcm": "1", "b.dcm": "2", "c.dcm": "3"}
    assert artifact_hashes({}) == {}
    assert artifact_hashes(row | {"further_sha256": "2"}) == {"a.dcm": "1"}


@given(cells)
def test_a_cell_on_one_line_has_no_breaks_and_loses_no_word(cell: str) -> None:
    assert not set("\r\n\t") & set(one_line(cell))
    assert one_line(cell).split() == cell.split()
