"""The spread of bulk draws: what is too narrow is widened, the mean stays, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mupd.errors import ModelError
from mupd.model.conditions import CaseVectors
from mupd.model.pipeline import MuPDPipeline, model_sha256
from mupd.model.rna_codec import KINDS, Panel, RnaCodec, Spread
from mupd.training.calibrate.spread import DrawnBulk, coverage, draw_interval, fitted_spread, lacking_sd
from tests.fixtures.tiny_model import make_tiny_model

K, GENES, N, DRAWS = 6, 40, 400, 40
ALL = np.arange(GENES)


def a_codec(residual: float = 0.3) -> RnaCodec:
    """Genes far above 0, so that nothing is clipped."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((GENES, K)))[0].T.astype(np.float32)
    ones = np.ones(GENES, np.float32)
    values = (20 * ones, ones, axes, np.linspace(3, 1, K, dtype=np.float32), residual * ones)
    genes = tuple(f"G{i}" for i in range(GENES))
    return RnaCodec({kind: Panel(genes, *(value.copy() for value in values)) for kind in KINDS})


def drawn(codec: RnaCodec, spread: float, residual: float, seed: int = 1) -> DrawnBulk:
    """Draws of standard deviation `spread` about a mean from which the truth is off by 1 in every component."""
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal((N, K)).astype(np.float32)
    truth = mean + rng.standard_normal((N, K)).astype(np.float32)
    components = mean + spread * rng.standard_normal((DRAWS, N, K)).astype(np.float32)
    noise = residual * rng.standard_normal((N, GENES)).astype(np.float32)
    return DrawnBulk(components, truth, codec.decode(truth, "bulk") + noise)


@pytest.mark.parametrize("spread", [0.2, 0.6])
def test_what_draws_lack_is_what_their_mean_is_off_by(spread: float) -> None:
    assert lacking_sd(drawn(a_codec(), spread, 0.3)) == pytest.approx(np.full(K, np.sqrt(1 - spread**2)), abs=0.1)


def test_draws_that_are_wide_enough_lack_nothing() -> None:
    assert lacking_sd(drawn(a_codec(), 1.5, 0.3)).tolist() == [0.0] * K


@pytest.mark.parametrize("residual", [0.2, 0.5])
def test_the_fitted_spread_covers_patients_it_has_not_seen(residual: float) -> None:
    codec = a_codec(0.3)
    seen, unseen = (drawn(codec, 0.3, residual, seed) for seed in (1, 2))
    spread = fitted_spread(codec, seen, ALL)
    assert coverage(codec, unseen, None, ALL) < 0.8
    assert coverage(codec, unseen, spread, ALL) == pytest.approx(0.9, abs=0.015)
    assert spread.residual == pytest.approx(residual / 0.3, rel=0.3)
    assert fitted_spread(codec, seen, ALL, unseen=1.2).residual == pytest.approx(1.2 * spread.residual, abs=2e-3)


@pytest.mark.parametrize("count", [19, 20, 50])
def test_the_interval_of_draws_holds_another_draw_nine_times_in_ten(count: int) -> None:
    values = np.random.default_rng(0).standard_normal((count + 1, 40_000))
    low, high = draw_interval(values[1:])
    assert ((values[0] >= low) & (values[0] <= high)).mean() == pytest.approx(0.9, abs=0.01)
    usual = np.percentile(values[1:], [5, 95], axis=0)
    assert ((values[0] >= usual[0]) & (values[0] <= usual[1])).mean() < 0.875
    with pytest.raises(ValueError, match="at least 19"):
        draw_interval(values[:18])


def test_noise_has_mean_zero_and_moves_genes_together() -> None:
    codec = a_codec()
    spread = Spread(tuple([0.8] * K), 1.0)
    wide = codec.with_spread("bulk", "text", spread)
    components = np.zeros((20_000, K), np.float32)
    values = wide.measure(components, "bulk", np.random.default_rng(0), "text")
    assert values.mean(0) == pytest.approx(codec.decode(components[:1], "bulk")[0], abs=0.03)
    panel = codec.panels["bulk"]
    expected = (panel.components.T * (0.8 * panel.scale) ** 2) @ panel.components + 0.09 * np.eye(GENES)
    np.testing.assert_allclose(np.cov(values.T), expected, atol=0.06)


