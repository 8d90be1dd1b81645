"""Names, shards and seeds depend on ids alone."""

from __future__ import annotations

import pytest

from mupd.base.ids import artifact_name, is_case_id, seed_of, shard_of, stain_name, stain_target


@pytest.mark.parametrize("case_id", ["TCGA-A6-2686", "a.b_c-1", "x" * 48])
def test_an_id_that_is_valid_everywhere_is_its_own_name(case_id: str) -> None:
    assert artifact_name(case_id) == case_id


@pytest.mark.parametrize("case_id", ["Doe, Jane", "", "-a", ".a", "a.", "x" * 49, "ä", "a/b", "a\n"])
def test_nothing_of_another_id_is_in_its_name(case_id: str) -> None:
    name = artifact_name(case_id)
    assert is_case_id(name)
    assert name.startswith("CASE-")
    assert len(name) == 21


def test_shards_and_seeds_are_those_of_earlier_runs() -> None:
    assert [shard_of(f"case-{number}", 4) for number in range(8)] == [2, 0, 3, 1, 1, 2, 0, 1]
    assert seed_of(1, "case-0", "he", 0) == 5260505843673015303
    seeds = {seed_of(*of) for of in [(1, "a", "he", 0), (2, "a", "he", 0), (1, "b", "he", 0), (1, "a", "rna", 0)]}
    assert len(seeds | {seed_of(1, "a", "he", 1)}) == 5


def test_a_stain_is_a_target_and_a_modality_is_no_stain() -> None:
    assert stain_name(stain_target("mif")) == "mif"
    assert stain_name("he") is None
