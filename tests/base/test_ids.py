"""Names, shards and seeds depend on ids alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mupd.base.ids import artifact_name, is_case_id, seed_of, shard_name, shard_of, stain_name, stain_target


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


case_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,46}[A-Za-z0-9]", fullmatch=True)


@given(case_ids, st.integers(1, 4000))
def test_shards_follow_from_the_id_alone(case_id: str, shards: int) -> None:
    assert is_case_id(case_id)
    assert 0 <= shard_of(case_id, shards) < shards
    assert shard_of(case_id, shards) == shard_of(str(case_id), shards)
    assert shard_of(case_id, 1) == 0


@given(st.lists(case_ids, min_size=2, max_size=20, unique=True), st.integers(0, 2**63 - 1))
def test_seeds_are_all_different(cases: list[str], run_seed: int) -> None:
    seeds = [
        seed_of(run_seed, case, target, draw) for case in cases for target in ("he", "rna", "text") for draw in (0, 1)
    ]  # type: ignore[arg-type]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_names_do_not_move_between_versions() -> None:
    """A changed hash would give every user other artifacts and other shards for the same cohort."""
    assert [shard_of(case, 16) for case in ("A", "B", "TCGA-DK-A2I6")] == [15, 11, 8]
    assert seed_of(1, "A", "he", 0) == 4424717844959032969
    assert shard_name(3) == "shard-0003"


def test_shards_are_even() -> None:
    counts = [0] * 16
    for number in range(4000):
        counts[shard_of(f"CASE-{number}", 16)] += 1
    assert min(counts) > 180
    assert max(counts) < 320
