"""Fixtures and small makers of inputs that any test may use."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from mupd.config import Config, parse_config
from tests.fixtures.basic import GENES, counts_matrix, he_pixels
from tests.fixtures.paths import SHARED_DATA

# No deadline, because a test may be slow on a busy machine. Examples are the same in every run; to try new ones, use
# pytest --hypothesis-profile=explore.
settings.register_profile("mupd", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("mupd")


LONG = ("test_workflow.py", "test_privacy.py", "test_loop.py", "test_run.py", "test_measure.py")
"""The test files that take longest. They start first, so that all workers end at about the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(autouse=True)
def threads_of_torch() -> Iterator[None]:
    """Restore the number of threads, which training changes. The last bits of later draws depend on it."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch and torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository. Tests that need it are skipped if it is absent."""
    folder = SHARED_DATA
    if not folder.is_dir():
        pytest.skip("REAL DATA ABSENT: ../shared/data is not there; this test needs it")
    return folder


@pytest.fixture
def write_he(tmp_path: Path) -> Callable[..., Path]:
    """Write a small plain H&E picture; its `he_mpp` would be 0.78."""

    def write(name: str = "slide.png", pixels: NDArray[np.uint8] | None = None) -> Path:
        path = tmp_path / name
        Image.fromarray(he_pixels() if pixels is None else pixels).save(path)
        return path

    return write


@pytest.fixture
def write_rna(tmp_path: Path) -> Callable[..., Path]:
    """Write a two-column table gene,value of counts."""

    def write(name: str = "rna.csv", genes: Sequence[str] = GENES, values: Sequence[float] | None = None) -> Path:
        path = tmp_path / name
        numbers = counts_matrix(genes=len(genes))[0].tolist() if values is None else values
        lines = ["gene,value", *(f"{gene},{value}" for gene, value in zip(genes, numbers, strict=True))]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_sheet(tmp_path: Path) -> Callable[..., Path]:
    """Write a sample sheet from rows; columns are those of the first row."""

    def write(rows: Sequence[Mapping[str, Any]], name: str = "cases.tsv") -> Path:
        path = tmp_path / name
        separator = "," if name.endswith(".csv") else "\t"
        columns = list(rows[0])
        lines = [separator.join(columns)]
        lines += [separator.join(str(row.get(column, "")) for column in columns) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def genes_model(tmp_path: Path) -> Path:
    """A model folder with only an index and a list of genes, which is all that intake reads."""
    folder = tmp_path / "genes-model"
    folder.mkdir()
    (folder / "model_index.json").write_text('{"name": "genes", "native_mpp": 0.78, "window_px": 128}', "utf-8")
    (folder / "genes.json").write_text(json.dumps(list(GENES)), encoding="utf-8")
    return folder


@pytest.fixture
def make_config(tmp_path: Path, genes_model: Path) -> Callable[..., Config]:
    """A configuration for a sheet in the test's folder; keyword arguments are sections of the file."""

    def make(sheet: Path | None = None, **sections: Any) -> Config:
        values = {
            "cases": str(sheet or tmp_path / "cases.tsv"),
            "outdir": str(tmp_path / "results"),
            "model": str(genes_model),
            "shards": 1,
        }
        return parse_config(values | sections, "test.yaml")

    return make


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete model folder with tiny random networks. Do not write to it."""
    from tests.fixtures.tiny_model import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("model") / "mupd-tiny")


@pytest.fixture(scope="module")
def shared_backbone() -> Iterator[None]:
    """Load the tile encoder's backbone once for all tests of a module."""
    from mupd.model import encoders

    lite0 = encoders.lite_network("lite0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "lite_network", lambda _: lite0)
        yield


@pytest.fixture(scope="module")
def shared_text_encoder() -> Iterator[None]:
    """Load the sentence encoder once for all tests of a module."""
    from mupd.model import encoders, pipeline

    text = encoders.TextEncoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "TextEncoder", lambda: text)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[tuple[str, str, int], str]:
    """Content hashes of the draws of a shard that was not interrupted."""
    from mupd.stages.generate.run import run_shard
    from tests.fixtures.stopped_runs import cohort, contents

    config = cohort(tmp_path_factory.mktemp("undisturbed"), tiny_model)
    run_shard(config, 0)
    return contents(config)
