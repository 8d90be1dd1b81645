"""RNA profiles and records as vectors, and back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mupd.errors import ModelError
from mupd.model.calibration import apply_temperature
from mupd.model.record_codec import RecordCodec, direction_of
from mupd.model.rna_codec import KINDS, RnaCodec, fit_panel, panel_values
from mupd.model_folder.contents import DIRECTIONS
from mupd.reports.record.fields import FIELDS
from tests.fixtures.tiny_model import BULK_GENES, RNA_DIM, SPOT_GENES, tiny_codec

GENES = list(SPOT_GENES)


def log_cp10k(counts: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.log1p(1e4 * counts / counts.sum(1, keepdims=True))


def counts_of(n: int, genes: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).negative_binomial(3, 0.02, (n, genes)).astype(np.float64) + 1


profiles = st.lists(st.integers(0, 5000), min_size=len(GENES), max_size=len(GENES)).filter(any)


@given(counts=profiles, depth=st.floats(1e-3, 1e4))
def test_panel_values_do_not_depend_on_depth(counts: list[int], depth: float) -> None:
    """Neither on how deep was sequenced nor on what the profile holds beside the panel."""
    linear = np.array([counts], np.float64)
    values = panel_values(log_cp10k(linear), GENES, GENES)
    np.testing.assert_allclose(panel_values(np.log1p(depth * linear), GENES, GENES), values, rtol=1e-4, atol=1e-4)
    whole = np.concatenate([linear, [[7.0e5, 3.0]]], axis=1)
    others = [*GENES, "MT-CO1", "XIST"]
    np.testing.assert_allclose(panel_values(log_cp10k(whole), others, GENES), values, rtol=1e-3, atol=1e-3)
    assert np.expm1(values.astype(np.float64)).sum() == pytest.approx(1e4, rel=1e-4)


@given(order=st.permutations(range(len(GENES))))
def test_panel_values_do_not_depend_on_the_order_of_genes(order: list[int]) -> None:
    counts = counts_of(3, len(GENES))
    shuffled = panel_values(log_cp10k(counts)[:, order], [GENES[i] for i in order], GENES)
    np.testing.assert_allclose(shuffled, panel_values(log_cp10k(counts), GENES, GENES), rtol=1e-5)


def test_a_missing_gene_is_not_a_zero() -> None:
    values = panel_values(log_cp10k(counts_of(2, 3)), ["A", "B", "C"], ["B", "X", "A"])
    assert np.isnan(values[:, 1]).all()
    assert np.isfinite(values[:, [0, 2]]).all()
    empty = panel_values(np.zeros((1, 2)), ["A", "B"], ["A", "B"])
    assert (empty == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_missing_genes_are_filled_by_the_mean(kind: str) -> None:
    codec = tiny_codec()
    panel = codec.panels[kind]  # type: ignore[index]
    values = log_cp10k(counts_of(4, len(panel.genes)))
    known = list(panel.genes[::2])
    found = codec.standardise(values[:, ::2], known, kind)  # type: ignore[arg-type]
    assert (found[:, 1::2] == 0).all()
    assert (found[:, ::2] != 0).any()
    # A profile that has the panel's own mean everywhere is the origin.
    mean = panel.mean[None].astype(np.float64)
    np.testing.assert_allclose(codec.encode(mean, panel.genes, kind), 0, atol=1e-3)  # type: ignore[arg-type]


def test_what_cannot_be_encoded() -> None:
    codec = tiny_codec()
    values = log_cp10k(counts_of(2, len(GENES)))
    values[1, 3] = np.nan
    with pytest.raises(ValueError, match="found 1 values that are NaN or infinite"):
        codec.encode(values, GENES, "spot")
    values[1, 3] = np.inf
    with pytest.raises(ValueError, match="NaN or infinite"):
        codec.bulk_as_spot(values, GENES)
    with pytest.raises(ValueError, match="found none of the model's 50 bulk genes"):
        codec.encode(np.ones((1, 2)), ["Xist", "Actb"], "bulk")
    with pytest.raises(ValueError, match=rf"shape \(1, 2\); expected \(observations, {len(GENES)} genes\)"):
        codec.encode(np.ones((1, 2)), GENES, "spot")
    for read in (codec.condition, codec.decode):
        with pytest.raises(ValueError, match=rf"shape \(3, {RNA_DIM + 1}\); expected \(observations, {RNA_DIM} comp"):
            read(np.ones((3, RNA_DIM + 1)), "spot")


def test_a_full_rank_panel_comes_back_exactly() -> None:
    counts = counts_of(12, 9)
    names = [f"G{n}" for n in range(9)]
    values = panel_values(log_cp10k(counts), names, names)
    codec = RnaCodec({"spot": fit_panel(values, names, 9), "bulk": fit_panel(values, names, 9)})
    components = codec.encode(log_cp10k(counts), names, "spot")
    np.testing.assert_allclose(codec.decode(components, "spot"), values, atol=2e-3)
    np.testing.assert_allclose(components.std(0, ddof=1), 1, rtol=2e-3)  # whitened
    np.testing.assert_allclose(components.mean(0), 0, atol=2e-3)


def test_fewer_components_lose_only_what_lies_outside() -> None:
    counts = counts_of(40, 9)
    names = [f"G{n}" for n in range(9)]
    values = panel_values(log_cp10k(counts), names, names)
    errors = []
    for dim in (1, 3, 6):
        codec = RnaCodec({"spot": fit_panel(values, names, dim), "bulk": fit_panel(values, names, dim)})
        errors.append(np.abs(codec.decode(codec.encode(log_cp10k(counts), names, "spot"), "spot") - values).mean())
    assert errors[0] > errors[1] > errors[2] > 0


@given(st.lists(st.floats(-50, 50), min_size=RNA_DIM, max_size=RNA_DIM), st.sampled_from(KINDS))
def test_decoded_values_are_expression(components: list[float], kind: str) -> None:
    values = tiny_codec().decode(np.array([components], np.float32), kind)  # type: ignore[arg-type]
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert values.min() >= 0


def test_conditions_tell_the_kind() -> None:
    codec = tiny_codec()
    components = np.random.default_rng(0).standard_normal((5, RNA_DIM)).astype(np.float32)
    for kind, flag in (("spot", 0.0), ("bulk", 1.0)):
        condition = codec.condition(components, kind)  # type: ignore[arg-type]
        assert condition.shape == (5, RNA_DIM + 1)
        assert (condition[:, -1] == flag).all()
    assert codec.genes == sorted(set(SPOT_GENES) | set(BULK_GENES))
    assert len(set(SPOT_GENES) & set(BULK_GENES)) == 20


def test_bulk_as_spot_reads_shared_genes_alone() -> None:
    codec = tiny_codec()
    values = log_cp10k(counts_of(2, len(BULK_GENES)))
    moved = codec.bulk_as_spot(values, BULK_GENES)
    assert moved.shape == (2, RNA_DIM)
    z = codec.standardise(values, BULK_GENES, "bulk")
    only_bulk = [gene not in SPOT_GENES for gene in BULK_GENES]
    panel = codec.panels["spot"]
    by_hand = np.zeros((2, len(SPOT_GENES)))
    for column, gene in enumerate(SPOT_GENES):
        if gene in BULK_GENES:
            by_hand[:, column] = z[:, BULK_GENES.index(gene)]
    assert any(only_bulk)
    np.testing.assert_allclose(moved, by_hand @ panel.components.T / panel.scale, rtol=1e-4, atol=1e-5)


def test_a_codec_is_the_same_after_saving(tmp_path: Path) -> None:
    codec = tiny_codec()
    codec.save_pretrained(tmp_path / "rna_codec")
    again = RnaCodec.from_pretrained(tmp_path / "rna_codec")
    values = log_cp10k(counts_of(3, len(GENES)))
    assert np.array_equal(codec.encode(values, GENES, "spot"), again.encode(values, GENES, "spot"))
    assert again.genes == codec.genes


RECORDS = RecordCodec(FIELDS)
records = st.fixed_dictionaries({}, optional={field: st.sampled_from(values) for field, values in FIELDS.items()})


@given(records)
def test_records_come_back_from_their_blocks(record: dict[str, str]) -> None:
    values, known = RECORDS.encode(record)
    assert values.shape == (len(FIELDS), RECORDS.block)
    assert values.numel() == RECORDS.dim
    assert {field for field, there in zip(FIELDS, known.tolist(), strict=True) if there} == set(record)
    named = RECORDS.named_probabilities(values)
    for field in FIELDS:
        assert list(named[field]) == list(FIELDS[field])
        if field in record:
            assert {value for value, share in named[field].items() if share} == {record[field]}
        else:
            assert not any(named[field].values())
    assert not values[~RECORDS.usable_values()].any()


@given(st.lists(st.floats(-30, 30), min_size=RECORDS.dim, max_size=RECORDS.dim), st.floats(-5, 5))
def test_logits_become_distributions_over_a_fields_own_values(logits: list[float], shift: float) -> None:
    tensor = torch.tensor([logits])
    found = RECORDS.log_probabilities(tensor).exp()[0]
    for row in RECORDS.named_probabilities(found).values():
        assert sum(row.values()) == pytest.approx(1, abs=1e-4)
    assert not found[~RECORDS.usable_values()].any()
    torch.testing.assert_close(RECORDS.log_probabilities(tensor + shift).exp()[0], found, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("record", "words"),
    [({"stage": "II"}, "found field 'stage'"), ({"organ": "spleen"}, r"record\['organ'\]: found 'spleen'")],
)
def test_records_outside_the_vocabulary(record: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RECORDS.encode(record)


names = st.text("abcdefgh ", min_size=1, max_size=8)


@given(st.dictionaries(names, st.lists(names, min_size=1, max_size=6, unique=True), min_size=1, max_size=5))
def test_a_model_keeps_its_own_vocabulary(fields: dict[str, list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        RecordCodec(fields).save_pretrained(folder)
        again = RecordCodec.from_pretrained(folder)
    assert {field: list(values) for field, values in again.fields.items()} == fields
    # The order is that of the vector's blocks.
    assert list(again.fields) == list(fields)
    assert again.dim == len(fields) * max(len(values) for values in fields.values())


def test_a_model_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"record\.json of the model is not there"):
        RecordCodec.from_pretrained(tmp_path)


def test_a_temperature_of_a_field_tempers_it_alone_and_in_its_direction(tmp_path: Path) -> None:
    RecordCodec(FIELDS, {"rna": {"grade": 2.0}}).save_pretrained(tmp_path)
    codec = RecordCodec.from_pretrained(tmp_path)
    plain_row = dict.fromkeys(FIELDS, 1.0)
    assert codec.temperatures == {"he": plain_row, "rna": plain_row | {"grade": 2.0}, "he+rna": plain_row}
    logits = torch.randn(3, codec.dim, generator=torch.Generator().manual_seed(0))
    plain, tempered = RECORDS.log_probabilities(logits), codec.log_probabilities(logits, "rna")
    row = list(FIELDS).index("grade")
    places = len(FIELDS["grade"])
    for other in range(len(FIELDS)):
        assert torch.equal(plain[:, other], tempered[:, other]) == (other != row)
    expected = torch.from_numpy(apply_temperature(plain[:, row, :places].numpy(), 2.0)).float()
    torch.testing.assert_close(tempered[:, row, :places].exp(), expected)
    for untouched in ("he", "he+rna", None):
        assert torch.equal(codec.log_probabilities(logits, untouched), plain)
    with pytest.raises(ValueError, match="temperatures"):
        RecordCodec(FIELDS, {"rna": {"mood": 1.0}})
    with pytest.raises(ValueError, match="temperatures"):
        RecordCodec(FIELDS, {"text": {"grade": 1.0}})
    with pytest.raises(ValueError, match="direction"):
        codec.log_probabilities(logits, "text")


def test_temperatures_of_models_without_directions_hold_for_all(tmp_path: Path) -> None:
    old = {"fields": {field: list(values) for field, values in FIELDS.items()}, "temperatures": {"grade": 3.0}}
    (tmp_path / "record.json").write_text(json.dumps(old))
    codec = RecordCodec.from_pretrained(tmp_path)
    assert {direction: row["grade"] for direction, row in codec.temperatures.items()} == dict.fromkeys(DIRECTIONS, 3.0)
    codec.save_pretrained(tmp_path)
    assert RecordCodec.from_pretrained(tmp_path).temperatures == codec.temperatures
    assert set(json.loads((tmp_path / "record.json").read_text())["temperatures"]) == set(DIRECTIONS)


GRADES = {"bladder": {"grade": {"G1": 0.1, "G3": 0.9}}}


def test_shares_of_the_organ_are_mixed_in_as_far_as_a_direction_relies_on_them(tmp_path: Path) -> None:
    RecordCodec(FIELDS, None, {"rna": {"grade": 0.25, "t_category": 0.5}}, GRADES).save_pretrained(tmp_path)
    codec = RecordCodec.from_pretrained(tmp_path)
    assert codec.shares == GRADES
    assert codec.reliance["rna"] == dict.fromkeys(FIELDS, 1.0) | {"grade": 0.25, "t_category": 0.5}
    logits = torch.randn(5, codec.dim, generator=torch.Generator().manual_seed(0))
    own = codec.log_probabilities(logits).exp()
    assert torch.equal(codec.blended(own, "he"), own)
    found = codec.blended(own, "rna")
    torch.testing.assert_close(found.sum(-1), torch.ones(5, len(FIELDS)))
    organ, grade = list(FIELDS).index("organ"), list(FIELDS).index("grade")
    for other in range(len(FIELDS)):  # the T category has no shares
        assert torch.allclose(found[:, other], own[:, other], atol=1e-6) == (other != grade)
    bladder = own[:, organ, FIELDS["organ"].index("bladder")]
    for value, share in (("G1", 0.1), ("G2", 0.0), ("G3", 0.9)):
        place = FIELDS["grade"].index(value)
        # Training told other organs no grade: there none is likelier.
        expected = 0.25 * own[:, grade, place] + 0.75 * (bladder * share + (1 - bladder) / 3)
        torch.testing.assert_close(found[:, grade, place], expected)
    organs = {"bladder": 0.8, "stomach": 0.2}
    assert codec.leaning(organs, "rna") == {"grade": pytest.approx(0.6)}
    assert codec.leaning(organs, "he") == codec.leaning({"bladder": 0.005, "lung": 0.995}, "rna") == {}
    with pytest.raises(ValueError, match="reliance"):
        RecordCodec(FIELDS, None, {"rna": {"grade": 1.5}})
    with pytest.raises(ValueError, match="shares"):
        RecordCodec(FIELDS, shares={"bladder": {"grade": {"G9": 1.0}}})


def test_records_are_redrawn_as_often_as_they_are_not_relied_on() -> None:
    codec = RecordCodec(FIELDS, None, {"rna": {"grade": 0.25}}, GRADES)
    own = {"organ": "bladder", "grade": "G2", "t_category": "T1"}
    drawn = [codec.redrawn(own, "rna", np.random.default_rng(seed)) for seed in range(2000)]
    assert {(row["organ"], row["t_category"]) for row in drawn} == {("bladder", "T1")}
    counts = {value: sum(row["grade"] == value for row in drawn) / 2000 for value in FIELDS["grade"]}
    assert counts == pytest.approx({"G1": 0.075, "G2": 0.25, "G3": 0.675}, abs=0.03)
    assert codec.redrawn(own, "rna", np.random.default_rng(7)) == drawn[7]
    for seed in range(20):
        assert codec.redrawn(own, "he", np.random.default_rng(seed)) == own
    elsewhere = own | {"organ": "stomach"}
    drawn = [codec.redrawn(elsewhere, "rna", np.random.default_rng(seed)) for seed in range(2000)]
    counts = {value: sum(row["grade"] == value for row in drawn) / 2000 for value in FIELDS["grade"]}
    assert counts == pytest.approx({"G1": 0.25, "G2": 0.5, "G3": 0.25}, abs=0.03)


def test_directions_are_named_by_what_is_given() -> None:
    assert direction_of(["rna", "pathways"]) == direction_of(["pathways"]) == "rna"
    assert direction_of({"pathways": 1, "he": 2}) == "he+rna"
    assert direction_of(["he"]) == "he"
    for wrong in ([], ["text"], ["he", "text"]):
        with pytest.raises(ValueError, match="streams"):
            direction_of(wrong)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"fields": {}}',
        '{"fields": {"organ": []}}',
        '{"fields": {"organ": ["a", "a"]}}',
        "{",
        '{"fields": {"organ": ["a"]}, "temperatures": {"organ": 0}}',
        '{"fields": {"organ": ["a"]}, "temperatures": {"mood": 1}}',
        '{"fields": {"organ": ["a"]}, "temperatures": [1]}',
        '{"fields": {"organ": ["a"]}, "temperatures": {"he": {"organ": 0}}}',
        '{"fields": {"organ": ["a"]}, "temperatures": {"text": {"organ": 1}}}',
        '{"fields": {"organ": ["a"]}, "temperatures": {"he": {"organ": 1}, "rna": 1}}',
        '{"fields": {"organ": ["a"]}, "temperature": {}}',
        '{"fields": {"organ": ["a"]}, "reliance": {"he": {"organ": 0}}}',
        f'{{"fields": {{"organ": ["a"]}}, "temperatures": {{"he": {{"organ": 1{"0" * 400}}}}}}}',
        '{"fields": {"organ": ["a"]}, "reliance": {"he": {"organ": 1.1}}}',
        '{"fields": {"organ": ["a"]}, "reliance": {"text": {"organ": 1}}}',
        '{"fields": {"organ": ["a"]}, "reliance": {"organ": 1}}',
        '{"fields": {"organ": ["a"], "grade": ["G1"]}, "shares": {"b": {"grade": {"G1": 1}}}}',
        '{"fields": {"organ": ["a"], "grade": ["G1"]}, "shares": {"a": {"grade": {"G2": 1}}}}',
        '{"fields": {"organ": ["a"], "grade": ["G1"]}, "shares": {"a": {"grade": {"G1": 0.5}}}}',
        '{"fields": {"organ": ["a"], "grade": ["G1", "G2"]}, "shares": {"a": {"grade": {"G1": 2, "G2": -1}}}}',
        '{"fields": {"organ": ["a"]}, "shares": {"a": {"organ": {"a": 1}}}}',
        '{"fields": {"organ": ["a"]}, "shares": {"a": 1}}',
        '{"fields": {"organ": ["a"]}, "shares": [1]}',
        '{"fields": {"grade": ["G1"]}, "shares": {"a": {"grade": {"G1": 1}}}}',
        '{"fields": 1}',
    ],
)
def test_files_that_are_no_vocabulary(tmp_path: Path, content: str) -> None:
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(ModelError, match=r"record\.json"):
        RecordCodec.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="fields"):
        RecordCodec({})
