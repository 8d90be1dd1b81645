from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mupd.base.near_ids import IdIndex, advice


@pytest.mark.parametrize(
    ("wanted", "name", "difference"),
    [
        ("TCGA-AA-0001", "TCGA.AA.0001", "other separators"),
        ("TCGA-AA-0001", "tcga-aa-0001", "capitals"),
        ("TCGA-AA-0001", " TCGA-AA-0001 ", "blanks around it"),
        ("TCGA-AA-0001", "TCGA-AA-0001-01A", "a sample of the patient"),
        ("TCGA-AA-0001", "TCGA.AA.0001.01A.11R.A32Z.07", "a sample of the patient"),
        ("TCGA-AA-0001", "TCGA-AA-0001-11A", "a sample of the patient, of normal tissue"),
        ("TCGA-AA-0001-01A", "TCGA-AA-0001", "the patient of the sample"),
        ("001", "1", "zeros, separators or capitals"),
        ("3", "3.0", "zeros, separators or capitals"),
        ("002", "X002", "a leading X, as R writes it"),
        ("12-345", "X12.345", "a leading X, as R writes it"),
        ("P1", "P1_T", "a sample of the patient"),
        ("M\u00fcller 3", "Mu\u0308ller_3", "zeros, separators or capitals"),
    ],
)
def test_ids_that_nearly_match(wanted: str, name: str, difference: str) -> None:
    (near,) = IdIndex([name, "other", "P2"]).near(wanted)
    assert (near.name, near.difference) == (name, difference)
    assert IdIndex([name]).row_of(wanted, "exact") is None
    assert IdIndex([name]).row_of(wanted, "near") == (None if "normal" in difference else name)


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("P1", "P11"), ("P1", "P2"), ("TCGA-AA-0001", "TCGA-AA-0002-01A"), ("1", "P1"), ("A-1", "A"), ("AB", "A-B")],
)
def test_other_ids_are_not_near(wanted: str, name: str) -> None:
    assert IdIndex([name]).row_of(wanted, "near") in (None, name if wanted == "A-1" else None)


def test_of_several_near_ids_none_is_taken() -> None:
    index = IdIndex(["TCGA-AA-0001-01A", "TCGA-AA-0001-06A"])
    assert index.row_of("TCGA-AA-0001", "near") is None
    assert "name the right one in the sheet" in advice("TCGA-AA-0001", index.near("TCGA-AA-0001"))


@given(st.lists(st.text(min_size=1, max_size=12), max_size=8), st.text(min_size=1, max_size=12))
def test_an_id_that_is_there_stands_for_itself(names: list[str], wanted: str) -> None:
    assert IdIndex([*names, wanted]).row_of(wanted, "near") == wanted
    assert wanted not in [near.name for near in IdIndex(names).near(wanted)]
