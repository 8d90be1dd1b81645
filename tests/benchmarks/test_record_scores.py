"""How a record's probabilities are calibrated and scored, and what a card says of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.model.bench import Effort
from benchmarks.model.record_scores import field_error, log_loss, share_probabilities
from benchmarks.model.records import Sets, calibrated, log_loss_figure
from benchmarks.model.words import measured_limits
from mupd.model.calibration import UNTOLD
from mupd.model.record_codec import RecordCodec
from mupd.training.calibrate.records import Scored, value_indices
from mupd.training.calibrate.run import LEAST_RECORDS, LEAST_ROWS, fit_directions, training_shares

TINY = Effort(
    he_draws=2, rna_draws=19, text_draws=19, steps=2, bootstraps=20, region_px=256, memory_px=(128, 256), most_spots=6
)


def test_places_of_values() -> None:
    fields = {"organ": ("lung", "bone"), "grade": ("G1", "G2", "G3")}
    assert value_indices(fields, [{"grade": "G3"}, {"organ": "bone", "grade": "G1"}]).tolist() == [[-1, 2], [1, 0]]
    assert value_indices(fields, []).shape == (0, 2)


def test_errors_of_fields_do_not_cancel() -> None:
    """One field says 0.75 and is always right, one says 0.75 and is half right: a gap of 0.25 each, of either sign."""
    probabilities = np.tile([0.75, 0.25], (4, 2, 1))
    truth = np.array([[0, 0], [0, 1], [0, 0], [0, 1]])
    assert field_error(probabilities, truth) == pytest.approx(0.25)
    assert field_error(probabilities, np.where([[True, False]], truth, -1)) == pytest.approx(0.25)
    assert log_loss(probabilities, truth) == pytest.approx(-(6 * np.log(0.75) + 2 * np.log(0.25)) / 8)
    unknown = np.where([[True, False]], truth, -1)
    assert log_loss(probabilities, unknown) == pytest.approx(-np.log(0.75))


def test_a_field_that_the_model_cannot_tell_is_left_to_the_shares_of_training() -> None:
    """In one direction the model knows the grade, in the other it is sure and wrong: shares stand in for it there."""
    fields = {"organ": ("bladder", "stomach"), "grade": ("G1", "G2")}
    random = np.random.default_rng(0)
    records = [{"organ": "bladder", "grade": random.choice(["G1", "G2"], p=[0.9, 0.1])} for _ in range(400)]
    records += [{"organ": "stomach", "grade": "G2"}] * (LEAST_RECORDS - 1)
    shares = training_shares(records, fields)
    assert set(shares) == {"bladder"}  # of the stomach there are too few
    assert shares["bladder"]["grade"]["G1"] == pytest.approx(0.9, abs=0.05)
    assert "organ" not in shares["bladder"]
    truth = value_indices(fields, records[:200])
    right = np.eye(2)[truth] * 6.0
    wrong = right.copy()
    wrong[:, 1] = 6.0 * np.eye(2)[random.integers(0, 2, 200)]
    codec = fit_directions(fields, shares, {"rna": [Scored(wrong, truth)] * 4, "he": [Scored(right, truth)] * 4})
    assert codec.reliance["he"]["grade"] == 1
    assert codec.reliance["rna"]["grade"] < 0.3
    stated = calibrated(Scored(wrong, truth), codec, "rna")
    alone = calibrated(Scored(wrong, truth), RecordCodec(fields, codec.temperatures), "rna")
    assert log_loss(stated, truth) < log_loss(alone, truth) - 0.02
    assert (stated[:, 1].argmax(1) == 0).all()  # what is most frequent
    few = np.where(np.arange(200)[:, None] < np.array([200, LEAST_ROWS - 1]), truth, -1)
    unchecked = fit_directions(fields, shares, {"he": [Scored(right, few)] * 4})
    assert unchecked.temperatures["he"]["organ"] < UNTOLD
    assert unchecked.temperatures["he"] == unchecked.temperatures["rna"] == unchecked.temperatures["he+rna"]
    assert calibrated(Scored(right, few), unchecked, "he")[:, 1] == pytest.approx(0.5, abs=1e-4)  # undetermined
    taught = fit_directions(fields, shares, {"he": [Scored(right, few)] * 4}, unchecked=True)
    assert taught.temperatures["he"]["grade"] == 1.0  # by the user's own cases
    enough = np.where(np.arange(200)[:, None] < np.array([200, LEAST_ROWS]), truth, -1)
    told = fit_directions(fields, shares, {"he": [Scored(right, enough)] * 4})
    assert told.temperatures["he"]["grade"] < UNTOLD
    no_organ = np.where(np.arange(200)[:, None] < np.array([LEAST_ROWS - 1, 200]), truth, -1)
    alone = fit_directions(fields, shares, {"rna": [Scored(wrong, no_organ)] * 4})
    assert alone.reliance["rna"]["grade"] == 1  # shares are of organs, and these are not told
    both = fit_directions(fields, shares, {"rna": [Scored(wrong, truth)] * 4, "he": [Scored(right, truth)] * 4})
    assert both.reliance["rna"]["grade"] < both.reliance["he+rna"]["grade"] < 1
    with_unknown = np.where(np.arange(200)[:, None] < 100, truth, -1)
    expected = share_probabilities(fields, truth, with_unknown, 2)
    assert expected[0, 1] == pytest.approx([(truth[:, 1] == 0).mean(), (truth[:, 1] == 1).mean()], abs=1e-3)
    assert expected.sum(-1) == pytest.approx(np.ones((200, 2)))


def test_the_log_loss_beyond_the_organ_stands_beside_shares_of_the_organ() -> None:
    fields = {"organ": ("bladder", "stomach"), "grade": ("G1", "G2", "G3")}
    trained = np.array([[0, 0]] * 3 + [[0, 1]] + [[1, 1]] * 4)
    overall = np.array([3, 5, 0]) / 8
    truth = np.array([[0, 0], [1, 1], [1, 2], [1, -1]])  # G3 was in no training record
    shares = share_probabilities(fields, trained, truth, 3)
    assert shares[0, 1] == pytest.approx((np.array([3, 1, 0]) + overall) / 5)
    assert shares[1, 1] == pytest.approx((np.array([0, 4, 0]) + overall) / 5)
    said = np.array([[[0.5, 0.5, 0], [0.9, 0.05, 0.05]]] * 4)
    before = np.array([[[0.5, 0.5, 0], [0.2, 0.2, 0.6]]] * 4)
    bench = SimpleNamespace(pipeline=SimpleNamespace(record_codec=RecordCodec(fields)), effort=TINY)
    x = np.zeros((8, 1), np.float32)
    sets = Sets("RNA to text", "patients", "rna", x, trained, x[:4], Scored(np.log(said + 1e-9), truth))
    (row,) = log_loss_figure(bench, sets, said, before).values()  # type: ignore[arg-type]
    assert row["value"] == pytest.approx(-np.log([0.9, 0.05]).mean(), abs=1e-3)
    beside = {name: found["value"] for name, found in row["baselines"].items()}
    expected = -np.log([shares[0, 1, 0], shares[1, 1, 1]]).mean()
    assert beside["training shares of the true organ"] == pytest.approx(expected, abs=1e-3)
    assert beside["before calibration"] == pytest.approx(-np.log(0.2), abs=1e-3)
    assert row["target"]["below"] == pytest.approx(expected, abs=1e-3)
    assert not row["met"]
    assert f"grade {row['value']:.2f} and {expected:.2f}" in row["note"]


def test_limits_follow_from_figures() -> None:
    def row(value: float, interval: tuple[float, float], **more: object) -> dict[str, object]:
        return {"value": value, "interval_95": list(interval), "note": "", **more}

    ridge = {"target": {"above": 0.0, "below": None}}
    assert measured_limits({}) == []
    good = {"H&E to RNA: above ridge": row(0.02, (0.01, 0.03), met=True, **ridge)}
    assert measured_limits(good) == []
    unsure = {"H&E to RNA: above ridge": row(0.02, (-0.01, 0.03), met=True, **ridge)}
    assert "not surely above" in measured_limits(unsure)[0]
    below = {"H&E to RNA: above ridge": row(-0.02, (-0.03, -0.01), met=False, **ridge)}
    assert "is not above" in measured_limits(below)[0]
    narrow = row(0.7, (0.6, 0.8), met=False, target={"above": 0.85, "below": 0.95})
    assert "too narrow" in measured_limits({"text to RNA: coverage of the 90 % interval": narrow})[0]
    untold = {"H&E to text: calibration error": row(0.02, (0.01, 0.03), met=True, untold=["grade", "subtype"])}
    assert "grade, subtype could not be checked" in measured_limits(untold)[0]
    leaning = {"RNA to text: calibration error": row(0.02, (0.01, 0.03), met=True, shares={"grade": 0.65})}
    assert "(grade 65 %)" in measured_limits(leaning)[0]
    shares = {"training shares of the true organ": {"value": 0.5}}
    worse = {"log loss": {"value": 0.2}, "log loss, before": {"value": 0.1}}
    assert (
        "worse" in measured_limits({"H&E to text: calibration error": row(0.02, (0, 1), met=True, baselines=worse)})[0]
    )
    for interval, words in (((0.3, 0.45), []), ((0.3, 0.55), ["not surely better than shares"])):
        found = measured_limits(
            {"RNA to text: log loss beyond the organ": row(0.4, interval, baseline=0.5, baselines=shares)}
        )
        assert len(found) == len(words)
        assert all(word in line for word, line in zip(words, found, strict=True))
    chance = row(0.4, (0.3, 0.5), baselines={"majority": {"value": 0.33}})
    assert "RNA to text: grade" in measured_limits({"RNA to text: grade": chance})[0]
