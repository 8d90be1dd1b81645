"""Virtual stains through the commands: a measured slide to DICOM, OME-TIFF, manifest and report, and no other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from wsidicom import WsiDicom

from mupd.base.ids import seed_of
from mupd.config import Config, config_schema, parse_config
from mupd.contracts.draws import read_index
from mupd.contracts.inventory import read_inventory, stain_tasks_of, why_not_stained
from mupd.errors import InputFaults
from mupd.slides.reader import open_slide
from mupd.slides.region import RegionReader, choose_region
from mupd.stages import check, export, generate, intake
from mupd.stages.cohort import run as run_cohort
from mupd.synthetic.verify.recognise import synthetic_marks
from mupd.synthetic.verify.verify import INTACT, verify_path
from tests.fixtures.paths import REPOSITORY
from tests.fixtures.synthetic import SHARED
from tests.fixtures.tiny_model import write_tiny_cohort
from tests.fixtures.tiny_stainer import write_tiny_stainer

CHANNELS = ("DAPI", "CD3", "panCK")
README = REPOSITORY / "config" / "README.md"


@pytest.fixture(scope="module")
def stainers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stainers")
    write_tiny_stainer(folder / "mif", channels=CHANNELS)
    write_tiny_stainer(folder / "ihc", stain="ihc")
    return folder


def stain(stainers: Path, name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "model": str(stainers / name), "min_nuclear_correlation": -1, "steps": 1} | changes


def faults_of(*stains: dict[str, Any]) -> str:
    with pytest.raises(InputFaults) as caught:
        parse_config({"cases": "c.tsv", "stains": list(stains)}, "my.yaml")
    return "\n".join(str(fault) for fault in caught.value.faults)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, stainers: Path) -> Config:
    """A run with both stains over a measured, a missing and an unusable slide."""
    folder = tmp_path_factory.mktemp("run")
    stains = [stain(stainers, "mif", channels=["panCK", "DAPI"]), stain(stainers, "ihc", max_side_px=256)]
    cases = {"SLIDE-1": "he+text", "NONE-2": "text", "BAD-3": "he!+text"}
    path = write_tiny_cohort(folder, tiny_model, cases, stains=stains, draws={"he": 1, "rna": 1, "text": 1})
    values = yaml.safe_load(path.read_text()) | {"outdir": str(folder / "results")}
    config = parse_config(values, str(path))
    for stage in (intake, generate, check, export):
        stage.run_shard(config, 0)
    run_cohort(config)
    return config


def rows_of(config: Config) -> list[dict[str, str]]:
    head, *lines = [line.split("\t") for line in (config.out / "manifest.tsv").read_text().splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines]


def row_of(config: Config, case: str, modality: str) -> dict[str, str]:
    return next(row for row in rows_of(config) if list(row.values())[:2] == [case, modality])


def test_faults_at_the_door_name_what_the_model_has(stainers: Path) -> None:
    assert "DAPI, CD3, panCK" in faults_of(stain(stainers, "mif", channels=["DAPI", "CD8"]))
    assert "found CD8;" in faults_of(stain(stainers, "mif", channels=["DAPI", "CD8"]))
    wrong = faults_of(stain(stainers, "mif") | {"name": "ihc"})
    assert "[stains.0.name]" in wrong
    assert "makes mif of DAPI, CD3, panCK" in wrong
    assert "no model_index.json" in faults_of({"name": "mif", "model": "nowhere"})
    assert "that no other stain has" in faults_of(stain(stainers, "mif"), stain(stainers, "mif"))
    assert "only: name, model" in faults_of(stain(stainers, "mif", marker="CD3"))
    assert "one picture in colour" in faults_of(stain(stainers, "ihc", channels=["DAB"]))
    assert "nuclear_channel" in faults_of(stain(stainers, "mif", channels=["CD3"], nuclear_channel="DAPI"))


def test_a_configuration_with_stains_reads_back(stainers: Path) -> None:
    config = parse_config({"cases": "c", "stains": [stain(stainers, "mif"), stain(stainers, "ihc")]}, "x")
    assert parse_config(config.to_dict(), "again") == config
    assert config.stains[0].channels == CHANNELS
    assert config.stains[0].nuclear == "DAPI"


def test_every_key_of_a_stain_is_explained_with_its_default() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| stains: `")]
    stated = {row[0].removeprefix("stains: ").strip("`"): row[1] for row in rows}
    known = config_schema()["properties"]["stains"]["items"]["properties"]
    assert set(stated) == set(known)
    assert {name: yaml.safe_load(stated[name]) for name in known} == {n: p.get("default") for n, p in known.items()}


def test_only_a_measured_slide_has_stain_tasks_with_seeds_of_their_own(run: Config) -> None:
    cases = {case.case_id: case for case in read_inventory(run.out / "intake" / "shard-0000.parquet")}
    tasks = stain_tasks_of(cases["SLIDE-1"], run)
    assert [task.name for task in tasks] == ["he->mif", "he->ihc"]
    assert tasks[0].seeds == (seed_of(run.seed, "SLIDE-1", "stain:mif", 0),)
    assert stain_tasks_of(cases["NONE-2"], run) == stain_tasks_of(cases["BAD-3"], run) == []
    entry = cases["SLIDE-1"].entries["he"]
    entries = cases["SLIDE-1"].entries | {"he": replace(entry, facts=entry.facts | {"synthetic_input": "by *"})}
    let_in = replace(cases["SLIDE-1"], entries=entries)
    assert stain_tasks_of(let_in, run) == []
    assert "synthetic marks" in why_not_stained(let_in)


def test_manifest_and_report_say_what_became_of_each(run: Config) -> None:
    assert row_of(run, "SLIDE-1", "stain:mif")["verdict"] == "accepted"
    assert row_of(run, "SLIDE-1", "stain:mif")["further_artifacts"].endswith("stains/mif/synthetic-draw0.ome.tiff")
    assert row_of(run, "NONE-2", "stain:mif")["why"] == "not stained: the slide is missing"
    assert row_of(run, "BAD-3", "stain:ihc")["why"] == "not stained: the slide is unusable"
    report = (run.out / "report.html").read_text()
    assert report.count("Virtual stain mif") == 3
    assert "not stained: the slide is missing" in report
    accepted = [row["modality"] for row in rows_of(run) if row["verdict"] == "accepted"]
    stains = sum(modality.startswith("stain:") for modality in accepted)
    assert 0 < stains < len(accepted)
    assert f"Draws accepted</dt><dd>{len(accepted)}<small>{stains} of them virtual stain" in report
    crate = json.loads((run.out / "ro-crate-metadata.json").read_text())
    assert any("SYNTHETIC virtual stain mif" in str(item.get("name")) for item in crate["@graph"])


def test_dicom_has_one_readable_optical_path_a_channel(run: Config) -> None:
    (result,) = [r for r in read_index(run.out / "generated" / "shard-0000.json") if r.target == "stain:mif"]
    pixels = np.load(run.out / result.draws[0].folder / "pixels.npy")
    assert pixels.shape[2] == 2
    with WsiDicom.open(run.out / row_of(run, "SLIDE-1", "stain:mif")["artifact"]) as slide:
        paths = slide.metadata.pyramid.optical_paths
        assert [path.description for path in paths] == ["panCK", "DAPI"]
        for index, path in enumerate(paths):
            shape = (slide.size.width, slide.size.height)
            read = np.asarray(slide.read_region((0, 0), 0, shape, path=path.identifier))
            assert np.array_equal(read, pixels[..., index])


def test_ome_tiff_has_names_scale_pyramid_and_the_same_values(run: Config) -> None:
    path = run.out / row_of(run, "SLIDE-1", "stain:mif")["further_artifacts"]
    (result,) = [r for r in read_index(run.out / "generated" / "shard-0000.json") if r.target == "stain:mif"]
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.series[0].axes == "CYX"
        pixels = np.load(run.out / result.draws[0].folder / "pixels.npy")
        assert np.array_equal(np.moveaxis(file.series[0].asarray(), 0, -1), pixels)
        told = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
    assert told["Name"].startswith("SYNTHETIC mif")
    assert [channel["Name"] for channel in told["Pixels"]["Channel"]] == ["panCK", "DAPI"]
    assert told["Pixels"]["PhysicalSizeX"] == 0.5


@pytest.mark.parametrize("modality", ["stain:mif", "stain:ihc"])
def test_both_forms_verify_and_are_refused_as_measured(run: Config, modality: str, tmp_path: Path) -> None:
    row = row_of(run, "SLIDE-1", modality)
    for name, kind in ((row["artifact"], "dicom-wsi"), (row["further_artifacts"], "ome-tiff")):
        verified = verify_path(run.out / name)
        assert (verified.kind, verified.exit_code, verified.content, verified.marks_missing) == (
            kind,
            INTACT,
            "intact",
            (),
        )
        assert (verified.case, verified.draw, verified.given) == ("SLIDE-1", (0,), ("he",))
    renamed = tmp_path / "slide.tif"
    shutil.copy(run.out / row["further_artifacts"], renamed)
    assert any(mark.startswith("OME Image Name") for mark in synthetic_marks(renamed))
    (tmp_path / "cases.tsv").write_text(f"case_id\the\the_mpp\nA\t{renamed}\t0.5\n")
    config = replace(run, cases=str(tmp_path / "cases.tsv"), outdir=str(tmp_path / "results"), stains=())
    (case,) = intake.status_rows(config, 1)
    assert case.entries["he"].status == "unusable"
    assert "synthetic" in case.entries["he"].reason


def test_an_altered_ome_tiff_is_found_out(run: Config, tmp_path: Path) -> None:
    path = run.out / row_of(run, "SLIDE-1", "stain:mif")["further_artifacts"]
    with tifffile.TiffFile(path) as file:
        planes, description = file.series[0].asarray().copy(), file.pages.first.description
    planes[0, :8, :8] ^= 255
    forged = tmp_path / "synthetic-forged.ome.tiff"
    tifffile.imwrite(
        forged, planes, tile=(512, 512), photometric="minisblack", metadata=None, description=description.encode()
    )
    assert verify_path(forged).content == "altered"


def test_a_second_run_makes_and_writes_nothing_anew(run: Config) -> None:
    files = {path: path.stat().st_mtime_ns for path in (run.out / "artifacts" / "SLIDE-1" / "stains").rglob("*.*")}
    before = (run.out / "exported" / "shard-0000.json").read_text()
    store = sorted((run.out / "generated" / "store").rglob("meta.json"))
    generate.run_shard(run, 0)
    export.run_shard(run, 0)
    assert sorted((run.out / "generated" / "store").rglob("meta.json")) == store
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert (run.out / "exported" / "shard-0000.json").read_text() == before


def test_a_stain_that_follows_nothing_is_rejected(run: Config) -> None:
    strict = replace(run, stains=tuple(replace(s, min_nuclear_correlation=0.99) for s in run.stains))
    results = {r.target: r for r in read_index(run.out / "generated" / "shard-0000.json") if r.case_id == "SLIDE-1"}
    cases = {case.case_id: case for case in read_inventory(run.out / "intake" / "shard-0000.parquet")}
    from mupd.stages.check.reference import Reference
    from mupd.stages.check.run import check_task

    (row,) = check_task(results["stain:mif"], strict, Reference(), cases["SLIDE-1"])
    assert row.verdict == "rejected"
    assert "channel DAPI follows the slide's haematoxylin" in row.reasons


def test_a_region_of_a_large_slide_lies_where_the_tissue_is() -> None:
    path = SHARED / "slides" / "CMU-1-Small-Region.svs"
    if not path.exists():
        pytest.skip("REAL DATA ABSENT: ../shared/data/slides/CMU-1-Small-Region.svs")
    with open_slide(path) as reader:
        whole = choose_region(reader, 0.499, 4096)
        assert (whole.whole, whole.width_px, whole.height_px) == (True, 2216, 2960)
        part = choose_region(reader, 0.5, 512)
        read = RegionReader(reader, part)
        assert (part.whole, part.width_px, part.height_px) == (False, 512, 512)
        assert read.tissue(0, 0, 512, 512).mean() > 0.9
        # The same place, read through another box.
        one, other = read.read(0, 0, 256, 256)[100:, 90:], read.read(90, 100, 166, 156)
        assert np.abs(one.astype(int) - other).max() <= 1
