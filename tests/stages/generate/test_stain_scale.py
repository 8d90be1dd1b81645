"""Slides whose scale a stainer cannot take: a failed task with its reason, and no stain."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mupd.config import Config, load_config
from mupd.contracts.draws import read_index
from mupd.stages import check, export, generate, intake
from mupd.stages.cohort import run as run_cohort
from tests.fixtures.basic import he_pixels
from tests.fixtures.tiny_model import write_tiny_cohort
from tests.fixtures.tiny_stainer import write_tiny_stainer

SCALES = {"fits": "0.5", "coarse": "2", "coarser": "2.1", "unknown": ""}
WHY = {
    "coarser": "the slide has 2.1 um/px and the stainer works at 0.5; expected at most 2, 4 times as coarse",
    "unknown": "not stained: the slide is unusable",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Config:
    """A whole run over slides that differ in their scale alone."""
    folder = tmp_path_factory.mktemp("scales")
    stain = {"name": "mif", "model": str(write_tiny_stainer(folder / "mif")), "steps": 1}
    stain |= {"min_nuclear_correlation": -1}
    cases = {case: "he+rna+text" for case in SCALES}
    path = write_tiny_cohort(
        folder,
        tiny_model,
        cases,
        outdir=str(folder / "results"),
        stains=[stain],
        intake={"min_tissue_mm2": 0, "min_library_size": 0},
    )
    sheet = folder / "cases.tsv"
    with sheet.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    for row in rows:
        row["he_mpp"] = SCALES[row["case_id"]]
        Image.fromarray(he_pixels(256, 256, 1)).save(folder / row["he"])
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    sheet.write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = load_config(path)
    for stage in (intake, generate, check, export):
        stage.run_shard(config, 0)
    run_cohort(config)
    return config


def manifest(config: Config) -> dict[str, dict[str, str]]:
    with (config.out / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return {row["case_id"]: row for row in rows if row["modality"] == "stain:mif"}


def test_what_the_stainer_takes_is_stained_and_a_coarse_slide_has_a_note(run: Config) -> None:
    results = {r.case_id: r for r in read_index(run.out / "generated" / "shard-0000.json") if r.target == "stain:mif"}
    fits, coarse = (results[case].draws[0] for case in ("fits", "coarse"))
    assert fits.meta.notes == ()
    assert "it was enlarged" in coarse.meta.notes[0]
    assert np.load(run.out / coarse.folder / "pixels.npy").shape == (1024, 1024, 3)
    for case in ("fits", "coarse"):
        assert manifest(run)[case]["verdict"] == "accepted"


@pytest.mark.parametrize("case", list(WHY))
def test_any_other_scale_is_a_status_with_its_reason(run: Config, case: str) -> None:
    row = manifest(run)[case]
    print(case, row["verdict"], row["why"])
    assert not row["artifact"]
    assert not (run.out / "artifacts" / case / "stains").exists()
    assert WHY[case] in row["why"]
    assert row["verdict"] in ("failed", "")
    assert row["why"] in (run.out / "report.html").read_text(encoding="utf-8")
