"""Verdicts come back from Parquet as they were written."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.contracts.verdicts import (
    FAILED_DRAW,
    NOT_MEASURED,
    Check,
    Verdict,
    as_json,
    failed_task,
    not_measured,
    read_verdicts,
    sentences,
    write_verdicts,
)
from mupd.errors import MupdError

texts = st.text(st.characters(codec="utf-8"), max_size=20)
json_values = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), texts)
checks = st.lists(st.builds(Check, texts, json_values, json_values, st.sampled_from((True, False, None)), texts))
verdicts = st.builds(
    Verdict,
    case_id=texts,
    target=st.sampled_from(("he", "rna", "text", "stain:mif")),
    draw=st.integers(FAILED_DRAW, 10**6),
    verdict=st.sampled_from(("accepted", "rejected", "failed")),
    reasons=texts,
    checks=checks.map(as_json),
    content_sha256=texts,
    folder=texts,
    facts=st.dictionaries(texts, json_values, max_size=3),
)


@given(st.lists(verdicts, max_size=5))
@settings(max_examples=50, deadline=None)
def test_verdicts_are_read_as_they_were_written(rows: list[Verdict]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "shard.parquet"
        write_verdicts(path, rows)
        assert read_verdicts(path) == rows


@pytest.mark.parametrize("change", ["unknown", "missing"])
def test_a_table_with_other_columns_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "shard.parquet"
    write_verdicts(path, [failed_task("A", "rna", "no draw")])
    table = pd.read_parquet(path)
    table = table.assign(score=1.0) if change == "unknown" else table.drop(columns="reasons")
    table.to_parquet(path)
    with pytest.raises(MupdError, match=r"shard\.parquet: found columns .*; expected .*reasons.*`mupd check`"):
        read_verdicts(path)


@given(checks)
def test_every_sentence_is_either_a_failure_or_a_warning(rows: list[Check]) -> None:
    failures, warnings = sentences(rows, failed=True), sentences(rows, failed=False)
    assert sorted(failures + warnings) == sorted(row.sentence for row in rows if row.sentence)
    assert failures == [row.sentence for row in rows if row.sentence and row.ok is False]


def test_what_was_not_measured_counts_neither_as_passed_nor_as_failed() -> None:
    check = not_measured("mass", "no measured profile of this organ")
    assert check.ok is None
    assert as_json([check]) == {
        "mass": {"value": NOT_MEASURED, "limit": "no measured profile of this organ", "ok": None}
    }
