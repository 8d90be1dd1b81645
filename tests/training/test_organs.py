"""How the training draws tiles of organs, and what their texts say."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mupd.base.files import write_json
from mupd.model.encoders import TEXT_DIM
from mupd.training.card import trained_parts
from mupd.training.he_batches import HeBatches, class_reports, tile_texts, tile_weights
from mupd.training.prepare import Spots, split_of
from mupd.training.sources import read_tiles
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
    source = HeBatches([section], tiles, encoder, share, "organs")
    _, conditions, _ = source.batch(300, rng)
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
    source = HeBatches([section], tiles, encoder, 0.99, "organs", classes)
    _, conditions, _ = source.batch(400, np.random.default_rng(0))
    tokens, given = conditions["text"]
    share = float((tokens[:, 0, 0] == 7).float().mean())
    assert share == pytest.approx(0.99 * 0.9 / 3, abs=0.06)
    assert set(given.sum(1).tolist()) == {0, 1, 2, 3}  # of a report between one chunk and all


def test_the_card_keeps_what_was_trained_in_another_work_folder(tmp_path: Path) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    first = {"part": "phase1", "parameters": 6_000_000, "processes": 1, "steps": 1690, "minutes": 53.0}
    write_json(out / "training.json", [first, first | {"part": "trunk", "steps": 5}])
    for folder, step in (("trunk", 700), ("vae", 20)):
        write_json(work / folder / "progress.json", {"step": step, "processes": 2})
        (work / folder / "log.jsonl").write_text('{"minutes": 2.0}\n{"minutes": 0.5}\n')
    plan: Any = SimpleNamespace(out=out, work=work)
    parts = trained_parts(plan, {"vae": 2_000_000, "trunk": 6_000_000})
    assert [(part["part"], part["steps"]) for part in parts] == [("phase1", 1690), ("trunk", 700), ("vae", 20)]
    assert parts[0] == first
    assert parts[2] == {"part": "vae", "parameters": 2_000_000, "processes": 2, "steps": 20, "minutes": 2.5}
