"""What a report states of a scored field is found and taken out, whichever way it is planted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.rna_text.masking import find_statements, leaked_fields, mask_report, masked_together
from benchmarks.stats import balanced_accuracy
from mupd.reports.record.fields import FIELDS, extract_record, render_record

REST = "Received fresh is a specimen of 4.5 cm. The margins are free. At a node, no tumour; 0 of 24 nodes are positive."
STAGED = [
    "Pathologic stage: pT3a pN0.",
    "pT2bG3 NO",
    "TNM (7th edition): T3N1M0",
    "Staging. ypT 2, pNX, pMX.",
    "Stage IIIA (AJCC)",
    "Dukes C",
    "p T 4 b (m)",
    "Primary tumour: T1",
    "The tumour invades through the muscularis propria into the subserosa.",
    "Tumor invades. through muscularis propria into pericolonic fat.",
    "Depth of invasion: submucosa",
    "Infiltration of the outer half of the detrusor muscle",
    "Tumour limited to the mucosa.",
    "Grade 3",
    "Histologic grade: high",
    "moderately to poorly. differentiated adenocarcinoma",
    "Well differentiated",
    "G2-3",
    "High-grade urothelial carcinoma",
    "undifferentiated carcinoma",
]


@pytest.mark.parametrize("planted", STAGED)
@pytest.mark.parametrize("field", ["t_category", "grade"])
def test_a_planted_statement_is_found_and_taken_out(planted: str, field: str) -> None:
    text = f"{REST} {planted} {REST}"
    found = find_statements(text, field)
    start = len(REST) + 1
    assert any(place.start < start + len(planted) and place.end > start for place in found)
    masked = mask_report(text, field)
    assert leaked_fields(masked, field) == {}
    left = set(masked.replace(REST, "").split()) - {".", ",", ";", "(", ")"}
    for word in (
        "pT3a",
        "T3N1M0",
        "G2-3",
        "IIIA",
        "differentiated",
        "muscularis",
        "submucosa",
        "Grade",
        "grade",
        "high",
    ):
        assert word not in left
    # What does not state it stays.
    assert masked.count("The margins are free.") == 2


def test_words_are_no_categories() -> None:
    assert find_statements(REST, "t_category") == []
    assert mask_report(REST, "grade") == REST
    text = "Sent to the lab at a node. No. 2 is a mass. Tan mat in a box; the nose is 3 cm."
    assert mask_report(text, "t_category") == text


@pytest.mark.parametrize("field", FIELDS)
def test_the_sentences_of_a_record_are_taken_out(field: str) -> None:
    record = {name: values[0] for name, values in FIELDS.items()} | {"grade": "G2", "t_category": "T3"}
    masked = mask_report(render_record(record), field)
    assert not set(extract_record(masked)) & set(masked_together(field))


def test_fields_of_a_kind_go_together() -> None:
    assert masked_together("grade") == masked_together("t_category") == ("grade", "t_category")
    assert {"organ", "diagnosis"} <= set(masked_together("subtype"))
    masked = mask_report("Radical cystectomy: urothelial carcinoma of the bladder, pT2.", "organ")
    assert "pT2" in masked
    assert not any(word in masked for word in ("cystectomy", "urothelial", "carcinoma", "bladder"))
    with pytest.raises(ValueError, match="mood"):
        mask_report("a", "mood")
    with pytest.raises(ValueError, match="mood"):
        find_statements("a", "mood")


def _reports(folder: Path) -> pd.DataFrame:
    tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in sorted(folder.glob("*_reports.csv.gz"))]
    return pd.concat(tables, ignore_index=True)


def _nearest(texts: list[str], truth: np.ndarray) -> float:
    """Balanced accuracy of the nearest of the other texts, by their words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    rows = TfidfVectorizer(lowercase=True, token_pattern=r"\w+", sublinear_tf=True).fit_transform(texts)
    alike = (rows @ rows.T).toarray()
    np.fill_diagonal(alike, -1)
    return balanced_accuracy(truth[alike.argmax(1)], truth)


@pytest.mark.parametrize(
    ("field", "plant"),
    [
        ("t_category", lambda value: f" Pathologic stage: p{value}. Tumour {value}, p{value}NX; stage {value}. " * 4),
        ("grade", lambda value: f" Histologic grade: {value}. Grading {value}; grade {value[1]}. " * 4),
    ],
)
def test_the_nearest_neighbour_finds_a_planted_leak_and_none_behind_the_mask(
    field: str, plant: Callable[[str], str]
) -> None:
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"word{i}" for i in range(60)])
    values = np.array(FIELDS[field][1:] if field == "t_category" else FIELDS[field])
    truth = rng.choice(values, 150)
    # Texts at random: nothing of the value is in them but what is planted.
    plain = [" ".join(rng.choice(vocabulary, 40)) + "." for _ in truth]
    leaking = [text + plant(value) for text, value in zip(plain, truth, strict=True)]
    masked = [mask_report(text, field) for text in leaking]
    chance = 1 / len(values)
    assert _nearest(leaking, truth) > 0.9
    assert _nearest(masked, truth) < chance + 0.15
    assert all(extract_record(text)[field] == value for text, value in zip(leaking, truth, strict=True))


@pytest.mark.parametrize("field", ["grade", "organ"])
def test_nothing_of_a_field_is_read_in_a_sample_of_real_reports(shared_data: Path, field: str) -> None:
    texts = _reports(shared_data / "tcga")["text"][::24]
    stated = [set(extract_record(text)) & set(masked_together(field)) for text in texts]
    assert sum(bool(names) for names in stated) > 15
    masked = [mask_report(text, field) for text in texts]
    assert [leaked_fields(text, field) for text in masked] == [{}] * len(texts)
    # The report is still there.
    assert sum(map(len, masked)) > 0.5 * sum(map(len, texts))


@pytest.mark.slow
@pytest.mark.parametrize("field", ["grade", "organ"])
def test_nothing_of_a_field_is_read_in_any_of_the_real_reports(shared_data: Path, field: str) -> None:
    texts = _reports(shared_data / "tcga")["text"]
    assert len(texts) == 715
    assert sum(bool(leaked_fields(mask_report(text, field), field)) for text in texts) == 0
