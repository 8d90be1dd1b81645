"""Digests of the rows of cohort tables: what changes with which change of a table."""

from __future__ import annotations

import gzip
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mupd.config import Config
from mupd.errors import MupdError
from mupd.run import table_rows as module
from mupd.run.shards import inputs_of
from mupd.run.table_digests import digests_of
from mupd.run.table_rows import INDEX_NAME, table_rows
from mupd.sheet import read_sheet

GENES = ["ACTB", "GAPDH", "ERBB2", "ESR1", "MKI67", "TP53"]
Make = Callable[..., Config]


def lines(cases: int, separator: str = "\t", factor: int = 1) -> list[str]:
    counts = np.random.default_rng(3).poisson(40, (cases, len(GENES))) * factor
    rows = [separator.join([f"C{n}", *map(str, row)]) for n, row in enumerate(counts)]
    return [separator.join(["case_id", *GENES]), *rows]


def write(path: Path, rows: list[str]) -> Path:
    content = ("\n".join(rows) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_h5ad(path: Path, values: np.ndarray, sparse: str = "") -> Path:
    import anndata
    import pandas as pd
    from scipy import sparse as of

    matrix = {"csr": of.csr_matrix, "csc": of.csc_matrix}.get(sparse, np.asarray)(values)
    obs, var = pd.DataFrame(index=[f"C{n}" for n in range(len(values))]), pd.DataFrame(index=GENES)
    anndata.AnnData(matrix, obs=obs, var=var).write_h5ad(path)
    return path


@pytest.mark.parametrize("name", ["t.tsv", "t.csv.gz"])
def test_an_added_row_of_a_text_matrix_changes_its_own_digest_alone(tmp_path: Path, name: str) -> None:
    rows = lines(5, "," if "csv" in name else "\t")
    before = digests_of("rna", write(tmp_path / name, rows[:5]))
    after = digests_of("rna", write(tmp_path / name, rows))
    assert before is not None
    assert after is not None
    assert after["whole"] == before["whole"]
    assert before["rows"].items() < after["rows"].items()
    assert set(after["rows"]) - set(before["rows"]) == {"C4"}
    renamed = digests_of("rna", write(tmp_path / name, [rows[0].replace("TP53", "MYC"), *rows[1:]]))
    assert renamed is not None
    assert renamed["whole"] != before["whole"]
    twice = digests_of("rna", write(tmp_path / name, [*rows, rows[1]]))
    assert twice is not None
    assert {row for row in after["rows"] if twice["rows"][row] != after["rows"][row]} == {"C0"}


def test_another_scale_concerns_all_rows(tmp_path: Path) -> None:
    """A row below zero makes logarithms of what read as counts."""
    rows = lines(5)
    before = digests_of("rna", write(tmp_path / "t.tsv", rows))
    after = digests_of("rna", write(tmp_path / "t.tsv", [*rows, "C9" + "\t-9.9658" * len(GENES)]))
    assert before is not None
    assert after is not None
    assert after["whole"] != before["whole"]


@pytest.mark.parametrize("sparse", ["", "csr"])
def test_rows_of_an_h5ad(tmp_path: Path, sparse: str) -> None:
    values = np.random.default_rng(1).poisson(30, (6, len(GENES))).astype(np.float32)
    before = digests_of("rna", write_h5ad(tmp_path / "t.h5ad", values[:5], sparse))
    after = digests_of("rna", write_h5ad(tmp_path / "t.h5ad", values, sparse))
    assert before is not None
    assert after is not None
    assert after["whole"] == before["whole"]
    assert before["rows"].items() < after["rows"].items()
    assert digests_of("rna", write_h5ad(tmp_path / "t.h5ad", values, "csc")) is None


def test_genes_in_rows_and_ragged_rows_are_not_told_apart(tmp_path: Path) -> None:
    turned = [["gene", "C0", "C1"], *([gene, "3", "4"] for gene in GENES)]
    assert digests_of("rna", write(tmp_path / "t.tsv", ["\t".join(row) for row in turned])) is None
    rows = lines(4)
    assert digests_of("rna", write(tmp_path / "t.tsv", [*rows, "C9\t1"])) is None
    with pytest.raises((MupdError, ValueError)):
        digests_of("rna", write(tmp_path / "t.tsv", [*rows, "C9" + "\tx" * len(GENES)]))


def test_the_index_is_asked_again_only_after_a_change(
    tmp_path: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = lines(3)
    write(tmp_path / "rna.tsv", rows[:3])
    (tmp_path / "text.jsonl").write_text(json.dumps({"case_id": "C0", "text": "Carcinoma."}) + "\n")
    (tmp_path / "cases.tsv").write_text("case_id\trna\nC0\t\nC1\t\nC2\t\nC3\trna.tsv::C1\n")
    tables = {"rna": str(tmp_path / "rna.tsv"), "text": str(tmp_path / "text.jsonl")}
    config = make_config(tmp_path / "cases.tsv", tables=tables)
    cases = read_sheet(config).cases

    def digests(examine: bool = True) -> list[str]:
        known = table_rows(cases, config, tmp_path / "state", examine)
        assert inputs_of(cases, config, known) == []
        return [known.digest([case], config) for case in cases]

    first = digests()
    known = table_rows(cases, config, tmp_path / "state", False)
    assert known.case_ids(config) == {"rna": {"C0", "C1"}, "text": {"C0"}}
    asked: list[object] = []
    run = subprocess.run
    monkeypatch.setattr(module.subprocess, "run", lambda *a, **k: (asked.append(a), run(*a, **k))[1])
    assert digests() == first
    assert not asked
    assert digests(examine=False) == first, "a job of a cluster reads the index"
    time.sleep(0.01)
    write(tmp_path / "rna.tsv", rows)
    second = digests()
    assert len(asked) == 1
    assert [one != other for one, other in zip(first, second, strict=True)] == [False, False, True, False]
    changed = rows[2].rsplit("\t", 1)[0] + "\t7"
    write(tmp_path / "rna.tsv", [*rows[:2], changed, rows[3]])
    third = digests()
    assert [one != other for one, other in zip(second, third, strict=True)] == [False, True, False, True]
    # What does not read stays an input of every shard; the sheet's other files are no concern of the tables.
    (tmp_path / "rna.tsv").write_bytes(b"\0\0\0")
    (tmp_path / "state" / INDEX_NAME).write_text("{", encoding="utf-8")
    known = table_rows(cases, config, tmp_path / "state", True)
    assert inputs_of(cases[:1], config, known) == [str(tmp_path / "rna.tsv")]
    assert str(tmp_path / "rna.tsv") in inputs_of(cases[3:], config, known)