def test_other_directions_and_models_without_a_spread_draw_as_before() -> None:
    codec = a_codec()
    wide = codec.with_spread("bulk", "text", Spread(tuple([0.8] * K), 1.5))
    rows = np.random.default_rng(0).standard_normal((3, K)).astype(np.float32)

    def values(of: RnaCodec, kind: str, given: str | None) -> NDArray[np.float32]:
        return of.measure(rows, kind, np.random.default_rng(5), given)  # type: ignore[arg-type]

    before = values(codec, "bulk", None)
    assert np.array_equal(values(codec, "bulk", "text"), before)
    assert np.array_equal(values(wide, "bulk", None), before)
    assert np.array_equal(values(wide, "spot", "he"), values(codec, "spot", "he"))
    assert np.array_equal(values(wide, "spot", "text"), values(codec, "spot", "text"))
    assert not np.array_equal(values(wide, "bulk", "text"), before)
    assert np.array_equal(values(wide, "bulk", "text"), values(wide, "bulk", "text"))
    assert np.array_equal(wide.decode(rows, "bulk"), codec.decode(rows, "bulk"))
    assert wide.with_spread("bulk", "text", None).spreads == {}


def test_a_pipeline_uses_the_spread_of_what_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    make_tiny_model(folder)
    text = CaseVectors(text=np.ones((1, 384), np.float32))
    tiles = np.ones((2, MuPDPipeline.from_pretrained(folder).tile_encoder.dim), np.float32)
    both = CaseVectors(tiles=tiles, text=text.text)
    before = [MuPDPipeline.from_pretrained(folder).generate_rna(given, seed=3, steps=2) for given in (text, both)]
    digest = model_sha256(folder)
    codec = RnaCodec.from_pretrained(folder / "rna_codec")
    codec.with_spread("bulk", "text", Spread(tuple([2.0] * codec.dim), 2.0)).save_spreads(folder / "rna_codec")
    assert model_sha256(folder) != digest
    after = [MuPDPipeline.from_pretrained(folder).generate_rna(given, seed=3, steps=2) for given in (text, both)]
    assert np.array_equal(before[0].expected, after[0].expected)
    assert not np.array_equal(before[0].values, after[0].values)
    assert np.array_equal(before[1].values, after[1].values)
    codec.save_spreads(folder / "rna_codec")
    assert model_sha256(folder) == digest


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "kind"),
        ({"bulk": 1}, "kind"),
        ({"cell": {}}, "cell"),
        ({"bulk": {"text": {"components": [1.0] * K}}}, "components and residual"),
        ({"bulk": {"text": {"components": [1.0], "residual": 1.0}}}, f"{K} numbers"),
        ({"bulk": {"text": {"components": [-1.0] * K, "residual": 1.0}}}, "none under 0"),
        ({"bulk": {"text": {"components": [1.0] * K, "residual": True}}}, "none under 0"),
        ({"bulk": {"text": {"components": [1.0] * K, "residual": 1.0, "note": ""}}}, "components and residual"),
    ],
)
def test_files_that_are_no_spread(tmp_path: Path, value: object, words: str) -> None:
    a_codec().save_pretrained(tmp_path / "rna_codec")
    (tmp_path / "rna_codec" / "spread.json").write_text(json.dumps(value))
    with pytest.raises(ModelError, match=words):
        RnaCodec.from_pretrained(tmp_path / "rna_codec")


def test_a_spread_is_the_same_after_saving(tmp_path: Path) -> None:
    spread = Spread(tuple(np.linspace(0, 1, K).round(3).tolist()), 1.25)
    a_codec().with_spread("bulk", "text", spread).save_pretrained(tmp_path / "rna_codec")
    assert RnaCodec.from_pretrained(tmp_path / "rna_codec").spreads == {("bulk", "text"): spread}
