from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mupd.synthetic.statement import BANNER
from mupd.synthetic.text.marks import (
    JSON_MARKS,
    TXT_MARKS,
    build_report,
    consensus,
    json_marks,
    render_report,
    report_intact,
    text_intact,
    text_marks,
    text_provenance,
    write_report,
)
from tests.fixtures.synthetic import meta_of

RECORDS: dict[int, Any] = {
    0: {"organ": {"value": "colon", "probabilities": {"colon": 0.7, "breast": 0.3}}},
    1: {"organ": {"value": "breast", "probabilities": {"colon": 0.4, "breast": 0.6}}},
    2: {"organ": {"value": "colon", "probabilities": {"colon": 0.9, "breast": 0.05, "lung": 0.05}}},
}


def report(abstain_below: float = 0.4) -> dict[str, Any]:
    metas = [meta_of("text", draw) for draw in RECORDS]
    return build_report(RECORDS, metas, artifact_key="k" * 64, abstain_below=abstain_below)


def test_consensus_is_the_mean_over_draws() -> None:
    field = consensus(RECORDS, 0.4)["organ"]
    assert field["value"] == "colon"
    assert field["probability"] == pytest.approx(2.0 / 3, abs=1e-6)
    assert field["probabilities"] == pytest.approx({"breast": 0.95 / 3, "colon": 2.0 / 3, "lung": 0.05 / 3}, abs=1e-6)
    assert field["draws"] == {"0": "colon", "1": "breast", "2": "colon"}
    assert field["agreement"] == pytest.approx(2 / 3, abs=1e-6)


def test_a_tie_goes_to_the_first_in_the_alphabet() -> None:
    tie = {0: {"grade": {"value": "G3", "probabilities": {"G3": 0.45, "G2": 0.45, "G1": 0.1}}}}
    assert consensus(tie, 0.4)["grade"]["value"] == "G2"
    assert consensus(tie, 0.4)["grade"]["agreement"] == 0.0


def test_a_field_without_a_probable_value_is_undetermined() -> None:
    shares = {"G1": 0.33, "G2": 0.34, "G3": 0.33}
    old = {"grade": {"value": "G2", "probabilities": shares}}
    new = {"grade": {"value": None, "abstained": True, "probabilities": {"G1": 0.35, "G2": 0.32, "G3": 0.33}}}
    field = consensus({0: old, 1: new}, 0.4)["grade"]
    assert (field["value"], field["abstained"], field["most_probable"]) == (None, True, "G1")
    assert (field["probability"], field["draws"]) == (0.34, {"0": "G2", "1": None})
    assert field["agreement"] == 0
    stated = consensus({0: old, 1: new}, 0.34)["grade"]
    assert (stated["value"], stated["abstained"]) == ("G1", False), "the limit itself is enough"
    metas = [meta_of("text", draw) for draw in (0, 1)]
    text = render_report(build_report({0: old, 1: new}, metas, artifact_key="k", abstain_below=0.4))
    assert "\nGrade: undetermined (most probable: G1, p=0.34)\n" in text
    untold = {"grade": {"value": None, "abstained": True, "probabilities": dict.fromkeys(shares, 1 / 3)}}
    text = render_report(build_report({0: untold, 1: untold}, metas, artifact_key="k", abstain_below=0.4))
    assert "\nGrade: undetermined (all values equally probable)\n" in text
    assert consensus({0: untold, 1: untold}, 0.0)["grade"]["value"] is None, "whatever the limit"


@given(
    st.dictionaries(
        st.integers(0, 5),
        st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1), min_size=1),
        min_size=1,
    ),
    st.floats(0, 1),
)
def test_consensus_stays_a_distribution(draws: dict[int, dict[str, float]], limit: float) -> None:
    records = {}
    for draw, weights in draws.items():
        total = sum(weights.values()) or 1.0
        shares = {value: weight / total for value, weight in weights.items()}
        records[draw] = {"organ": {"value": max(shares, key=shares.__getitem__), "probabilities": shares}}
    field = consensus(records, limit)["organ"]
    assert 0 <= sum(field["probabilities"].values()) <= 1 + 1e-5
    assert field["probability"] == max(field["probabilities"].values())
    assert 0 <= field["agreement"] <= 1
    means = field["probabilities"].values()
    alike = len(means) > 1 and max(means) - min(means) < 1e-3
    assert field["abstained"] == (field["value"] is None) == (field["probability"] < limit or alike)


def test_json_begins_with_the_banner(tmp_path: Path) -> None:
    write_report(report(), tmp_path / "report.synthetic.json", tmp_path / "report.synthetic.txt")
    text = (tmp_path / "report.synthetic.json").read_text()
    assert text.startswith(f'{{\n  "SYNTHETIC": "{BANNER}. This pathology record was not measured.')
    read = json.loads(text)
    assert tuple(json_marks(read)) == JSON_MARKS
    assert read["id"] == "SYN-CASE-01"
    assert read["mupd"]["model_sha256"] == "d" * 64
    assert read["mupd"]["given_sha256"] == {"he": "c" * 64}
    assert report_intact(read)


def test_text_stands_under_the_banner() -> None:
    text = render_report(report())
    assert text.splitlines()[0] == BANNER
    assert "Organ: colon (probability 0.67; 2 of 3 draws agree)" in text
    assert tuple(text_marks(text)) == TXT_MARKS
    assert text_provenance(text) == {
        "case_id": "CASE-01",
        "model_id": "mupd-test",
        "given": ["he"],
        "draws": [0, 1, 2],
    }
    assert text_intact(text)


@given(st.integers(0, 10_000), st.characters(min_codepoint=33, max_codepoint=126))
def test_any_edit_of_the_text_is_noticed(position: int, letter: str) -> None:
    text = render_report(report())
    position %= len(text) - 1
    edited = text[:position] + letter + text[position + 1 :]
    assert text_intact(edited) == (edited == text)


def test_an_edit_of_the_json_is_noticed() -> None:
    edited = report()
    edited["fields"]["organ"]["value"] = "breast"
    assert not report_intact(edited)


def test_reruns_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_report(report(), tmp_path / f"{name}.json", tmp_path / f"{name}.txt")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()


def test_draws_and_metas_must_fit() -> None:
    with pytest.raises(ValueError, match="expected"):
        build_report(RECORDS, [meta_of("text", 0)], artifact_key="k", abstain_below=0.4)
    with pytest.raises(ValueError, match="probabilities"):
        consensus({0: {"organ": {"value": "x", "probabilities": {}}}}, 0.4)
