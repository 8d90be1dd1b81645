"""The index of artifacts, and the key by which a rerun recognises a finished artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.contracts.artifacts import (
    Artifact,
    ExportFailure,
    artifact_key,
    describe,
    read_artifacts,
    write_artifacts,
)
from mupd.contracts.draws import DrawMeta
from mupd.errors import MupdError

texts = st.text(st.characters(codec="utf-8"), max_size=20)
several = st.lists(texts, max_size=3).map(tuple)
targets = st.sampled_from(("he", "rna", "text", "stain:mif"))
artifacts = st.builds(
    Artifact,
    case_id=texts,
    modality=targets,
    path=texts,
    kind=st.sampled_from(("dicom-wsi", "anndata", "report")),
    draws=st.lists(st.integers(0, 99), max_size=3).map(tuple),
    sha256=texts,
    content_sha256=st.dictionaries(texts, texts, max_size=3),
    given=several,
    model_id=texts,
    model_sha256=texts,
    notes=several,
)

META = DrawMeta(
    case_id="A",
    target="text",
    draw=0,
    seed=7,
    given=("he",),
    given_sha256={"he": "a" * 64},
    model_id="m",
    model_sha256="b" * 64,
    mupd_version="1",
    settings={"steps": 2},
    created="2026-01-01T00:00:00+00:00",
    seconds=1.0,
    content_sha256="c" * 64,
    notes=("a limit",),
)


@given(st.lists(artifacts, max_size=4), st.lists(st.builds(ExportFailure, texts, targets, texts), max_size=3))
@settings(max_examples=50, deadline=None)
def test_an_index_is_read_as_it_was_written(rows: list[Artifact], failures: list[ExportFailure]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "shard.json"
        write_artifacts(path, rows, failures)
        assert read_artifacts(path) == (rows, failures)


def _add_key(index: dict[str, Any]) -> object:
    index["artifacts"][0]["score"] = 1
    return index


def _drop_key(index: dict[str, Any]) -> object:
    del index["artifacts"][0]["sha256"]
    return index


def _drop_failures(index: dict[str, Any]) -> object:
    del index["failed"]
    return index


@pytest.mark.parametrize("edit", [_add_key, _drop_key, _drop_failures, lambda _: [1, 2]])
def test_an_index_of_another_form_is_refused(tmp_path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    (tmp_path / "report.txt").write_text("synthetic")
    path = tmp_path / "shard.json"
    write_artifacts(path, [describe(tmp_path, tmp_path / "report.txt", "report", [META])], [])
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises(MupdError, match=r"shard\.json: found .*`mupd export`"):
        read_artifacts(path)


def test_an_artifact_lists_its_draws_and_each_note_once(tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("synthetic")
    metas = [META, replace(META, draw=2, content_sha256="d" * 64, notes=("a limit", "another"))]
    artifact = describe(tmp_path, tmp_path / "report.txt", "report", metas)
    assert (artifact.path, artifact.draws) == ("report.txt", (0, 2))
    assert artifact.content_sha256 == {"0": "c" * 64, "2": "d" * 64}
    assert artifact.notes == ("a limit", "another")


def test_the_key_changes_with_content_and_settings_and_not_with_times() -> None:
    key = artifact_key([META], codec="jpeg")
    assert artifact_key([replace(META, created="2030-01-01T00:00:00+00:00", seconds=9.0)], codec="jpeg") == key
    others = [
        artifact_key([META], codec="jpeg2000"),
        artifact_key([META, META], codec="jpeg"),
        artifact_key([replace(META, content_sha256="d" * 64)], codec="jpeg"),
        artifact_key([replace(META, notes=())], codec="jpeg"),
        artifact_key([replace(META, model_sha256="0" * 64)], codec="jpeg"),
    ]
    assert len({key, *others}) == len(others) + 1
