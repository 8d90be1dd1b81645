"""What the job of a shard depends on, and what is refused before Snakemake sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mupd.base.ids import shard_of
from mupd.config import parse_config
from mupd.errors import InputFaults
from mupd.run.shards import inputs_of, model_files, refuse_braces, rows_digest
from mupd.sheet import cases_by_shard, cases_of_shard, filled_shards, read_sheet


def cohort(folder: Path, cases: list[str], **values: Any) -> Any:
    folder.mkdir(exist_ok=True)
    for case in cases:
        (folder / f"{case}.txt").touch()
    lines = ["case_id\ttext\tx_note", *(f"{case}\t{case}.txt\t{values.get(case, '')}" for case in cases)]
    (folder / "cases.tsv").write_text("\n".join(lines) + "\n")
    (folder / "table.csv").write_text("case_id,text\n")
    settings = {"cases": str(folder / "cases.tsv"), "shards": 4, "tables": {"text": str(folder / "table.csv")}}
    config = parse_config(settings, "x")
    return config, read_sheet(config)


def test_a_shard_depends_on_its_own_rows_and_files(tmp_path: Path) -> None:
    names = [f"C{number}" for number in range(12)]
    config, sheet = cohort(tmp_path, names)
    parted = cases_by_shard(sheet, 4)
    assert list(parted) == filled_shards(sheet, 4)
    digests = {index: rows_digest(cases) for index, cases in parted.items()}
    assert len(set(digests.values())) == len(digests) > 1
    for index, cases in parted.items():
        assert tuple(cases) == cases_of_shard(sheet, index, 4)
        own = [str(tmp_path / f"{name}.txt") for name in names if shard_of(name, 4) == index]
        assert inputs_of(cases, config) == [*sorted(own), str(tmp_path / "table.csv")]
    # One more case at the top, and a note on another.
    _, grown = cohort(tmp_path, ["new", *names], C5="changed")
    changed = {shard_of("new", 4), shard_of("C5", 4)}
    for index, cases in cases_by_shard(grown, 4).items():
        assert (rows_digest(cases) != digests.get(index)) == (index in changed)
    assert rows_digest(grown.cases) != rows_digest(sheet.cases)


def test_braces_in_paths_are_refused_before_snakemake_stumbles(tmp_path: Path) -> None:
    config, sheet = cohort(tmp_path, ["A", "B"])
    refuse_braces(sheet, config)
    (tmp_path / "{x}.txt").touch()
    (tmp_path / "cases.tsv").write_text("case_id\ttext\nA\tA.txt\nB\t{x}.txt\n")
    settings = {"cases": str(tmp_path / "cases.tsv"), "outdir": "re{sults", "model": "m}"}
    braces = parse_config(settings, "x")
    with pytest.raises(InputFaults) as caught:
        refuse_braces(read_sheet(braces), braces)
    assert caught.value.exit_code == 2
    assert [fault.where for fault in caught.value.faults] == [
        "configuration [outdir]",
        "configuration [model]",
        "cases.tsv:3 [text]",
    ]


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    config = parse_config({"cases": "c.tsv", "model": str(tmp_path / "model")}, "x")
    with pytest.raises(InputFaults, match=r"configuration \[model\]: found .*model_index.json"):
        model_files(config)
    (tmp_path / "model" / "vae").mkdir(parents=True)
    (tmp_path / "model" / "model_index.json").write_text("{}")
    (tmp_path / "model" / "vae" / "w.safetensors").touch()
    assert [Path(name).name for name in model_files(config)] == ["model_index.json", "w.safetensors"]
