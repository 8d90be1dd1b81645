"""Temperature scaling and calibration error against answers known by construction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.model.calibration import (
    TEMPERATURE_RANGE,
    UNKNOWN,
    apply_temperature,
    calibrated_error,
    expected_calibration_error,
    fit_calibration,
    fit_temperature,
    mixed,
)


def drawn(n: int, values: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and truths drawn from their softmax: the logits are calibrated at temperature 1."""
    random = np.random.default_rng(seed)
    logits = 2.0 * random.standard_normal((n, values))
    chances = apply_temperature(logits, 1.0)
    return logits, np.array([random.choice(values, p=row) for row in chances])


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor(factor: float) -> None:
    logits, truth = drawn(20_000, 4)
    assert fit_temperature(factor * logits, truth) == pytest.approx(factor, rel=0.05)


def test_the_temperature_has_a_closed_form_for_two_values() -> None:
    """Logits +-a that are right in a share p of the rows: softmax(2a / T) = p, so T = 2a / log(p / (1 - p))."""
    a, share, n = 2.0, 0.75, 400
    logits = np.tile([a, -a], (n, 1))
    truth = np.where(np.arange(n) < share * n, 0, 1)
    expected = 2 * a / np.log(share / (1 - share))
    assert fit_temperature(logits, truth) == pytest.approx(expected, rel=1e-4)
    assert apply_temperature(logits, expected)[0, 0] == pytest.approx(share)


def test_the_temperature_stays_in_its_range() -> None:
    logits = np.tile([1.0, 0.0], (50, 1))
    assert fit_temperature(logits, np.zeros(50, int)) == pytest.approx(TEMPERATURE_RANGE[0], rel=1e-3)
    assert fit_temperature(logits, np.ones(50, int)) == pytest.approx(TEMPERATURE_RANGE[1], rel=1e-3)


def test_rows_without_truth_do_not_count() -> None:
    logits, truth = drawn(3000, 3)
    whole = fit_temperature(logits, truth)
    nonsense = np.concatenate([logits, 50 * np.eye(3)])
    unknown = np.concatenate([truth, [UNKNOWN] * 3])
    assert fit_temperature(nonsense, unknown) == pytest.approx(whole, abs=1e-6)
    assert fit_temperature(logits[:0], truth[:0]) == 1.0
    assert fit_temperature(logits, np.full(3000, UNKNOWN)) == 1.0
    shares = np.full(logits.shape, 1 / 3)
    assert fit_calibration(logits, shares, np.full(3000, UNKNOWN)) == (1.0, 1.0)


SHARES = np.array([0.7, 0.2, 0.1])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_mixture_finds_how_often_a_model_knows_nothing(share: float) -> None:
    """Truths of a share of the rows come from the model, at a temperature; the others from fixed shares."""
    logits, truth = drawn(20_000, 3)
    random = np.random.default_rng(1)
    foreign = random.random(len(truth)) >= share
    truth[foreign] = random.choice(3, foreign.sum(), p=SHARES)
    shares = np.tile(SHARES, (len(truth), 1))
    temperature, reliance = fit_calibration(2 * logits, shares, truth)
    assert reliance == pytest.approx(share, abs=0.051)
    assert temperature == pytest.approx(2, rel=0.15)
    places = np.arange(len(truth))
    stated = mixed(apply_temperature(2 * logits, temperature), shares, reliance)
    alone = apply_temperature(2 * logits, fit_temperature(2 * logits, truth))
    assert np.log(stated[places, truth]).mean() > np.log(alone[places, truth]).mean()


def test_a_mixture_is_taken_only_where_it_says_more() -> None:
    logits, truth = drawn(300, 3)
    shares = np.tile(SHARES, (300, 1))
    assert fit_calibration(logits, shares, truth) == (1.0, 1.0)
    assert fit_calibration(3 * logits, shares, truth) == (fit_temperature(3 * logits, truth), 1.0)
    # Right in each of a few rows: no reason to call it certain.
    for rows in (15, 400):
        assert fit_calibration([[3.0, 0.0]] * rows, [[0.5, 0.5]] * rows, [0] * rows) == (1.0, 1.0)
    assert fit_calibration([[3.0, 0.0]] * 400, [[0.5, 0.5]] * 400, [0] * 399 + [1])[0] < 0.7
    # The same rows again and again are no more evidence.
    truth[:20] = np.random.default_rng(2).choice(3, 20, p=SHARES)
    repeated = [np.tile(part, (40, 1)) for part in (logits, shares)], np.tile(truth, 40)
    once = fit_calibration(logits, shares, truth)
    again = fit_calibration(*repeated[0], repeated[1], repeats=40)
    assert again[1] == once[1]
    assert again[0] == pytest.approx(once[0], rel=1e-3)
    # No shares, no mixture.
    assert fit_calibration(logits, 0 * shares, truth)[1] == 1.0
    with pytest.raises(ValueError, match="the same"):
        fit_calibration(logits, shares[:, :2], truth)


probabilities = st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda row: sum(row) > 0.1)


