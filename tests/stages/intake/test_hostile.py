"""The hostile corpus through the real inventory: no crash, no hang, never a wrong ``measured``."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mupd.contracts.inventory import Entry, read_inventory
from mupd.stages.intake import run_shard, status_rows
from tests.hostile.corpus import LIMITS, make_corpus
from tests.hostile.item import Hostile


def test_every_hostile_input_is_what_it_must_be_and_all_others_go_on(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    assert len(corpus.items) >= 60
    began = time.monotonic()
    cases = status_rows(corpus.config, jobs=2)
    assert corpus.faults(cases) == []
    assert sum(case.case_id.startswith("fine") for case in cases) >= 6
    # None takes as long as it may: nothing ended at the limit of time.
    assert time.monotonic() - began < 10 * LIMITS["file_seconds"]
    assert not any("file_seconds" in entry.reason for case in cases for entry in case.entries.values())


@pytest.mark.slow
def test_the_corpus_runs_as_shards_and_again_from_its_cache(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    for _ in range(2):
        cases = [case for shard in range(3) for case in read_inventory(run_shard(corpus.config, shard, jobs=2))]
        assert corpus.faults(cases) == []


def test_a_wrong_status_or_reason_is_told() -> None:
    item = Hostile("words named .svs", "he", ".svs", Path.touch, word="slide")
    assert item.fault(Entry("A", "he", "unusable", "does not open as a Slide")) == ""
    assert "found measured" in item.fault(Entry("A", "he", "measured"))
    assert "expected 'slide'" in item.fault(Entry("A", "he", "unusable", "no"))
