"""Records from RNA and reports, RNA from reports: predictors of known answers, and all tables by one run."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from benchmarks.model.bench import Bench, Effort
from benchmarks.rna_text import predictors
from benchmarks.rna_text.__main__ import run
from benchmarks.rna_text.fields import both_rows, rna_rows
from benchmarks.rna_text.profiles import profile_rows, without_organ
from benchmarks.rna_text.table import BEGIN, END
from mupd.errors import MupdError
from mupd.model.pipeline import MuPDPipeline
from mupd.training.plan import Plan, load_plan
from tests.fixtures.public_data import write_public_data, write_training
from tests.fixtures.tiny_model import make_tiny_model

EFFORT = Effort(text_draws=3, steps=2, bootstraps=20)


def _classes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes, the last rare, each apart in a feature of its own."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.5, 0.4, 0.1])
    x = rng.standard_normal((n, 4))
    x[np.arange(n), y] += 5
    return x, y


def test_simple_predictors_find_what_is_there() -> None:
    (x, y), (x_held, truth) = _classes(300, 0), _classes(100, 1)
    probabilities = predictors.from_vectors(x, y, x_held, 5)
    assert probabilities.shape == (100, 5)
    assert probabilities.sum(1) == pytest.approx(np.ones(100))
    assert probabilities[:, 3:].max() < 1e-5
    assert (probabilities.argmax(1) == truth).mean() > 0.9
    assert (predictors.ridge_values(x, y, x_held) == truth).mean() > 0.9
    assert (predictors.nearest_values(x, y, x_held) == truth).mean() > 0.85


def test_words_tell_what_they_tell() -> None:
    texts = ["cells in a sheet", "glands and mucus", "keratin in pearls"] * 12
    y = np.arange(36) % 3
    x, x_held = predictors.word_rows(texts, ["a sheet of cells", "mucus, glands", "12 pearls"])
    assert predictors.from_words(x, y, x_held, 3).argmax(1).tolist() == [0, 1, 2]
    assert predictors.nearest_text(x, y, x_held).tolist() == [0, 1, 2]


def test_sources_together_are_bayes_rule() -> None:
    """Two sources that are independent given the value: the posterior by hand."""
    one, other = np.array([[0.8, 0.2]]), np.array([[0.6, 0.4]])
    assert predictors.together(one, other)[0, 0] == pytest.approx(0.48 / (0.48 + 0.08))
    assert predictors.together(one, np.array([[0.5, 0.5]])) == pytest.approx(one)
    y = np.array([0, 0, 0, 1])
    # 0.75 is what training shares alone would say.
    assert predictors.even_prior(np.array([[0.7, 0.2, 0.1]]), y)[0] == pytest.approx(
        np.array([0.7 / 0.75, 0.2 / 0.25, 0]) / (0.7 / 0.75 + 0.8)
    )


def test_within_organs_nothing_is_left_of_the_organ() -> None:
    organs = np.array(["a", "a", "b", "b"])
    values = np.array([[1.0], [3.0], [10.0], [14.0]])
    assert without_organ(values, organs).ravel().tolist() == [-1, 1, -2, 2]
    assert values[0, 0] == 1.0


pytestmark = pytest.mark.usefixtures("shared_backbone")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("rna-text")
    plan = load_plan(write_training(folder, write_public_data(folder / "data")))
    make_tiny_model(plan.out)
    return plan


@pytest.mark.slow
def test_all_rows_are_measured_on_held_out_patients(plan: Plan) -> None:
    bench = Bench(plan, MuPDPipeline.from_pretrained(plan.out), EFFORT)
    held = bench.patients("held_out")
    rows = {row.field: row for row in rna_rows(bench)}
    assert {"organ", "grade"} <= set(rows)
    assert rows["organ"].n == len(held)
    assert {"MuPD", "ridge", "logistic", "nearest neighbour", "MuPD less logistic"} <= set(rows["grade"].scores)
    both = {row.field: row for row in both_rows(bench)}
    scores = both["grade"].scores
    assert scores["both less RNA"][0] == pytest.approx(scores["both"][0] - scores["RNA"][0])
    assert both["organ"].n == sum(bool(p.report) for p in held)
    for row in (*rows.values(), *both.values()):
        assert all(low <= high for _, (low, high) in row.scores.values())
    profiles = profile_rows(bench)
    assert {row.source for row in profiles} == {"sentences of the record", "the real pathology report"}
    assert any(row.measure == "pathways, within organs" for row in profiles)
    assert all(np.isfinite(value) for row in profiles for value, _ in row.scores.values())


def test_the_tables_go_between_their_marks(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.rna_text import fields, profiles

    for module, name in ((fields, "rna_rows"), (fields, "both_rows"), (profiles, "profile_rows")):
        monkeypatch.setattr(module, name, lambda bench: [])
    page = tmp_path / "text.md"
    page.write_text(f"# Text\n\n{BEGIN}\nold\n{END}\nrest\n")
    options = argparse.Namespace(model=plan.out, config=next(plan.work.parent.rglob("*.yaml")), docs=page)
    assert run(options) == 0
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("# Text")
    assert text.endswith(f"{END}\nrest\n")
    assert "### RNA to record: balanced accuracy" in text
    assert text.split(BEGIN)[1].split(END)[0].strip() == capsys.readouterr().out.strip()
    page.write_text("# no marks\n")
    with pytest.raises(MupdError, match="rna and reports"):
        run(options)