@given(probabilities, probabilities, st.floats(0, 1), st.floats(0, 1))
def test_mixtures_are_probabilities(own: list[float], shares: list[float], weight: float, some: float) -> None:
    rows = np.array([own]) / sum(own)
    mass = some * np.array([shares]) / sum(shares)
    found = mixed(rows, mass, weight)
    assert found.sum() == pytest.approx(1)
    assert found.min() >= -1e-12
    assert mixed(rows, mass, 1.0) == pytest.approx(rows)
    assert mixed(rows, 0 * mass, weight) == pytest.approx(rows)
    assert mixed(rows, mass / max(some, 1e-9), 0.0) == pytest.approx(mass / max(some, 1e-9)) or some < 1e-6


def test_scaling_makes_overconfident_probabilities_honest() -> None:
    logits, truth = drawn(20_000, 4)
    sure = 4 * logits
    before = expected_calibration_error(apply_temperature(sure, 1), truth)
    after = expected_calibration_error(apply_temperature(sure, fit_temperature(sure, truth)), truth)
    assert before > 0.15
    assert after < 0.02


def test_the_error_of_a_worked_example() -> None:
    """Two bins: 0.9 twice, right once (gap 0.4); 0.6 twice, right twice (gap 0.4). Weighted: 0.4."""
    probabilities = [[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.6, 0.4]]
    truth = [0, 0, 0, 0]
    assert expected_calibration_error(probabilities, truth) == pytest.approx(0.4)
    # In one bin the gaps of opposite sign cancel: mean probability 0.75, three of four right.
    assert expected_calibration_error(probabilities, truth, bins=1) == pytest.approx(0.0)
    assert expected_calibration_error(probabilities, truth, bins=2, kind="mass") == pytest.approx(0.4)


def test_certainty_falls_into_the_last_bin() -> None:
    assert expected_calibration_error([[1.0, 0.0], [1.0, 0.0]], [0, 1]) == pytest.approx(0.5)
    assert expected_calibration_error([[1.0, 0.0], [0.0, 1.0]], [0, 1]) == 0.0


def test_equal_probabilities_share_a_bin_of_equal_mass() -> None:
    """Split among bins, the same rows in another order would give another error."""
    probabilities = np.tile([0.5, 0.5], (10, 1))
    truth = np.array([0] * 5 + [1] * 5)
    assert expected_calibration_error(probabilities, truth, kind="mass") == pytest.approx(0.0)


rows = st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1, max_size=30)


@settings(max_examples=100, deadline=None)
@given(rows, st.data(), st.sampled_from(["width", "mass"]), st.integers(1, 12))
def test_the_error_is_bounded_and_does_not_depend_on_order(
    weights: list[list[float]], data: st.DataObject, kind: str, bins: int
) -> None:
    probabilities = np.array(weights) / np.sum(weights, axis=1, keepdims=True)
    truth = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(weights), max_size=len(weights))))
    error = expected_calibration_error(probabilities, truth, bins, kind)  # type: ignore[arg-type]
    assert 0 <= error <= 1
    order = data.draw(st.permutations(range(len(weights))))
    again = expected_calibration_error(probabilities[order], truth[order], bins, kind)  # type: ignore[arg-type]
    assert again == pytest.approx(error)
    # Of one bin it is the difference of the means; more bins can only find more.
    gap = abs(probabilities.max(1).mean() - (probabilities.argmax(1) == truth).mean())
    assert error >= gap - 1e-9


def test_few_rows_have_an_error_by_chance() -> None:
    few, many = (apply_temperature(drawn(n, 4)[0], 1) for n in (60, 6000))
    mean_few, high_few = calibrated_error(few)
    mean_many, high_many = calibrated_error(many, draws=50)
    assert 0.05 < mean_few < high_few
    assert mean_many < 0.02
    assert high_many < mean_few
    assert calibrated_error([[1.0, 0.0]]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("scores", "truth", "words"),
    [
        ([[0.5, 0.5]], [0, 1], "expected \\(n, values\\)"),
        ([0.5, 0.5], [0, 1], "expected \\(n, values\\)"),
        ([[0.5, 0.5]], [2], "places below 2"),
        ([[0.5, 0.5]], [0.5], "places below 2"),
        ([[np.nan, 0.5]], [0], "not numbers"),
    ],
)
def test_what_cannot_be_calibrated(scores: list[list[float]], truth: list[int], words: str) -> None:
    for function in (fit_temperature, expected_calibration_error):
        with pytest.raises(ValueError, match=words):
            function(scores, truth)


def test_other_bad_input() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        expected_calibration_error([[0.5, 0.6]], [0])
    with pytest.raises(ValueError, match="no row"):
        expected_calibration_error([[0.5, 0.5]], [UNKNOWN])
    with pytest.raises(ValueError, match="bins"):
        expected_calibration_error([[0.5, 0.5]], [0], bins=0)
    with pytest.raises(ValueError, match="temperature"):
        apply_temperature([[0.0]], 0)
