"""The content hash of a draw covers every file that its artifact is made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mupd.base.ids import Modality
from mupd.contracts.draws import content_sha256


def rna_draw(folder: Path) -> Path:
    """A draw of two tiles and three genes with all files that one may have."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(4)
    np.save(folder / "values.npy", random.random((2, 3), dtype=np.float32))
    np.save(folder / "expected.npy", random.random((2, 3), dtype=np.float32))
    np.save(folder / "xy_px.npy", np.arange(4.0).reshape(2, 2))
    (folder / "genes.json").write_text(json.dumps(["ERBB2", "MKI67", "CD3D"]))
    return folder


def add_one(name: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        values = np.load(folder / name)
        values[-1, -1] += 1
        np.save(folder / name, values)

    return edit


EDITS: dict[str, Callable[[Path], None]] = {
    "values.npy": add_one("values.npy"),
    "expected.npy": add_one("expected.npy"),
    "xy_px.npy": add_one("xy_px.npy"),
    "a gene renamed": lambda folder: (
        (folder / "genes.json").write_text(json.dumps(["ERBB2", "MKI67", "CD3E"])) and None
    ),
    "genes swapped": lambda folder: (folder / "genes.json").write_text(json.dumps(["MKI67", "ERBB2", "CD3D"])) and None,
    "expected.npy taken away": lambda folder: (folder / "expected.npy").unlink(),
    "expected.npy as xy_px.npy": lambda folder: np.save(folder / "xy_px.npy", np.load(folder / "expected.npy")),
}


@pytest.mark.parametrize("edit", EDITS)
def test_any_edit_of_a_profile_is_noticed(tmp_path: Path, edit: str) -> None:
    folder = rna_draw(tmp_path / "draw")
    before = content_sha256(folder, "rna")
    EDITS[edit](folder)
    assert content_sha256(folder, "rna") != before


def test_the_hash_is_of_the_content_and_not_of_how_it_is_written(tmp_path: Path) -> None:
    one, other = rna_draw(tmp_path / "one"), rna_draw(tmp_path / "other")
    (other / "genes.json").write_text(json.dumps(["ERBB2", "MKI67", "CD3D"], indent=2))
    np.save(other / "values.npy", np.asfortranarray(np.load(one / "values.npy")))
    assert content_sha256(one, "rna") == content_sha256(other, "rna")


@pytest.mark.parametrize(("target", "name"), [("he", "pixels.npy"), ("rna", "values.npy"), ("text", "record.json")])
def test_a_draw_without_its_values_has_no_hash(tmp_path: Path, target: Modality, name: str) -> None:
    with pytest.raises(OSError, match=name):
        content_sha256(tmp_path, target)
