"""Windows, borders and scale of a model, as its folder states them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mupd.errors import ModelError
from mupd.model_folder.geometry import DOWNSAMPLE, TRAINED, Geometry, evaluations, read_geometry
from tests.fixtures.paths import MINI

GEOMETRIES = st.builds(Geometry, st.sampled_from([128, 256, 512]), st.floats(0.2, 2))


@given(GEOMETRIES, st.integers(0, 400), st.integers(0, 99))
def test_windows_cover_a_side_and_lie_inside(geometry: Geometry, more: int, offset: int) -> None:
    length = geometry.window + more
    covered = set()
    for start in geometry.window_starts(length, offset):
        assert 0 <= start <= length - geometry.window
        covered.update(range(start, start + geometry.window))
    assert covered == set(range(length))


@given(GEOMETRIES, st.integers(1, 4000), st.integers(1, 4000), st.integers(0, 40))
def test_borders_lie_between_latents_inside_the_picture(
    geometry: Geometry, width: int, height: int, evaluation: int
) -> None:
    size_px = geometry.native_size_px((width, height), geometry.mpp)
    for lines, length in zip(geometry.border_lines(size_px, evaluation), size_px[::-1], strict=True):
        assert all((line + 1) % DOWNSAMPLE == 0 for line in lines)
        assert all(0 <= line < length - 1 for line in lines)


@given(GEOMETRIES, st.integers(1, 5000), st.floats(0.1, 4))
def test_the_native_size_covers_the_picture(geometry: Geometry, side: int, mpp: float) -> None:
    width, height = geometry.native_size_px((side, side), mpp)
    assert width == height
    assert width % DOWNSAMPLE == 0
    assert width >= round(side * mpp / geometry.mpp) - 1


def test_the_borders_of_the_last_evaluation_are_no_multiples_of_64() -> None:
    _, columns = TRAINED.border_lines((1024, 1024), evaluations("euler", 20) - 1)
    assert any((line + 1) % 64 for line in columns)


@pytest.mark.parametrize(("solver", "steps", "count"), [("euler", 20, 20), ("heun", 20, 39), ("heun", 1, 1)])
def test_evaluations(solver: Any, steps: int, count: int) -> None:
    assert evaluations(solver, steps) == count


def test_the_shipped_model_states_its_geometry() -> None:
    index = json.loads((MINI / "model_index.json").read_text(encoding="utf-8"))
    assert read_geometry(MINI) == Geometry(index["window_px"], index["native_mpp"]) == TRAINED


@pytest.mark.parametrize(
    ("index", "place"),
    [
        (None, "model_index.json"),
        ({"window_px": 128}, "native_mpp"),
        ({"native_mpp": True}, "native_mpp"),
        ({"native_mpp": 0.78, "window_px": 100}, "window_px"),
        ({"native_mpp": 0.78, "window_px": "128"}, "window_px"),
    ],
)
def test_a_folder_without_a_possible_geometry_is_refused(tmp_path: Path, index: Any, place: str) -> None:
    if index is not None:
        (tmp_path / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ModelError, match=place):
        read_geometry(tmp_path)
