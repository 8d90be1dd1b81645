"""An input is parsed once, and read again only when something about it changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest

import mupd.stages.intake.cache
from mupd.config import Config
from mupd.contracts.inventory import CaseInventory, read_inventory
from mupd.inputs.examine import Outcome, Request
from mupd.inputs.process import Numbered
from mupd.inputs.runners import in_place
from mupd.sheet import read_sheet
from mupd.stages.intake import run_shard, status_rows
from mupd.stages.intake.cache import Cache, cache_path, checker_digest
from mupd.stages.intake.entries import inventories_of
from tests.fixtures.basic import GENES, counts_matrix

Make = Callable[..., Config]
Write = Callable[..., Path]
REPORT = "Invasive ductal carcinoma of the breast, grade 2, pT2."


class Look:
    """Inventories made in this process, with an account of what had to be asked."""

    def __init__(self, config: Config, genes: tuple[str, ...] = GENES) -> None:
        self.config, self.genes = config, genes
        self.asked: list[Request] = []
        self.outcomes: list[Outcome] = []

    def _run(self, requests: Sequence[Numbered]) -> Iterator[tuple[int, Outcome]]:
        self.asked += [request for _, request in requests]
        for number, outcome in in_place(self.config, self.genes)(requests):
            self.outcomes.append(outcome)
            yield number, outcome

    def __call__(self) -> list[CaseInventory]:
        self.asked, self.outcomes = [], []
        cache = Cache(cache_path(self.config, 0), checker_digest(self.config, self.genes))
        inventories = inventories_of(read_sheet(self.config).cases, self.config, self._run, lambda _: cache)
        cache.save()
        return inventories

    @property
    def parsed(self) -> list[str]:
        """Names of the inputs that were parsed, not only hashed."""
        pairs = zip(self.asked, self.outcomes, strict=True)
        return sorted(Path(asked.path).name for asked, outcome in pairs if not outcome.is_known)


@pytest.fixture
def look(
    tmp_path: Path,
    write_he: Write,
    write_rna: Write,
    write_sheet: Write,
    make_config: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> Look:
    write_he()
    write_rna()
    (tmp_path / "report.txt").write_text(REPORT)
    (tmp_path / "bad.txt").write_text(" ")
    row = {"he": "slide.png", "he_mpp": "0.78", "rna": "rna.csv", "text": "report.txt"}
    sheet = write_sheet([{"case_id": "A"} | row, {"case_id": "B"} | row | {"he": "", "text": "bad.txt"}])
    # Files of a test are fresh; the cache waits two seconds before it trusts a file's times.
    monkeypatch.setattr(mupd.stages.intake.cache, "SETTLED_NS", -1)
    return Look(make_config(sheet))


def test_nothing_is_asked_again(look: Look) -> None:
    first = look()
    assert look.parsed == ["bad.txt", "report.txt", "rna.csv", "slide.png"]
    assert look() == first
    assert look.asked == []


def test_a_changed_file_is_read_again_and_a_touched_one_only_hashed(look: Look, tmp_path: Path) -> None:
    first = look()
    (tmp_path / "report.txt").write_text(REPORT + " Again.")
    os.utime(tmp_path / "rna.csv")
    second = look()
    assert look.parsed == ["report.txt"]
    assert len(look.asked) == 2
    assert second[0].entries["text"].source_sha256 != first[0].entries["text"].source_sha256
    assert second[0].entries["rna"] == first[0].entries["rna"]
    # Same size and time, other bytes: what a restored backup may look like.
    stat = (tmp_path / "report.txt").stat()
    (tmp_path / "report.txt").write_text(REPORT + " AGAIN.")
    os.utime(tmp_path / "report.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert look()[0].entries["text"].source_sha256 != second[0].entries["text"].source_sha256


def test_other_limits_scale_genes_or_name_ask_anew(look: Look, make_config: Make, tmp_path: Path) -> None:
    look()
    sheet = Path(look.config.cases)
    other = Look(make_config(sheet, intake={"min_text_words": 500}))
    assert "under intake.min_text_words" in other()[0].entries["text"].reason
    look()
    assert Look(look.config, (*GENES, "TP53"))()[0].entries["rna"].facts["model_genes"] == len(GENES) + 1
    look()
    sheet.write_text(sheet.read_text().replace("0.78", "0.70", 1))
    assert look()[0].entries["he"].facts["mpp"] == 0.7
    assert [Path(request.path).name for request in look.asked] == ["slide.png"]
    # A reader goes by the suffix: the same bytes under another name are another question.
    (tmp_path / "rna.tsv").write_bytes((tmp_path / "rna.csv").read_bytes())
    sheet.write_text(sheet.read_text().replace("rna.csv", "rna.tsv"))
    assert look()[0].entries["rna"].status == "unusable"


def test_limits_of_cost_are_no_part_of_the_key_and_hits_are_not_kept(look: Look, make_config: Make) -> None:
    first = look()
    cheaper = Look(make_config(Path(look.config.cases), intake={"file_seconds": 5, "file_mb": 100}))
    assert cheaper() == first
    assert cheaper.asked == []
    cache = Cache(None, "")
    request = Request("text", "a.txt")
    cache.keep(request, "0" * 64, Outcome("unusable", "not read in 5 s", "0" * 64))
    assert cache.outcome(request, "0" * 64) is None


@pytest.mark.parametrize("spoilt", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 1}', b"[" * 100_000])
def test_a_spoilt_cache_is_ignored_and_written_anew(look: Look, spoilt: bytes) -> None:
    first = look()
    path = cache_path(look.config, 0)
    whole = path.read_bytes()
    path.write_bytes(spoilt)
    assert look() == first
    assert path.read_bytes() == whole


def test_a_spoilt_outcome_is_ignored(look: Look) -> None:
    first = look()
    path = cache_path(look.config, 0)
    held = json.loads(path.read_text())
    for outcomes in held["outcomes"].values():
        for outcome in outcomes.values():
            outcome["surprise"] = 1
    path.write_text(json.dumps(held))
    assert look() == first


def test_a_file_written_to_just_now_is_hashed_again(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mupd.stages.intake.cache, "SETTLED_NS", 3_600_000_000_000)
    look()
    look()
    assert len(look.asked) == 4
    assert look.parsed == []


def test_rows_of_an_unchanged_table_are_not_read_again(
    tmp_path: Path, write_sheet: Write, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mupd.stages.intake.cache, "SETTLED_NS", -1)
    table = tmp_path / "matrix.csv"
    frame = pd.DataFrame(counts_matrix(3), index=["A", "B", "X"], columns=list(GENES))
    frame.to_csv(table)
    sheet = write_sheet([{"case_id": name, "rna": ""} for name in ("A", "B", "C")])
    look = Look(make_config(sheet, tables={"rna": str(table)}))
    first = look()
    assert [case.entries["rna"].status for case in first] == ["measured", "measured", "missing"]
    assert look() == first
    assert look.asked == []
    frame.loc["X"] += 1
    frame.to_csv(table)
    assert look() == first
    assert len(look.asked) == 4


def test_run_and_status_share_the_cache_and_status_writes_nothing(look: Look, tmp_path: Path) -> None:
    written = read_inventory(run_shard(look.config, 0, jobs=2))
    before = {path: path.read_bytes() for path in look.config.out.rglob("*") if path.is_file()}
    assert status_rows(look.config) == written
    look()
    assert look.asked == []
    assert {path: path.read_bytes() for path in look.config.out.rglob("*") if path.is_file()} == before
    text = cache_path(look.config, 0).read_text()
    assert str(tmp_path) not in text
    assert "slide.png" not in text
