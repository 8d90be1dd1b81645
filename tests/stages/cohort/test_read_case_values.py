"""Measured inputs are read for the cohort files in workers: a bad one costs its own case one modality."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from mupd.inputs.examine import Outcome
from mupd.inputs.measured import MeasuredRna, from_plain, to_plain
from mupd.inputs.pool import Pool
from mupd.inputs.process import Numbered
from mupd.inputs.runners import in_place
from mupd.rna.stored_values import StoredValues
from mupd.stages.cohort.join_shards import join_shards
from mupd.stages.cohort.read_case_values import read_case_values
from tests.fixtures.cohort import GENES, Plan, make_cohort
from tests.fixtures.misbehaving_worker import COMMAND


def test_an_input_that_crashes_or_hangs_is_a_problem_of_its_case_alone(tmp_path: Path) -> None:
    config = make_cohort(tmp_path, (Plan("A"), Plan("B"), Plan("C")), intake={"file_seconds": 3})
    cases = {case.case_id: case for case in join_shards(config)}
    Path(cases["A"].parts["text"].entry.source).write_text("segv now please")
    Path(cases["B"].parts["he"].entry.source).write_text("hang now please")
    pool = Pool(1, COMMAND)

    def run(requests: Sequence[Numbered]) -> Iterator[tuple[int, Outcome]]:
        return pool.run(requests, config, GENES)

    try:
        values = dict(zip(cases, read_case_values([*cases.values()], config, GENES, run, most_pictured=3), strict=True))
    finally:
        pool.close()
    assert values["A"].text is None
    assert "SIGSEGV" in values["A"].problems[0]
    assert values["A"].problems[0].startswith("text could not be read for the cohort files: ")
    assert values["B"].he is None
    assert "intake.file_seconds" in values["B"].problems[0]
    assert (values["A"].he, values["A"].rna, values["B"].rna, values["B"].text).count(None) == 0
    assert values["C"].problems == ()
    assert values["C"].he is not None
    assert max(values["C"].he.pictures[0].pixels.shape) == 420


def test_slides_without_pictures_are_not_opened(tmp_path: Path) -> None:
    config = make_cohort(tmp_path, (Plan("A"), Plan("B")))
    asked: list[str] = []

    def run(requests: Sequence[Numbered]) -> Iterator[tuple[int, Outcome]]:
        asked.extend(request.modality for _, request in requests)
        return in_place(config, GENES)(requests)

    first, second = read_case_values(join_shards(config), config, GENES, run, most_pictured=1)
    assert sorted(asked) == ["he", "rna", "rna", "text", "text"]
    assert first.he is not None
    assert second.he is not None
    assert len(first.he.pictures) == 1
    assert second.he.pictures == ()
    assert second.he.haematoxylin_od > 0


@pytest.mark.parametrize("kind", ["<i4", "<f8", "<f4", "|u1"])
@pytest.mark.parametrize("thin", [False, True])
def test_values_come_from_a_worker_bit_for_bit(kind: str, thin: bool) -> None:
    row = np.array([[0, 3, 250]], kind)
    matrix = sparse.csr_matrix(row) if thin else row
    names = ("A\n", "\udcff", "Ä")
    nan = np.array([np.nan, 1.5], np.float32)
    sent = MeasuredRna(nan, nan, None, 2, 2, StoredValues(names, names[::-1], matrix), "counts")
    came = from_plain("rna", to_plain(sent))
    assert isinstance(came, MeasuredRna)
    assert came.mean.tobytes() == nan.tobytes()
    assert came.high is None
    assert (came.stored.names, came.stored.symbols) == (names, names[::-1])
    assert came.stored.matrix.dtype == np.dtype(kind)
    assert sparse.issparse(came.stored.matrix) == thin
    back = came.stored.matrix.toarray() if thin else came.stored.matrix
    assert np.asarray(back).tolist() == row.tolist()
