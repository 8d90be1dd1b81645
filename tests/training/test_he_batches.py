"""How the training draws tiles of organs, and what their texts say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mupd.model.encoders import TEXT_DIM
from mupd.training.public.he_batches import HeBatches, TileMix, class_reports, tile_texts, tile_weights
from mupd.training.public.read import read_tiles
from mupd.training.public.splits import split_of
from mupd.training.public.spots import Spots
from tests.fixtures.basic import he_pixels
from tests.fixtures.public_data import write_public_data
from tests.fixtures.tiny_model import GENE_SETS, RNA_DIM

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
    source = HeBatches([section], encoder, TileMix(tiles, share, "organs", {}))
    conditions = source.batch(300, rng).conditions
    either = (conditions["rna"][1] | conditions["pathways"][1])[:, 0].float().mean().item()
    # Four fifths of the section's windows are around spots; of these, all but 2 in 100 keep one of the two streams.
    assert either == pytest.approx((1 - share) * 0.8 * 0.98, abs=0.08)
    assert len(source.images) == 9


def test_reports_are_of_the_class_and_of_nobody_held_back(tmp_path: Path) -> None:
    cases = [f"TCGA-{n:04d}" for n in range(30)]
    folder = tmp_path / "other_reports"
    folder.mkdir()
    for cohort in ("luad", "brca", "coadread"):
        table = pd.DataFrame({"case_id": cases, "text": [f"{cohort} {case}" for case in cases]})
        table.loc[0, "text"] = " "
        table.to_csv(folder / f"{cohort}_reports.csv.gz", index=False)
    seen: list[str] = []

    def encoder(text: str) -> Any:
        seen.append(text)
        return np.zeros((2, TEXT_DIM), np.float32)

    found = class_reports(tmp_path, encoder)
    usable = [case for case in cases[1:] if split_of(case) == "train"]
    assert seen == [f"{cohort} {case}" for cohort in ("luad", "brca", "coadread") for case in usable]
    assert 0 < len(usable) < 29
    assert {key: len(rows) for key, rows in found.items()} == {
        ("lung", "adenocarcinoma"): len(usable),
        ("breast", "breast carcinoma"): len(usable),
        ("colon", "adenocarcinoma"): len(usable),
    }


def test_a_third_of_the_texts_of_a_class_with_reports_are_reports(tiles: Path) -> None:
    encoder: Any = StubText()
    rows = np.zeros((2, RNA_DIM), np.float32)
    scores = np.zeros((2, len(GENE_SETS)), np.float32)
    xy = np.full((2, 2), 200.0)
    section = Spots("T1", he_pixels(640, 480), xy, rows, np.pad(rows, ((0, 0), (0, 1))), scores)
    report = np.full((3, TEXT_DIM), 7, np.float32)
    table = read_tiles(tiles)
    classes = {(row.organ, row.diagnosis): [report] for row in table.itertuples()}
    source = HeBatches([section], encoder, TileMix(tiles, 0.99, "organs", classes))
    tokens, mask = source.batch(400, np.random.default_rng(0)).conditions["text"]
    share = float((tokens[:, 0, 0] == 7).float().mean())
    assert share == pytest.approx(0.99 * 0.9 / 3, abs=0.06)
    assert set(mask.sum(1).tolist()) == {0, 1, 2, 3}  # of a report between one chunk and all
