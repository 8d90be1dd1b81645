"""he->ihc from end to end: trained by `mupd train` on made pairs, run by Snakemake, a picture in colour with its marks.

There are no real pairs of H&E and IHC: this says that the path works, and nothing of how good a stain would be.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner
from wsidicom import WsiDicom

from mupd.cli import app
from mupd.synthetic.dicom.marks import SUPPORTING, TELLING, dicom_marks
from mupd.synthetic.verify.verify import INTACT, verify_path
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.stain_pairs import made_pair, write_pairs, write_stain_config
from tests.fixtures.tiny_model import write_tiny_cohort
from tests.fixtures.tiny_stainer import tiny_vae


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stainer of IHC after a few steps."""
    small = {"width": 32, "depth": 1, "heads": 2, "stem_width": 16, "stem_blocks": 1}
    monkeypatch.setattr("mupd.training.stain.run.preset", lambda _: small)
    monkeypatch.setattr("mupd.training.stain.measure.STEPS", 2)
    folder.mkdir()
    tiny_vae(3, 0).save_pretrained(folder / "he_vae")
    table = write_pairs(folder / "data", 4, 144, "ihc")
    steps = {"batch_size": 2, "warmup_steps": 1, "checkpoint_every": 8}
    vae = steps | {"steps": 8, "width": 16, "latent_channels": 4, "learning_rate": 0.005}
    config = write_stain_config(folder, table, folder / "he_vae", stain="ihc", vae=vae, trunk=steps | {"steps": 4})
    found = CliRunner().invoke(app, ["train", str(config)])
    assert found.exit_code == 0, found.output
    return folder / "out"


@pytest.mark.slow
def test_a_trained_ihc_stainer_is_run_by_the_workflow(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stainer = trained(tmp_path / "training", monkeypatch)
    folder = tmp_path / "run"
    stain = {"name": "ihc", "model": str(stainer), "steps": 2, "min_nuclear_correlation": -1}
    configfile = write_tiny_cohort(folder, tiny_model, {"A": "he+rna+text"}, stains=[stain])
    sheet = (folder / "cases.tsv").read_text(encoding="utf-8")
    (folder / "cases.tsv").write_text(sheet.replace("0.78", "0.5"), encoding="utf-8")
    he = np.full((560, 640, 3), 245, np.uint8)
    he[24:536, 64:576] = made_pair(512, 3)["he"]
    Image.fromarray(he).save(folder / "A.png")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "1"]
    done = subprocess.run(
        [*command, "--directory", str(folder), "--configfile", str(configfile)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = folder / "results"
    with (results / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        (row,) = [r for r in csv.DictReader(stream, delimiter="\t") if r["modality"] == "stain:ihc"]
    assert (row["verdict"], row["task"], row["synthetic"]) == ("accepted", "he->ihc", "yes"), row["why"]
    slide, ome = results / row["artifact"], results / row["further_artifacts"]
    for path in (slide, ome):
        found = verify_path(path)
        assert (found.exit_code, found.content, found.marks_missing) == (INTACT, "intact", ())
    levels = sorted(slide.glob("*level*.dcm"))
    assert levels
    for path in levels:
        dataset = pydicom.dcmread(path)
        assert set(dicom_marks(dataset)) == {*TELLING, *SUPPORTING}
        assert (dataset.SamplesPerPixel, dataset.NumberOfOpticalPaths) == (3, 1)
        assert "no light and no dye was used" in dataset.DerivationDescription
    with WsiDicom.open(slide) as opened:
        assert (opened.size.width, opened.size.height) == (640, 560)
        picture = np.asarray(opened.read_region((0, 0), 0, (640, 560)).convert("RGB"))
    with tifffile.TiffFile(ome) as file:
        assert file.series[0].axes == "YXS"
        other = file.series[0].asarray()
    np.testing.assert_array_equal(picture, other)
    assert picture[:, :, 0].std() > 0
    assert "Virtual stain ihc" in (results / "report.html").read_text(encoding="utf-8")
