"""How the training draws tiles of organs, and what their texts say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import he_pixels
from public_data import write_public_data
from tiny_model import GENE_SETS, RNA_DIM

from mupd.model.encoders import TEXT_DIM
from mupd.model.training.he_batches import HeBatches, tile_texts, tile_weights
from mupd.model.training.prepare import Spots

TABLE = pd.DataFrame(
    [("lung", "adenocarcinoma")] * 90 + [("lung", "benign")] * 10 + [("colon", "benign")] * 4 + [("colorectum", "x")],
    columns=["organ", "diagnosis"],
).assign(file="a.png")


def shares(balance: Any) -> dict[str, float]:
    weights = tile_weights(TABLE, balance)
    return {name: float(weights[TABLE["organ"] == name].sum()) for name in TABLE["organ"].unique()}


def test_classes_are_drawn_as_the_root_of_their_size() -> None:
    roots = {"lung": 90**0.5 + 10**0.5, "colon": 2.0, "colorectum": 1.0}
    total = sum(roots.values())
    assert shares("classes") == pytest.approx({name: root / total for name, root in roots.items()})


def test_organs_are_drawn_equally_often_under_their_name_in_the_record() -> None:
    assert shares("organs") == pytest.approx({"lung": 1 / 2, "colon": 1 / 3, "colorectum": 1 / 6})
    weights = tile_weights(TABLE, "organs")
    acinar, benign = weights[:90].sum(), weights[90:100].sum()
    assert acinar / benign == pytest.approx(3)  # within an organ: the roots of 90 and of 10


def test_every_text_of_a_tile_states_its_diagnosis() -> None:
    texts = tile_texts("lung", "squamous cell carcinoma", "H&E histology of lung squamous cell carcinoma")
    assert len(set(texts)) == len(texts) == 5
    assert all("squamous cell carcinoma" in text.lower() and "lung" in text.lower() for text in texts)


class StubText:
    """Stands for the text encoder: a vector by the text's length."""

    def __call__(self, text: str) -> Any:
        return np.full((1, TEXT_DIM), len(text) / 100, np.float32)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_public_data(tmp_path_factory.mktemp("public"))["tiles"])


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_the_share_of_tiles_is_that_asked_for(tiles: Path, share: float) -> None:
    rng = np.random.default_rng(0)
    components = rng.standard_normal((12, RNA_DIM)).astype(np.float32)
    scores = np.zeros((12, len(GENE_SETS)), np.float32)
    xy = rng.uniform(160, 320, (12, 2))
    section = Spots("T1", he_pixels(640, 480), xy, components, np.pad(components, ((0, 0), (0, 1))), scores)
    encoder: Any = StubText()
    source = HeBatches([section], tiles, encoder, share, "organs")
    _, conditions, _ = source.batch(300, rng)
    either = (conditions["rna"][1] | conditions["pathways"][1])[:, 0].float().mean().item()
    # Four fifths of the section's windows are around spots; of these, all but 2 in 100 keep one of the two streams.
    assert either == pytest.approx((1 - share) * 0.8 * 0.98, abs=0.08)
    assert len(source.images) == 9
